"""What a product was made with, where Snakemake has no record of it.

Snakemake keeps its records in .snakemake of the working directory, by the spelling of a file's path. It has none of
results that were copied without .snakemake, or of rollouts in an absolute data_dir that another working directory made.
A product without a record counts as up to date whatever the configuration says. Each stage therefore writes the texts
that Snakemake compares (params) and the digests of its small inputs into its summary, under "origin". Here Snakemake
reads them as if they were its record. Its own record comes first, unless the file was written again since then, as by a
run in another working directory that shares data_dir.

Snakemake asks for the digest of an input only where the input is newer than the product. Time stamps of copied results
mean nothing, so the small inputs of a product without a record are compared by content whatever their age.

Only the Snakefile imports this module. No other one depends on Snakemake's internals; they are those of 9.27.1. Where
another version has none of that name, its own records are all that counts.
"""

import hashlib
import json
import re
from collections.abc import Iterable
from functools import cache
from pathlib import Path

from snakemake.logging import logger

from worldmodels.runtime.paths import input_name

try:
    from snakemake.persistence import RECORD_FORMAT_VERSION, MetadataRecord, PersistenceBase
except ImportError:
    PersistenceBase = None


class Checksums(dict):
    """Digests of inputs by their name in a run; Snakemake asks by their path."""

    def get(self, path, default=None):
        return super().get(input_name(path), default)


def summary_beside(path: Path) -> Path:
    """The summary of a product: of an episode its shard's, of weights and history best.json, else the same name's."""
    if re.fullmatch(r"\d{5}_\d{4}\.npz", path.name):
        return path.with_name(f"{path.name.split('_')[0]}.json")
    if path.name == "history.csv":
        return path.with_name("best.json")
    return path.with_suffix(".json")


@cache  # a dry run asks for a file several times
def time_stamp(path: Path) -> float | None:
    """When the file was written last; None if there is none."""
    try:
        return path.stat().st_mtime
    except OSError:
        return None


@cache  # an input of several products is read once
def content_digest(path: Path) -> str | None:
    """A file's digest as `cli.origin` writes it; None if there is no file."""
    try:
        return f"sha256:{hashlib.sha256(path.read_bytes()).hexdigest()}"
    except OSError:
        return None


@cache
def read_origin(summary: Path) -> dict | None:
    """What the summary says of its origin; None if nothing, as those of earlier versions."""
    try:
        origin = json.loads(summary.read_text(encoding="utf-8")).get("origin")
    except (OSError, ValueError, AttributeError):
        return None
    return origin if isinstance(origin, dict) else None


def record_beside(path: Path) -> "MetadataRecord | None":
    """Snakemake's record as the summary beside a product has it; None if it has none."""
    summary, written = summary_beside(path), time_stamp(path)
    origin = read_origin(summary)
    # A link is what the variants of an ablation share: the product of another rule.
    if origin is None or written is None or path.is_symlink():
        return None
    texts = [text for name, text in origin.items() if name != "inputs"]
    record = MetadataRecord(
        rule=path.parent.name,
        params=sorted(map(repr, texts)),
        record_format_version=RECORD_FORMAT_VERSION,
        starttime=written,
        endtime=written,
        job_hash=int(hashlib.sha256(str(summary).encode()).hexdigest()[:8], 16),
    )
    record.input_checksums = Checksums(origin.get("inputs", {}))
    return record


def has_other_inputs(record: "MetadataRecord | None", inputs: Iterable) -> bool:
    """Whether a small input, of whatever age, has another content than when the product was made.

    Args:
        record: of the product; one of Snakemake's own has none but the same inputs.
        inputs: of the product's job. Those without a digest in the record, and those that do not exist, count as same.
    """
    if record is None or not isinstance(record.input_checksums, Checksums):
        return False
    small = [path for path in inputs if not path.is_ancient]  # a stage may have 10,000 large inputs
    pairs = ((record.input_checksums.get(path), content_digest(Path(path))) for path in small)
    return any(recorded and found and recorded != found for recorded, found in pairs)


def complete() -> None:
    """Have Snakemake take a summary's origin for the record that it lacks."""
    if not hasattr(PersistenceBase, "_input_changed"):
        logger.warning(
            "This version of Snakemake takes results without its own records for up to date; 9.27.1 does not."
        )
        return
    own = PersistenceBase.metadata
    if own.__module__ == __name__:  # another run of a sweep has been here
        return

    def metadata(self, target) -> "MetadataRecord | None":
        record, path = own(self, target), Path(target)
        recorded, written = record and record.endtime, time_stamp(path)
        if recorded and written and written <= recorded:
            return record
        return record_beside(path) or record

    own_answer = PersistenceBase._input_changed

    def _input_changed(self, job, file=None) -> bool:
        return own_answer(self, job, file=file) or has_other_inputs(self.metadata(file), job.input)

    PersistenceBase.metadata = metadata
    PersistenceBase._input_changed = _input_changed
