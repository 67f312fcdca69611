"""Values of the configuration as text, and back.

Importing this module must stay cheap (no torch, no numpy): every dry run does it.
"""

import json
from typing import Any

SCALARS = (str, int, float, bool, type(None))
PAIRS = "!pairs"  # what stands for a mapping whose keys are not all text, which JSON does not have


def encode_pairs(value: Any) -> Any:
    """The value with each mapping that has other keys than text as {"!pairs": [[key, value], ...]}."""
    if isinstance(value, list):
        return [encode_pairs(part) for part in value]
    if not isinstance(value, dict):
        return value
    if all(isinstance(given, str) for given in value) and PAIRS not in value:
        return {given: encode_pairs(part) for given, part in value.items()}
    return {PAIRS: sorted(([given, encode_pairs(part)] for given, part in value.items()), key=json.dumps)}


def to_text(value: Any) -> str:
    """The value as JSON, its keys sorted, see `encode`; text as it stands."""
    return value if isinstance(value, str) else json.dumps(encode_pairs(value), sort_keys=True)


def from_text(text: str) -> Any:
    """What to_text turned into JSON.

    Raises:
        ValueError: the text is no JSON.
    """

    def decode(mapping: dict) -> dict:
        if list(mapping) != [PAIRS]:
            return mapping
        try:
            return dict(mapping[PAIRS])
        except TypeError as error:
            raise ValueError(f"{PAIRS}: {error}") from None

    return json.loads(text, object_hook=decode)
