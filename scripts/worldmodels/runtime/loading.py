"""The whole configuration, read and checked before any job starts.

Importing this module must stay cheap (no torch, no numpy): every dry run does it.
"""

import base64
import dataclasses
import json
import re
import types
from pathlib import Path
from typing import Any

from worldmodels.runtime.config import SECTIONS, EnvConfig, RunConfig, needs_agent
from worldmodels.runtime.errors import UserError
from worldmodels.runtime.paths import normal_path
from worldmodels.runtime.settings import Section, config_key, nearest, settable


def load_config(config: dict) -> types.SimpleNamespace:
    """The checked configuration: `.seed`, `.logdir`, ... and one dataclass a section.

    Args:
        config: what config.yaml holds; sections and keys left out take their defaults.

    Raises:
        UserError: an unknown key, a wrong type, a value out of bounds.
    """
    top = {f.name for f in settable(RunConfig)}
    for given in config:
        if given not in top and given not in SECTIONS:
            raise UserError(f"{given}: unknown key in the configuration{nearest(given, [*top, *SECTIONS])}")
    env = section_of(config, EnvConfig)
    run = RunConfig(**{k: v for k, v in config.items() if k in top}, env_name=env.id)
    run.logdir, run.data_dir = normal_path(run.logdir, "logdir"), normal_path(run.data_dir, "data_dir")
    loaded = types.SimpleNamespace(run=run, **run.to_dict())
    for name, cls in SECTIONS.items():
        setattr(loaded, name, section_of(config, cls, env))
    if loaded.rollouts.agent:
        loaded.rollouts.agent = normal_path(loaded.rollouts.agent, "rollouts.agent")
    check_together(loaded)
    return loaded


def section_of(config: dict, cls: type[Section], env: EnvConfig | None = None) -> Any:
    """A section from the part of the configuration that is named like it; its defaults suit the environment."""
    name, values = cls.section, config.get(cls.section, {})
    if not isinstance(values, dict):
        raise UserError(f"{name}: expected a section with keys, found {values!r}")
    fields = {config_key(f): f for f in dataclasses.fields(cls)}
    for given in values:
        if given not in fields:
            raise UserError(f"{name}.{given}: unknown key{nearest(given, fields)}")
        if fields[given].metadata["home"]:
            raise UserError(f"{name}.{given}: not set here, it comes from {fields[given].metadata['home']}")
    of_env = {"env_name": env.id, "env_kwargs": env.kwargs} if env else {}
    of_env = {name: value for name, value in of_env.items() if name in fields}
    return cls(**{fields[given].name: value for given, value in values.items()}, **of_env)


CODED = "base64//"  # begins a value that is written in base64


def encode_config_argument(entry: str) -> str:
    """An entry of --config as it may be passed on to the jobs of a cluster.

    Snakemake quotes it for their shell as Python would, which breaks backslashes and single quotes.
    """
    name, _, text = entry.partition("=")
    if repr(entry) == f"'{entry}'":
        return entry
    return f"{name}={CODED}{base64.b64encode(text.encode()).decode()}"


def parse_config_arguments(entries: list[str]) -> dict:
    """What `--config key=value ...` says, each value read as YAML, quotes and types included.

    Snakemake's own reading loses the quotes and leaves nested values as text.

    Raises:
        UserError: a value that begins as YAML does, with a brace, bracket or quote, is none.
    """
    import yaml  # which comes with Snakemake; programs have no need of it

    values: dict = {}
    for entry in entries:
        name, _, text = entry.partition("=")
        if text.startswith(CODED):
            text = base64.b64decode(text.removeprefix(CODED)).decode()
        try:
            value = yaml.safe_load(text)
        except (yaml.YAMLError, ValueError) as error:  # a ValueError: the 30th of February
            if text.lstrip()[:1] in ("{", "[", '"', "'"):
                problem = str(getattr(error, "problem", None) or error)
                raise UserError(f"{name}: expected YAML, found {text!r} ({problem}); quote text in it") from None
            value = text
        merge_config(values, {name: value})
    return values


def merge_config(config: dict, values: dict) -> None:
    """Overwrite the configuration with these values; of a mapping only the keys that are given."""
    for name, value in values.items():
        if isinstance(value, dict) and isinstance(config.get(name), dict):
            merge_config(config[name], value)
        else:
            config[name] = value


def check_together(loaded: types.SimpleNamespace) -> None:
    """What no key can check alone."""
    there, longest = loaded.rollouts.num_rollouts, loaded.rollouts.seq_len
    for name in ("vae", "mdrnn"):
        held_out = getattr(loaded, name).num_test_files
        if held_out >= there:
            raise UserError(f"{name}.num_test_files: expected fewer than the {there} rollouts, found {held_out}")
    if needs_agent(loaded.rollouts) and not loaded.rollouts.agent:
        raise UserError("rollouts.agent: expected the logdir of an earlier run, whose agent is to drive, found none")
    if needs_agent(loaded.rollouts) and Path(loaded.rollouts.agent).resolve() == Path(loaded.logdir).resolve():
        raise UserError(f"rollouts.agent: expected another run's logdir, found this run's own, {loaded.logdir}")
    if loaded.mdrnn.seq_len > longest:
        raise UserError(f"mdrnn.seq_len: expected at most rollouts.seq_len, {longest}, found {loaded.mdrnn.seq_len}")
    if loaded.mdrnn.cell == "gru" and "c" in loaded.ctrl.features:
        raise UserError("ctrl.features: expected z, h or zh, since a GRU (mdrnn.cell) has no c, found 'zhc'")
    if loaded.vae.model != "ConvVAE" and not all(loaded.vae.model.partition(":")):
        raise UserError(f"vae.model: expected ConvVAE or module:Class, found {loaded.vae.model!r}")
    check_size(loaded)
    if loaded.evaluate.shards > loaded.evaluate.num_episodes:
        raise UserError(
            f"evaluate.shards: expected at most evaluate.num_episodes, {loaded.evaluate.num_episodes}, "
            f"found {loaded.evaluate.shards}"
        )
    if not re.fullmatch(r"auto|cpu|cuda(:\d+)?|mps", loaded.device):
        raise UserError(f"device: expected auto, cpu, cuda or cuda:N, found {loaded.device!r}")


def check_size(loaded: types.SimpleNamespace) -> None:
    """Whether the built-in V takes the frames' size: its layers halve it until a few pixels are left."""
    if loaded.vae.model != "ConvVAE":
        return
    step, least = (16, 64) if min(loaded.env.height, loaded.env.width) >= 64 else (8, 32)
    for name in ("height", "width"):
        size = getattr(loaded.env, name)
        if size < least or size % step:
            raise UserError(
                f"env.{name}: expected 32, 40, 48 or 56, or, both sides, 64, 80, 96, 112, 128, ... for ConvVAE, "
                f"found {size}"
            )


def agent_network(logdir: str) -> str | None:
    """The network of an earlier run's V, as its vae/best.json has it; None if that does not say."""
    try:
        return json.loads(Path(logdir, "vae/best.json").read_text(encoding="utf-8")).get("model")
    except (OSError, ValueError, AttributeError):
        return None
