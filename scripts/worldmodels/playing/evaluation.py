"""The official test, in gymnasium whatever the controller was trained in."""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import as_completed

import torch

from worldmodels.envs.backends import package_versions
from worldmodels.envs.instances import Instances
from worldmodels.envs.lanes import GymnasiumLanes
from worldmodels.models.controller import Controller
from worldmodels.models.load_controller import load_controller
from worldmodels.playing.agent import Squash, WorldModel, load_agent
from worldmodels.playing.episodes import play_episodes
from worldmodels.playing.scores import summarize_returns
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
AGENT: tuple[WorldModel, Controller, Squash, Instances] | None = None


def prepare_worker(number: int, logdir: str, env: EnvConfig, device_name: str) -> Callable[[], None]:
    """Load the agent once in a worker process; what is returned closes the worker's environments."""
    global AGENT
    world, controller, saved = load_agent(logdir, worker_device(device_name, number))
    instances = Instances(env)
    squash = world.squash(saved["config"]["squash"], instances.space)
    AGENT = world, controller, squash, instances
    return instances.close


def check_agent(logdir: str, env: EnvConfig) -> EnvConfig:
    """Raise UserError if the agent or its environment is missing or wrong: here, and not in a worker.

    Returns:
        The environment's configuration for the workers, in which env.frames and env.reuse are settled.
    """
    prepare_worker(0, logdir, env, "cpu")
    assert AGENT is not None
    AGENT[-1].settle_reuse()
    AGENT[-1].close()  # before the workers make theirs: some simulators allow one at a time
    return AGENT[-1].config


Episodes = dict[int, list]  # seed -> [return, length]


def play_test_episodes(lanes: GymnasiumLanes) -> Episodes:
    """The test's episodes on the seeds of at most WIDTH lanes."""
    assert AGENT is not None
    world, controller, squash, _ = AGENT

    def policy(_, **parts: torch.Tensor) -> torch.Tensor:
        return squash(controller(**parts))

    try:
        returns, lengths = play_episodes(world, lanes, policy, features=controller.features, width=WIDTH)
    finally:
        lanes.close()
    return {seed: [float(r), int(n)] for seed, r, n in zip(lanes.seeds, returns, lengths)}


def evaluate_in_worker(seeds: list[int]) -> Episodes:
    assert AGENT is not None
    return play_test_episodes(GymnasiumLanes(AGENT[-1].config, seeds, AGENT[-1]))


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
    with worker_pool(count, prepare_worker, logdir, env, device) as pool:
        jobs = [pool.submit(evaluate_in_worker, piece) for piece in split_seeds(left, count)]

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
