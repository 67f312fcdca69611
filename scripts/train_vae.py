#!/usr/bin/env python
"""Train V, the ConvVAE, on rollouts.

Writes <logdir>/vae/best.tar (the weights with the lowest validation loss), best.json (its summary and
the history) and samples/. <logdir>/vae/checkpoint.tar is the state that a stopped run continues from.
"""

from worldmodels import checkpoint, cli, config, settings
from worldmodels.cli import log
from worldmodels.datasets import count_steps
from worldmodels.vae_training import train_vae


def main(args) -> None:
    run = cli.run_config(args)
    vae = settings.from_args(args, config.WMVAEConfig, device=run.device, data_dir=run.data_dir, logdir=run.logdir)
    checkpoint.claim_folder(f"{run.logdir}/vae")
    files = cli.rollout_files(args)
    # The state may be continued with more epochs, but not with other options, code or rollouts.
    origin = cli.origin(args, cli.summaries(files))
    digests = map(checkpoint.digest, files)
    identity = cli.identity(run.seed, settings.options(vae, (settings.RESULT,)), *digests, users=vae.modules.values())
    result = train_vae(files, vae, run.seed, identity, cli.device(run.device))
    best = result["best"] | {"env_steps": count_steps(files)}
    checkpoint.write_best(f"{run.logdir}/vae", best, result["history"], origin, model=vae.model)
    log.info(
        "vae: %d epochs, best validation loss %.2f per image after epoch %d, %s/vae/best.tar",
        len(result["history"]),
        best["precision"],
        best["epoch"],
        run.logdir,
    )


if __name__ == "__main__":
    made = cli.parser(__doc__, config.WMVAEConfig)
    cli.add_rollouts(made)
    cli.main(made, main)
