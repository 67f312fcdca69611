"""Rollout files as training data.

A file is opened once, when its episode is loaded into memory, and never for a single frame. Files that do not fit the
memory together are used in random groups. The next group loads in the background while one is in use.
"""

import math
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch

from worldmodels.data.episodes import prefetch, read_rollout, split_files
from worldmodels.runtime.errors import UserError
from worldmodels.storage.npz import read_npz


class EpisodeGroup:
    """E episodes of N steps in memory, one after another.

    Args:
        files: the rollouts, in order.

    Attributes:
        observations: (N, H, W, C) uint8.
        actions: (N, A) float32.
        rewards: (N,) float32.
        terminals: (N,) float32.
        offsets: (E + 1,) rows where the episodes start, and the end of the last one.

    Raises:
        UserError: a file is damaged, or its arrays do not have the shapes of the first file's.
    """

    def __init__(self, files: list[str]) -> None:
        # The lengths come first, from the small arrays, so that the frames are copied only once, to their place.
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
                joined = getattr(self, key)
                if array.shape[1:] != joined.shape[1:]:
                    raise UserError(
                        f"{file}: expected {key} shaped {joined.shape[1:]} as in {files[0]}, found {array.shape[1:]}"
                    )
                joined[start:end] = array


class RolloutDataset(torch.utils.data.Dataset):
    """Rows of episodes: dicts of observation (3, H, W) float32 in [0, 1], action (A,), reward () and terminal ().

    Indexing covers the files in memory. `load_next_buffer` replaces them by the next files if not all fit.

    Args:
        root: folder of rollouts. All its *.npz are used, in the order of their names. Ignored if files are given.
        transform: applied to each observation.
        train: whether to use the training files or the held-out ones. Without held-out files that dataset is empty.
        buffer_size: files in memory at a time.
        num_test_files: number of files at the end that are held out, see split_files.
        files: the rollouts, in order.

    Raises:
        UserError: there are no rollouts.
    """

    def __init__(
        self,
        root: str | Path = "",
        transform: Callable[[torch.Tensor], torch.Tensor] | None = None,
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
        self._next = 0
        self._group: EpisodeGroup | None = None

    @property
    def in_memory(self) -> bool:
        """Whether all files stay in memory."""
        return self.buffer_size >= len(self.files)

    def load_next_buffer(self) -> None:
        """Replace the files in memory by the next ones. After the last file come the first ones again."""
        if self._group is not None and self.in_memory:
            return
        files = [self.files[(self._next + i) % len(self.files)] for i in range(self.buffer_size)]
        self._next = (self._next + self.buffer_size) % max(1, len(self.files))
        self._group = EpisodeGroup(files)

    @property
    def group(self) -> EpisodeGroup:
        """The episodes in memory."""
        if self._group is None:
            self.load_next_buffer()
        assert self._group is not None
        return self._group

    def groups(self, rng: np.random.Generator) -> Iterator[EpisodeGroup]:
        """Yield all files once, in random groups that fit the memory: one is in use while the next one loads."""
        if self.in_memory:
            yield self.group
            return
        self._group = None  # frees the memory of the files that indexing has loaded
        order = [self.files[i] for i in rng.permutation(len(self.files))]
        size = max(1, self.buffer_size // 2)
        yield from prefetch(EpisodeGroup, [order[i : i + size] for i in range(0, len(order), size)])

    def __len__(self) -> int:
        return len(self.group.rewards)

    def _observation(self, row: int) -> torch.Tensor:
        image = torch.from_numpy(self.group.observations[row]).movedim(-1, -3).float().div(255)
        return self.transform(image) if self.transform else image

    def __getitem__(self, row: int) -> Any:
        return self._get_data(range(len(self))[row])

    def _get_data(self, row: int) -> Any:
        group = self.group
        return {
            "observation": self._observation(row),
            "action": torch.from_numpy(group.actions[row]),
            "reward": torch.tensor(group.rewards[row]),
            "terminal": torch.tensor(group.terminals[row]),
        }


class ObservationDataset(RolloutDataset):
    """Single frames (3, H, W) float32 in [0, 1], from which V learns."""

    def _get_data(self, row: int) -> torch.Tensor:
        return self._observation(row)

    def batches(
        self, batch_size: int, rng: np.random.Generator, limit: int = 0, start: int = 0
    ) -> Iterator[torch.Tensor]:
        """Yield every frame once, in random order.

        Args:
            batch_size: B.
            rng: of the order.
            limit: number of frames; 0: all.
            start: number of the first batch to yield. Those before it are skipped.

        Yields:
            (B, H, W, C) uint8; the last batch of a group of files may be smaller.
        """
        frames_left = limit or np.iinfo(np.int64).max
        for group in self.groups(rng):
            order = rng.permutation(len(group.rewards))[:frames_left]
            for i in range(start * batch_size, len(order), batch_size):
                yield torch.from_numpy(group.observations[np.sort(order[i : i + batch_size])])
            start = max(0, start - math.ceil(len(order) / batch_size))
            frames_left -= len(order)
            if frames_left <= 0:
                return


def share_memory(files: list[str], memory_gb: float, num_test_files: int = 0) -> tuple[int, int]:
    """Share the memory between the training rollouts and the held-out ones.

    Each rollout counts with the size of the first one's frames. If not all fit, the held-out rollouts get at most half
    of the memory, or what the training rollouts leave. If there are too few rollouts, none is held out (split_files).

    Args:
        files: all rollouts.
        memory_gb: memory for the frames, 10^9 bytes.
        num_test_files: number of held-out rollouts.

    Returns:
        How many training rollouts and how many held-out rollouts may be in memory.
    """
    if not files:
        return 0, 0
    num_test_files = num_test_files if num_test_files < len(files) else 0
    fit = max(2, int(memory_gb * 1e9 / read_rollout(files[0])["observations"].nbytes))
    held_out = min(num_test_files, max(fit // 2, fit - (len(files) - num_test_files)))
    return fit - held_out, held_out
