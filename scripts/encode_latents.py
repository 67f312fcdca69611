#!/usr/bin/env python
"""Encode all frames of the rollouts with the trained V: <logdir>/latents/latents_<latent_size>.npz."""

from worldmodels.data.latents import precompute_latents
from worldmodels.models.load_vae import load_vae, user_network_of
from worldmodels.runtime.config import LatentsConfig
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
from worldmodels.storage.files import claim_folder, write_json


def main(args) -> None:
    run = run_config_from_args(args)
    latents = section_from_args(args, LatentsConfig)
    claim_folder(f"{run.logdir}/latents")
    weights = f"{run.logdir}/vae/best.tar"
    vae, saved = load_vae(weights, choose_device(run.device))
    files = rollout_files_from_args(args)
    options = role_flags(latents, (RESULT,))
    origin = product_origin(args, [f"{run.logdir}/vae/best.json", *shard_summaries(files)])
    users = user_network_of(weights).values()
    identity = state_identity(options, *map(file_digest, [weights, *files]), user_modules=users)
    path = f"{run.logdir}/latents/latents_{saved['config']['latent_size']}.npz"
    arrays = precompute_latents(vae, files, path, latents.encode_batch_size, identity)
    counts = {"frames": len(arrays["latents"]), "episodes": len(arrays["offsets"])}
    summary = {"sha256": file_digest(path), "vae": file_digest(weights), **counts, **origin}
    write_json(path.removesuffix(".npz") + ".json", summary)
    log.info("latents: %d frames of %d episodes, %s", summary["frames"], summary["episodes"], path)


if __name__ == "__main__":
    made = make_parser(__doc__, LatentsConfig)
    add_rollout_flags(made)
    run_program(made, main)
