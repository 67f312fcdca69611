"""The official test. It plays in gymnasium, even if the controller was trained in EnvPool."""

import math
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, as_completed
from dataclasses import dataclass

import torch

from worldmodels.envs.backends import package_versions
from worldmodels.envs.instances import Instances
from worldmodels.envs.lanes import GymnasiumLanes
from worldmodels.models.controller import Controller
from worldmodels.models.load_controller import load_controller
from worldmodels.playing.agent import Squash, WorldModel, load_agent
from worldmodels.playing.episodes import play_episodes
from worldmodels.playing.scores import summarize_returns
from worldmodels.playing.workers import run_with_player, start_player
from worldmodels.runtime.config import EnvConfig
from worldmodels.runtime.devices import choose_device, worker_device
from worldmodels.runtime.log import log
from worldmodels.runtime.progress import progress
from worldmodels.runtime.workers import worker_pool
from worldmodels.storage.checkpoints import save_checkpoint
from worldmodels.storage.files import read_json
from worldmodels.storage.states import load_state

# Episodes that a worker plays side by side. V's encoder takes 1.0 ms for a frame alone, and 0.2 ms per frame in a batch
# of eight.
WIDTH = 8


Episodes = dict[int, list]  # seed -> [return, length]


@dataclass
class AgentPlayer:
    """The trained agent and the gymnasium environments that it plays in, as a worker process keeps them."""

    world: WorldModel
    controller: Controller
    squash: Squash
    instances: Instances

    @classmethod
    def load(cls, number: int, logdir: str, env: EnvConfig, device_name: str) -> "AgentPlayer":
        """Load the agent of <logdir> and make its first environment.

        Args:
            number: of the worker. It chooses the GPU if there are several.
            logdir: the run that trained the agent.
            env: the environment.
            device_name: the setting `device`.

        Raises:
            UserError: the agent or its environment is missing or wrong.
        """
        world, controller, saved = load_agent(logdir, worker_device(device_name, number))
        instances = Instances(env)
        squash = world.squash(saved["config"]["squash"], instances.space)
        return cls(world, controller, squash, instances)

    def play(self, seeds: list[int]) -> Episodes:
        """Play one episode per seed, of at most WIDTH seeds."""
        return self.play_lanes(GymnasiumLanes(self.instances.config, seeds, self.instances))

    def play_lanes(self, lanes: GymnasiumLanes) -> Episodes:
        """Play the episodes of these lanes, at most WIDTH, and close the lanes."""

        def policy(_: slice, **features: torch.Tensor) -> torch.Tensor:
            return self.squash(self.controller(**features))

        try:
            returns, lengths = play_episodes(self.world, lanes, policy, features=self.controller.features, width=WIDTH)
        finally:
            lanes.close()
        return {seed: [float(r), int(n)] for seed, r, n in zip(lanes.seeds, returns, lengths)}

    def close(self) -> None:
        """Close the environments."""
        self.instances.close()


def check_agent(logdir: str, env: EnvConfig) -> EnvConfig:
    """Load the agent once in this process, so that its errors are raised here and not in a worker.

    Returns:
        The environment's configuration for the workers, in which env.frames and env.reuse are settled.

    Raises:
        UserError: the agent or its environment is missing or wrong.
    """
    player = AgentPlayer.load(0, logdir, env, "cpu")
    player.instances.settle_reuse()
    player.close()  # before the workers make their environments: some simulators allow one at a time
    return player.instances.config


def split_seeds(seeds: list[int], cores: int) -> list[list[int]]:
    """Split the seeds into pieces of at most WIDTH, one task per piece.

    Every core gets the same number of pieces, and the pieces differ by at most one seed, so no core waits for long.
    """
    pieces_per_core = math.ceil(len(seeds) / (cores * WIDTH))
    pieces = min(len(seeds), pieces_per_core * cores)
    return [seeds[piece::pieces] for piece in range(pieces)]


def evaluate(
    logdir: str,
    env: EnvConfig,
    seeds: list[int],
    identity: str,
    device: str,
    cores: int,
    shard: str = "",
    shard_files: Sequence[str] = (),
) -> Episodes:
    """Play one test episode per seed, in worker processes.

    Finished episodes are saved in <logdir>/evaluate/checkpoint.tar, so that a stopped test continues from there.

    Args:
        logdir: the run that trained the agent.
        env: the environment.
        seeds: of the episodes.
        identity: stamp of the code and the agent. Saved episodes of another identity are not used.
        device: the setting `device`.
        cores: number of worker processes, at most one per seed.
        shard: name of this shard of the test; its episodes are saved in a file of their own.
        shard_files: results of shards. Their episodes are not played again.

    Returns:
        The return and the length of each seed's episode.

    Raises:
        UserError: the agent, its environment or the device is missing or wrong.
    """
    choose_device(device)  # a wrong one ends here, not in a worker
    env = check_agent(logdir, env)
    path = checkpoint_path(logdir, shard)
    state = load_state(path, identity, log.info) or {"identity": identity, "episodes": {}}
    episodes: Episodes = state["episodes"]
    for file in shard_files:
        episodes |= read_shard(file, identity)
    seeds_left = [seed for seed in seeds if seed not in episodes]
    finished = len(seeds) - len(seeds_left)
    if finished:
        log.info("evaluate: continuing after %d episodes", finished)
    workers = max(1, min(cores, len(seeds_left)))
    with worker_pool(workers, start_player, AgentPlayer.load, logdir, env, device) as pool:
        jobs = [pool.submit(run_with_player, AgentPlayer.play, piece) for piece in split_seeds(seeds_left, workers)]
        for _ in progress(save_finished(jobs, path, state), "evaluate", len(seeds), initial=finished):
            pass
    return {seed: episodes[seed] for seed in seeds}


def save_finished(jobs: list[Future], path: str, state: dict) -> Iterator[int]:
    """Wait for the jobs, save the episodes of each when it ends, and yield their seeds.

    Args:
        jobs: give Episodes.
        path: the file to save to.
        state: the content of the file. Its "episodes" take in the new ones.
    """
    for job in as_completed(jobs):
        episodes: Episodes = job.result()
        state["episodes"].update(episodes)
        save_checkpoint(path, state)
        yield from episodes


def checkpoint_path(logdir: str, shard: str) -> str:
    """Return the file that holds the finished episodes of the test, or of this shard of it."""
    name = f"checkpoint_{shard}" if shard else "checkpoint"
    return f"{logdir}/evaluate/{name}.tar"


def read_shard(file: str, identity: str) -> Episodes:
    """Return the episodes of a shard's result, or none if they have another identity."""
    shard = read_json(file, ("identity", "episodes"))
    if shard["identity"] != identity:
        return {}
    return {int(seed): result for seed, result in shard["episodes"].items()}


def summarize_test(logdir: str, env: EnvConfig, episodes: Episodes) -> dict:
    """Return the content of eval.json.

    Args:
        logdir: the run that trained the agent.
        env: the environment.
        episodes: the return and the length of each seed's episode.
    """
    returns, lengths = (list(values) for values in zip(*episodes.values()))
    _, saved = load_controller(f"{logdir}/ctrl/best.tar")
    steps = saved["env_steps"]
    return {
        "env": env.id,
        "env_kwargs": env.kwargs,
        **{f"{name}_version": version for name, version in package_versions("gymnasium").items()},
        "episodes": len(returns),
        **summarize_returns(returns),
        "env_steps": {**steps, "total": sum(steps.values())},
        "validated_mean": saved["reward"],
        "generation": saved["epoch"],
        "seeds": list(episodes),
        "returns": returns,
        "lengths": lengths,
    }
