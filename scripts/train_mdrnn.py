#!/usr/bin/env python
"""Train M, the MDN-RNN, on latents.

Reads <logdir>/latents/latents_<n>.npz or, with --precompute-latents false, encodes the rollouts on the fly. Writes
<logdir>/mdrnn/best.tar (the weights with the lowest validation loss) and best.json (its summary and the history).
<logdir>/mdrnn/checkpoint.tar is the state that a stopped run continues from.
"""

from functools import partial

from worldmodels.data.datasets import share_memory
from worldmodels.data.episodes import check_split
from worldmodels.data.sequences import LatentSequenceDataset, SequenceDataset
from worldmodels.models.load_vae import load_vae, user_network_of
from worldmodels.runtime.config import LatentsConfig, WMMDNRNNConfig
from worldmodels.runtime.devices import choose_device
from worldmodels.runtime.digests import file_digest
from worldmodels.runtime.errors import UserError
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
from worldmodels.storage.files import claim_folder, read_json
from worldmodels.storage.npz import read_npz
from worldmodels.training.mdrnn import train_mdrnn


def main(args) -> None:
    run = run_config_from_args(args)
    precomputed = section_from_args(args, LatentsConfig).precompute_latents
    values = section_from_args(args, WMMDNRNNConfig, device=run.device, data_dir=run.data_dir, logdir=run.logdir)
    device = choose_device(run.device)
    claim_folder(f"{run.logdir}/mdrnn")
    weights = f"{run.logdir}/vae/best.tar"
    vae, saved = load_vae(weights, device)
    split = {"num_test_files": values.num_test_files}
    if precomputed:
        path = f"{run.logdir}/latents/latents_{saved['config']['latent_size']}.npz"
        data = [path]
        summary = path.removesuffix(".npz") + ".json"
        if read_json(summary, ("vae",))["vae"] != file_digest(weights):
            raise UserError(
                f"{path}: expected the latents of {weights}, found another V's; run encode_latents.py again"
            )
        check_split(len(read_npz(path, ("offsets",))["offsets"]), values.num_test_files)
        sequences = partial(LatentSequenceDataset, path, values.seq_len, **split)
        memory = held_out_memory = {}
    else:
        data = files = rollout_files_from_args(args)
        check_split(len(files), values.num_test_files)
        sequences = partial(SequenceDataset, files=files, seq_len=values.seq_len, **split)
        shares = share_memory(files, args.memory_gb, values.num_test_files)
        memory, held_out_memory = ({"buffer_size": share} for share in shares)
    train = sequences(**memory)  # which are validated on, too, where none are held out
    test = sequences(train=False, **held_out_memory) if values.num_test_files else train
    values.latent_size, values.action_size = saved["config"]["latent_size"], train.action_size
    summaries = [f"{run.logdir}/vae/best.json", *([summary] if precomputed else shard_summaries(files))]
    origin = product_origin(args, summaries)
    options = role_flags(values, (RESULT,))
    users = user_network_of(weights).values()
    digests = map(file_digest, [weights, *data])
    identity = state_identity(run.seed, precomputed or args.memory_gb, options, *digests, user_modules=users)
    result = train_mdrnn(train, test, values, run.seed, identity, device, None if precomputed else vae)
    best = result["best"] | {"vae": file_digest(weights)}
    write_best(f"{run.logdir}/mdrnn", best, result["history"], origin)
    log.info(
        "mdrnn: %d epochs, best validation loss %.4f after epoch %d, %s/mdrnn/best.tar",
        len(result["history"]),
        result["best"]["precision"],
        result["best"]["epoch"],
        run.logdir,
    )


if __name__ == "__main__":
    made = make_parser(__doc__, LatentsConfig, WMMDNRNNConfig)
    made.add_argument("--memory-gb", type=float, default=8.0, help="frames held in memory (default: %(default)s)")
    add_rollout_flags(made)
    run_program(made, main)
