"""Environments as lanes: a fixed set of seeded episodes that are stepped together, as one batch.

Two backends give the same interface: Gymnasium's own environments, one after another in this process, and
EnvPool's C++ reimplementations. A lane is one episode; only the lanes that are still alive are stepped.
"""

import importlib.util
import json
import logging
import warnings

import numpy as np
import torch
import torch.nn.functional as F

from worldmodels.actions import ActionCodec
from worldmodels.config import EnvConfig, is_gymnasium_certain, reason_against_envpool
from worldmodels.instances import Instance, Instances, steps_of
from worldmodels.pictures import is_image
from worldmodels.settings import UserError

log = logging.getLogger("worldmodels")


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
    if is_gymnasium_certain(env):
        return "gymnasium"
    if importlib.util.find_spec("envpool") is None:
        if env.backend == "envpool":
            raise UserError(
                "env.backend: expected EnvPool to be installed (pip install -r requirements-envpool.txt), found none"
            )
        return "gymnasium"
    known, reason = is_known_to_envpool(env.id), reason_against_envpool(env)
    if env.backend == "envpool":
        if known and not reason:
            return "envpool"
        what = f"{env.id} with {reason}" if reason else env.id
        raise UserError(f"env.backend: expected an environment that EnvPool knows and shows as images, found {what}")
    return "envpool" if known else "gymnasium"


def is_known_to_envpool(name: str) -> bool:
    """Whether EnvPool, which has to be installed, has this environment and shows it as pictures."""
    import envpool

    if name not in envpool.list_all_envs():
        return False
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        space = envpool.make_spec(name).observation_space
    return is_image(space) and space.dtype == np.uint8


def tell_backend(env: EnvConfig) -> None:
    """Log why EnvPool, which would be faster, is not used, or that it does not run the module of env.import."""
    if env.backend == "gymnasium" or importlib.util.find_spec("envpool") is None or not is_known_to_envpool(env.id):
        return
    reason = reason_against_envpool(env) or ("env.import" if env.import_ else "")
    if env.backend == "envpool" and env.import_:
        log.warning(
            "env.backend: EnvPool plays its own %s, whatever %s registers; the official test plays gymnasium's",
            env.id, env.import_,
        )  # fmt: skip
    elif env.backend == "auto" and reason:
        log.info("env.backend: gymnasium, since EnvPool knows %s but not %s", env.id, reason)


class GymnasiumLanes:
    """Episodes in gymnasium, stepped one after another.

    Args:
        instances: environments to play in, which stay open; by default their own, which `close` closes.
    """

    def __init__(self, env: EnvConfig, seeds: list[int], instances: Instances | None = None) -> None:
        self.config, self.seeds = env, seeds
        self.owned = instances is None
        self.instances = instances or Instances(env)
        self.codec, self.limit = self.instances.codec, self.instances.limit
        self.playing: dict[int, Instance] = {}

    @property
    def groups(self) -> list[np.ndarray]:
        """The lanes that can be played side by side, see env.instances."""
        lanes, most = np.arange(len(self.seeds)), self.instances.prepare(len(self.seeds))
        return [lanes[start : start + most] for start in range(0, len(lanes), most)]

    def reset(self, lanes: np.ndarray | None = None) -> np.ndarray:
        lanes = np.arange(len(self.seeds)) if lanes is None else lanes
        self.playing = dict(zip(lanes.tolist(), self.instances.take(len(lanes))))
        frames = [instance.reset(self.seeds[lane]) for lane, instance in self.playing.items()]
        return view(np.stack(frames), self.config)

    def step(self, lanes: np.ndarray, actions: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        steps = [self.playing[lane].step(self.codec.decode(vector)) for lane, vector in zip(lanes.tolist(), actions)]
        frames, rewards, terminated, truncated = zip(*steps)
        ends = np.array(terminated, bool), np.array(truncated, bool)
        return view(np.stack(frames), self.config), np.array(rewards, np.float32), *ends

    def close(self) -> None:
        if self.owned:
            self.instances.close()


class EnvPoolLanes:
    """Episodes in EnvPool, stepped in C++ by `threads` threads; a seed gives the same episode in any lane."""

    def __init__(self, env: EnvConfig, seeds: list[int], threads: int = 1) -> None:
        import envpool

        self.config, self.seeds = env, seeds
        more = {"max_episode_steps": env.max_episode_steps} if env.max_episode_steps else {}
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # its action bounds lose float64 precision, harmlessly
            self.pool = envpool.make_gymnasium(
                env.id, num_envs=len(seeds), num_threads=threads, env_seed=list(seeds), **more
            )
            self.codec = ActionCodec(self.pool.action_space)
        self.limit = steps_of(self.pool.spec.config.max_episode_steps, env)
        self.groups = [np.arange(len(seeds))]

    def reset(self, lanes: np.ndarray | None = None) -> np.ndarray:
        """The first frames of all lanes."""
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


def make_lanes(
    env: EnvConfig, backend: str, seeds: list[int], threads: int = 1, instances: Instances | None = None
) -> GymnasiumLanes | EnvPoolLanes:
    """Lanes that play one episode a seed.

    `reset(lanes)` starts the episodes of one of the `groups`, or all, and gives their first frames (k, height, width,
    C) uint8. `step(lanes, actions)` takes ascending lane numbers (k,) of that group and encoded actions (k, A) float32,
    see ActionCodec, and gives frames (k, height, width, C), rewards (k,) float32, terminated (k,) and truncated (k,)
    bool; an action lasts env.frame_skip of the environment's own steps. An ended lane must not be stepped again.
    `limit` is the longest episode, steps.

    Args:
        threads: of EnvPool. instances: of gymnasium, see GymnasiumLanes.
    """
    return EnvPoolLanes(env, seeds, threads) if backend == "envpool" else GymnasiumLanes(env, seeds, instances)


def versions(backend: str) -> dict[str, str]:
    """The versions that the frames depend on."""
    from importlib.metadata import version

    return {name: version(name) for name in ("gymnasium", *(["envpool"] if backend == "envpool" else []))}


def describe(env: EnvConfig) -> str:
    return f"{env.id}{json.dumps(env.kwargs) if env.kwargs else ''}"
