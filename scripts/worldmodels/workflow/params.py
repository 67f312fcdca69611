"""The params of rules, and the texts in them. Params that Snakemake compares make a job stale, the others do not."""

import types
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

from worldmodels.runtime.config import SECTIONS
from worldmodels.runtime.effects import compared_fields, idle_fields
from worldmodels.runtime.fingerprint import files_fingerprint, program_files
from worldmodels.runtime.flags import as_flag, flags_text
from worldmodels.runtime.settings import COUNT, RUNTIME, Section, settable
from worldmodels.runtime.values import to_text
from worldmodels.workflow import changes


def compared(text: str) -> Callable:
    """Return a param with this text. A job whose text has changed is stale.

    The param is a function, because Snakemake takes braces in a plain text for wildcards.
    """
    return lambda wildcards: text


def uncompared(value: Any) -> Callable:
    """Return a param with this value, which never makes a job stale.

    Snakemake compares no param that is a function of `threads`.
    """
    return lambda wildcards, threads: value


def option_flags(config: types.SimpleNamespace, *sections: Section) -> str:
    """Return the values that shape a job's result as sorted flags: the same text for the same values."""
    texts = [flags_text(section, compared_fields(section, config)) for section in sections]
    return " ".join([f"--seed {config.seed}", *filter(None, texts)])


def runtime_flags(config: types.SimpleNamespace, *sections: Section) -> str:
    """Return the values that cannot change a job's result, as flags: paths, the device, and others of their kind.

    Keys of a section are left out of the result by their role, or because they have no effect beside the other values.
    """
    places = {"--logdir": config.logdir, "--data-dir": config.data_dir, "--device": config.device}
    texts = [as_flag(flag, value) for flag, value in {**places, "--tensorboard": config.tensorboard}.items()]
    for section in sections:
        idle = idle_fields(section, config)
        names = [f.name for f in settable(type(section)) if f.metadata["role"] in (RUNTIME, COUNT) or f.name in idle]
        texts.append(flags_text(section, names))
    return " ".join(filter(None, texts))


def shown_settings(config: types.SimpleNamespace) -> str:
    """Return all values that shape a result, as JSON {section: {key: value}}: what a run was."""
    return to_text(shown_values(config))


def hparams(config: types.SimpleNamespace) -> str:
    """Return the same values and the seed, as JSON {section.key: value}: TensorBoard's hyperparameters."""
    sections = shown_values(config)
    values = {f"{name}.{key}": value for name, section in sections.items() for key, value in section.items()}
    return to_text({"seed": config.seed, **values})


def shown_values(config: types.SimpleNamespace) -> dict[str, dict[str, Any]]:
    """Return all values that shape a result, by section and field."""

    def is_shown(section: Section, f: Any) -> bool:
        return f.name in compared_fields(section, config) or f.metadata["role"] == COUNT

    sections = {name: getattr(config, name) for name in SECTIONS}
    return {
        name: {f.name: getattr(section, f.name) for f in settable(type(section)) if is_shown(section, f)}
        for name, section in sections.items()
    }


@cache  # the runs of a sweep have the same code
def code_fingerprint(script: Path, *modules: str) -> str:
    """Return the fingerprint of all code that a script runs.

    Args:
        script: path of the script.
        modules: the user's own modules that it runs too.
    """
    files = program_files(script, *modules)
    fingerprint = files_fingerprint(files)
    changes.remember_program(script.name, fingerprint, files)
    return fingerprint
