#!/usr/bin/env python
"""Install the V, M and C of a package, or of a finished run, as this run's.

Writes vae/best.tar, mdrnn/best.tar and ctrl/best.tar below <logdir>, each with its summary (.json). With --controller
start, C becomes ctrl/start.tar, where the search of train_controller.py can start.
"""

from argparse import Namespace
from pathlib import Path

from worldmodels.playing.agent import load_agent
from worldmodels.runtime.devices import choose_device
from worldmodels.runtime.digests import file_digest
from worldmodels.runtime.identity import product_origin
from worldmodels.runtime.log import log
from worldmodels.runtime.packages import STAGES
from worldmodels.runtime.program import make_parser, run_config_from_args, run_program
from worldmodels.storage.checkpoints import load_checkpoint, write_best
from worldmodels.storage.files import claim_folder


def main(args: Namespace) -> None:
    run = run_config_from_args(args)
    load_agent(args.agent, choose_device("cpu"))  # checks that the three belong together
    checkpoints = {stage: load_checkpoint(f"{args.agent}/{stage}/best.tar") for stage in STAGES}
    origin, digests = product_origin(args, []), {}
    for stage, content in checkpoints.items():
        folder = Path(run.logdir, stage)
        name = args.controller if stage == "ctrl" else "best"
        claim_folder(folder, "" if name == "best" else name)
        # The files are new, so the digests by which M and C know their V and M are, too.
        content |= {model: digest for model, digest in digests.items() if model in content}
        texts = {"model": content["config"].get("model", "ConvVAE")} if stage == "vae" else {}
        write_best(folder, content, origin=origin, name=name, **texts)
        digests[stage] = file_digest(folder / f"{name}.tar")
    log.info("install: V, M and C of %s, in %s", args.agent, run.logdir)


if __name__ == "__main__":
    parser = make_parser(__doc__)
    parser.add_argument("--agent", required=True, metavar="PATH", help="package, or logdir of a finished run")
    parser.add_argument(
        "--controller", choices=("best", "start"), default="best", help="name of C's file (default: %(default)s)"
    )
    run_program(parser, main)
