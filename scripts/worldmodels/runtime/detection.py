"""How M finds the endings of episodes, in numbers and as text."""

from typing import NamedTuple


class Detection(NamedTuple):
    """How M finds the endings of some episodes. M predicts an ending where its probability exceeds a half.

    Attributes:
        steps: of the episodes.
        endings: steps with an ending.
        predicted: steps where M predicts one.
        hits: steps with both.
    """

    steps: int
    endings: int
    predicted: int
    hits: int

    def text(self) -> str:
        """Return precision and recall, each with its numerator and its denominator."""
        return (
            f"precision {share_text(self.hits, self.predicted)} of predicted endings, "
            f"recall {share_text(self.hits, self.endings)} of true endings"
        )


def share_text(part: int, whole: int) -> str:
    """Return a share with its numbers, or "unknown" where the whole is 0."""
    return f"{part / whole:.2f} ({part}/{whole})" if whole else f"unknown ({part}/{whole})"
