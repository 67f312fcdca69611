"""Episodes that others made (rollouts.source): where they lie, how many there are, and stamps of their content.

Importing this module must stay cheap (no torch, no numpy): every dry run does it.
"""

import hashlib
import json
import zipfile
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from worldmodels.runtime.digests import file_digest
from worldmodels.runtime.errors import UserError

EXPECTED = "a folder of episodes (*.npz, also in subfolders) or of a Minari dataset"


@dataclass
class Source:
    """Episodes of one folder.

    Attributes:
        folder: the folder; of a Minari dataset the one that holds metadata.json.
        files: an .npz file per episode, sorted by path; [] for a Minari dataset.
        episodes: the number of episodes.
    """

    folder: Path
    files: list[Path]
    episodes: int

    @property
    def is_minari(self) -> bool:
        """Whether the episodes come from a Minari dataset."""
        return not self.files

    def stamp(self, episodes: range) -> str:
        """Return 32 hexadecimal digits that change with the content of these episodes, and with nothing else.

        An .npz file tells the checksum (CRC-32) of each array in its directory, so that the arrays need not be read.
        """
        numbers = [f"{episodes}", minari_digest(self.folder)] if self.is_minari else []
        texts = numbers or [npz_checksums(self.files[number]) for number in episodes]
        return hashlib.sha256("\n".join(texts).encode()).hexdigest()[:32]


def find_source(folder: str) -> Source:
    """Return the episodes in a folder.

    Args:
        folder: rollouts.source.

    Raises:
        UserError: there is no such folder, or it holds no episodes.
    """
    if not Path(folder).is_dir():
        raise UserError(f"rollouts.source: expected {EXPECTED}, found no folder {folder}")
    for place in (Path(folder), Path(folder, "data")):
        if (place / "metadata.json").is_file():
            return Source(place, [], count_minari(place / "metadata.json"))
    files = sorted(path for path in Path(folder).rglob("*.npz") if not path.name.startswith("."))
    if not files:
        raise UserError(f"rollouts.source: expected {EXPECTED}, found none in {folder}")
    return Source(Path(folder), files, len(files))


def count_minari(metadata: Path) -> int:
    """Return the number of episodes in a Minari dataset.

    Raises:
        UserError: its metadata.json does not tell.
    """
    try:
        episodes = int(json.loads(metadata.read_text(encoding="utf-8"))["total_episodes"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UserError(f"{metadata}: expected the total_episodes of a Minari dataset, found none ({error})") from None
    if episodes < 1:
        raise UserError(f"{metadata}: expected a Minari dataset with episodes, found total_episodes {episodes}")
    return episodes


@cache  # the shards have the same files
def minari_digest(folder: Path) -> str:
    """Return a digest of all files of a Minari dataset."""
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return hashlib.sha256("".join(map(file_digest, files)).encode()).hexdigest()


def npz_checksums(path: Path) -> str:
    """Return the names, sizes and checksums of the arrays in an .npz file; of a damaged file its digest."""
    try:
        with zipfile.ZipFile(path) as archive:
            return json.dumps([[member.filename, member.file_size, member.CRC] for member in archive.infolist()])
    except (zipfile.BadZipFile, OSError):
        return file_digest(path)
