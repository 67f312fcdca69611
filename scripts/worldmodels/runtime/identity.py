"""Stamps of results and of saved states: which code, options and inputs they were made with."""

import argparse
import hashlib
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from worldmodels.runtime.digests import file_digest
from worldmodels.runtime.fingerprint import program_fingerprint
from worldmodels.runtime.paths import input_name


def state_identity(*parts: Any, user_modules: Iterable[str] = ()) -> str:
    """The stamp of a saved state: this program's code, and the parts (options, digests of the inputs).

    Args:
        user_modules: modules of a user's own that the program runs.
    """
    text = "\n".join([program_fingerprint(sys.argv[0], *user_modules), *map(str, parts)])
    return hashlib.sha256(text.encode()).hexdigest()[:32]


def product_origin(args: argparse.Namespace, inputs: Iterable[str | Path]) -> dict:
    """Return what a summary says of where its product comes from; {} for a program run by hand.

    Snakemake reads it where it has no record of the product, see worldmodels.workflow.records.

    Args:
        inputs: summaries of what the product is made from; those that do not exist are left out.

    Returns:
        {"origin": what the workflow compares, by name, and "inputs", the digests}.
    """
    if args.origin is None:
        return {}
    digests = {input_name(path): f"sha256:{file_digest(path)}" for path in inputs if Path(path).exists()}
    return {"origin": {**dict(args.origin), "inputs": digests}}


def shard_summaries(files: Iterable[str]) -> list[Path]:
    """The summaries of the shards that these rollouts are in, <shard>.json beside <shard>_<number>.npz."""
    return sorted({Path(file).with_name(f"{Path(file).name.split('_')[0]}.json") for file in files})
