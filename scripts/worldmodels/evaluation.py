"""The official test, in gymnasium whatever the controller was trained in."""

import math
import statistics
from collections.abc import Sequence
from concurrent.futures import as_completed

import numpy as np

from worldmodels import checkpoint, cli
from worldmodels.agent import Squash, WorldModel, load_world_model, play_episodes
from worldmodels.config import EnvConfig
from worldmodels.controller import Controller, load_controller
from worldmodels.envs import GymnasiumLanes, action_space, versions
from worldmodels.workers import worker_device, workers

AGENT: tuple[WorldModel, Controller, Squash, EnvConfig] | None = None


def prepare_worker(number: int, logdir: str, env: EnvConfig, device_name: str) -> None:
    """Load the agent once in a worker process."""
    global AGENT
    device = worker_device(device_name, number)
    controller, saved = load_controller(f"{logdir}/ctrl/best.tar")
    squash = Squash(saved["config"]["squash"], action_space(env), device)
    AGENT = load_world_model(logdir, device), controller.to(device), squash, env


def evaluate_in_worker(seed: int) -> tuple[float, int]:
    """An episode's return and length. One episode at a time, so that neighbours cannot show in its last bits."""
    assert AGENT is not None
    world, controller, squash, env = AGENT
    lanes = GymnasiumLanes(env, [seed])
    try:
        returns, lengths = play_episodes(
            world, lanes, lambda _, *inputs: squash(controller(*inputs)), features=controller.features
        )
    finally:
        lanes.close()
    return float(returns[0]), int(lengths[0])


Episodes = dict[int, list]  # seed -> [return, length]


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
    cli.device(device)
    prepare_worker(0, logdir, env, "cpu")  # what is missing or wrong should end here, not in a worker
    state = checkpoint.load_state(path, identity, cli.log.info) or {"identity": identity, "episodes": {}}
    episodes = state["episodes"]
    for file in played:
        content = checkpoint.read_json(file, ("identity", "episodes"))
        if content["identity"] == identity:
            episodes |= {int(seed): result for seed, result in content["episodes"].items()}
    left = [seed for seed in seeds if seed not in episodes]
    if len(left) < len(seeds):
        cli.log.info("evaluate: continuing after %d episodes", len(seeds) - len(left))
    count = max(1, min(cores, len(left)))
    with workers(count, prepare_worker, logdir, env, device) as pool:
        jobs = {pool.submit(evaluate_in_worker, seed): seed for seed in left}
        for job in cli.progress(as_completed(jobs), "evaluate", len(seeds), initial=len(seeds) - len(left)):
            episodes[jobs[job]] = list(job.result())
            checkpoint.save(path, state)
    return {seed: episodes[seed] for seed in seeds}


def summarise(logdir: str, env: EnvConfig, episodes: Episodes) -> dict:
    """What eval.json holds."""
    seeds = list(episodes)
    returns, lengths = (list(part) for part in zip(*episodes.values()))
    _, saved = load_controller(f"{logdir}/ctrl/best.tar")
    std = statistics.stdev(returns) if len(returns) > 1 else 0.0
    mean = float(np.mean(returns))
    half = statistics.NormalDist().inv_cdf(0.975) * std / math.sqrt(len(returns))
    steps = saved["env_steps"]
    return {
        "env": env.id,
        "env_kwargs": env.kwargs,
        **{f"{name}_version": version for name, version in versions("gymnasium").items()},
        "episodes": len(returns),
        "mean": mean,
        "std": std,
        "mean_95_interval": [mean - half, mean + half],
        "env_steps": {**steps, "total": sum(steps.values())},
        "validated_mean": saved["reward"],
        "seeds": seeds,
        "returns": returns,
        "lengths": lengths,
    }
