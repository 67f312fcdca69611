"""Files for tests: source files, rollouts whose values tell their place, and what must not be unpickled."""

from pathlib import Path

import numpy as np

LENGTHS = [50, 33, 32, 31, 97]


def numbered(number: int, steps: int) -> dict:
    """An episode whose every value tells its episode and row; the last step is terminal."""
    rows = number * 1000 + np.arange(steps)
    frames = np.zeros((steps, 64, 64, 3), np.uint8)
    frames[:, 0, 0, 0], frames[:, 0, 0, 1] = number, np.arange(steps)
    return {
        "observations": frames,
        "actions": np.repeat(rows[:, None], 3, axis=1).astype(np.float32),
        "rewards": rows.astype(np.float32),
        "terminals": (np.arange(steps) == steps - 1).astype(np.float32),
    }


def write_files(folder: Path, files: dict[str, str | bytes]) -> None:
    """Write files, by their paths in the folder."""
    for name, content in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content.encode() if isinstance(content, str) else content)


class Evil:
    """Unpickled, it ends the tests."""

    def __reduce__(self):
        return (exit, (99,))
