"""Environments as lanes: seeded episodes that are stepped together, as one batch.

A lane is one episode. Only the lanes whose episodes are not over are stepped. Two backends have the same interface:
gymnasium's environments, stepped one after another in this process, and EnvPool's, stepped in C++.
"""

import warnings

import numpy as np

from worldmodels.envs.actions import ActionCodec
from worldmodels.envs.frames import frames_for_v
from worldmodels.envs.instances import Instance, Instances, time_limit_in_steps
from worldmodels.runtime.config import EnvConfig

Steps = tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]  # frames, rewards, terminated, truncated


class GymnasiumLanes:
    """Episodes in gymnasium, stepped one after another. `make_lanes` describes the interface.

    Args:
        env: the environment.
        seeds: one per lane.
        instances: environments to play in, which stay open. By default the lanes make their own and close them.
    """

    def __init__(self, env: EnvConfig, seeds: list[int], instances: Instances | None = None) -> None:
        self.config, self.seeds = env, seeds
        self.owns_instances = instances is None
        self.instances = instances or Instances(env)
        self.codec, self.time_limit = self.instances.codec, self.instances.time_limit
        self.playing: dict[int, Instance] = {}  # lane -> its environment

    def prepare_groups(self) -> list[np.ndarray]:
        """Make the environments, and return the lanes in groups that can be played side by side, see env.instances."""
        lanes = np.arange(len(self.seeds))
        size = self.instances.prepare(len(lanes))
        return [lanes[start : start + size] for start in range(0, len(lanes), size)]

    def reset(self, lanes: np.ndarray | None = None) -> np.ndarray:
        """Start the episodes of these lanes, or of all, and return their first frames (k, height, width, C) uint8."""
        lanes = np.arange(len(self.seeds)) if lanes is None else lanes
        self.playing = dict(zip(lanes.tolist(), self.instances.take(len(lanes))))
        frames = [instance.reset(self.seeds[lane]) for lane, instance in self.playing.items()]
        return frames_for_v(np.stack(frames), self.config)

    def step(self, lanes: np.ndarray, actions: np.ndarray) -> Steps:
        """Step these lanes (k,) with encoded actions (k, A)."""
        steps = [self.playing[lane].step(self.codec.decode(vector)) for lane, vector in zip(lanes.tolist(), actions)]
        frames, rewards, terminated, truncated = zip(*steps)
        ends = np.array(terminated, bool), np.array(truncated, bool)
        return frames_for_v(np.stack(frames), self.config), np.array(rewards, np.float32), *ends

    def close(self) -> None:
        """Close the environments that the lanes made."""
        if self.owns_instances:
            self.instances.close()


class EnvPoolLanes:
    """Episodes in EnvPool. A seed gives the same episode in any lane. `make_lanes` describes the interface.

    Args:
        env: the environment.
        seeds: one per lane.
        threads: that step the environments.
    """

    def __init__(self, env: EnvConfig, seeds: list[int], threads: int = 1) -> None:
        import envpool

        self.config, self.seeds = env, seeds
        limits = {"max_episode_steps": env.max_episode_steps} if env.max_episode_steps else {}
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # its action bounds lose float64 precision, harmlessly
            self.pool = envpool.make_gymnasium(
                env.id, num_envs=len(seeds), num_threads=threads, env_seed=list(seeds), **limits
            )
            self.codec = ActionCodec(self.pool.action_space)
        self.time_limit = time_limit_in_steps(self.pool.spec.config.max_episode_steps, env)

    def prepare_groups(self) -> list[np.ndarray]:
        """Return all lanes as one group."""
        return [np.arange(len(self.seeds))]

    def reset(self, lanes: np.ndarray | None = None) -> np.ndarray:
        """Start the episodes of all lanes, and return their first frames (B, height, width, C) uint8."""
        return frames_for_v(self.pool.reset()[0], self.config)

    def step(self, lanes: np.ndarray, actions: np.ndarray) -> Steps:
        """Step these lanes (k,), ascending, with encoded actions (k, A)."""
        decoded = np.stack([self.codec.decode(vector) for vector in actions])
        frames, rewards, terminated, truncated = self.step_once(lanes, decoded)
        for _ in range(self.config.frame_skip - 1):
            running = ~(terminated | truncated)
            if not running.any():
                break
            frames[running], next_rewards, terminated[running], truncated[running] = self.step_once(
                lanes[running], decoded[running]
            )
            rewards[running] += next_rewards
        return frames_for_v(frames, self.config), rewards, terminated, truncated

    def step_once(self, lanes: np.ndarray, actions: np.ndarray) -> list[np.ndarray]:
        """Take one of EnvPool's own steps, and return its frames, the rewards, terminated and truncated."""
        *results, info = self.pool.step(actions, lanes.astype(np.int32))
        order = np.argsort(info["env_id"])  # EnvPool may answer in any order; the lanes are ascending
        return [np.array(array[order]) for array in results]

    def close(self) -> None:
        """Close the environments."""
        self.pool.close()


def make_lanes(
    env: EnvConfig, backend: str, seeds: list[int], threads: int = 1, instances: Instances | None = None
) -> GymnasiumLanes | EnvPoolLanes:
    """Make lanes that play one episode per seed.

    `prepare_groups()` returns the lanes in groups that can be played side by side. `reset(lanes)` starts the episodes
    of one group, or of all, and returns their first frames (k, height, width, C) uint8. `step(lanes, actions)` takes
    ascending lane numbers (k,) of that group and encoded actions (k, A) float32, see ActionCodec. It returns frames
    (k, height, width, C) uint8, rewards (k,) float32, terminated (k,) bool and truncated (k,) bool. A step is
    env.frame_skip of the environment's own steps. A lane must not be stepped after its episode has ended. `time_limit`
    is the length of the longest episode, steps.

    Args:
        env: the environment.
        backend: `gymnasium` or `envpool`.
        seeds: one per lane.
        threads: that step EnvPool's environments.
        instances: gymnasium's environments to play in, see GymnasiumLanes.
    """
    return EnvPoolLanes(env, seeds, threads) if backend == "envpool" else GymnasiumLanes(env, seeds, instances)
