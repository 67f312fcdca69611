"""Measure every stage that uses several cores on 1, 2, ... cores.

python -m bench.scaling --logdir results/carracing
"""

from argparse import Namespace
from dataclasses import replace
from functools import partial

import torch

from bench import controller, mdrnn, measure, program, rollouts, vae
from bench.report import print_table, write_result
from worldmodels.data.datasets import ObservationDataset
from worldmodels.data.sequences import LatentSequenceDataset
from worldmodels.envs.backends import choose_backend
from worldmodels.playing.evaluation import WIDTH, AgentPlayer
from worldmodels.playing.workers import run_with_player, start_player
from worldmodels.runtime.config import EnvConfig, RolloutsConfig, WMControllerConfig
from worldmodels.runtime.devices import choose_device
from worldmodels.runtime.workers import worker_pool


def main(args: Namespace) -> None:
    counts = sorted({min(2**i, args.threads) for i in range(args.threads.bit_length() + 1)})
    rounds = [
        {cores: measure_playing(args, cores) | measure_training(args, cores) for cores in counts}
        for _ in range(args.rounds)
    ]
    every_rate = {}
    for row in rounds[0][1]:
        rates = {f"{row}, {cores}": [measured[cores][row] for measured in rounds] for cores in counts}
        print_table(f"Scaling: {row}", unit_of(row), rates, f"{row}, 1")
        every_rate |= rates
    write_result(args, {"title": "Scaling", "rates": every_rate})


def unit_of(row: str) -> str:
    """Return the unit of a row's rates."""
    if "GFLOP" in row:
        return "GFLOP/s"
    return "images/s" if row == "V" else "steps/s"


def measure_playing(args: Namespace, cores: int) -> dict[str, float]:
    """Return the steps/s of the stages that play, on this many processes."""
    env, backend = controller.ENV, choose_backend(controller.ENV)
    return {
        "environment alone": measure.environment_rate(env, backend, cores, args.steps),
        "rollouts": measure_rollouts(args, cores),
        "controller": measure_controller(args, cores),
        "evaluation": measure_test(args, cores),
    }


def measure_rollouts(args: Namespace, cores: int) -> float:
    """Return the steps/s of collecting rollouts."""
    config = RolloutsConfig(num_rollouts=rollouts.MANY_ROLLOUTS, shard_size=16, seq_len=args.steps, gymnasium_share=0.0)
    with worker_pool(cores) as pool:
        rollouts.collect_shards(pool, cores, replace(config, shard_size=1, seq_len=10), {})
        return rollouts.collect_shards(pool, cores, config, {})


def measure_controller(args: Namespace, cores: int) -> float:
    """Return the steps/s of a generation of C."""
    config = WMControllerConfig(time_limit=args.steps)
    candidates = controller.draw_population(args.logdir, config.sigma0)
    with controller.player_pool(args.logdir, config, args.device, cores) as pool:
        return controller.play_generation(pool, candidates, config.lanes)


def measure_test(args: Namespace, cores: int) -> float:
    """Return the steps/s of the official test."""
    env = EnvConfig(kwargs={"max_episode_steps": args.steps})
    with worker_pool(cores, start_player, AgentPlayer.load, args.logdir, env, args.device) as pool:
        list(pool.map(abs, range(100)))  # This starts the workers.
        start = measure.clock()
        batches = [list(range(core, cores * WIDTH, cores)) for core in range(cores)]
        tested = pool.map(partial(run_with_player, AgentPlayer.play), batches)
        steps = sum(length for episodes in tested for _, length in episodes.values())
        return steps / (measure.clock() - start)


def measure_training(args: Namespace, cores: int) -> dict[str, float]:
    """Return the images/s of V's training, the steps/s of M's, and the matrix products, on this many threads."""
    device = choose_device(args.device)
    torch.set_num_threads(cores)
    frames = ObservationDataset(files=program.rollout_files(args, limit=8))
    sequences = LatentSequenceDataset(program.latents_file(args), mdrnn.CONFIG.seq_len)
    rates = {
        "V": vae.our_loop(frames, device, args.seconds)(),
        "M": mdrnn.our_loop(sequences, device, args.seconds)(),
        "matrix products, GFLOP/s": measure.matrix_rate(device)() / 1e9,
    }
    torch.set_num_threads(args.threads)
    return rates


if __name__ == "__main__":
    parser = program.make_parser(__doc__, rounds=1)
    program.add_run_flags(parser)
    parser.add_argument("--steps", type=int, default=150, help="longest episode, steps (default: %(default)s)")
    parser.add_argument(
        "--seconds", type=float, default=3.0, help="length of V's and M's measurement, seconds (default: %(default)s)"
    )
    program.run_benchmark(parser, main)
