#!/usr/bin/env python
"""Encode all frames of the rollouts with the trained V.

Writes <logdir>/latents/latents_<latent_size>.npz and its summary, a .json of the same name.
"""

from argparse import Namespace

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


def main(args: Namespace) -> None:
    run = run_config_from_args(args)
    config = section_from_args(args, LatentsConfig)
    folder = f"{run.logdir}/latents"
    claim_folder(folder)
    weights = f"{run.logdir}/vae/best.tar"
    vae, saved = load_vae(weights, choose_device(run.device))
    files = rollout_files_from_args(args)
    origin = product_origin(args, [f"{run.logdir}/vae/best.json", *shard_summaries(files)])
    flags = role_flags(config, (RESULT,))
    digests = [file_digest(file) for file in (weights, *files)]
    identity = state_identity(flags, *digests, user_modules=user_network_of(weights).values())
    path = f"{folder}/latents_{saved['config']['latent_size']}"
    arrays = precompute_latents(vae, files, f"{path}.npz", config.encode_batch_size, identity)
    frames, episodes = len(arrays["latents"]), len(arrays["offsets"])
    summary = {"sha256": file_digest(f"{path}.npz"), "vae": file_digest(weights)}
    write_json(f"{path}.json", {**summary, "frames": frames, "episodes": episodes, **origin})
    log.info("latents: %d frames of %d episodes, %s.npz", frames, episodes, path)


if __name__ == "__main__":
    parser = make_parser(__doc__, LatentsConfig)
    add_rollout_flags(parser)
    run_program(parser, main)
