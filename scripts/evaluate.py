#!/usr/bin/env python
"""The official test: the trained agent on held-out tracks of gymnasium's environment, no early stop.

Writes <logdir>/eval.json: the seeds, returns and lengths of the episodes, their mean, standard deviation and the 95 %
interval of the mean (Student's t), versions, and the environment steps that training took. One episode has no spread:
its standard deviation and interval are null. Finished episodes are kept in <logdir>/evaluate/checkpoint.tar, from which
a stopped test goes on.

With --shard only that one of --shards parts is played, into <logdir>/evaluate/shard_<shard>_of_<shards>.json; a run
without --shard then merges them.
"""

from pathlib import Path

from worldmodels import checkpoint, cli, config, seeding, settings
from worldmodels.cli import log
from worldmodels.envs import versions
from worldmodels.evaluation import evaluate, summarise
from worldmodels.scores import interval_text, score_text
from worldmodels.settings import UserError
from worldmodels.vae import own_network_in


def main(args) -> None:
    run = cli.run_config(args)
    env = settings.from_args(args, config.EnvConfig)
    test = settings.from_args(args, config.EvaluateConfig)
    seeds = seeding.evaluation_seeds(test.num_episodes)
    shards = [f"{run.logdir}/evaluate/shard_{shard}_of_{test.shards}.json" for shard in range(test.shards)]
    if args.shard is not None and not 0 <= args.shard < test.shards:
        raise UserError(f"--shard: expected 0 to {test.shards - 1}, below --shards, found {args.shard}")
    name = "" if args.shard is None else f"{args.shard}_of_{test.shards}"
    checkpoint.claim_folder(f"{run.logdir}/evaluate", name and f"shard_{name}")
    agent = [checkpoint.digest(f"{run.logdir}/{stage}/best.tar") for stage in ("vae", "mdrnn", "ctrl")]
    summaries = [f"{run.logdir}/{stage}/best.json" for stage in ("vae", "mdrnn", "ctrl")]
    origin = cli.origin(args, [*summaries, *(shards if args.shard is None and test.shards > 1 else [])])
    options = settings.options(env, (settings.RESULT,))
    users = (env.modules | own_network_in(f"{run.logdir}/vae/best.tar")).values()
    identity = cli.identity(options, versions("gymnasium"), *agent, users=users)
    if args.shard is not None:
        seeds = seeds[args.shard :: test.shards]
        episodes = evaluate(run.logdir, env, seeds, identity, run.device, args.threads, name)
        checkpoint.write_json(shards[args.shard], {"identity": identity, "episodes": episodes, **origin})
        log.info("evaluate: %d episodes of shard %d, %s", len(seeds), args.shard, shards[args.shard])
        return
    played = [path for path in shards if Path(path).exists()]
    episodes = evaluate(run.logdir, env, seeds, identity, run.device, args.threads, played=played)
    result = summarise(run.logdir, env, episodes)
    checkpoint.write_json(f"{run.logdir}/eval.json", result | origin)
    log.info(
        "evaluate: %s over %d tracks (95 %% interval of the mean %s), %s/eval.json",
        score_text(result["mean"], result["std"]),
        len(seeds),
        interval_text(result["mean_95_interval"]),
        run.logdir,
    )


if __name__ == "__main__":
    made = cli.parser(__doc__, config.EnvConfig, config.EvaluateConfig)
    made.add_argument("--shard", type=int, help="play this shard of the test only")
    cli.main(made, main)
