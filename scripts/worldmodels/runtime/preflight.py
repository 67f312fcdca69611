"""What can be told before any training: whether C's settings suit the environment's actions and the machine's memory.

The rollouts' program, the first to make the environment, checks them before it collects. A dry run checks them where
earlier rollouts of the same environment have recorded its actions.
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

# Matrices of N x N float64 that pycma holds at its peak, while it decomposes the covariance matrix of N parameters:
# 7.1 to 7.4 measured with pycma 4.5.0 and N from 1,200 to 1,800.
MATRICES = 7.5


@dataclass
class Actions:
    """What C's settings must suit: an action space as text, and as vectors of `size` numbers.

    bounded: which of the numbers have finite bounds; empty where the actions are not continuous.
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
    """The number of C's parameters, see controller.Controller."""
    sizes = {"z": latent_size, "h": hidden_size, "c": hidden_size}
    widths = [sum(sizes[name] for name in features), *hidden, action_size]
    return sum((inputs + 1) * outputs for inputs, outputs in pairwise(widths))


def check_covariance(parameters: int, cma: dict, memory: float | None = None) -> None:
    """Refuse a covariance matrix that does not fit.

    Args:
        parameters: of C.
        cma: ctrl.cma.
        memory: bytes that C's job will have, infinite if unknown; None: what this process may have.

    Raises:
        UserError: CMA-ES needs more memory than there is.
    """
    needed = MATRICES * 8 * parameters**2
    if cma.get("CMA_diagonal") is True:
        return
    where = "this machine has" if memory is None else "C's job has (mem_mb of the rule train_controller)"
    memory = memory_limit() if memory is None else memory
    if needed > memory:
        raise UserError(
            f"ctrl.cma: expected {{CMA_diagonal: true}}, since the covariance matrix of C's {parameters} parameters "
            f"takes {needed / 1e9:.3g} GB of memory and {where} {memory / 1e9:.3g} GB, found a full matrix"
        )


def memory_limit() -> int:
    """Bytes that this process may have: the machine's memory, or less where a control group or ulimit says so.

    What is free at the moment is no limit: a dry run would then give another answer every time.
    """
    limits = [os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"), *control_group_limits()]
    soft, _ = resource.getrlimit(resource.RLIMIT_AS)
    return min(limits if soft == resource.RLIM_INFINITY else [*limits, soft])


def control_group_limits(groups: Path = Path("/proc/self/cgroup"), root: Path = Path("/sys/fs/cgroup")) -> list[int]:
    """The memory limits of this process's control groups and of those around them, bytes; versions 1 and 2."""
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
    """Return what `check_controller` needs: C's settings, and the bytes of memory that C's job will have."""
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
    """The flag that carries C's settings to the rollouts' program."""
    parser.add_argument(
        "--controller", default="", metavar="JSON", help="C's settings, to be checked against the environment's actions"
    )


def check_controller_flag(text: str, actions: Actions) -> None:
    """`check_controller` for the value of the flag; without a value there is nothing to check."""
    if not text:
        return
    try:
        check_controller(json.loads(text), actions)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise UserError(f"--controller: expected JSON as the workflow writes it, found {text!r} ({error!r})") from None


def recorded_actions(actions: Actions, env: Section) -> dict:
    """What a shard's summary keeps of the actions: with a stamp of the environment that has them."""
    return {**dataclasses.asdict(actions), "env": env_stamp(env)}


def env_stamp(env: Any) -> str:
    """16 hexadecimal digits that change with the environment's configuration and with the user's code of it."""
    text = f"{role_flags(env)}\n{modules_fingerprint(*env.modules.values())}"
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def check_recorded_actions(summary: str | Path, controller: dict, env: Section) -> None:
    """`check_controller` with the actions in a shard's summary, if there is one and it is of this very environment."""
    try:
        recorded = json.loads(Path(summary).read_text(encoding="utf-8"))["action_space"]
        actions = Actions(*(recorded[f.name] for f in dataclasses.fields(Actions)))
        of_env = recorded["env"]
    except (OSError, ValueError, KeyError, TypeError):  # none yet, or made otherwise: the rollouts' job will check
        return
    if of_env == env_stamp(env):
        check_controller(controller, actions)
