"""Checks before any training: whether C's settings suit the environment's actions and the machine's memory.

The program that collects rollouts is the first to make the environment, so it checks C's settings before it collects. A
dry run checks them where earlier rollouts of the same environment have recorded its actions.
Importing this module must stay cheap (no torch, no numpy): every dry run does it.
"""

import argparse
import dataclasses
import hashlib
import json
import os
import resource
import types
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path, PurePosixPath
from typing import Any

from worldmodels.runtime.errors import UserError
from worldmodels.runtime.fingerprint import modules_fingerprint
from worldmodels.runtime.flags import role_flags
from worldmodels.runtime.settings import Section

# The most matrices of N x N float64 that pycma holds, while it decomposes the covariance matrix of N parameters. With
# pycma 4.5.0 and N from 1,200 to 1,800, 7.1 to 7.4 were measured.
MATRICES = 7.5


@dataclass
class Actions:
    """An action space, as far as C's settings must suit it.

    Attributes:
        text: the space in words.
        size: the number of C's outputs for an action.
        continuous: whether the actions are continuous.
        bounded: for each number of a continuous action, whether it has finite bounds; else empty.
    """

    text: str
    size: int
    continuous: bool
    bounded: list[bool]


def check_squash(names: list[str], actions: Actions) -> None:
    """Raise UserError if ctrl.squash does not suit the actions."""
    if not actions.continuous:
        if names:
            raise UserError(f"ctrl.squash: expected none, since the actions are {actions.text}, found {names}")
        return
    if len(names) not in (0, 1, actions.size):
        raise UserError(f"ctrl.squash: expected 1 or {actions.size} entries, one an action, found {len(names)}")
    each = names * actions.size if len(names) == 1 else names
    if not all(known for known, name in zip(actions.bounded, each) if name == "tanh"):
        raise UserError(f"ctrl.squash: expected finite bounds for tanh, found {actions.text}; use clip_tanh or clip")


def count_parameters(features: str, hidden: list[int], latent_size: int, hidden_size: int, action_size: int) -> int:
    """Return the number of C's parameters, see models.controller.Controller."""
    sizes = {"z": latent_size, "h": hidden_size, "c": hidden_size}
    widths = [sum(sizes[name] for name in features), *hidden, action_size]
    return sum((inputs + 1) * outputs for inputs, outputs in pairwise(widths))


def check_covariance(parameters: int, cma: dict, memory: float | None = None) -> None:
    """Check that the covariance matrix of CMA-ES fits into the memory.

    Args:
        parameters: the number of C's parameters.
        cma: the setting ctrl.cma.
        memory: the bytes that C's job will have, infinite if unknown. None: as many as this process may have.

    Raises:
        UserError: CMA-ES needs more memory than there is.
    """
    needed = MATRICES * 8 * parameters**2
    if cma.get("CMA_diagonal") is True:
        return
    where = "this machine has" if memory is None else "C's job has (mem_mb of the rule that trains C)"
    memory = memory_limit() if memory is None else memory
    if needed > memory:
        raise UserError(
            f"ctrl.cma: expected {{CMA_diagonal: true}}, since the covariance matrix of C's {parameters} parameters "
            f"takes {needed / 1e9:.3g} GB of memory and {where} {memory / 1e9:.3g} GB, found a full matrix"
        )


def memory_limit() -> int:
    """Return the bytes that this process may have: the machine's memory, or the limit of a control group or of ulimit.

    The memory that is free at the moment does not count: a dry run would then give another answer each time.
    """
    limits = [os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"), *control_group_limits()]
    soft, _ = resource.getrlimit(resource.RLIMIT_AS)
    return min(limits if soft == resource.RLIM_INFINITY else [*limits, soft])


def control_group_limits(groups: Path = Path("/proc/self/cgroup"), root: Path = Path("/sys/fs/cgroup")) -> list[int]:
    """Return the memory limits of this process's control groups and of the groups around them, bytes.

    Args:
        groups: lists the control groups of versions 1 and 2.
        root: where the control groups are mounted.
    """
    limits = []
    try:
        lines = groups.read_text(encoding="utf-8").splitlines()
    except OSError:  # not Linux
        return []
    for line in lines:
        _, controllers, path = line.split(":", 2)
        if controllers and "memory" not in controllers.split(","):
            continue
        top, name = (root / "memory", "memory.limit_in_bytes") if controllers else (root, "memory.max")
        inside = PurePosixPath(path.lstrip("/"))
        for folder in [inside, *inside.parents]:
            try:
                limits.append(int((top / folder / name).read_text(encoding="utf-8")))
            except (OSError, ValueError):  # not visible from here, or "max"
                continue
    return limits


def controller_settings(loaded: types.SimpleNamespace, memory: float | None = None) -> dict:
    """Return C's settings that `check_controller` needs.

    Args:
        loaded: the configuration.
        memory: the bytes that C's job will have; see check_covariance.
    """
    ctrl = loaded.ctrl
    return {
        "squash": ctrl.squash,
        "features": ctrl.features,
        "hidden": ctrl.hidden,
        "latent_size": loaded.vae.latent_size,
        "hidden_size": loaded.mdrnn.hidden_size,
        "cma": ctrl.cma,
        "memory": memory,
    }


def check_controller(controller: dict, actions: Actions) -> None:
    """Raise UserError if C's settings (controller_settings) suit neither the actions nor the memory."""
    check_squash(controller["squash"], actions)
    shape = (controller[key] for key in ("features", "hidden", "latent_size", "hidden_size"))
    check_covariance(count_parameters(*shape, actions.size), controller["cma"], controller["memory"])


def add_controller_flag(parser: argparse.ArgumentParser) -> None:
    """Add the flag that carries C's settings to the program that collects rollouts."""
    parser.add_argument(
        "--controller", default="", metavar="JSON", help="C's settings, for a check against the environment's actions."
    )


def check_controller_flag(text: str, actions: Actions) -> None:
    """Check C's settings in the flag, if it has a value; see `check_controller`."""
    if not text:
        return
    try:
        check_controller(json.loads(text), actions)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise UserError(f"--controller: expected JSON as the workflow writes it, found {text!r} ({error!r})") from None


def recorded_actions(actions: Actions, env: Section) -> dict:
    """Return what a shard's summary keeps of the actions, with a stamp of their environment."""
    return {**dataclasses.asdict(actions), "env": env_stamp(env)}


def read_actions(recorded: dict) -> Actions:
    """Return the actions in what recorded_actions has returned."""
    return Actions(*(recorded[f.name] for f in dataclasses.fields(Actions)))


def env_stamp(env: Any) -> str:
    """Return 16 hexadecimal digits that change with the environment's configuration and with the user's code of it."""
    text = f"{role_flags(env)}\n{modules_fingerprint(*env.modules.values())}"
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def check_recorded_actions(summary: str | Path, controller: dict, env: Section) -> None:
    """Check C's settings against the actions in a shard's summary, if it exists and has this environment's stamp."""
    try:
        recorded = json.loads(Path(summary).read_text(encoding="utf-8"))["action_space"]
        actions, recorded_stamp = read_actions(recorded), recorded["env"]
    except (OSError, ValueError, KeyError, TypeError):  # no summary yet, or an old one: the job of the rollouts checks
        return
    if recorded_stamp == env_stamp(env):
        check_controller(controller, actions)
