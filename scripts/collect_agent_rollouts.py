#!/usr/bin/env python
"""Collect rollouts as collect_rollouts.py does, in part driven by the agent of an earlier run (policy agent).

It is a program of its own, so that rollouts without an agent do not depend on the code of V, M and C.
"""

from argparse import Namespace

from worldmodels.data.agent_policy import EarlierAgent
from worldmodels.data.collection import collect_from_args
from worldmodels.runtime import preflight
from worldmodels.runtime.config import EnvConfig, RolloutsConfig
from worldmodels.runtime.program import make_parser, run_program


def main(args: Namespace) -> None:
    collect_from_args(args, EarlierAgent)


if __name__ == "__main__":
    parser = make_parser(__doc__, EnvConfig, RolloutsConfig)
    preflight.add_controller_flag(parser)
    parser.add_argument("--shard", type=int, help="collect only this shard")
    run_program(parser, main)
