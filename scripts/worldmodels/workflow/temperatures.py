"""The paper's table of temperatures: C learns in dreams of several temperatures, and each C plays the official test."""

import sys
import types
from collections.abc import Callable

from worldmodels.runtime.errors import UserError

PAPER = [0.1, 0.5, 1.0, 1.15, 1.3]  # paper, section 4.4


def read_temperatures(value: object) -> list[float]:
    """Return the checked value of the key `temperatures`: each temperature once, in order.

    Raises:
        UserError: the value is not a list of numbers of at least 0.
    """
    is_list = isinstance(value, list) and len(value) > 0
    if not is_list or not all(type(each) in (int, float) and 0 <= each <= sys.float_info.max for each in value):
        raise UserError(f"temperatures: expected a list of numbers of at least 0, found {value!r}")
    return sorted({abs(float(each)) for each in value})  # -0.0 is 0


def variants(temperatures: list[float]) -> dict[str, dict]:
    """Return what each variant's configuration changes, by the variant's name: the temperature, as 1.0 for 1."""
    return {str(each): {"ctrl": {"world": "dream", "temperature": each}} for each in temperatures}


def rule_prefix(name: str) -> str:
    """Return what the rules of a variant start with, as temperature_1_15 for 1.15."""
    return f"temperature_{name}".translate(str.maketrans({".": "_", "-": "minus", "+": None}))


def folders(temperatures: list[float], config: types.SimpleNamespace) -> dict[str, str]:
    """Return the folder of the run with each temperature. It is the run's own if its C learns at this temperature.

    Args:
        temperatures: see read_temperatures.
        config: the run's checked configuration.
    """
    dreams_alike = config.ctrl.world == "dream" and not config.ctrl.start  # The variants' C starts at 0.
    own = config.ctrl.temperature if dreams_alike else None
    return {
        name: config.logdir if changes["ctrl"]["temperature"] == own else f"{config.logdir}/temperatures/{name}"
        for name, changes in variants(temperatures).items()
    }


def controllers(runs: dict[str, str], config: types.SimpleNamespace) -> Callable:
    """Return the input function that gives the summaries of the runs' controllers.

    It ends Snakemake where M predicts no reward. Snakemake calls it only if the temperatures are asked for.

    Args:
        runs: see folders.
        config: the run's checked configuration.
    """

    def summaries(wildcards: object) -> list[str]:
        if not config.mdrnn.include_reward:
            sys.exit("config: mdrnn.include_reward: expected true, since C learns in dreams, found false")
        return [f"{run}/ctrl/best.json" for run in runs.values()]

    return summaries
