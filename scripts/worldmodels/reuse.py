"""Whether an environment goes the same way after a reset as when it is new, whatever it played before.

Gymnasium asks for it, but some keep something. MinAtar keeps its last action, which may be repeated in the first step
of the next episode: an episode would depend on those that its worker played before. So each episode gets a new one.
"""

import hashlib
import random
from collections import deque
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import gymnasium as gym
import numpy as np
import torch

if TYPE_CHECKING:
    from worldmodels.instances import Instance

SEEDS = 11, 12, 13  # of the episodes that are tried
STEPS = 8  # of each
DEEPEST, MOST = 12, 20_000  # of nested parts that are looked at


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
        actions: of the environment, STEPS of them.
    """
    if is_built_on_box2d(instance.env):
        return "the order of contacts in its Box2D world"
    _, new = episode(instance, SEEDS[0], actions)
    episode(instance, SEEDS[1], actions[: STEPS // 2])
    before, second = episode(instance, SEEDS[0], actions)
    episode(instance, SEEDS[2], actions[::-1][: STEPS - 1])
    after, third = episode(instance, SEEDS[0], actions)
    for path in before | after:
        if before.get(path) != after.get(path):
            return path
    return "" if new == second == third else "something, since the same seed and actions give another episode"


def episode(instance: "Instance", seed: int, actions: list) -> tuple[dict[str, Any], list[tuple]]:
    """The environment's parts after the reset, and what each step gave."""
    results = [(instance.reset(seed).tobytes(),)]
    parts = snapshot(instance.env)
    for action in actions:
        frame, *others = instance.step(action)
        results.append((frame.tobytes(), *others))
        if any(others[1:]):
            break
    return parts, results


def snapshot(root: Any) -> dict[str, Any]:
    """The plain values that make up an object, by their paths; of what Python cannot look into, the type."""
    parts: dict[str, Any] = {}
    seen: set[int] = set()
    queue = deque([(root, type(root).__name__, 0)])
    while queue and len(parts) < MOST:
        value, path, depth = queue.popleft()
        if value is None or isinstance(value, (bool, int, float, complex, str, bytes, np.generic)):
            parts[path] = repr(value)
        elif isinstance(value, torch.Tensor) or (isinstance(value, np.ndarray) and not value.dtype.hasobject):
            array = np.asarray(value.detach().cpu() if isinstance(value, torch.Tensor) else value)
            parts[path] = array.shape, hashlib.blake2b(array.tobytes()).digest()
        elif isinstance(value, np.random.Generator):
            parts[path] = repr(value.bit_generator.state)
        elif isinstance(value, random.Random):
            parts[path] = value.getstate()
        elif isinstance(value, (type, type(np), gym.Space)) or callable(value) or depth > DEEPEST or id(value) in seen:
            continue  # a space keeps a generator of its own, for sample() alone
        else:
            seen.add(id(value))
            parts[path] = type(value).__qualname__
            queue += [(part, f"{path}{name}", depth + 1) for name, part in inner(value)]
    return parts


def inner(value: Any) -> list[tuple[str, Any]]:
    """The parts of a container or of an object, with what leads there."""
    if isinstance(value, Mapping):
        return [(f"[{key!r}]", part) for key, part in list(value.items())]
    if isinstance(value, (list, tuple, deque)):
        return [(f"[{number}]", part) for number, part in enumerate(list(value))]
    if isinstance(value, (set, frozenset)):
        return [("{}", sorted(map(repr, value)))]
    return [(f".{name}", part) for name, part in list(getattr(value, "__dict__", {}).items())]
