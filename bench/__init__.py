"""Benchmarks, run from the repository's root: `python -m bench.vae --help`. bench/README.md lists them."""

import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]

sys.path.insert(0, str(ROOT / "scripts"))  # The library is not installed.
