#!/usr/bin/env python
"""Collect rollouts: episodes under random policies, one .npz file an episode.

Without --shard all shards are collected, side by side on --threads cores. Beside each shard's files goes
<shard>.json: what each file holds and its digest.
"""

from worldmodels import cli, config, preflight
from worldmodels.rollouts import run

if __name__ == "__main__":
    made = cli.parser(__doc__, config.EnvConfig, config.RolloutsConfig)
    preflight.add_flag(made)
    made.add_argument("--shard", type=int, help="collect this shard only")
    cli.main(made, run)
