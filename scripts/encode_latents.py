#!/usr/bin/env python
"""Encode all frames of the rollouts with the trained V: <logdir>/latents/latents_<latent_size>.npz."""

from worldmodels import checkpoint, cli, config, settings
from worldmodels.cli import log
from worldmodels.latents import precompute_latents
from worldmodels.vae import load_vae, own_network_in


def main(args) -> None:
    run = cli.run_config(args)
    latents = settings.from_args(args, config.LatentsConfig)
    checkpoint.claim_folder(f"{run.logdir}/latents")
    weights = f"{run.logdir}/vae/best.tar"
    vae, saved = load_vae(weights, cli.device(run.device))
    files = cli.rollout_files(args)
    options = settings.options(latents, (settings.RESULT,))
    origin = cli.origin(args, [f"{run.logdir}/vae/best.json", *cli.summaries(files)])
    users = own_network_in(weights).values()
    identity = cli.identity(options, *map(checkpoint.digest, [weights, *files]), users=users)
    path = f"{run.logdir}/latents/latents_{saved['config']['latent_size']}.npz"
    arrays = precompute_latents(vae, files, path, latents.encode_batch_size, identity)
    counts = {"frames": len(arrays["latents"]), "episodes": len(arrays["offsets"])}
    summary = {"sha256": checkpoint.digest(path), "vae": checkpoint.digest(weights), **counts, **origin}
    checkpoint.write_json(path.removesuffix(".npz") + ".json", summary)
    log.info("latents: %d frames of %d episodes, %s", summary["frames"], summary["episodes"], path)


if __name__ == "__main__":
    made = cli.parser(__doc__, config.LatentsConfig)
    cli.add_rollouts(made)
    cli.main(made, main)
