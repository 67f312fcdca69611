"""Whether an environment goes the same way after a reset as when it is new, whatever it played before.

Gymnasium asks for it, but some keep something. MinAtar keeps its last action, which may be repeated in the first step
of the next episode: an episode would depend on those that its worker played before. So each episode gets a new one.
"""

import hashlib
import random
from collections import deque
from collections.abc import Mapping
from itertools import islice
from types import ModuleType, NoneType
from typing import TYPE_CHECKING, Any

import gymnasium as gym
import numpy as np
import torch

if TYPE_CHECKING:
    from worldmodels.envs.instances import Instance


SEEDS = 11, 12, 13  # of the episodes that are tried
STEPS = 8  # of each
MOST = 20_000  # parts that are looked at
PLAIN = (NoneType, bool, int, float, complex, str, bytes, np.generic)


def is_built_on_box2d(env: gym.Env) -> bool:
    """Whether the environment keeps a Box2D world, whose order of contacts outlives a reset and cannot be looked at."""
    parts = getattr(env.unwrapped, "__dict__", {}).values()
    return any(type(part).__module__.partition(".")[0] == "Box2D" for part in parts)


def find_memory(instance: "Instance", actions: list) -> str:
    """What a new environment keeps from one episode to the next, in words; nothing if it keeps nothing.

    Plays a short episode three times, when the environment is new and after two others. What Python can see of the
    environment after the last two resets has to be the same, and what the three episodes give, too. It is not asked to
    look as when it was new, since many environments make a part when they first need it.

    Args:
        instance: new, and without a Box2D world.
        actions: of the environment, STEPS of them.
    """
    _, new = episode(instance, SEEDS[0], actions)
    episode(instance, SEEDS[1], actions[: STEPS // 2])
    before, second = episode(instance, SEEDS[0], actions)
    episode(instance, SEEDS[2], actions[::-1][: STEPS - 1])
    after, third = episode(instance, SEEDS[0], actions)
    for path in before | after:
        if before.get(path) != after.get(path):
            return path
    return "" if new == second == third else "something, since the same seed and actions give another episode"


def episode(instance: "Instance", seed: int, actions: list) -> tuple[dict[str, str], list[tuple]]:
    """The environment's parts after the reset, and what each step gave."""
    results = [(instance.reset(seed).tobytes(),)]
    parts = snapshot(instance.env)
    for action in actions:
        frame, *others = instance.step(action)
        results.append((frame.tobytes(), *others))
        if any(others[1:]):
            break
    return parts, results


def snapshot(root: Any) -> dict[str, str]:
    """The plain values that make up an object, by their paths; of what Python cannot look into, the type."""
    parts: dict[str, str] = {}
    seen: dict[int, Any] = {}  # the objects, so that none of them ends and leaves its number to another
    queue = deque([(root, type(root).__name__)])
    while queue and len(parts) < MOST:
        value, path = queue.popleft()
        try:
            parts[path], inside = look(value)
        except Exception:  # of code that is not ours, such as a __repr__
            parts[path], inside = type(value).__qualname__, []
        if inside and id(value) not in seen:
            seen[id(value)] = value
            queue += [(part, f"{path}{name}") for name, part in inside]
    return parts


def look(value: Any) -> tuple[str, list[tuple[str, Any]]]:
    """A plain value as text, or the type of an object, and the parts of a container or of an object by their names."""
    kind = type(value).__qualname__
    if isinstance(value, PLAIN):
        return repr(value), []
    if isinstance(value, torch.Tensor):
        value = value.detach().cpu().reshape(-1).view(torch.uint8).numpy()  # numpy has no bfloat16
    if isinstance(value, np.ndarray) and not value.dtype.hasobject:
        return f"{value.shape} {hashlib.blake2b(value.tobytes()).hexdigest()}", []
    if isinstance(value, np.random.Generator):
        return repr(value.bit_generator.state), []
    if isinstance(value, random.Random):
        return repr(value.getstate()), []
    if isinstance(value, (type, ModuleType, gym.Space)) or callable(value):
        return kind, []  # a space keeps a generator of its own, for sample() alone
    if isinstance(value, (set, frozenset)):
        return repr(sorted(repr(part) for part in value)), []
    if isinstance(value, Mapping):
        return kind, [(f"[{key!r}]", part) for key, part in islice(value.items(), MOST)]
    if isinstance(value, (list, tuple, deque)):
        return kind, [(f"[{number}]", part) for number, part in enumerate(islice(value, MOST))]
    return kind, [(f".{name}", part) for name, part in getattr(value, "__dict__", {}).items()]
