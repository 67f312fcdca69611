"""Environments as lanes: a fixed set of seeded episodes that are stepped together, as one batch.

Two backends give the same interface: Gymnasium's own environments, one after another in this process, and
EnvPool's C++ reimplementations. A lane is one episode; only the lanes that are still alive are stepped.
"""

import warnings

import numpy as np

from worldmodels.envs.actions import ActionCodec
from worldmodels.envs.frames import frames_for_v
from worldmodels.envs.instances import Instance, Instances, time_limit_in_steps
from worldmodels.runtime.config import EnvConfig


class GymnasiumLanes:
    """Episodes in gymnasium, stepped one after another.

    Args:
        instances: environments to play in, which stay open; by default their own, which `close` closes.
    """

    def __init__(self, env: EnvConfig, seeds: list[int], instances: Instances | None = None) -> None:
        self.config, self.seeds = env, seeds
        self.owned = instances is None
        self.instances = instances or Instances(env)
        self.codec, self.time_limit = self.instances.codec, self.instances.time_limit
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
        return frames_for_v(np.stack(frames), self.config)

    def step(self, lanes: np.ndarray, actions: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        steps = [self.playing[lane].step(self.codec.decode(vector)) for lane, vector in zip(lanes.tolist(), actions)]
        frames, rewards, terminated, truncated = zip(*steps)
        ends = np.array(terminated, bool), np.array(truncated, bool)
        return frames_for_v(np.stack(frames), self.config), np.array(rewards, np.float32), *ends

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
        self.time_limit = time_limit_in_steps(self.pool.spec.config.max_episode_steps, env)
        self.groups = [np.arange(len(seeds))]

    def reset(self, lanes: np.ndarray | None = None) -> np.ndarray:
        """The first frames of all lanes."""
        return frames_for_v(self.pool.reset()[0], self.config)

    def step(self, lanes: np.ndarray, actions: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        decoded = np.stack([self.codec.decode(vector) for vector in actions])
        frames, rewards, terminated, truncated = self.advance(lanes, decoded)
        for _ in range(self.config.frame_skip - 1):
            on = ~(terminated | truncated)
            if not on.any():
                break
            frames[on], more, terminated[on], truncated[on] = self.advance(lanes[on], decoded[on])
            rewards[on] += more
        return frames_for_v(frames, self.config), rewards, terminated, truncated

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
