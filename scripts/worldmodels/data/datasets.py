"""Rollout files as training data.

A file is opened once when its episode enters memory, never for a single frame. If the files do not fit the
memory they are visited in random groups, the next one loading in the background while one is in use.
"""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch

from worldmodels.data.episodes import prefetch, read_rollout, split_files
from worldmodels.runtime.errors import UserError
from worldmodels.storage.npz import read_npz


class EpisodeGroup:
    """Some episodes in memory, one after another.

    Attributes:
        observations: (N, H, W, C) uint8. actions: (N, A), rewards, terminals: (N,) float32.
        offsets: (E + 1,) rows where the episodes start, and the end.
    """

    def __init__(self, files: list[str]) -> None:
        # Lengths first (small members), so that the frames are copied once, into place.
        lengths = [read_npz(file, ("rewards",))["rewards"].size for file in files]
        self.offsets = np.concatenate([[0], np.cumsum(lengths)])
        total = int(self.offsets[-1])
        if not files:
            self.observations, self.actions = np.empty((0, 0, 0, 0), np.uint8), np.empty((0, 0), np.float32)
            self.rewards = self.terminals = np.empty(0, np.float32)
        for file, start, end in zip(files, self.offsets, self.offsets[1:]):
            for key, array in read_rollout(file).items():
                if not hasattr(self, key):
                    setattr(self, key, np.empty((total, *array.shape[1:]), array.dtype))
                whole = getattr(self, key)
                if array.shape[1:] != whole.shape[1:]:
                    raise UserError(
                        f"{file}: expected {key} shaped {whole.shape[1:]} as in {files[0]}, found {array.shape[1:]}"
                    )
                whole[start:end] = array


class RolloutDataset(torch.utils.data.Dataset):
    """Rows of episodes: dicts of observation (3,H,W) float32 in [0,1], action (A,), reward and terminal ().

    Indexing covers the files in memory; `load_next_buffer` moves on to the next ones where not all fit.

    Args:
        root: folder of rollouts, all its *.npz in the order of their names; not used if files are given.
        transform: applied to each observation.
        train: the training files, or else the held-out ones, of which there may be none: the dataset is empty then.
        buffer_size: files in memory at a time.
        num_test_files: last files held out; 0: none. See split_files.
        files: the rollouts, in order.
    """

    def __init__(
        self,
        root: str | Path = "",
        transform=None,
        train: bool = True,
        buffer_size: int = 200,
        num_test_files: int = 0,
        files: list[str] | None = None,
    ) -> None:
        files = files if files is not None else sorted(str(path) for path in Path(root).glob("*.npz"))
        if not files:
            raise UserError(f"{root}: expected rollouts (*.npz), found none")
        self.files = split_files(files, num_test_files, train)
        self.transform = transform
        self.buffer_size = min(buffer_size, len(self.files))
        self._next, self._group = 0, None

    @property
    def in_memory(self) -> bool:
        """Whether all files stay in memory."""
        return self.buffer_size >= len(self.files)

    def load_next_buffer(self) -> None:
        """Replace the files in memory by the next ones, starting again after the last."""
        if self._group is not None and self.in_memory:
            return
        chosen = [self.files[(self._next + i) % len(self.files)] for i in range(self.buffer_size)]
        self._next = (self._next + self.buffer_size) % max(1, len(self.files))
        self._group = EpisodeGroup(chosen)

    @property
    def group(self) -> EpisodeGroup:
        if self._group is None:
            self.load_next_buffer()
        return self._group  # type: ignore[return-value]

    def groups(self, rng: np.random.Generator) -> Iterator[EpisodeGroup]:
        """All files once, in groups that fit the memory (two of half the size: one in use, one loading)."""
        if self.in_memory:
            yield self.group
            return
        self._group = None  # what indexing had loaded would come on top
        order = [self.files[i] for i in rng.permutation(len(self.files))]
        size = max(1, self.buffer_size // 2)
        parts = [order[i : i + size] for i in range(0, len(order), size)]
        yield from prefetch(EpisodeGroup, parts)

    def __len__(self) -> int:
        return len(self.group.rewards)

    def _observation(self, row) -> torch.Tensor:
        image = torch.from_numpy(self.group.observations[row]).movedim(-1, -3).float().div(255)
        return self.transform(image) if self.transform else image

    def __getitem__(self, row: int):
        return self._get_data(range(len(self))[row])

    def _get_data(self, row: int):
        group = self.group
        return {
            "observation": self._observation(row),
            "action": torch.from_numpy(group.actions[row]),
            "reward": torch.tensor(group.rewards[row]),
            "terminal": torch.tensor(group.terminals[row]),
        }


class ObservationDataset(RolloutDataset):
    """Single frames, (3,H,W) float32 in [0,1]: what V learns from."""

    def _get_data(self, row: int):
        return self._observation(row)

    def batches(
        self, batch_size: int, rng: np.random.Generator, limit: int = 0, start: int = 0
    ) -> Iterator[torch.Tensor]:
        """Every frame once in random order, or `limit` of them, from batch `start` on; uint8 batches (B,H,W,C)."""
        left = limit or np.iinfo(np.int64).max
        for group in self.groups(rng):
            order = rng.permutation(len(group.rewards))[:left]
            for i in range(start * batch_size, len(order), batch_size):
                yield torch.from_numpy(group.observations[np.sort(order[i : i + batch_size])])
            start = max(0, start - -(-len(order) // batch_size))
            left -= len(order)
            if left <= 0:
                return


def share_memory(files: list[str], memory_gb: float, num_test_files: int = 0) -> tuple[int, int]:
    """How many of the training rollouts and of the held-out ones may be in memory, which together fit memory_gb.

    Judged by the first one's frames. Where not all fit, the held-out ones take at most half of it, or what the
    training ones leave. None are held out where there are too few, see split_files.
    """
    if not files:
        return 0, 0
    num_test_files = num_test_files if num_test_files < len(files) else 0
    fit = max(2, int(memory_gb * 1e9 / read_rollout(files[0])["observations"].nbytes))
    held_out = min(num_test_files, max(fit // 2, fit - (len(files) - num_test_files)))
    return fit - held_out, held_out
