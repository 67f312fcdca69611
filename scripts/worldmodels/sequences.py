"""Sequences of steps for M, from precomputed latents or from frames. None ever crosses an episode's end.

A sequence of L steps starting at row s holds the rows s .. s+L-1 and, as what follows them, the rows
s+1 .. s+L. The last row of an episode has no successor: `valid` is 0 there, so that its reward and
terminal are learnt and its next latent is not asked for. An episode shorter than L is one sequence, whose rows after
the episode's end are `padding`: they repeat its last row, and nothing is learnt from them.
"""

from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import numpy as np
import torch

from worldmodels import checkpoint
from worldmodels.datasets import Group, RolloutDataset, split_files
from worldmodels.latents import KEYS
from worldmodels.settings import UserError


def sequence_starts(
    offsets: np.ndarray, seq_len: int, rng: np.random.Generator | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Rows where back-to-back sequences start, and the last row of the episode of each.

    Args:
        offsets: (E + 1,) rows where the episodes start, and the end.
        rng: draws where in an episode the first sequence starts; without it that is the episode's first row.

    Returns:
        starts (S,), last rows (S,). An episode shorter than seq_len gives one sequence.
    """
    starts, lasts = [], []
    for begin, end in pairwise(offsets):
        spare = max(0, (end - begin) - seq_len)
        phase = int(rng.integers(min(seq_len, spare + 1))) if rng is not None else 0
        rows = np.arange(begin + phase, max(begin, end - seq_len) + 1, seq_len)
        starts.append(rows)
        lasts.append(np.full(len(rows), end - 1))
    nothing = np.empty(0, np.int64)
    return np.concatenate([nothing, *starts]), np.concatenate([nothing, *lasts])


def rows_of(
    starts: np.ndarray, lasts: np.ndarray, seq_len: int
) -> tuple[np.ndarray, np.ndarray, dict[str, torch.Tensor]]:
    """Rows (L+1, B), time first: the sequences and one row more; rows (L, B); and valid and padding (L, B) float32."""
    rows = starts[None, :] + np.arange(seq_len + 1)[:, None]
    inside = torch.from_numpy(rows <= lasts[None, :]).float()
    rows = np.minimum(rows, lasts[None, :])
    return rows, rows[:-1], {"valid": inside[1:], "padding": 1 - inside[:-1]}


def need_sequences(offsets: np.ndarray, where: str) -> None:
    """Raise UserError if there are episodes (E + 1 offsets) and none has a sequence."""
    if len(offsets) > 1 and not (np.diff(offsets) > 1).any():
        raise UserError(f"mdrnn: expected episodes of at least 2 steps, found none in {where}")


class LatentSequenceDataset(torch.utils.data.Dataset):
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
        arrays = checkpoint.read_npz(path, KEYS)
        bounds = np.append(arrays.pop("offsets"), len(arrays["latents"]))
        kept = split_files(list(range(len(bounds) - 1)), num_test_files, train)
        begin, end = (kept[0], kept[-1] + 1) if kept else (0, 0)
        first, last = bounds[begin], bounds[end]
        bounds = bounds[begin : end + 1] - first
        arrays = {key: array[first:last] for key, array in arrays.items()}
        self.offsets, self.seq_len = bounds, seq_len
        self.arrays = {key: torch.from_numpy(array) for key, array in arrays.items()}
        self.starts, self.lasts = sequence_starts(bounds, seq_len)
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
        return len(self.starts)

    def __getitem__(self, index: int) -> dict[str, torch.Tensor]:
        one = range(len(self))[index]
        batch = self.gather(self.starts[one : one + 1], self.lasts[one : one + 1])
        return {key: value[:, 0] for key, value in batch.items()}

    def gather(self, starts: np.ndarray, lasts: np.ndarray) -> dict[str, torch.Tensor]:
        """The sequences that start at these rows as one batch, time first: (L, B, ...)."""
        around, rows, inside = rows_of(starts, lasts, self.seq_len)
        mu, logsigma = self.arrays["latents"][around], self.arrays["logsigmas"][around]
        z = mu + logsigma.exp() * torch.randn_like(mu)
        return {
            "latents": z[:-1],
            "next_latents": z[1:],
            **{key: self.arrays[key][rows] for key in ("actions", "rewards", "terminals")},
            **inside,
        }

    def batches(
        self, batch_size: int, rng: np.random.Generator | None = None, start: int = 0
    ) -> Iterator[dict[str, torch.Tensor]]:
        """All sequences once, from batch `start` on; with rng cut at new places and in random order."""
        starts, lasts = (self.starts, self.lasts) if rng is None else sequence_starts(self.offsets, self.seq_len, rng)
        order = np.arange(len(starts)) if rng is None else rng.permutation(len(starts))
        for i in range(start * batch_size, len(order), batch_size):
            chosen = order[i : i + batch_size]
            yield self.gather(starts[chosen], lasts[chosen])


class SequenceDataset(RolloutDataset):
    """Sequences of frames: dicts of observations, next_observations (L,3,H,W) float32 in [0,1], actions (L, A),
    rewards, terminals, valid and padding (L,). Indexing covers the files in memory, see RolloutDataset.
    """

    def __init__(self, root: str | Path = "", seq_len: int = 32, **options) -> None:
        super().__init__(root, **options)
        self.seq_len = seq_len
        need_sequences(self.group.offsets, str(root or next(iter(self.files), "")))

    @property
    def reward_scale(self) -> float:
        """Standard deviation of the rewards in memory."""
        return float(self.group.rewards.std())

    @property
    def action_size(self) -> int:
        return self.group.actions.shape[1]

    def __len__(self) -> int:
        return len(sequence_starts(self.group.offsets, self.seq_len)[0])

    def _get_data(self, index: int):
        starts, lasts = sequence_starts(self.group.offsets, self.seq_len)
        batch = self.gather(self.group, starts[index : index + 1], lasts[index : index + 1])
        frames = torch.stack([self._observation(row) for row in batch.pop("rows")[:, 0]])
        batch.pop("frames")
        return {"observations": frames[:-1], "next_observations": frames[1:], **{k: v[:, 0] for k, v in batch.items()}}

    def gather(self, group: Group, starts: np.ndarray, lasts: np.ndarray) -> dict:
        """A batch, time first: frames (L+1, B, H, W, C) uint8 that V is to encode, and the rest as above."""
        around, rows, inside = rows_of(starts, lasts, self.seq_len)
        return {
            "rows": around,
            "frames": torch.from_numpy(group.observations[around]),
            **{key: torch.from_numpy(getattr(group, key)[rows]) for key in ("actions", "rewards", "terminals")},
            **inside,
        }

    def batches(self, batch_size: int, rng: np.random.Generator | None = None, start: int = 0) -> Iterator[dict]:
        """All sequences once, see `gather`, from batch `start` on; with rng cut at new places and in random order."""
        for group in self.groups(rng if rng is not None else np.random.default_rng(0)):
            starts, lasts = sequence_starts(group.offsets, self.seq_len, rng)
            order = np.arange(len(starts)) if rng is None else rng.permutation(len(starts))
            for i in range(start * batch_size, len(order), batch_size):
                chosen = order[i : i + batch_size]
                yield self.gather(group, starts[chosen], lasts[chosen])
            start = max(0, start - -(-len(order) // batch_size))
