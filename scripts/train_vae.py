#!/usr/bin/env python
"""Train V, the ConvVAE, on rollouts.

Writes to <logdir>/vae: best.tar (the weights with the lowest validation loss), best.json (their summary and the
history), samples/, and checkpoint.tar (the state that a stopped run continues from).
"""

from argparse import Namespace

from worldmodels.data.episodes import count_steps
from worldmodels.runtime.config import WMVAEConfig
from worldmodels.runtime.curves import curves
from worldmodels.runtime.devices import choose_device
from worldmodels.runtime.digests import file_digest
from worldmodels.runtime.flags import role_flags, section_from_args
from worldmodels.runtime.identity import product_origin, shard_summaries, state_identity
from worldmodels.runtime.log import log
from worldmodels.runtime.paths import start_file
from worldmodels.runtime.program import (
    add_rollout_flags,
    make_parser,
    rollout_files_from_args,
    run_config_from_args,
    run_program,
)
from worldmodels.runtime.settings import RESULT
from worldmodels.storage.checkpoints import write_best
from worldmodels.storage.files import claim_folder
from worldmodels.training.vae import train_vae


def main(args: Namespace) -> None:
    run = run_config_from_args(args)
    config = section_from_args(args, WMVAEConfig, device=run.device, data_dir=run.data_dir, logdir=run.logdir)
    folder = f"{run.logdir}/vae"
    claim_folder(folder)
    files = rollout_files_from_args(args)
    origin = product_origin(args, shard_summaries(files))
    # A saved state is continued with more epochs, but not with other settings, code or rollouts.
    flags = role_flags(config, (RESULT,))
    if config.start:
        config.start = start_file(config.start, "vae")
    digests = [file_digest(file) for file in (*files, *filter(None, [config.start]))]
    identity = state_identity(run.seed, flags, *digests, user_modules=config.modules.values())
    result = train_vae(files, config, run.seed, identity, choose_device(run.device))
    env_steps = count_steps(files) + result["start_steps"]
    best, history = result["best"] | {"env_steps": env_steps}, result["history"]
    write_best(folder, best, history, origin, model=config.model)
    curves.add_score("vae", {"loss/vae": best["precision"]}, best["epoch"])
    log.info(
        "vae: %d epochs, best validation loss %.2f per image after epoch %d, %s/best.tar",
        len(history), best["precision"], best["epoch"], folder,
    )  # fmt: skip


if __name__ == "__main__":
    parser = make_parser(__doc__, WMVAEConfig)
    add_rollout_flags(parser)
    run_program(parser, main)
