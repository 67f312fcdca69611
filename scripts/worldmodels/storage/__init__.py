"""Files that are either whole or absent: JSON, NumPy archives, checkpoints, and states that a stopped stage continues.

No code in a file is ever run (no pickle). The names of files and folders are in runtime/paths.py.
"""

from worldmodels import lazily

__getattr__, __all__ = lazily(
    __name__,
    {
        "files": ["prepare_folder", "read_json", "write_atomically", "write_json"],
        "npz": ["read_npz", "write_npz"],
        "checkpoints": ["load_checkpoint", "save_checkpoint", "write_best"],
        "states": ["load_state"],
    },
)
