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

from worldmodels.envs import seeding
from worldmodels.envs.backends import package_versions
from worldmodels.models.load_vae import user_network_of
from worldmodels.playing.evaluation import evaluate, summarize_test
from worldmodels.runtime.config import EnvConfig, EvaluateConfig
from worldmodels.runtime.digests import file_digest
from worldmodels.runtime.errors import UserError
from worldmodels.runtime.flags import role_flags, section_from_args
from worldmodels.runtime.identity import product_origin, state_identity
from worldmodels.runtime.log import log
from worldmodels.runtime.program import make_parser, run_config_from_args, run_program
from worldmodels.runtime.score_text import interval_text, score_text
from worldmodels.runtime.settings import RESULT
from worldmodels.storage.files import claim_folder, write_json


def main(args) -> None:
    run = run_config_from_args(args)
    env = section_from_args(args, EnvConfig)
    test = section_from_args(args, EvaluateConfig)
    seeds = seeding.evaluation_seeds(test.num_episodes)
    shards = [f"{run.logdir}/evaluate/shard_{shard}_of_{test.shards}.json" for shard in range(test.shards)]
    if args.shard is not None and not 0 <= args.shard < test.shards:
        raise UserError(f"--shard: expected 0 to {test.shards - 1}, below --shards, found {args.shard}")
    name = "" if args.shard is None else f"{args.shard}_of_{test.shards}"
    claim_folder(f"{run.logdir}/evaluate", name and f"shard_{name}")
    agent = [file_digest(f"{run.logdir}/{stage}/best.tar") for stage in ("vae", "mdrnn", "ctrl")]
    summaries = [f"{run.logdir}/{stage}/best.json" for stage in ("vae", "mdrnn", "ctrl")]
    origin = product_origin(args, [*summaries, *(shards if args.shard is None and test.shards > 1 else [])])
    options = role_flags(env, (RESULT,))
    users = (env.modules | user_network_of(f"{run.logdir}/vae/best.tar")).values()
    identity = state_identity(options, package_versions("gymnasium"), *agent, user_modules=users)
    if args.shard is not None:
        seeds = seeds[args.shard :: test.shards]
        episodes = evaluate(run.logdir, env, seeds, identity, run.device, args.threads, name)
        write_json(shards[args.shard], {"identity": identity, "episodes": episodes, **origin})
        log.info("evaluate: %d episodes of shard %d, %s", len(seeds), args.shard, shards[args.shard])
        return
    played = [path for path in shards if Path(path).exists()]
    episodes = evaluate(run.logdir, env, seeds, identity, run.device, args.threads, played=played)
    result = summarize_test(run.logdir, env, episodes)
    write_json(f"{run.logdir}/eval.json", result | origin)
    log.info(
        "evaluate: %s over %d tracks (95 %% interval of the mean %s), %s/eval.json",
        score_text(result["mean"], result["std"]),
        len(seeds),
        interval_text(result["mean_95_interval"]),
        run.logdir,
    )


if __name__ == "__main__":
    made = make_parser(__doc__, EnvConfig, EvaluateConfig)
    made.add_argument("--shard", type=int, help="play this shard of the test only")
    run_program(made, main)
