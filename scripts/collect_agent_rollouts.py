#!/usr/bin/env python
"""Collect rollouts as collect_rollouts.py does, in which the agent of an earlier run drives too (policy agent).

A program of its own, so that rollouts without an agent do not depend on the code of V, M and C.
"""

from worldmodels import cli, config, preflight
from worldmodels.on_policy import EarlierAgent
from worldmodels.rollouts import run

if __name__ == "__main__":
    made = cli.parser(__doc__, config.EnvConfig, config.RolloutsConfig)
    preflight.add_flag(made)
    made.add_argument("--shard", type=int, help="collect this shard only")
    cli.main(made, lambda args: run(args, EarlierAgent))
