#!/usr/bin/env python
"""Train M, the MDN-RNN, on latents.

Reads <logdir>/latents/latents_<n>.npz or, with --precompute-latents false, encodes the rollouts while it trains.
Writes to <logdir>/mdrnn: best.tar (the weights with the lowest validation loss), best.json (their summary and the
history), and checkpoint.tar (the state that a stopped run continues from).
"""

from argparse import Namespace
from typing import NamedTuple

from worldmodels.data.datasets import share_memory
from worldmodels.data.episodes import check_split
from worldmodels.data.sequences import LatentSequenceDataset, SequenceDataset
from worldmodels.models.load_vae import load_vae, user_network_of
from worldmodels.runtime.config import LatentsConfig, WMMDNRNNConfig
from worldmodels.runtime.curves import curves
from worldmodels.runtime.devices import choose_device
from worldmodels.runtime.digests import file_digest
from worldmodels.runtime.errors import UserError
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
from worldmodels.storage.files import claim_folder, read_json
from worldmodels.storage.npz import read_npz
from worldmodels.training.mdrnn import train_mdrnn


class Sequences(NamedTuple):
    """The sequences that M learns from.

    Attributes:
        train: sequences of the training episodes.
        test: sequences of the held-out episodes. Without held-out episodes it is `train`.
        files: the files that the sequences are read from.
        summaries: the summaries of these files.
    """

    train: LatentSequenceDataset | SequenceDataset
    test: LatentSequenceDataset | SequenceDataset
    files: list[str]
    summaries: list


def main(args: Namespace) -> None:
    run = run_config_from_args(args)
    precomputed = section_from_args(args, LatentsConfig).precompute_latents
    config = section_from_args(args, WMMDNRNNConfig, device=run.device, data_dir=run.data_dir, logdir=run.logdir)
    folder, device = f"{run.logdir}/mdrnn", choose_device(run.device)
    claim_folder(folder)
    weights = f"{run.logdir}/vae/best.tar"
    vae, saved = load_vae(weights, device)
    config.latent_size = saved["config"]["latent_size"]
    data = read_latents(run.logdir, config) if precomputed else read_rollouts(args, config)
    config.action_size = data.train.action_size
    origin = product_origin(args, [f"{run.logdir}/vae/best.json", *data.summaries])
    # With a small memory, sequences are drawn from groups of files. The size of the groups then shows in the result.
    memory_gb = None if precomputed else args.memory_gb
    flags = role_flags(config, (RESULT,))
    if config.start:
        config.start = start_file(config.start, "mdrnn")
    digests = [file_digest(file) for file in (weights, *data.files, *filter(None, [config.start]))]
    identity = state_identity(run.seed, memory_gb, flags, *digests, user_modules=user_network_of(weights).values())
    result = train_mdrnn(data.train, data.test, config, run.seed, identity, device, None if precomputed else vae)
    starts = data.train.dream_starts() if precomputed else data.train.dream_starts(vae)
    best, history = result["best"] | starts | {"vae": file_digest(weights)}, result["history"]
    write_best(folder, best, history, origin, endings=result["endings"].text())
    curves.add_score("mdrnn", {"loss/mdrnn": best["precision"]}, best["epoch"])
    log.info(
        "mdrnn: %d epochs, best validation loss %.4f after epoch %d, %s/best.tar",
        len(history), best["precision"], best["epoch"], folder,
    )  # fmt: skip
    log.info("mdrnn: endings in validation: %s", result["endings"].text())


def read_latents(logdir: str, config: WMMDNRNNConfig) -> Sequences:
    """Return the sequences of latents that encode_latents.py has written.

    Raises:
        UserError: The latents are missing or damaged, come from another V, or are of too few episodes.
    """
    path, weights = f"{logdir}/latents/latents_{config.latent_size}", f"{logdir}/vae/best.tar"
    if read_json(f"{path}.json", ("vae",))["vae"] != file_digest(weights):
        raise UserError(
            f"{path}.npz: expected the latents of {weights}, found another V's; run encode_latents.py again"
        )
    check_split(len(read_npz(f"{path}.npz", ("offsets",))["offsets"]), config.num_test_files)
    source = {"source": f"{path}.npz", "seq_len": config.seq_len, "num_test_files": config.num_test_files}
    train = LatentSequenceDataset(**source)
    test = LatentSequenceDataset(**source, train=False) if config.num_test_files else train
    return Sequences(train, test, [f"{path}.npz"], [f"{path}.json"])


def read_rollouts(args: Namespace, config: WMMDNRNNConfig) -> Sequences:
    """Return the sequences of frames in the rollouts. V encodes them while M trains.

    Raises:
        UserError: The rollouts are missing, damaged or too few.
    """
    files = rollout_files_from_args(args)
    check_split(len(files), config.num_test_files)
    train_share, test_share = share_memory(files, args.memory_gb, config.num_test_files)
    source = {"files": files, "seq_len": config.seq_len, "num_test_files": config.num_test_files}
    train = SequenceDataset(**source, buffer_size=train_share)
    test = SequenceDataset(**source, train=False, buffer_size=test_share) if config.num_test_files else train
    return Sequences(train, test, files, shard_summaries(files))


if __name__ == "__main__":
    parser = make_parser(__doc__, LatentsConfig, WMMDNRNNConfig)
    parser.add_argument("--memory-gb", type=float, default=8.0, help="memory for frames, GB (default: %(default)s)")
    add_rollout_flags(parser)
    run_program(parser, main)
