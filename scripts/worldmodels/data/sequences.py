"""Sequences of steps for M, from precomputed latents or from frames. None ever crosses an episode's end.

An episode is cut into back-to-back sequences of at most L rows, so that every row is in exactly one of them. The first
one starts at the episode's first row. A sequence that starts at row s holds the rows s .. s+L-1 and, as what follows
them, the rows s+1 .. s+L. The last row of an episode has no successor: `valid` is 0 there, so that its reward and
terminal are learnt and its next latent is not asked for. Where a sequence is shorter than L, `padding` is 1 after its
end, and nothing is learnt there.
"""

import math
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import numpy as np
import torch

from worldmodels.data.datasets import EpisodeGroup, RolloutDataset
from worldmodels.data.episodes import split_files
from worldmodels.data.latents import LATENT_KEYS
from worldmodels.runtime.errors import UserError
from worldmodels.storage.npz import read_npz


def count_sequences(lengths: np.ndarray, seq_len: int) -> np.ndarray:
    """Return how many sequences an episode of each length is cut into during training.

    That is the smallest number that leaves the first cut a choice of at least seq_len / 4 rows. The number does not
    depend on the cut, so that every epoch has the same number of batches. Fewer sequences would mean less padding, but
    would cut an episode of 64 rows at row 32 in every epoch.
    """
    choices = max(1, seq_len // 4)
    return np.where(lengths <= seq_len, 1, -(-(lengths + choices) // seq_len))


def cut_episodes(offsets: np.ndarray, seq_len: int, rng: np.random.Generator | None = None) -> np.ndarray:
    """Cut episodes into back-to-back sequences of at most seq_len rows.

    Args:
        offsets: (E + 1,) rows where the episodes start, and the end.
        rng: draws the length of each episode's first sequence, so that the cuts differ between epochs; without it the
            first sequences have seq_len rows, or the whole episode if it is shorter.

    Returns:
        (S, 3) the first row of each sequence, the row after its last one, and the last row of its episode.
    """
    cuts = []
    for begin, end in pairwise(offsets):
        first = seq_len if rng is None else draw_first_length(end - begin, seq_len, rng)
        starts = np.append(begin, np.arange(begin + first, end, seq_len))
        ends = np.append(starts[1:], end)
        cuts.append(np.stack([starts, ends, np.full(len(starts), end - 1)], axis=1))
    return np.concatenate([np.empty((0, 3), np.int64), *cuts])


def draw_first_length(length: int, seq_len: int, rng: np.random.Generator) -> int:
    """Draw how many rows the first sequence of an episode has, among all that lead to count_sequences sequences."""
    if length <= seq_len:
        return length
    count = int(count_sequences(length, seq_len))
    least = max(1, length - (count - 1) * seq_len)
    most = min(seq_len, length - (count - 2) * seq_len - 1)
    return int(rng.integers(least, most + 1))


def rows_of(sequences: np.ndarray, seq_len: int) -> tuple[np.ndarray, np.ndarray, dict[str, torch.Tensor]]:
    """Return rows (L+1, B), time first: the sequences and one row more; rows (L, B); valid, padding (L, B) float32."""
    starts, ends, lasts = sequences.T
    rows = starts + np.arange(seq_len + 1)[:, None]
    inside = rows[:-1] < ends
    valid = inside & (rows[1:] <= lasts)
    rows = np.minimum(rows, np.minimum(ends, lasts))
    masks = {"valid": valid, "padding": ~inside}
    return rows, rows[:-1], {name: torch.from_numpy(mask).float() for name, mask in masks.items()}


class Cuts:
    """What training must know of the sequences of an epoch; for datasets with `offsets` and `seq_len`."""

    offsets: np.ndarray
    seq_len: int

    @property
    def num_sequences(self) -> int:
        """Sequences of a training epoch over the episodes in memory."""
        return int(count_sequences(np.diff(self.offsets), self.seq_len).sum())

    def num_batches(self, batch_size: int) -> int:
        """Batches of a training epoch."""
        return -(-self.num_sequences // batch_size)

    def rows_per_batch(self, batch_size: int) -> float:
        """Rows that count in a full batch of training sequences, on average."""
        rows = float(self.offsets[-1] - self.offsets[0])
        return rows * min(1.0, batch_size / self.num_sequences)


def need_sequences(offsets: np.ndarray, where: str) -> None:
    """Raise UserError if there are episodes (E + 1 offsets) and none has a sequence."""
    if len(offsets) > 1 and not (np.diff(offsets) > 1).any():
        raise UserError(f"mdrnn: expected episodes of at least 2 steps, found none in {where}")


class LatentSequenceDataset(Cuts, torch.utils.data.Dataset):
    """Sequences of precomputed latents, cut afresh for each epoch (`batches`) or fixed (indexing).

    An item is a dict of latents, next_latents (L, latent_size), actions (L, A), rewards, terminals, valid and padding
    (L,);
    z = mu + sigma * noise is drawn anew every time.

    Args:
        path: latents_<n>.npz.
        seq_len: L.
        train: the training episodes, or else the held-out ones, of which there may be none: the dataset is empty then.
        num_test_files: last episodes held out; 0: none. See split_files.
    """

    def __init__(self, path: str | Path, seq_len: int, train: bool = True, num_test_files: int = 0) -> None:
        arrays = read_npz(path, LATENT_KEYS)
        bounds = np.append(arrays.pop("offsets"), len(arrays["latents"]))
        kept = split_files(list(range(len(bounds) - 1)), num_test_files, train)
        begin, end = (kept[0], kept[-1] + 1) if kept else (0, 0)
        first, last = bounds[begin], bounds[end]
        bounds = bounds[begin : end + 1] - first
        arrays = {key: array[first:last] for key, array in arrays.items()}
        self.offsets, self.seq_len = bounds, seq_len
        self.arrays = {key: torch.from_numpy(array) for key, array in arrays.items()}
        self.sequences = cut_episodes(bounds, seq_len)
        need_sequences(bounds, str(path))

    @property
    def reward_scale(self) -> float:
        """Standard deviation of the rewards."""
        return float(self.arrays["rewards"].std(correction=0))

    @property
    def action_size(self) -> int:
        return self.arrays["actions"].shape[1]

    @property
    def latent_size(self) -> int:
        return self.arrays["latents"].shape[1]

    def __len__(self) -> int:
        return len(self.sequences)

    def __getitem__(self, index: int) -> dict[str, torch.Tensor]:
        number = range(len(self))[index]
        batch = self.gather(self.sequences[number : number + 1])
        return {key: value[:, 0] for key, value in batch.items()}

    def gather(self, sequences: np.ndarray) -> dict[str, torch.Tensor]:
        """The sequences (B, 3), see cut_episodes, as one batch, time first: (L, B, ...)."""
        around, rows, masks = rows_of(sequences, self.seq_len)
        mu, logsigma = self.arrays["latents"][around], self.arrays["logsigmas"][around]
        z = mu + logsigma.exp() * torch.randn_like(mu)
        return {
            "latents": z[:-1],
            "next_latents": z[1:],
            **{key: self.arrays[key][rows] for key in ("actions", "rewards", "terminals")},
            **masks,
        }

    def batches(
        self, batch_size: int, rng: np.random.Generator | None = None, start: int = 0
    ) -> Iterator[dict[str, torch.Tensor]]:
        """Every row once, from batch `start` on; with rng cut at new places and in random order."""
        sequences = self.sequences
        if rng is not None:
            sequences = rng.permutation(cut_episodes(self.offsets, self.seq_len, rng))
        for i in range(start * batch_size, len(sequences), batch_size):
            yield self.gather(sequences[i : i + batch_size])


class SequenceDataset(Cuts, RolloutDataset):
    """Sequences of frames: dicts of observations, next_observations (L,3,H,W) float32 in [0,1], actions (L, A),
    rewards, terminals, valid and padding (L,). Indexing covers the files in memory, see RolloutDataset.
    """

    def __init__(self, root: str | Path = "", seq_len: int = 32, **options) -> None:
        super().__init__(root, **options)
        self.seq_len = seq_len
        need_sequences(self.offsets, str(root or next(iter(self.files), "")))

    @property
    def offsets(self) -> np.ndarray:
        """(E + 1,) rows where the episodes in memory start, and the end."""
        return self.group.offsets

    def num_batches(self, batch_size: int) -> int:
        """Batches of a training epoch; an estimate where the files do not fit the memory."""
        sequences = self.num_sequences * len(self.files) / max(1, self.buffer_size)
        return math.ceil(sequences / batch_size)

    @property
    def reward_scale(self) -> float:
        """Standard deviation of the rewards in memory."""
        return float(self.group.rewards.std())

    @property
    def action_size(self) -> int:
        return self.group.actions.shape[1]

    def __len__(self) -> int:
        return len(cut_episodes(self.offsets, self.seq_len))

    def _get_data(self, index: int):
        sequences = cut_episodes(self.offsets, self.seq_len)
        batch = self.gather(self.group, sequences[index : index + 1])
        frames = torch.stack([self._observation(row) for row in batch.pop("rows")[:, 0]])
        batch.pop("frames")
        return {"observations": frames[:-1], "next_observations": frames[1:], **{k: v[:, 0] for k, v in batch.items()}}

    def gather(self, group: EpisodeGroup, sequences: np.ndarray) -> dict:
        """A batch, time first: frames (L+1, B, H, W, C) uint8 that V is to encode, and the rest as above."""
        around, rows, masks = rows_of(sequences, self.seq_len)
        return {
            "rows": around,
            "frames": torch.from_numpy(group.observations[around]),
            **{key: torch.from_numpy(getattr(group, key)[rows]) for key in ("actions", "rewards", "terminals")},
            **masks,
        }

    def batches(self, batch_size: int, rng: np.random.Generator | None = None, start: int = 0) -> Iterator[dict]:
        """Every row once, see `gather`, from batch `start` on; with rng cut at new places and in random order."""
        for group in self.groups(rng if rng is not None else np.random.default_rng(0)):
            sequences = cut_episodes(group.offsets, self.seq_len, rng)
            if rng is not None:
                sequences = rng.permutation(sequences)
            for i in range(start * batch_size, len(sequences), batch_size):
                yield self.gather(group, sequences[i : i + batch_size])
            start = max(0, start - -(-len(sequences) // batch_size))
