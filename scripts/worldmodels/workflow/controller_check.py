"""Whether C suits the environment's actions and the memory of its job, told before any training.

The job that collects rollouts checks it first, because it makes the environment. A dry run checks it where earlier
rollouts have recorded the environment's actions.
"""

import json
import sys
import types
from typing import Any

from worldmodels.runtime import preflight
from worldmodels.runtime.errors import UserError
from worldmodels.workflow import snakemake_internals as internals
from worldmodels.workflow.resources import playing_memory


def controller_memory(workflow: Any, config: types.SimpleNamespace) -> float | None:
    """Return the bytes of memory that C's job will have.

    Returns:
        None for the memory of this machine; infinite if only the job will know its memory.
    """
    if not internals.submits_jobs(workflow):
        return None
    rule = "train_controller_in_dream" if config.ctrl.world == "dream" else "train_controller"
    given = internals.given_memory(workflow, rule)
    if given is None:
        given = playing_memory(None, config.ctrl.max_workers, 1)
    return given * 1e6


def settings_text(workflow: Any, config: types.SimpleNamespace) -> str:
    """Return what the job that collects rollouts needs for the check, as JSON."""
    return json.dumps(preflight.controller_settings(config, controller_memory(workflow, config)))


def check_against_earlier_rollouts(workflow: Any, config: types.SimpleNamespace, summary: str, place: str = "") -> None:
    """End Snakemake where earlier rollouts tell that C suits neither the actions nor the memory.

    Args:
        summary: summary of the first shard of rollouts; it may not exist yet.
        place: follows the message.
    """
    if internals.is_job_process(workflow):  # It parses the Snakefile when it is too late.
        return
    settings = preflight.controller_settings(config, controller_memory(workflow, config))
    try:
        preflight.check_recorded_actions(summary, settings, config.env)
    except UserError as error:
        sys.exit(f"config: {error}{place}")
