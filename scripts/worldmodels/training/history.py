"""history.csv: a row per generation of C's training."""

import csv
import io
from pathlib import Path

from worldmodels.storage.files import write_atomically

COLUMNS = ("generation", "env_steps", "return_mean", "return_max", "validation_mean", "sigma", "seconds")


def write_history(path: Path, history: list[dict]) -> None:
    """Write the rows as CSV.

    Args:
        history: rows with the keys COLUMNS; a validation_mean of None becomes an empty cell.
    """
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(COLUMNS)
    for row in history:
        writer.writerow(f"{row[key]:.6g}" if isinstance(row[key], float) else row[key] for key in COLUMNS)
    write_atomically(path, lambda file: file.write(text.getvalue().encode()))
