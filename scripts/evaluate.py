#!/usr/bin/env python
"""Run the official test: the trained agent on held-out tracks of gymnasium's environment, without an early stop.

Writes <logdir>/eval.json: seeds, returns and lengths of the episodes, their mean, its 95 % interval (Student's t), the
standard deviation, versions, and the environment steps that training took. After one episode the standard deviation
and the interval are null. Episodes that have ended are saved in <logdir>/evaluate/checkpoint.tar. A stopped test
continues from there.

With --shard, only this shard of --shards is played. Its episodes go to
<logdir>/evaluate/shard_<shard>_of_<shards>.json. A run without --shard merges the shards.
"""

from argparse import Namespace
from pathlib import Path

from worldmodels.envs import seeding
from worldmodels.envs.backends import package_versions
from worldmodels.models.load_vae import user_network_of
from worldmodels.playing.evaluation import evaluate, summarize_test
from worldmodels.runtime.config import EnvConfig, EvaluateConfig, RunConfig
from worldmodels.runtime.curves import curves
from worldmodels.runtime.digests import file_digest
from worldmodels.runtime.errors import UserError
from worldmodels.runtime.flags import role_flags, section_from_args
from worldmodels.runtime.identity import product_origin, state_identity
from worldmodels.runtime.log import log
from worldmodels.runtime.program import make_parser, run_config_from_args, run_program
from worldmodels.runtime.score_text import interval_text, score_text
from worldmodels.runtime.settings import RESULT
from worldmodels.storage.files import claim_folder, write_json


def main(args: Namespace) -> None:
    run = run_config_from_args(args)
    env = section_from_args(args, EnvConfig)
    config = section_from_args(args, EvaluateConfig)
    shards = [f"{run.logdir}/evaluate/shard_{shard}_of_{config.shards}.json" for shard in range(config.shards)]
    if args.shard is None:
        run_test(args, run, env, config, shards)
    elif 0 <= args.shard < config.shards:
        run_shard(args, run, env, config, shards[args.shard])
    else:
        raise UserError(f"--shard: expected 0 to {config.shards - 1}, below --shards, found {args.shard}")


def run_shard(args: Namespace, run: RunConfig, env: EnvConfig, config: EvaluateConfig, path: str) -> None:
    """Play the episodes of one shard and write them to this path."""
    name = f"{args.shard}_of_{config.shards}"
    claim_folder(f"{run.logdir}/evaluate", f"shard_{name}")
    identity, summaries = agent_identity(run.logdir, env)
    origin = product_origin(args, summaries)
    seeds = seeding.evaluation_seeds(config.num_episodes)[args.shard :: config.shards]
    episodes = evaluate(run.logdir, env, seeds, identity, run.device, args.threads, name)
    write_json(path, {"identity": identity, "episodes": episodes, **origin})
    log.info("evaluate: %d episodes of shard %d, %s", len(seeds), args.shard, path)


def run_test(args: Namespace, run: RunConfig, env: EnvConfig, config: EvaluateConfig, shards: list[str]) -> None:
    """Merge the episodes of the shards that exist, play the missing episodes, and write eval.json."""
    claim_folder(f"{run.logdir}/evaluate")
    identity, summaries = agent_identity(run.logdir, env)
    origin = product_origin(args, [*summaries, *(shards if config.shards > 1 else [])])
    seeds = seeding.evaluation_seeds(config.num_episodes)
    shard_files = [path for path in shards if Path(path).exists()]
    episodes = evaluate(run.logdir, env, seeds, identity, run.device, args.threads, shard_files=shard_files)
    result = summarize_test(run.logdir, env, episodes)
    write_json(f"{run.logdir}/eval.json", result | origin)
    curves.start("evaluate", identity, [])
    curves.add_test(result["returns"], result["lengths"], result["generation"])
    curves.add_score("evaluate", {"score/test": result["mean"]}, result["generation"])
    log.info(
        "evaluate: %s over %d tracks (95 %% interval of the mean %s), %s/eval.json",
        score_text(result["mean"], result["std"]), len(seeds), interval_text(result["mean_95_interval"]), run.logdir,
    )  # fmt: skip


def agent_identity(logdir: str, env: EnvConfig) -> tuple[str, list[str]]:
    """Return the identity of episodes of the agent in <logdir>, and the summaries of its V, M and C."""
    models = [f"{logdir}/{stage}/best" for stage in ("vae", "mdrnn", "ctrl")]
    digests = [file_digest(f"{model}.tar") for model in models]
    user_modules = (env.modules | user_network_of(f"{logdir}/vae/best.tar")).values()
    flags = role_flags(env, (RESULT,))
    identity = state_identity(flags, package_versions("gymnasium"), *digests, user_modules=user_modules)
    return identity, [f"{model}.json" for model in models]


if __name__ == "__main__":
    parser = make_parser(__doc__, EnvConfig, EvaluateConfig)
    parser.add_argument("--shard", type=int, help="play only this shard of the test")
    run_program(parser, main)
