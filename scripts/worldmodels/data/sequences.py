"""Sequences of steps for M, from precomputed latents or from frames. None ever crosses an episode's end.

An episode is cut into back-to-back sequences of at most L rows, so that every row is in exactly one of them. The first
one starts at the episode's first row. A sequence that starts at row s holds the rows s .. s+L-1. Their successors are
the rows s+1 .. s+L. The last row of an episode has no successor, and `valid` is 0 there: M learns its reward and
terminal, but no next latent. A sequence may be shorter than L. Then `padding` is 1 after its end, and M learns nothing
there.
"""

import math
from collections.abc import Iterator, Mapping
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import torch

from worldmodels.data.datasets import EpisodeGroup, RolloutDataset
from worldmodels.data.episodes import as_numbers, split_files
from worldmodels.data.latents import LATENT_KEYS
from worldmodels.models.encoding import encode
from worldmodels.models.vae import VAE
from worldmodels.runtime.errors import UserError
from worldmodels.storage.npz import read_npz


def count_sequences(lengths: np.ndarray, seq_len: int) -> np.ndarray:
    """Return how many sequences an episode of each length is cut into during training.

    That is the smallest number that leaves the first cut a choice of at least seq_len / 4 rows. The number does not
    depend on the cut, so that every epoch has the same number of batches. Fewer sequences would mean less padding, but
    would cut an episode of 64 rows at row 32 in every epoch.
    """
    choices = max(1, seq_len // 4)
    return np.where(lengths <= seq_len, 1, np.ceil((lengths + choices) / seq_len).astype(np.int64))


def cut_episodes(offsets: np.ndarray, seq_len: int, rng: np.random.Generator | None = None) -> np.ndarray:
    """Cut episodes into back-to-back sequences of at most seq_len rows.

    Args:
        offsets: (E + 1,) rows where the episodes start, and the end of the last one.
        seq_len: rows of the longest sequence.
        rng: draws the length of each episode's first sequence, so that the cuts differ between epochs. Without it the
            first sequences have seq_len rows, or fewer in shorter episodes.

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


def sequence_rows(sequences: np.ndarray, seq_len: int) -> tuple[np.ndarray, np.ndarray, dict[str, torch.Tensor]]:
    """Return the rows of sequences as a batch, time first.

    Args:
        sequences: (B, 3), see cut_episodes.
        seq_len: L.

    Returns:
        The rows with one successor (L+1, B), the rows (L, B), and the masks valid and padding (L, B) float32.
    """
    starts, ends, lasts = sequences.T
    rows = starts + np.arange(seq_len + 1)[:, None]
    inside = rows[:-1] < ends
    valid = inside & (rows[1:] <= lasts)
    rows = np.minimum(rows, np.minimum(ends, lasts))
    masks = {"valid": valid, "padding": ~inside}
    return rows, rows[:-1], {name: torch.from_numpy(mask).float() for name, mask in masks.items()}


class SequenceCounts:
    """Numbers of sequences, batches and rows in an epoch.

    Attributes:
        offsets: (E + 1,) rows where the episodes in memory start, and the end of the last one.
        seq_len: rows of the longest sequence.
    """

    offsets: np.ndarray
    seq_len: int

    @property
    def num_sequences(self) -> int:
        """Number of sequences in a training epoch over the episodes in memory."""
        return int(count_sequences(np.diff(self.offsets), self.seq_len).sum())

    def num_batches(self, batch_size: int) -> int:
        """Return the number of batches in a training epoch."""
        return math.ceil(self.num_sequences / batch_size)

    def rows_per_batch(self, batch_size: int) -> float:
        """Return the average number of rows without padding in a full batch of training sequences."""
        rows = float(self.offsets[-1] - self.offsets[0])
        return rows * min(1.0, batch_size / self.num_sequences)


def check_sequences(offsets: np.ndarray, where: str) -> None:
    """Raise UserError if there are episodes (E + 1 offsets) and none has two steps."""
    if len(offsets) > 1 and not (np.diff(offsets) > 1).any():
        raise UserError(f"mdrnn: expected episodes of at least 2 steps, found none in {where}")


def complete_latents(arrays: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Return the arrays of E episodes with N steps together, as latents_<n>.npz holds them.

    Args:
        arrays: latents (N, n), actions (N, A), rewards (N,) and terminals (N,), of any type of numbers. logsigmas
            (N, n) may be missing: then sigma is 0. offsets (E,), the rows where the episodes start, may be missing:
            then an episode starts at the first row and after each terminal.

    Raises:
        UserError: an array is missing, or has another shape.
    """
    missing = [key for key in ("latents", "actions", "rewards", "terminals") if key not in arrays]
    if missing:
        raise UserError(f"arrays: expected latents, actions, rewards and terminals, found no {', '.join(missing)}")
    shapes = {"latents": 2, "logsigmas": 2, "actions": 2, "rewards": 1, "terminals": 1}
    complete = {key: as_numbers(np.asarray(arrays[key]), ndim) for key, ndim in shapes.items() if key in arrays}
    complete.setdefault("logsigmas", np.full_like(complete["latents"], -np.inf))
    steps = len(complete["latents"])
    for key, array in complete.items():
        if array.ndim != shapes[key] or len(array) != steps or array.dtype != np.float32:
            raise UserError(
                f"arrays: expected {key} of {shapes[key]} dimensions and {steps} rows of numbers, "
                f"found shape {array.shape} and type {array.dtype}"
            )
    starts = np.append(0, np.flatnonzero(complete["terminals"]) + 1)
    offsets = np.asarray(arrays.get("offsets", starts[starts < steps]), np.int64)
    if offsets[:1].tolist() != [0] or (np.diff(offsets, append=steps) < 1).any():
        raise UserError(f"arrays: expected offsets that ascend from 0 to below {steps}, found {offsets.tolist()}")
    return complete | {"offsets": offsets}


class LatentSequenceDataset(SequenceCounts, torch.utils.data.Dataset):
    """Sequences of precomputed latents, cut afresh for each epoch (`batches`) or fixed (indexing).

    An item is a dict of latents, next_latents (L, latent_size), actions (L, A), rewards, terminals, valid and padding
    (L,). The latents z = mu + sigma * noise are drawn anew for every item and batch.

    Args:
        source: the file latents_<n>.npz, or its arrays in memory, see complete_latents.
        seq_len: L.
        train: whether to use the training episodes or the held-out ones. Without held-out episodes that dataset is
            empty.
        num_test_files: number of episodes at the end that are held out, see split_files.
    """

    def __init__(
        self,
        source: str | Path | Mapping[str, np.ndarray],
        seq_len: int,
        train: bool = True,
        num_test_files: int = 0,
    ) -> None:
        in_memory = isinstance(source, Mapping)
        arrays = complete_latents(source) if in_memory else read_npz(source, LATENT_KEYS)
        offsets = np.append(arrays.pop("offsets"), len(arrays["latents"]))
        episodes = split_files(list(range(len(offsets) - 1)), num_test_files, train)
        begin, end = (episodes[0], episodes[-1] + 1) if episodes else (0, 0)
        rows = slice(offsets[begin], offsets[end])
        self.offsets, self.seq_len = offsets[begin : end + 1] - offsets[begin], seq_len
        self.arrays = {key: torch.from_numpy(array[rows]) for key, array in arrays.items()}
        self.sequences = cut_episodes(self.offsets, seq_len)
        check_sequences(self.offsets, "the arrays" if in_memory else str(source))

    @property
    def reward_scale(self) -> float:
        """Standard deviation of the rewards."""
        return float(self.arrays["rewards"].std(correction=0))

    def dream_starts(self) -> dict[str, Any]:
        """Return what dreams need to know of the episodes, see SequenceDataset.dream_starts."""
        starts = torch.from_numpy(self.offsets[:-1])
        return {
            "first_latents": {"mu": self.arrays["latents"][starts], "logsigma": self.arrays["logsigmas"][starts]},
            "terminals": int(self.arrays["terminals"].sum()),
        }

    @property
    def action_size(self) -> int:
        """A."""
        return self.arrays["actions"].shape[1]

    @property
    def latent_size(self) -> int:
        """Numbers per latent."""
        return self.arrays["latents"].shape[1]

    def __len__(self) -> int:
        return len(self.sequences)

    def __getitem__(self, index: int) -> dict[str, torch.Tensor]:
        number = range(len(self))[index]
        batch = self.gather(self.sequences[number : number + 1])
        return {key: value[:, 0] for key, value in batch.items()}

    def gather(self, sequences: np.ndarray) -> dict[str, torch.Tensor]:
        """Return sequences (B, 3), see cut_episodes, as one batch, time first: the tensors of an item, (L, B, ...)."""
        rows_and_next, rows, masks = sequence_rows(sequences, self.seq_len)
        mu, logsigma = self.arrays["latents"][rows_and_next], self.arrays["logsigmas"][rows_and_next]
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
        """Yield every row once, see `gather`.

        Args:
            batch_size: sequences per batch.
            rng: cuts the episodes at new places and orders the sequences. Without it both stay the same.
            start: number of the first batch to yield. Those before it are skipped.
        """
        sequences = self.sequences
        if rng is not None:
            sequences = rng.permutation(cut_episodes(self.offsets, self.seq_len, rng))
        for i in range(start * batch_size, len(sequences), batch_size):
            yield self.gather(sequences[i : i + batch_size])


class SequenceDataset(SequenceCounts, RolloutDataset):
    """Sequences of frames. Indexing covers the files in memory, see RolloutDataset.

    An item is a dict of observations, next_observations (L, 3, H, W) float32 in [0, 1], actions (L, A), rewards,
    terminals, valid and padding (L,).

    Args:
        root: folder of rollouts.
        seq_len: L.
        settings: the further arguments of RolloutDataset.
    """

    def __init__(self, root: str | Path = "", seq_len: int = 32, **settings: Any) -> None:
        super().__init__(root, **settings)
        self.seq_len = seq_len
        check_sequences(self.offsets, str(root or next(iter(self.files), "")))

    @property
    def offsets(self) -> np.ndarray:
        """(E + 1,) rows where the episodes in memory start, and the end of the last one."""
        return self.group.offsets

    def num_batches(self, batch_size: int) -> int:
        """Return the number of batches in a training epoch; an estimate if the files do not fit the memory."""
        sequences = self.num_sequences * len(self.files) / max(1, self.buffer_size)
        return math.ceil(sequences / batch_size)

    @property
    def reward_scale(self) -> float:
        """Standard deviation of the rewards in memory."""
        return float(self.group.rewards.std())

    def dream_starts(self, vae: VAE) -> dict[str, Any]:
        """Return what dreams need to know of the episodes.

        Returns:
            first_latents: mu and logsigma (E, n) float32 of the episodes' first frames, where dreams start.
            terminals: the number of episodes that the environment ended.
        """
        frames, terminals = [], 0.0
        for group in self.groups(np.random.default_rng(0)):
            frames.append(group.observations[group.offsets[:-1]])
            terminals += float(group.terminals.sum())
        codes = [encode(vae, batch) for batch in torch.from_numpy(np.concatenate(frames)).split(256)]
        mu, logsigma = (torch.cat(tensors).cpu().clone() for tensors in zip(*codes))
        return {"first_latents": {"mu": mu, "logsigma": logsigma}, "terminals": int(terminals)}

    @property
    def action_size(self) -> int:
        """A."""
        return self.group.actions.shape[1]

    def __len__(self) -> int:
        return len(cut_episodes(self.offsets, self.seq_len))

    def _get_data(self, index: int) -> dict[str, torch.Tensor]:
        sequences = cut_episodes(self.offsets, self.seq_len)
        batch = self.gather(self.group, sequences[index : index + 1])
        frames = torch.stack([self._observation(row) for row in batch.pop("rows")[:, 0]])
        batch.pop("frames")
        return {"observations": frames[:-1], "next_observations": frames[1:], **{k: v[:, 0] for k, v in batch.items()}}

    def gather(self, group: EpisodeGroup, sequences: np.ndarray) -> dict:
        """Return sequences (B, 3), see cut_episodes, as one batch, time first.

        Returns:
            frames (L+1, B, H, W, C) uint8 for V to encode, their rows (L+1, B), and the other tensors of an item
            (L, B, ...).
        """
        rows_and_next, rows, masks = sequence_rows(sequences, self.seq_len)
        return {
            "rows": rows_and_next,
            "frames": torch.from_numpy(group.observations[rows_and_next]),
            **{key: torch.from_numpy(getattr(group, key)[rows]) for key in ("actions", "rewards", "terminals")},
            **masks,
        }

    def batches(self, batch_size: int, rng: np.random.Generator | None = None, start: int = 0) -> Iterator[dict]:
        """Yield every row once, see `gather`.

        Args:
            batch_size: sequences per batch.
            rng: cuts the episodes at new places and orders files and sequences. Without it the cuts stay the same.
            start: number of the first batch to yield. Those before it are skipped.
        """
        for group in self.groups(rng if rng is not None else np.random.default_rng(0)):
            sequences = cut_episodes(group.offsets, self.seq_len, rng)
            if rng is not None:
                sequences = rng.permutation(sequences)
            for i in range(start * batch_size, len(sequences), batch_size):
                yield self.gather(group, sequences[i : i + batch_size])
            start = max(0, start - math.ceil(len(sequences) / batch_size))
