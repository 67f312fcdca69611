"""The mean of some returns, and its spread."""

import math
import statistics
from collections.abc import Sequence


def summarize_returns(returns: Sequence[float]) -> dict:
    """Return the mean of the returns, their standard deviation, and the 95 % interval of the mean (Student's t).

    One return has no spread, so std and mean_95_interval are None then, null in JSON.
    """
    mean = statistics.fmean(returns)
    if len(returns) < 2:
        return {"mean": mean, "std": None, "mean_95_interval": None}
    std = statistics.stdev(returns)
    half = student_t(len(returns) - 1) * std / math.sqrt(len(returns))
    return {"mean": mean, "std": std, "mean_95_interval": [mean - half, mean + half]}


def student_t(freedom: int, share: float = 0.95) -> float:
    """Return the t that bounds this share of Student's distribution, between -t and t.

    Args:
        freedom: degrees of freedom, at least 1.
        share: of the distribution.
    """
    low, high = 0.0, math.pi / 2
    while (middle := (low + high) / 2) not in (low, high):
        if share_within(middle, freedom) < share:
            low = middle
        else:
            high = middle
    return math.sqrt(freedom) * math.tan(high)


def share_within(angle: float, freedom: int) -> float:
    """Return the share of Student's distribution within +-sqrt(freedom) * tan(angle).

    For whole degrees of freedom it is a finite sum: Abramowitz and Stegun, Handbook of Mathematical Functions, 26.7.3
    and 26.7.4.
    """
    odd = freedom % 2
    sine, cosine = math.sin(angle), math.cos(angle)
    term, total = sine * (cosine if odd else 1.0), 0.0
    for power in range(odd, freedom - 1, 2):
        total += term
        term *= cosine**2 * (power + 1) / (power + 2)
    return (angle + total) * 2 / math.pi if odd else total
