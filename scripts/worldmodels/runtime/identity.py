"""Stamps of results and of saved states: the code, the options and the inputs that they come from."""

import argparse
import hashlib
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from worldmodels.runtime.digests import file_digest
from worldmodels.runtime.fingerprint import program_fingerprint
from worldmodels.runtime.paths import input_name


def state_identity(*values: Any, user_modules: Iterable[str] = ()) -> str:
    """Return the stamp of a saved state: 32 hexadecimal digits.

    They change with the code of this program and with the values.

    Args:
        values: what shapes the state besides the code: options, digests of the inputs.
        user_modules: a user's own modules that the program runs.
    """
    text = "\n".join([program_fingerprint(sys.argv[0], *user_modules), *map(str, values)])
    return hashlib.sha256(text.encode()).hexdigest()[:32]


def product_origin(args: argparse.Namespace, inputs: Iterable[str | Path]) -> dict:
    """Return what a summary says about the origin of its product.

    Snakemake reads it where it has no record of the product; see worldmodels.workflow.records.

    Args:
        args: the program's flags. --origin holds the texts that the workflow compares, by name.
        inputs: the summaries of what the product is made from. Those that do not exist are left out.

    Returns:
        {"origin": the texts, and under "inputs" the digests of the inputs}; {} for a program that is run by hand.
    """
    if args.origin is None:
        return {}
    digests = {input_name(path): f"sha256:{file_digest(path)}" for path in inputs if Path(path).exists()}
    return {"origin": {**dict(args.origin), "inputs": digests}}


def shard_summaries(files: Iterable[str]) -> list[Path]:
    """Return the summaries of the shards of these rollouts: <shard>.json beside <shard>_<number>.npz."""
    return sorted({Path(file).with_name(f"{Path(file).name.split('_')[0]}.json") for file in files})
