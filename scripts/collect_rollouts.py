#!/usr/bin/env python
"""Collect rollouts: episodes under random policies, one .npz file an episode.

Without --shard all shards are collected, side by side on --threads cores. Beside each shard's files goes
<shard>.json: what each file holds and its digest.
"""

from pathlib import Path

from worldmodels import checkpoint, cli, config, envs, settings
from worldmodels.cli import log
from worldmodels.rollouts import collect_shard
from worldmodels.settings import UserError
from worldmodels.workers import workers


def collect(data_dir: str, env, rollouts, seed: int, shard: int, threads: int) -> dict:
    summary = collect_shard(data_dir, env, rollouts, seed, shard, threads)
    checkpoint.write_json(Path(data_dir) / f"{config.shard_name(shard)}.json", summary)
    return summary


def main(args) -> None:
    run = cli.run_config(args)
    env = settings.from_args(args, config.EnvConfig)
    rollouts = settings.from_args(args, config.RolloutsConfig)
    checkpoint.prepare_folder(run.data_dir)
    if args.shard is not None and args.shard < 0:
        raise UserError(f"--shard: expected at least 0, found {args.shard}")
    if args.shard is not None:
        summaries = [collect(run.data_dir, env, rollouts, run.seed, args.shard, args.threads)]
    else:
        shards = range(config.num_shards(rollouts.num_rollouts, rollouts.shard_size))
        with workers(max(1, min(args.threads, len(shards)))) as pool:
            jobs = [pool.submit(collect, run.data_dir, env, rollouts, run.seed, shard, 1) for shard in shards]
            summaries = [job.result() for job in cli.progress(jobs, "rollouts")]
    episodes = [episode for summary in summaries for episode in summary["episodes"].values()]
    log.info(
        "rollouts: %d episodes of %s, %d steps, mean return %.1f, in %s",
        len(episodes),
        envs.describe(env),
        sum(episode["steps"] for episode in episodes),
        sum(episode["return"] for episode in episodes) / len(episodes),
        run.data_dir,
    )


if __name__ == "__main__":
    made = cli.parser(__doc__, config.EnvConfig, config.RolloutsConfig)
    made.add_argument("--shard", type=int, help="collect this shard only")
    cli.main(made, main)
