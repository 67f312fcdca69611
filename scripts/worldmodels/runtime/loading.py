"""The whole configuration, read and checked before any job starts.

Importing this module must stay cheap (no torch, no numpy): every dry run does it.
"""

import dataclasses
import json
import re
import types
from pathlib import Path
from typing import Any

from worldmodels.runtime.checks import suggestion
from worldmodels.runtime.config import (
    REFIT,
    SECTIONS,
    EnvConfig,
    EvaluateConfig,
    RolloutsConfig,
    RunConfig,
    needs_agent,
)
from worldmodels.runtime.errors import UserError
from worldmodels.runtime.packages import find_package
from worldmodels.runtime.paths import controller_file, normal_path, refit_file, start_file
from worldmodels.runtime.settings import Section, config_key, settable
from worldmodels.runtime.sources import find_source


def load_config(config: dict) -> types.SimpleNamespace:
    """Return the checked configuration.

    Args:
        config: what config.yaml holds. Sections and keys that are left out take their defaults.

    Returns:
        The keys of the top level, as `.seed` and `.logdir`, all of them as `.run`, and a dataclass for each section.

    Raises:
        UserError: an unknown key, a wrong type, a value out of bounds, or values that do not fit together.
    """
    top = {f.name for f in settable(RunConfig)}
    for key in config:
        if key not in top and key not in SECTIONS:
            raise UserError(f"{key}: unknown key in the configuration{suggestion(key, [*top, *SECTIONS])}")
    env = load_section(config, EnvConfig)
    run = RunConfig(**{key: value for key, value in config.items() if key in top}, env_name=env.id)
    run.logdir, run.data_dir = normal_path(run.logdir, "logdir"), normal_path(run.data_dir, "data_dir")
    loaded = types.SimpleNamespace(run=run, **run.to_dict())
    for name, cls in SECTIONS.items():
        setattr(loaded, name, load_section(config, cls, env))
    load_starts(loaded)
    if loaded.rollouts.source:
        loaded.rollouts.source = normal_path(loaded.rollouts.source, "rollouts.source")
        loaded.rollouts.num_rollouts = min(loaded.rollouts.num_rollouts, find_source(loaded.rollouts.source).episodes)
    if loaded.rollouts.agent:
        loaded.rollouts.agent = normal_path(loaded.rollouts.agent, "rollouts.agent")
    if loaded.ctrl.start == REFIT:
        loaded.ctrl.start = refit_file(loaded.logdir)
    elif loaded.ctrl.start:
        loaded.ctrl.start = normal_path(controller_file(loaded.ctrl.start), "ctrl.start")
    check_together(loaded)
    return loaded


def load_starts(loaded: types.SimpleNamespace) -> None:
    """Replace vae.start and mdrnn.start by the checkpoints that they name.

    Raises:
        UserError: V is neither to start somewhere nor to be trained, or starts at this run's own checkpoint.
    """
    for stage in ("vae", "mdrnn"):
        section = getattr(loaded, stage)
        if not section.start:
            continue
        section.start = normal_path(start_file(section.start, stage), f"{stage}.start")
        if Path(section.start).resolve() == Path(loaded.logdir, stage, "best.tar").resolve():
            raise UserError(f"{stage}.start: expected a checkpoint of another run, found this run's own")
    if not loaded.vae.start and not loaded.vae.num_epochs:
        raise UserError("vae.num_epochs: expected at least 1 without vae.start, found 0")


def load_section(config: dict, cls: type[Section], env: EnvConfig | None = None) -> Any:
    """Return a section of the configuration.

    Args:
        config: what config.yaml holds.
        cls: the section's class.
        env: the environment that the section's defaults suit.

    Raises:
        UserError: see load_config.
    """
    name, values = cls.section, config.get(cls.section, {})
    if not isinstance(values, dict):
        raise UserError(f"{name}: expected a section with keys, found {values!r}")
    fields = {config_key(f): f for f in dataclasses.fields(cls)}
    for key in values:
        if key not in fields:
            raise UserError(f"{name}.{key}: unknown key{suggestion(key, fields)}")
        if fields[key].metadata["home"]:
            raise UserError(f"{name}.{key}: not set here, it comes from {fields[key].metadata['home']}")
    env_values = {"env_name": env.id, "env_kwargs": env.kwargs} if env else {}
    env_values = {key: value for key, value in env_values.items() if key in fields}
    return cls(**{fields[key].name: value for key, value in values.items()}, **env_values)


def check_together(loaded: types.SimpleNamespace) -> None:
    """Raise UserError if values of several keys do not fit together."""
    check_held_out_files(loaded)
    check_agent(loaded.rollouts, loaded.logdir, loaded.env)
    check_start(loaded)
    check_mdrnn(loaded)
    check_dreams(loaded)
    check_vae(loaded)
    check_shards(loaded.evaluate)
    if not re.fullmatch(r"auto|cpu|cuda(:\d+)?|mps", loaded.device):
        raise UserError(f"device: expected auto, cpu, cuda or cuda:N, found {loaded.device!r}")


def check_held_out_files(loaded: types.SimpleNamespace) -> None:
    """Raise UserError if V or M would hold out all rollouts."""
    num_rollouts = loaded.rollouts.num_rollouts
    for name in ("vae", "mdrnn"):
        held_out = getattr(loaded, name).num_test_files
        if held_out >= num_rollouts:
            raise UserError(f"{name}.num_test_files: expected fewer than the {num_rollouts} rollouts, found {held_out}")


def check_agent(rollouts: RolloutsConfig, logdir: str, env: EnvConfig) -> None:
    """Raise UserError if an agent is to drive and rollouts.agent names no earlier run."""
    if not needs_agent(rollouts):
        return
    if rollouts.source:
        raise UserError(
            f"rollouts.source: expected none beside the policy agent, since others made its episodes, "
            f"found {rollouts.source}"
        )
    check_package(rollouts.agent, "rollouts.agent", env)
    if not rollouts.agent:
        raise UserError("rollouts.agent: expected the logdir of an earlier run, whose agent is to drive, found none")
    if Path(rollouts.agent).resolve() == Path(logdir).resolve():
        raise UserError(f"rollouts.agent: expected another run's logdir, found this run's own, {logdir}")


def check_package(path: str, key: str, env: EnvConfig) -> None:
    """Raise UserError if a package is of another environment, or damaged. Any other path passes.

    Args:
        path: of a package, or any other.
        key: of the configuration, for the message.
        env: the environment.
    """
    package = find_package(path) if path and not path.endswith(".tar") else None
    if package and package.config["env"]["id"] != env.id:
        raise UserError(
            f"{key}: expected a package for {env.id} (env.id), found one for {package.config['env']['id']}, {path}"
        )


def check_start(loaded: types.SimpleNamespace) -> None:
    """Raise UserError if C is to start at itself, or at the agent of rollouts in which none drives."""
    start, logdir = loaded.ctrl.start, loaded.logdir
    check_package(start.removesuffix("/ctrl/best.tar"), "ctrl.start", loaded.env)
    if start == refit_file(logdir) and not needs_agent(loaded.rollouts):
        raise UserError(
            "ctrl.start: expected rollouts in which an agent drives (rollouts.policy, rollouts.mixture) beside "
            f"{REFIT}, found none"
        )
    if start and Path(start).resolve() == Path(logdir, "ctrl/best.tar").resolve():
        raise UserError(f"ctrl.start: expected the C of another run, found this run's own, {start}")


def check_mdrnn(loaded: types.SimpleNamespace) -> None:
    """Raise UserError if M's sequences are longer than the episodes, or C wants a state that M does not have."""
    longest = loaded.rollouts.seq_len
    if loaded.mdrnn.seq_len > longest:
        raise UserError(f"mdrnn.seq_len: expected at most rollouts.seq_len, {longest}, found {loaded.mdrnn.seq_len}")
    if loaded.mdrnn.cell == "gru" and "c" in loaded.ctrl.features:
        raise UserError("ctrl.features: expected z, h or zh, since a GRU (mdrnn.cell) has no c, found 'zhc'")


def check_dreams(loaded: types.SimpleNamespace) -> None:
    """Raise UserError if C is to learn in the dreams of an M that predicts no reward."""
    if loaded.ctrl.world != "dream":
        return
    if not loaded.mdrnn.include_reward:
        raise UserError("mdrnn.include_reward: expected true, since C learns in M's dreams (ctrl.world), found false")


def check_vae(loaded: types.SimpleNamespace) -> None:
    """Raise UserError if vae.model names no network, or the built-in V does not take the size of the frames."""
    if loaded.vae.model == "ConvVAE":
        check_frame_size(loaded.env)
    elif not all(loaded.vae.model.partition(":")):
        raise UserError(f"vae.model: expected ConvVAE or module:Class, found {loaded.vae.model!r}")


def check_frame_size(env: EnvConfig) -> None:
    """Raise UserError if ConvVAE does not take the frames: its layers halve them until a few pixels are left."""
    step, least = (16, 64) if min(env.height, env.width) >= 64 else (8, 32)
    for name in ("height", "width"):
        size = getattr(env, name)
        if size < least or size % step:
            raise UserError(
                f"env.{name}: expected a multiple of {step}, at least {least}, for ConvVAE, "
                f"since {'both sides are 64 or more' if least == 64 else 'a side is less than 64'}, found {size}"
            )


def check_shards(evaluate: EvaluateConfig) -> None:
    """Raise UserError if the test has more shards than episodes."""
    if evaluate.shards > evaluate.num_episodes:
        raise UserError(
            f"evaluate.shards: expected at most evaluate.num_episodes, {evaluate.num_episodes}, found {evaluate.shards}"
        )


def agent_network(logdir: str) -> str | None:
    """Return the network of V as an earlier run's vae/best.json or a package names it, or None if that names none."""
    if package := find_package(logdir):
        return package.config["models"]["vae"]["config"]["model"]
    try:
        return json.loads(Path(logdir, "vae/best.json").read_text(encoding="utf-8")).get("model")
    except (OSError, ValueError, AttributeError):
        return None
