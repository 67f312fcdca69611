"""Files are whole or absent, and their bytes depend on their content only."""

import os

import numpy as np
import pytest

from worldmodels.runtime.errors import UserError
from worldmodels.storage.files import write_atomically
from worldmodels.storage.npz import write_npz


def test_failed_write_leaves_the_old_file_and_nothing_else(tmp_path):
    path = tmp_path / "f"
    write_atomically(path, lambda file: file.write(b"old"))

    def fail(file):
        file.write(b"half")
        raise OSError(28, "No space left on device")

    with pytest.raises(UserError, match="f: cannot be written: No space left on device"):
        write_atomically(path, fail)
    assert path.read_bytes() == b"old" and os.listdir(tmp_path) == ["f"]


@pytest.mark.parametrize("compress", [False, True])
def test_npz_bytes_depend_on_nothing_but_the_arrays(tmp_path, compress):
    arrays = {"a": np.arange(5), "b": np.ones((2, 3), np.float32)}
    write_npz(tmp_path / "1.npz", arrays, compress)
    write_npz(tmp_path / "2.npz", arrays, compress)
    assert (tmp_path / "1.npz").read_bytes() == (tmp_path / "2.npz").read_bytes()
    with np.load(tmp_path / "1.npz") as archive:
        assert all(np.array_equal(archive[key], arrays[key]) for key in arrays)
