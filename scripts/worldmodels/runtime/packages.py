"""Packages: the V, M and C of a run in one folder or .zip that `snakemake export` has written.

A package stands for the run's folder wherever a program reads models: <package>/vae/best.tar means the file
vae.safetensors in it. Its config.json holds the digest of every other file.
Importing this module must stay cheap (no torch, no numpy): every dry run does it.
"""

import hashlib
import json
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from worldmodels.runtime.errors import UserError

FORMAT = "worldmodels-agent"
STAGES = ("vae", "mdrnn", "ctrl")


def weights_file(stage: str) -> str:
    """Return the name of a stage's weights in a package."""
    return f"{stage}.safetensors"


@dataclass
class Package:
    """A package that is read.

    Attributes:
        path: the folder or the .zip.
        config: the content of its config.json.
    """

    path: Path
    config: dict

    def read(self, name: str) -> bytes:
        """Return the bytes of a file.

        Raises:
            UserError: there is no such file, or its digest is not the one in config.json.
        """
        content = read_member(self.path, name)
        if content is None:
            raise UserError(f"{self.path}: expected a package with the file {name}, found none")
        if hashlib.sha256(content).hexdigest() != self.config["files"].get(name):
            raise UserError(
                f"{self.path}: expected {name} to have the digest in config.json, found another one; "
                "the package is damaged or was edited"
            )
        return content

    def digest(self, stage: str) -> str:
        """Return the digest of a stage's weights after a check, see `read`."""
        return hashlib.sha256(self.read(weights_file(stage))).hexdigest()


def find_package(path: str | Path) -> Package | None:
    """Return the package at this path; None for a folder that is none, such as a run's, or for no file.

    Raises:
        UserError: the path is a .zip and no package, or a damaged package.
    """
    path = Path(path)
    content = read_member(path, "config.json")
    if content is None and not path.is_file():
        return None
    try:
        config = json.loads(content or b"")
    except ValueError:
        config = None
    if not isinstance(config, dict) or config.get("format") != FORMAT:
        raise UserError(f"{path}: expected a package of `snakemake export`, found no config.json of one")
    if missing := missing_entry(config):
        raise UserError(f"{path}: expected a config.json with {missing}, found none; the package was edited")
    return Package(path, config)


def missing_entry(config: dict) -> str:
    """Return the first entry that a package's config.json lacks, as "env.id"; empty if it has all."""
    kinds = {"settings": dict, "files": dict, "env.id": str, "models.vae.config.model": str}
    kinds |= {f"models.{stage}.config": dict for stage in STAGES}
    for entry, kind in kinds.items():
        value = config
        for key in entry.split("."):
            value = value.get(key) if isinstance(value, dict) else None
        if not isinstance(value, kind):
            return entry
    return ""


def read_member(path: Path, name: str) -> bytes | None:
    """Return the bytes of a file in a folder or .zip, whose files may lie in one folder; None if there is none.

    Raises:
        UserError: the path is a file and no .zip, or a damaged .zip.
    """
    if not path.is_file():
        return (path / name).read_bytes() if (path / name).is_file() else None
    with opened_zip(path) as archive:
        found = [member for member in archive.namelist() if member == name or member.partition("/")[2] == name]
        return archive.read(min(found, key=len)) if found else None


@contextmanager
def opened_zip(path: Path) -> Iterator[zipfile.ZipFile]:
    """Open a .zip for reading. Its errors become a UserError."""
    try:
        with zipfile.ZipFile(path) as archive:
            yield archive
    except (zipfile.BadZipFile, zlib.error, EOFError, OSError, NotImplementedError, RuntimeError) as error:
        raise UserError(f"{path}: expected a .zip, found a damaged or foreign file ({error})") from None


def packaged_stage(path: str | Path) -> tuple[Package, str] | None:
    """Return the package and the stage that <package>/<stage>/best.tar means; None for any other path.

    Raises:
        UserError: see find_package.
    """
    path = Path(path)
    if path.name != "best.tar" or path.parent.name not in STAGES or path.exists():
        return None
    package = find_package(path.parents[1])
    return package and (package, path.parent.name)


def is_checkpoint(path: str | Path) -> bool:
    """Return whether there is a checkpoint at this path, in a package or as a file.

    Raises:
        UserError: see find_package.
    """
    return packaged_stage(path) is not None or Path(path).exists()
