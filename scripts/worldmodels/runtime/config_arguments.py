"""The values of Snakemake's --config, read as YAML and passed on to the jobs of a cluster.

Importing this module must stay cheap (no torch, no numpy): every dry run does it.
"""

import base64
from typing import Any

from worldmodels.runtime.errors import UserError

CODED = "base64//"  # begins a value that is written in base64


def encode_config_argument(entry: str) -> str:
    """Return an entry of --config in a form that Snakemake can pass on to the jobs of a cluster.

    Snakemake quotes an entry for the jobs' shell as Python would, which breaks backslashes and single quotes.

    Args:
        entry: `key=value`.
    """
    if repr(entry) == f"'{entry}'":
        return entry
    name, _, text = entry.partition("=")
    return f"{name}={CODED}{base64.b64encode(text.encode()).decode()}"


def parse_config_arguments(entries: list[str]) -> dict:
    """Return the configuration that `--config key=value ...` sets, each value read as YAML with quotes and types.

    Snakemake's own reading loses the quotes and leaves nested values as text.

    Raises:
        UserError: a value begins as YAML does, with a brace, bracket or quote, and is no YAML.
    """
    values: dict = {}
    for entry in entries:
        name, _, text = entry.partition("=")
        if text.startswith(CODED):
            text = base64.b64decode(text.removeprefix(CODED)).decode()
        merge_config(values, {name: parse_yaml(text, name)})
    return values


def parse_yaml(text: str, name: str) -> Any:
    """Return a value as YAML reads it, or text that is no YAML as it stands; see parse_config_arguments."""
    import yaml  # Snakemake brings it; programs do without it.

    try:
        return yaml.safe_load(text)
    except (yaml.YAMLError, ValueError) as error:  # ValueError: a date such as the 30th of February
        if text.lstrip()[:1] in ("{", "[", '"', "'"):
            problem = str(getattr(error, "problem", None) or error)
            raise UserError(f"{name}: expected YAML, found {text!r} ({problem}); quote text in it") from None
        return text


def merge_config(config: dict, values: dict) -> None:
    """Overwrite a configuration, in place, with these values; in nested mappings only the keys that are there.

    The mappings of .json files, which Snakemake reads as OrderedDict, become plain ones.
    """
    for name, value in values.items():
        if not isinstance(value, dict):
            config[name] = value
            continue
        if not isinstance(config.get(name), dict):
            config[name] = {}
        merge_config(config[name], value)
