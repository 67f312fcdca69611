#!/usr/bin/env python
"""Collect rollouts as collect_rollouts.py does, in which the agent of an earlier run drives too (policy agent).

A program of its own, so that rollouts without an agent do not depend on the code of V, M and C.
"""

from worldmodels.data.agent_policy import EarlierAgent
from worldmodels.data.collection import collect_from_args
from worldmodels.runtime import preflight
from worldmodels.runtime.config import EnvConfig, RolloutsConfig
from worldmodels.runtime.program import make_parser, run_program

if __name__ == "__main__":
    made = make_parser(__doc__, EnvConfig, RolloutsConfig)
    preflight.add_controller_flag(made)
    made.add_argument("--shard", type=int, help="collect this shard only")
    run_program(made, lambda args: collect_from_args(args, EarlierAgent))
