"""Whether an environment can be reset and used again for another episode.

Gymnasium requires that a reset forgets the earlier episodes, but some environments keep something. MinAtar keeps its
last action, which may be repeated in the first step of the next episode. An episode would then depend on the episodes
that its worker has played before. Such environments are made anew for each episode.
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


SEEDS = 11, 12, 13  # of the trial episodes
STEPS = 8  # of each trial episode
MAX_VALUES = 20_000  # of an environment that are compared
PLAIN = (NoneType, bool, int, float, complex, str, bytes, np.generic)


def is_built_on_box2d(env: gym.Env) -> bool:
    """Return whether the environment has a Box2D world.

    The order of a world's contacts survives a reset, and Python cannot see it.
    """
    attributes = getattr(env.unwrapped, "__dict__", {}).values()
    return any(type(value).__module__.partition(".")[0] == "Box2D" for value in attributes)


def find_memory(instance: "Instance", actions: list) -> str:
    """Return what an environment keeps from one episode to the next.

    One short episode is played three times: in the new environment, and after each of two other episodes. The values
    that Python can see in the environment must be the same after the second and the third reset. The results of all
    three episodes must be the same. The values after the first reset are not compared, because many environments make
    a part of themselves only when they first need it.

    Args:
        instance: new, and without a Box2D world.
        actions: STEPS actions of the environment.

    Returns:
        The path of a value that differs, or a sentence; "" if nothing differs.
    """
    _, first_results = play_trial(instance, SEEDS[0], actions)
    play_trial(instance, SEEDS[1], actions[: STEPS // 2])
    second_values, second_results = play_trial(instance, SEEDS[0], actions)
    play_trial(instance, SEEDS[2], actions[::-1][: STEPS - 1])
    third_values, third_results = play_trial(instance, SEEDS[0], actions)
    for path in second_values | third_values:
        if second_values.get(path) != third_values.get(path):
            return path
    if first_results == second_results == third_results:
        return ""
    return "something, since the same seed and actions give another episode"


def play_trial(instance: "Instance", seed: int, actions: list) -> tuple[dict[str, str], list[tuple]]:
    """Play an episode with these actions, or until it ends.

    Returns:
        The environment's values after the reset, see `list_values`, and the results of the reset and of each step.
    """
    results: list[tuple] = [(instance.reset(seed).tobytes(),)]
    values = list_values(instance.env)
    for action in actions:
        frame, reward, terminated, truncated = instance.step(action)
        results.append((frame.tobytes(), reward, terminated, truncated))
        if terminated or truncated:
            break
    return values, results


def list_values(root: Any) -> dict[str, str]:
    """Return the plain values inside of an object as text, by their paths. Other objects are named by their type."""
    values: dict[str, str] = {}
    visited: dict[int, Any] = {}  # keeps the objects alive, so that their ids stay unique
    queue = deque([(root, type(root).__name__)])
    while queue and len(values) < MAX_VALUES:
        value, path = queue.popleft()
        try:
            values[path], members = describe_object(value)
        except Exception:  # raised by code that is not ours, such as a __repr__
            values[path], members = type(value).__qualname__, []
        if members and id(value) not in visited:
            visited[id(value)] = value
            queue += [(member, f"{path}{name}") for name, member in members]
    return values


def describe_object(value: Any) -> tuple[str, list[tuple[str, Any]]]:
    """Return a text for a value, and its members by their names if it is a container or an object.

    Returns:
        The text: a plain value itself, the digest of an array, the state of a random generator, or else the name of the
        type. Then pairs (name, member), such as ("[3]", ...) or (".speed", ...).
    """
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
        return kind, []  # a space's only changing value is its generator, which only sample() uses
    if isinstance(value, (set, frozenset)):
        return repr(sorted(repr(member) for member in value)), []
    if isinstance(value, Mapping):
        return kind, [(f"[{key!r}]", member) for key, member in islice(value.items(), MAX_VALUES)]
    if isinstance(value, (list, tuple, deque)):
        return kind, [(f"[{number}]", member) for number, member in enumerate(islice(value, MAX_VALUES))]
    return kind, [(f".{name}", member) for name, member in getattr(value, "__dict__", {}).items()]
