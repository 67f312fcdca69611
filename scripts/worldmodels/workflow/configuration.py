"""The configuration as the Snakefile needs it: read, checked, and varied."""

import copy
import sys
import types
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from worldmodels.runtime.config import user_network_modules
from worldmodels.runtime.config_arguments import merge_config
from worldmodels.runtime.digests import file_digest
from worldmodels.runtime.errors import UserError
from worldmodels.runtime.loading import agent_network, load_config
from worldmodels.runtime.packages import STAGES, find_package, is_checkpoint
from worldmodels.runtime.paths import refit_file
from worldmodels.runtime.user_files import has_source
from worldmodels.workflow import snakemake_internals as internals
from worldmodels.workflow import temperatures
from worldmodels.workflow.installed_agent import adopt_settings, agent_digest, read_agent
from worldmodels.workflow.iterations import check_iterations, first_rollouts


@contextmanager
def one_line_errors() -> Iterator[None]:
    """End Snakemake with one line where the configuration is wrong. It prints exceptions with their traceback."""
    try:
        yield
    except UserError as error:
        sys.exit(f"config: {error}")


def load(workflow: Any, config: dict, is_module: bool) -> tuple[types.SimpleNamespace, list[int], list[float], int]:
    """Check the configuration.

    Args:
        workflow: Snakemake's object of this name.
        config: Snakemake's object of this name. The values of the command line are replaced by what YAML reads there.
        is_module: whether `config` is inherited from the main workflow. Then its values are not read again.

    Returns:
        - The checked configuration (runtime.loading.load_config). Where there are iterations, it is iteration 0's. It
          also has the agent that the run takes over, `.agent`, and its `.agent_digest`. Both are "" for none.
        - The seeds of a sweep, [] for none.
        - The temperatures of the dreams in which `snakemake temperatures` trains C.
        - The number of iterations, 0 for none.
    """
    with one_line_errors():
        if not is_module:
            values = internals.read_configuration(workflow)
            config.clear()
            config.update(values)
        seeds = config.pop("seeds", [])
        if not isinstance(seeds, list) or not all(type(seed) is int and seed >= 0 for seed in seeds):
            raise UserError(f"seeds: expected a list of numbers of at least 0, found {seeds!r}")
        iterations = check_iterations(config.pop("iterations", None))
        # A module inherits the key, so it stays in `config`.
        checked = temperatures.read_temperatures(config.get("temperatures", temperatures.PAPER))
        values = changed(config, {"rollouts": first_rollouts(config)}) if iterations else dict(config)
        values.pop("temperatures", None)
        agent = read_agent(config.pop("agent", values.pop("agent", "")))
        if agent and (seeds or iterations):
            raise UserError("agent: expected none beside seeds or iterations, which train agents of their own")
        return load_with_agent(values, agent), seeds, checked, iterations


def load_with_agent(values: dict, agent: str) -> types.SimpleNamespace:
    """Return the checked configuration of a run, which may take over an agent, see installed_agent."""
    if not agent:
        loaded = load_config(values)
        loaded.agent = loaded.agent_digest = ""
        return loaded
    loaded = load_config(adopt_settings(values, agent))
    loaded.agent, loaded.agent_digest = agent, agent_digest(agent)
    if Path(agent).resolve() == Path(loaded.logdir).resolve():
        raise UserError(f"agent: expected another folder than this run's own logdir, found {agent}")
    if values.get("ctrl", {}).get("start"):
        loaded.ctrl.start = refit_file(loaded.logdir)
    return loaded


def changed(config: dict, changes: dict) -> dict:
    """Return a copy of a configuration with changes, which are as in config.yaml, only the keys that differ."""
    values = copy.deepcopy(config)
    merge_config(values, changes)
    return values


def inherit(config: dict, changes: dict) -> dict:
    """Return the configuration of a module: this workflow's with changes.

    Args:
        config: Snakemake's object of this name. It is not changed.
        changes: as in config.yaml, only the keys that differ.
    """
    return changed(config, {**changes, "inherited": True})


def check_sources(workflow: Any, modules: dict[str, str]) -> None:
    """End Snakemake where one of the user's modules has no source here, because nobody would notice an edit of it.

    Args:
        modules: key of the configuration -> module.
    """
    for key, module in modules.items():
        if has_source(module):
            continue
        if not internals.deploys_software(workflow):
            sys.exit(
                f"config: {key}: expected a module that is installed or in the working directory, "
                f"found no source of {module!r}"
            )
        # The programs' environment, such as conda's, may have it.
        print(
            f"config: {key}: no source of {module!r} is found here, so an edit of it makes nothing run again",
            file=sys.stderr,
        )


def agent_files(logdir: str) -> list[str]:
    """Return the paths of V, M and C in a run's folder, without their endings."""
    return [f"{logdir}/{stage}/best" for stage in STAGES]


def find_agent(workflow: Any, logdir: str) -> tuple[list[str], str, dict[str, str]]:
    """Return the files of the earlier run whose agent drives, and the user's own code that its V runs.

    Args:
        logdir: rollouts.agent.

    Returns:
        The paths of agent_files and "", or for a package no paths and its digest; and the module of V's network by key
        (empty for ConvVAE).
    """
    with one_line_errors():
        package, files, digest = find_package(logdir), agent_files(logdir), ""
        if package:
            files, digest = [], agent_digest(logdir)
        network = agent_network(logdir)
    for file in files:
        if not Path(f"{file}.tar").exists():
            sys.exit(f"config: rollouts.agent: expected the logdir of a finished run or a package, found no {file}.tar")
    if network is None:
        print(
            f"config: rollouts.agent: {logdir}/vae/best.json does not name V's network: "
            "if it is your own, collect again yourself after an edit of it",
            file=sys.stderr,
        )
    modules = user_network_modules(network or "ConvVAE")
    check_sources(workflow, modules)
    return files, digest, modules


def start_digest(start: str, key: str, name: str) -> str:
    """Return the digest of the checkpoint at which training starts, or "" if there is none.

    It ends Snakemake where there is no such checkpoint.

    Args:
        start: the checkpoint.
        key: ctrl.start, vae.start or mdrnn.start.
        name: C, V or M.
    """
    if not start:
        return ""
    with one_line_errors():
        if not is_checkpoint(start):
            raise UserError(
                f"{key}: expected a checkpoint of {name}, the logdir of a finished run or a package, found no {start}"
            )
        return f"sha256:{file_digest(start)}"
