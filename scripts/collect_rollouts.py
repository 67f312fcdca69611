#!/usr/bin/env python
"""Collect rollouts: episodes under random policies, one .npz file an episode.

Without --shard all shards are collected, side by side on --threads cores. Beside each shard's files goes
<shard>.json: what each file holds and its digest.
"""

from worldmodels.data.collection import collect_from_args
from worldmodels.runtime import preflight
from worldmodels.runtime.config import EnvConfig, RolloutsConfig
from worldmodels.runtime.program import make_parser, run_program

if __name__ == "__main__":
    made = make_parser(__doc__, EnvConfig, RolloutsConfig)
    preflight.add_controller_flag(made)
    made.add_argument("--shard", type=int, help="collect this shard only")
    run_program(made, collect_from_args)
