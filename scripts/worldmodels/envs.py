"""Environments as lanes: a fixed set of seeded episodes that are stepped together, as one batch.

Two backends give the same interface: Gymnasium's own environments, one after another in this process, and
EnvPool's C++ reimplementations. A lane is one episode; only the lanes that are still alive are stepped.
"""

import importlib.util
import json
import sys
import warnings
from typing import Any

import gymnasium as gym
import numpy as np
import torch
import torch.nn.functional as F

from worldmodels import users
from worldmodels.actions import ActionCodec
from worldmodels.config import EnvConfig
from worldmodels.settings import UserError


def view(frames: np.ndarray, env: EnvConfig) -> np.ndarray:
    """Frames (N, H, W, C) or, grey ones, (N, H, W), uint8, as V sees them: (N, height, width, 3 or 1)."""
    if frames.ndim == 3:
        frames = frames[..., None]
    if env.grey and frames.shape[-1] == 3:
        frames = np.rint(frames @ np.array([0.299, 0.587, 0.114], np.float32)).astype(np.uint8)[..., None]  # BT.601
    return resize_frames(frames, env.height, env.width)


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
    """The environment itself; one without image observations is made to render its frames.

    Raises:
        UserError: it cannot be made, shows no pictures, has a kind of actions that is not known, or never ends.
    """
    for key, module in env.modules.items():
        try:
            users.load(module)
        except ImportError as error:
            raise UserError(f"{key}: expected a module to import, found {module!r} ({error})") from None
    if env.max_episode_steps:
        kwargs["max_episode_steps"] = env.max_episode_steps
    before = set(sys.modules)
    try:
        made = gym.make(env.id, **{**env.kwargs, **kwargs})
        if not is_image(made.observation_space) and made.render_mode != "rgb_array":
            made.close()
            made = gym.make(env.id, **{**env.kwargs, **kwargs, "render_mode": "rgb_array"})
    except (gym.error.Error, TypeError, ImportError) as error:
        raise UserError(
            f"env.id: expected an environment that can be made, found {env.id!r} ({str(error).splitlines()[0]})"
        ) from None
    if not is_image(made.observation_space) and "rgb_array" not in made.metadata.get("render_modes", []):
        raise UserError(f"env.id: expected image observations or the render mode rgb_array, found neither in {env.id}")
    if made.spec is None or made.spec.max_episode_steps is None:
        raise UserError(f"env.max_episode_steps: expected a number, since {env.id} is registered without, found 0")
    ActionCodec(made.action_space)
    users.report_uncounted({cls.__module__ for cls in type(made.unwrapped).__mro__} | set(sys.modules) - before)
    return made


def is_image(space: gym.Space) -> bool:
    """Whether observations are pictures: uint8, shaped (H, W, 3), (H, W, 1) or (H, W)."""
    if not isinstance(space, gym.spaces.Box) or space.dtype != np.uint8:
        return False
    return len(space.shape) == 2 or (len(space.shape) == 3 and space.shape[2] in (1, 3))


def action_space(env: EnvConfig) -> gym.Space:
    """The environment's action space."""
    made = make_gymnasium(env)
    made.close()
    return made.action_space


class GymnasiumLanes:
    """Episodes in gymnasium, stepped one after another."""

    def __init__(self, env: EnvConfig, seeds: list[int]) -> None:
        self.config, self.seeds = env, seeds
        self.envs = [make_gymnasium(env) for _ in seeds]
        self.codec = ActionCodec(self.envs[0].action_space)
        self.from_observation = is_image(self.envs[0].observation_space)
        self.limit = steps_of(self.envs[0].spec.max_episode_steps, env)  # type: ignore[union-attr,arg-type]

    def frame(self, lane: int, observation: np.ndarray) -> np.ndarray:
        return observation if self.from_observation else self.envs[lane].render()  # type: ignore[return-value]

    def reset(self) -> np.ndarray:
        frames = [self.frame(i, env.reset(seed=seed)[0]) for i, (env, seed) in enumerate(zip(self.envs, self.seeds))]
        return view(np.stack(frames), self.config)

    def step(self, lanes: np.ndarray, actions: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        frames, rewards, terminated, truncated = [], [], [], []
        for lane, vector in zip(lanes, actions):
            action, total = self.codec.decode(vector), 0.0
            for _ in range(self.config.frame_skip):
                observation, reward, ended, cut, _ = self.envs[lane].step(action)
                total += float(reward)
                if ended or cut:
                    break
            frames.append(self.frame(lane, observation))
            rewards.append(total)
            terminated.append(ended)
            truncated.append(cut)
        frames = view(np.stack(frames), self.config)
        return frames, np.array(rewards, np.float32), np.array(terminated, bool), np.array(truncated, bool)

    def close(self) -> None:
        for env in self.envs:
            env.close()


class EnvPoolLanes:
    """Episodes in EnvPool, stepped in C++ by `threads` threads; a seed gives the same episode in any lane."""

    def __init__(self, env: EnvConfig, seeds: list[int], threads: int = 1) -> None:
        import envpool

        self.config = env
        more = {"max_episode_steps": env.max_episode_steps} if env.max_episode_steps else {}
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # its action bounds lose float64 precision, harmlessly
            self.pool = envpool.make_gymnasium(
                env.id, num_envs=len(seeds), num_threads=threads, env_seed=list(seeds), **more
            )
            self.codec = ActionCodec(self.pool.action_space)
        self.limit = steps_of(self.pool.spec.config.max_episode_steps, env)

    def reset(self) -> np.ndarray:
        return view(self.pool.reset()[0], self.config)

    def step(self, lanes: np.ndarray, actions: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        decoded = np.stack([self.codec.decode(vector) for vector in actions])
        frames, rewards, terminated, truncated = self.advance(lanes, decoded)
        for _ in range(self.config.frame_skip - 1):
            on = ~(terminated | truncated)
            if not on.any():
                break
            frames[on], more, terminated[on], truncated[on] = self.advance(lanes[on], decoded[on])
            rewards[on] += more
        return view(frames, self.config), rewards, terminated, truncated

    def advance(self, lanes: np.ndarray, actions: np.ndarray) -> list[np.ndarray]:
        """One of EnvPool's steps: frames as EnvPool makes them, rewards, terminated, truncated."""
        *results, info = self.pool.step(actions, lanes.astype(np.int32))
        order = np.argsort(info["env_id"])  # lanes are ascending, EnvPool may answer in any order
        return [np.array(part[order]) for part in results]

    def close(self) -> None:
        self.pool.close()


def make_lanes(env: EnvConfig, backend: str, seeds: list[int], threads: int = 1) -> GymnasiumLanes | EnvPoolLanes:
    """Lanes that play one episode a seed.

    `reset()` gives the first frames (N, height, width, C) uint8; `step(lanes, actions)` takes the ascending lane
    numbers (k,) and encoded actions (k, A) float32, see ActionCodec, and gives frames (k, height, width, C), rewards
    (k,) float32, terminated (k,) and truncated (k,) bool; an action lasts env.frame_skip of the environment's own
    steps. An ended lane must not be stepped again. `limit` is the longest episode, steps.
    """
    return EnvPoolLanes(env, seeds, threads) if backend == "envpool" else GymnasiumLanes(env, seeds)


def steps_of(max_episode_steps: int, env: EnvConfig) -> int:
    """The longest episode in steps, each of which is env.frame_skip of the environment's own."""
    return -(-max_episode_steps // env.frame_skip)


def versions(backend: str) -> dict[str, str]:
    """The versions that the frames depend on."""
    from importlib.metadata import version

    return {name: version(name) for name in ("gymnasium", *(["envpool"] if backend == "envpool" else []))}


def describe(env: EnvConfig) -> str:
    return f"{env.id}{json.dumps(env.kwargs) if env.kwargs else ''}"
