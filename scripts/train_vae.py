#!/usr/bin/env python
"""Train V, the ConvVAE, on rollouts.

Writes <logdir>/vae/best.tar (the weights with the lowest validation loss), best.json (its summary and
the history) and samples/. <logdir>/vae/checkpoint.tar is the state that a stopped run continues from.
"""

from worldmodels.data.episodes import count_steps
from worldmodels.runtime.config import WMVAEConfig
from worldmodels.runtime.devices import choose_device
from worldmodels.runtime.digests import file_digest
from worldmodels.runtime.flags import role_flags, section_from_args
from worldmodels.runtime.identity import product_origin, shard_summaries, state_identity
from worldmodels.runtime.log import log
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


def main(args) -> None:
    run = run_config_from_args(args)
    vae = section_from_args(args, WMVAEConfig, device=run.device, data_dir=run.data_dir, logdir=run.logdir)
    claim_folder(f"{run.logdir}/vae")
    files = rollout_files_from_args(args)
    # The state may be continued with more epochs, but not with other options, code or rollouts.
    origin = product_origin(args, shard_summaries(files))
    digests = map(file_digest, files)
    identity = state_identity(run.seed, role_flags(vae, (RESULT,)), *digests, user_modules=vae.modules.values())
    result = train_vae(files, vae, run.seed, identity, choose_device(run.device))
    best = result["best"] | {"env_steps": count_steps(files)}
    write_best(f"{run.logdir}/vae", best, result["history"], origin, model=vae.model)
    log.info(
        "vae: %d epochs, best validation loss %.2f per image after epoch %d, %s/vae/best.tar",
        len(result["history"]),
        best["precision"],
        best["epoch"],
        run.logdir,
    )


if __name__ == "__main__":
    made = make_parser(__doc__, WMVAEConfig)
    add_rollout_flags(made)
    run_program(made, main)
