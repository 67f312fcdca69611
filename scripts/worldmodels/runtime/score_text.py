"""Scores as text, for tables and messages.

Importing this module must stay cheap (no torch, no numpy): every dry run does it.
"""

from collections.abc import Sequence


def score_text(mean: float, std: float | None, digits: int = 1) -> str:
    """Return "mean +- std", or the mean alone where there is no std."""
    return f"{mean:.{digits}f}" if std is None else f"{mean:.{digits}f} +- {std:.{digits}f}"


def interval_text(interval: Sequence[float] | None) -> str:
    """Return "low to high", or what stands in its place after one episode."""
    return "unknown after one episode" if interval is None else f"{interval[0]:.1f} to {interval[1]:.1f}"
