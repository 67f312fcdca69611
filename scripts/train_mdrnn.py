#!/usr/bin/env python
"""Train M, the MDN-RNN, on latents.

Reads <logdir>/latents/latents_<n>.npz or, with --precompute-latents false, encodes the rollouts on the fly. Writes
<logdir>/mdrnn/best.tar (the weights with the lowest validation loss) and best.json (its summary and the history).
<logdir>/mdrnn/checkpoint.tar is the state that a stopped run continues from.
"""

from functools import partial

from worldmodels import checkpoint, cli, config, settings
from worldmodels.cli import log
from worldmodels.datasets import check_split, share_memory
from worldmodels.mdrnn_training import train_mdrnn
from worldmodels.sequences import LatentSequenceDataset, SequenceDataset
from worldmodels.settings import UserError
from worldmodels.vae import load_vae, own_network_in


def main(args) -> None:
    run = cli.run_config(args)
    precomputed = settings.from_args(args, config.LatentsConfig).precompute_latents
    values = settings.from_args(
        args, config.WMMDNRNNConfig, device=run.device, data_dir=run.data_dir, logdir=run.logdir
    )
    device = cli.device(run.device)
    checkpoint.claim_folder(f"{run.logdir}/mdrnn")
    weights = f"{run.logdir}/vae/best.tar"
    vae, saved = load_vae(weights, device)
    split = {"num_test_files": values.num_test_files}
    if precomputed:
        path = f"{run.logdir}/latents/latents_{saved['config']['latent_size']}.npz"
        data = [path]
        summary = path.removesuffix(".npz") + ".json"
        if checkpoint.read_json(summary, ("vae",))["vae"] != checkpoint.digest(weights):
            raise UserError(
                f"{path}: expected the latents of {weights}, found another V's; run encode_latents.py again"
            )
        check_split(len(checkpoint.read_npz(path, ("offsets",))["offsets"]), values.num_test_files)
        sequences = partial(LatentSequenceDataset, path, values.seq_len, **split)
        memory = held_out_memory = {}
    else:
        data = files = cli.rollout_files(args)
        check_split(len(files), values.num_test_files)
        sequences = partial(SequenceDataset, files=files, seq_len=values.seq_len, **split)
        shares = share_memory(files, args.memory_gb, values.num_test_files)
        memory, held_out_memory = ({"buffer_size": share} for share in shares)
    train = sequences(**memory)  # which are validated on, too, where none are held out
    test = sequences(train=False, **held_out_memory) if values.num_test_files else train
    values.latent_size, values.action_size = saved["config"]["latent_size"], train.action_size
    summaries = [f"{run.logdir}/vae/best.json", *([summary] if precomputed else cli.summaries(files))]
    origin = cli.origin(args, summaries)
    options = settings.options(values, (settings.RESULT,))
    users = own_network_in(weights).values()
    digests = map(checkpoint.digest, [weights, *data])
    identity = cli.identity(run.seed, precomputed or args.memory_gb, options, *digests, users=users)
    result = train_mdrnn(train, test, values, run.seed, identity, device, None if precomputed else vae)
    best = result["best"] | {"vae": checkpoint.digest(weights)}
    checkpoint.write_best(f"{run.logdir}/mdrnn", best, result["history"], origin)
    log.info(
        "mdrnn: %d epochs, best validation loss %.4f after epoch %d, %s/mdrnn/best.tar",
        len(result["history"]),
        result["best"]["precision"],
        result["best"]["epoch"],
        run.logdir,
    )


if __name__ == "__main__":
    made = cli.parser(__doc__, config.LatentsConfig, config.WMMDNRNNConfig)
    made.add_argument("--memory-gb", type=float, default=8.0, help="frames held in memory (default: %(default)s)")
    cli.add_rollouts(made)
    cli.main(made, main)
