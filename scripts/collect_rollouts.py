#!/usr/bin/env python
"""Collect rollouts: episodes under random policies, one .npz file per episode.

Without --shard, all shards are collected, side by side on --threads cores. A summary <shard>.json stands beside the
files of each shard. It says what each file holds, and its digest.
"""

from worldmodels.data.collection import collect_from_args
from worldmodels.runtime import preflight
from worldmodels.runtime.config import EnvConfig, RolloutsConfig
from worldmodels.runtime.program import make_parser, run_program

if __name__ == "__main__":
    parser = make_parser(__doc__, EnvConfig, RolloutsConfig)
    preflight.add_controller_flag(parser)
    parser.add_argument("--shard", type=int, help="collect only this shard")
    run_program(parser, collect_from_args)
