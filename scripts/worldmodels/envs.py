"""Environments as lanes: a fixed set of seeded episodes that are stepped together, as one batch.

Two backends give the same interface: Gymnasium's own environments, one after another in this process, and
EnvPool's C++ reimplementations. A lane is one episode; only the lanes that are still alive are stepped.
"""

import importlib.util
import json
import warnings
from typing import Any

import gymnasium as gym
import numpy as np
import torch
import torch.nn.functional as F

from worldmodels.config import EnvConfig
from worldmodels.settings import UserError


def resize_frames(frames: np.ndarray, height: int, width: int) -> np.ndarray:
    """Frames at V's size, anti-aliased (bilinear with a support that grows with the reduction, as Pillow's).

    Args:
        frames: (N, H, W, C) uint8.

    Returns:
        (N, height, width, C) uint8, contiguous.
    """
    if frames.shape[1:3] == (height, width):
        return np.ascontiguousarray(frames)
    images = torch.from_numpy(np.ascontiguousarray(frames)).permute(0, 3, 1, 2)
    images = F.interpolate(images, size=(height, width), mode="bilinear", antialias=True)
    return np.ascontiguousarray(images.permute(0, 2, 3, 1).numpy())


def choose_backend(env: EnvConfig) -> str:
    """`envpool` or `gymnasium`, as the configuration and this machine have it.

    Raises:
        UserError: EnvPool is asked for but is not installed, or does not know the environment.
    """
    if env.backend == "gymnasium":
        return "gymnasium"
    if importlib.util.find_spec("envpool") is None:
        if env.backend == "envpool":
            raise UserError(
                "env.backend: expected EnvPool to be installed (pip install -r requirements-envpool.txt), found none"
            )
        return "gymnasium"
    import envpool

    known = env.id in envpool.list_all_envs() and not env.kwargs
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        known = known and is_image(envpool.make_spec(env.id).observation_space)
    if env.backend == "envpool" and not known:
        what = f"{env.id} with kwargs" if env.kwargs else env.id
        raise UserError(f"env.backend: expected an environment that EnvPool knows and shows as images, found {what}")
    return "envpool" if known else "gymnasium"


def make_gymnasium(env: EnvConfig, **kwargs: Any) -> gym.Env:
    """The environment itself; one without image observations is made to render its frames."""
    try:
        made = gym.make(env.id, **env.kwargs, **kwargs)
        if not is_image(made.observation_space) and made.render_mode != "rgb_array":
            made.close()
            made = gym.make(env.id, **{**env.kwargs, **kwargs, "render_mode": "rgb_array"})
    except (gym.error.Error, TypeError, ImportError) as error:
        raise UserError(
            f"env.id: expected an environment that can be made, found {env.id!r} ({str(error).splitlines()[0]})"
        ) from None
    if not isinstance(made.action_space, gym.spaces.Box) or len(made.action_space.shape) != 1:
        raise UserError(f"env.id: expected a flat Box action space, found {made.action_space} in {env.id}")
    return made


def is_image(space: gym.Space) -> bool:
    return isinstance(space, gym.spaces.Box) and space.dtype == np.uint8 and len(space.shape) == 3


def action_space(env: EnvConfig) -> gym.spaces.Box:
    """The environment's action space: Box of shape (A,)."""
    made = make_gymnasium(env)
    made.close()
    return made.action_space  # type: ignore[return-value]


class GymnasiumLanes:
    """Episodes in gymnasium, stepped one after another."""

    def __init__(self, env: EnvConfig, seeds: list[int]) -> None:
        self.config, self.seeds = env, seeds
        self.envs = [make_gymnasium(env) for _ in seeds]
        self.from_observation = is_image(self.envs[0].observation_space)

    def frame(self, lane: int, observation: np.ndarray) -> np.ndarray:
        return observation if self.from_observation else self.envs[lane].render()  # type: ignore[return-value]

    def reset(self) -> np.ndarray:
        frames = [self.frame(i, env.reset(seed=seed)[0]) for i, (env, seed) in enumerate(zip(self.envs, self.seeds))]
        return resize_frames(np.stack(frames), self.config.height, self.config.width)

    def step(self, lanes: np.ndarray, actions: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        frames, rewards, terminated, truncated = [], [], [], []
        for lane, action in zip(lanes, actions):
            observation, reward, ended, cut, _ = self.envs[lane].step(action)
            frames.append(self.frame(lane, observation))
            rewards.append(reward)
            terminated.append(ended)
            truncated.append(cut)
        frames = resize_frames(np.stack(frames), self.config.height, self.config.width)
        return frames, np.array(rewards, np.float32), np.array(terminated, bool), np.array(truncated, bool)

    def close(self) -> None:
        for env in self.envs:
            env.close()


class EnvPoolLanes:
    """Episodes in EnvPool, stepped in C++ by `threads` threads; a seed gives the same episode in any lane."""

    def __init__(self, env: EnvConfig, seeds: list[int], threads: int = 1) -> None:
        import envpool

        self.config = env
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # its action bounds lose float64 precision, harmlessly
            self.pool = envpool.make_gymnasium(env.id, num_envs=len(seeds), num_threads=threads, env_seed=list(seeds))

    def reset(self) -> np.ndarray:
        return resize_frames(self.pool.reset()[0], self.config.height, self.config.width)

    def step(self, lanes: np.ndarray, actions: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        frames, rewards, terminated, truncated, info = self.pool.step(actions, lanes.astype(np.int32))
        order = np.argsort(info["env_id"])  # lanes are ascending, EnvPool may answer in any order
        frames = resize_frames(frames[order], self.config.height, self.config.width)
        return frames, rewards[order], terminated[order], truncated[order]

    def close(self) -> None:
        self.pool.close()


def make_lanes(env: EnvConfig, backend: str, seeds: list[int], threads: int = 1) -> GymnasiumLanes | EnvPoolLanes:
    """Lanes that play one episode a seed.

    `reset()` gives the first frames (N, height, width, C) uint8; `step(lanes, actions)` takes the ascending lane
    numbers (k,) and actions (k, A) float32 in the environment's bounds and gives frames (k, height, width, C),
    rewards (k,) float32, terminated (k,) and truncated (k,) bool. An ended lane must not be stepped again.
    """
    return EnvPoolLanes(env, seeds, threads) if backend == "envpool" else GymnasiumLanes(env, seeds)


def versions(backend: str) -> dict[str, str]:
    """The versions that the frames depend on."""
    from importlib.metadata import version

    return {name: version(name) for name in ("gymnasium", *(["envpool"] if backend == "envpool" else []))}


def describe(env: EnvConfig) -> str:
    return f"{env.id}{json.dumps(env.kwargs) if env.kwargs else ''}"
