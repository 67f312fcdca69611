"""The ablation: variants of a run that show how much a hidden layer, M and M's training add to C."""

import dataclasses
import types
from collections.abc import Callable
from typing import Any

from worldmodels.workflow.controller_check import check_against_earlier_rollouts

# Variant -> what its configuration changes.
VARIANTS: dict[str, dict] = {
    "v_only": {"ctrl": {"features": "z", "hidden": []}},
    "v_hidden": {"ctrl": {"features": "z", "hidden": [40]}},
    "random_m": {"mdrnn": {"num_epochs": 0, "start": ""}},
}


def variant_tests(workflow: Any, config: types.SimpleNamespace, summary: str) -> Callable:
    """Return the input function that gives the variants' tests.

    It ends Snakemake where a variant's C does not suit the actions or the memory. Snakemake calls it only if the
    ablation is asked for.

    Args:
        config: the run's checked configuration.
        summary: summary of the first shard of rollouts.
    """

    def tests(wildcards: object) -> list[str]:
        for name, changes in VARIANTS.items():
            sections = {key: dataclasses.replace(getattr(config, key), **values) for key, values in changes.items()}
            varied = types.SimpleNamespace(**{**vars(config), **sections})
            check_against_earlier_rollouts(workflow, varied, summary, f" in the ablation's {name}")
        return [f"{config.logdir}/ablation/{name}/eval.json" for name in VARIANTS]

    return tests
