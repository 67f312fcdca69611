"""Benchmarks, run from the repository's root: `python -m bench.vae --help`. README.md says what they measure."""

import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]

sys.path.insert(0, str(ROOT / "scripts"))  # The library is not installed.
