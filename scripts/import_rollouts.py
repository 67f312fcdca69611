#!/usr/bin/env python
"""Import episodes that others made (--source) as rollouts: one .npz file per episode.

The source is a folder of .npz files, one per episode, sorted by their paths, or a Minari dataset. Frames are resized as
the environment's frames are. Actions are encoded, and numbers become float32. docs/sharing.md lists what is understood.
Without --shard, all shards are imported. A summary <shard>.json stands beside the files of each shard.
"""

from argparse import Namespace

from worldmodels.data.importing import import_shard
from worldmodels.data.shards import check_shard_flag, log_episodes, warn_about_pictures
from worldmodels.envs.instances import Instances
from worldmodels.runtime import locks, preflight
from worldmodels.runtime.config import EnvConfig, RolloutsConfig
from worldmodels.runtime.flags import section_from_args
from worldmodels.runtime.identity import product_origin
from worldmodels.runtime.log import log
from worldmodels.runtime.paths import num_shards, shard_name
from worldmodels.runtime.program import make_parser, run_config_from_args, run_program
from worldmodels.runtime.sources import find_source
from worldmodels.storage.files import prepare_folder


def main(args: Namespace) -> None:
    run = run_config_from_args(args)
    env = section_from_args(args, EnvConfig)
    rollouts = section_from_args(args, RolloutsConfig, env_name=env.id, env_kwargs=env.kwargs)
    source = find_source(rollouts.source)
    if source.episodes > rollouts.num_rollouts:
        log.info(
            "import: the first %d of the %d episodes in %s (rollouts.num_rollouts)",
            rollouts.num_rollouts, source.episodes, rollouts.source,
        )  # fmt: skip
    rollouts.num_rollouts = min(rollouts.num_rollouts, source.episodes)
    check_shard_flag(args.shard, rollouts)
    instances = Instances(env)
    codec = instances.codec
    instances.close()
    preflight.check_controller_flag(args.controller, codec.summary)
    prepare_folder(run.data_dir)
    episodes, origin = [], {} if args.shard is None else product_origin(args, [])
    shards = range(num_shards(rollouts.num_rollouts, rollouts.shard_size)) if args.shard is None else [args.shard]
    for shard in shards:
        with locks.claimed(run.data_dir, f"shard_{shard_name(shard)}"):
            locks.remove_leftovers(run.data_dir)
            summary = import_shard(run.data_dir, env, rollouts, source, shard, codec, origin)
        episodes += summary["episodes"].values()
    log_episodes(episodes, env, run.data_dir)
    warn_about_pictures(episodes, env)
    if not any(episode["return"] for episode in episodes):
        log.warning("import: all rewards are 0; with mdrnn.include_reward: false, M does not learn them")


if __name__ == "__main__":
    parser = make_parser(__doc__, EnvConfig, RolloutsConfig)
    preflight.add_controller_flag(parser)
    parser.add_argument("--shard", type=int, help="import only this shard")
    run_program(parser, main)
