"""What a product was made with, where Snakemake has no record of it.

Snakemake keeps its records in .snakemake of the working directory, by the spelling of a file's path. It has none of
results that were copied without .snakemake, or of rollouts in an absolute data_dir that another working directory made.
A product without a record counts as up to date whatever the configuration says. Each stage therefore writes the texts
that Snakemake compares (params) and the digests of its small inputs into its summary, under "origin". Snakemake reads
them as if they were its record, see snakemake_internals.complete_records. Its own record comes first, unless the file
was written again since then, as by a run in another working directory that shares data_dir.

Snakemake asks for the digest of an input only where the input is newer than the product. Time stamps of copied results
mean nothing, so the small inputs of a product without a record are compared by content whatever their age.
"""

import hashlib
import json
import re
from functools import cache
from pathlib import Path
from typing import NamedTuple


class Product(NamedTuple):
    """What the summary beside a product says of it."""

    texts: list[str]  # what the workflow compares
    inputs: dict[str, str]  # digests of the small inputs, by runtime.paths.input_name
    written: float  # when the product was written, seconds since the epoch
    number: int  # the same for all products of a job


def summary_beside(path: Path) -> Path:
    """Return the summary of a product.

    An episode has the summary of its shard. Weights and history have best.json. Every other summary has the name of its
    product.
    """
    if re.fullmatch(r"\d{5}_\d{4}\.npz", path.name):
        return path.with_name(f"{path.name.split('_')[0]}.json")
    if path.name == "history.csv":
        return path.with_name("best.json")
    return path.with_suffix(".json")


@cache  # A dry run asks for a file several times.
def time_stamp(path: Path) -> float | None:
    """Return when the file was written last; None if there is none."""
    try:
        return path.stat().st_mtime
    except OSError:
        return None


@cache  # An input of several products is read once.
def content_digest(path: Path) -> str | None:
    """Return a file's digest as runtime.identity.product_origin writes it; None if there is no file."""
    try:
        return f"sha256:{hashlib.sha256(path.read_bytes()).hexdigest()}"
    except OSError:
        return None


@cache
def read_origin(summary: Path) -> dict | None:
    """Return what the summary says of its origin; None if nothing, as summaries of early versions do."""
    try:
        origin = json.loads(summary.read_text(encoding="utf-8")).get("origin")
    except (OSError, ValueError, AttributeError):
        return None
    return origin if isinstance(origin, dict) else None


def read_product(path: Path) -> Product | None:
    """Return what the summary beside a product says; None without a product or an origin."""
    summary, written = summary_beside(path), time_stamp(path)
    origin = read_origin(summary)
    # A link is what a variant of the ablation shares: the product of another rule.
    if origin is None or written is None or path.is_symlink():
        return None
    texts = [text for name, text in origin.items() if name != "inputs"]
    number = int(hashlib.sha256(str(summary).encode()).hexdigest()[:8], 16)
    return Product(texts, origin.get("inputs", {}), written, number)
