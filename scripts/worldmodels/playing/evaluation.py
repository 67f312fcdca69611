"""The official test, in gymnasium whatever the controller was trained in."""

from collections.abc import Iterator, Sequence
from concurrent.futures import as_completed
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

# Episodes that a worker plays side by side. V's encoder takes 1.0 ms for a single frame, 0.2 ms for one of eight.
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
    """The seeds in pieces of at most WIDTH, which take turns on the cores and leave none idle before the others."""
    turns = -(-len(seeds) // (cores * WIDTH))
    parts = min(len(seeds), turns * cores)
    return [seeds[part::parts] for part in range(parts)]


def evaluate(
    logdir: str,
    env: EnvConfig,
    seeds: list[int],
    identity: str,
    device: str,
    cores: int,
    shard: str = "",
    played: Sequence[str] = (),
) -> Episodes:
    """Play an episode a seed, on `cores` worker processes.

    Finished episodes are kept in <logdir>/evaluate/checkpoint.tar, so that a test that was stopped goes on.

    Args:
        identity: stamp of the code and the agent; results of another one are not taken up.
        shard: name of the shard of the test, which keeps its episodes in a file of its own.
        played: files of shards, whose episodes need not be played again.
    """
    path = f"{logdir}/evaluate/checkpoint{shard and '_'}{shard}.tar"
    choose_device(device)
    env = check_agent(logdir, env)
    state = load_state(path, identity, log.info) or {"identity": identity, "episodes": {}}
    episodes = state["episodes"]
    for file in played:
        content = read_json(file, ("identity", "episodes"))
        if content["identity"] == identity:
            episodes |= {int(seed): result for seed, result in content["episodes"].items()}
    left = [seed for seed in seeds if seed not in episodes]
    if len(left) < len(seeds):
        log.info("evaluate: continuing after %d episodes", len(seeds) - len(left))
    count = max(1, min(cores, len(left)))
    with worker_pool(count, start_player, AgentPlayer.load, logdir, env, device) as pool:
        jobs = [pool.submit(run_with_player, AgentPlayer.play, piece) for piece in split_seeds(left, count)]

        def finished() -> Iterator[int]:
            for job in as_completed(jobs):
                episodes.update(job.result())
                save_checkpoint(path, state)
                yield from job.result()

        for _ in progress(finished(), "evaluate", len(seeds), initial=len(seeds) - len(left)):
            pass
    return {seed: episodes[seed] for seed in seeds}


def summarize_test(logdir: str, env: EnvConfig, episodes: Episodes) -> dict:
    """What eval.json holds."""
    seeds = list(episodes)
    returns, lengths = (list(part) for part in zip(*episodes.values()))
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
        "seeds": seeds,
        "returns": returns,
        "lengths": lengths,
    }
