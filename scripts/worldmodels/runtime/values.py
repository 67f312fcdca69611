"""Values of the configuration as text, and back.

Importing this module must stay cheap (no torch, no numpy): every dry run does it.
"""

import json
from typing import Any

SCALARS = (str, int, float, bool, type(None))
PAIRS = "!pairs"  # stands for a mapping with keys other than text, which JSON does not have


def encode_pairs(value: Any) -> Any:
    """Return a value with each mapping that has other keys than text as {"!pairs": [[key, value], ...]}."""
    if isinstance(value, list):
        return [encode_pairs(item) for item in value]
    if not isinstance(value, dict):
        return value
    if all(isinstance(key, str) for key in value) and PAIRS not in value:
        return {key: encode_pairs(item) for key, item in value.items()}
    return {PAIRS: sorted(([key, encode_pairs(item)] for key, item in value.items()), key=json.dumps)}


def decode_pairs(mapping: dict) -> dict:
    """Return the mapping that encode_pairs turned into {"!pairs": ...}; any other mapping unchanged."""
    if list(mapping) != [PAIRS]:
        return mapping
    try:
        return dict(mapping[PAIRS])
    except TypeError as error:
        raise ValueError(f"{PAIRS}: {error}") from None


def to_text(value: Any) -> str:
    """Return text unchanged, and any other value as JSON with sorted keys; see `encode_pairs`."""
    return value if isinstance(value, str) else json.dumps(encode_pairs(value), sort_keys=True)


def from_text(text: str) -> Any:
    """Return the value that to_text turned into JSON.

    Raises:
        ValueError: the text is no JSON.
    """
    return json.loads(text, object_hook=decode_pairs)
