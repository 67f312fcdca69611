"""A chain of runs (paper, section 5): the agent of each run collects the rollouts of the next one."""

from worldmodels.runtime.config import REFIT, EnvConfig, RolloutsConfig, needs_agent
from worldmodels.runtime.errors import UserError
from worldmodels.runtime.loading import load_section

AGENT_SHARE = 0.6  # of the later rollouts, where the configured policies have no agent; as in presets/record.yaml


def check_iterations(iterations: object) -> int:
    """Return the number of iterations: 0 for None, which is a run without iterations.

    Raises:
        UserError: it is no number of at least 1.
    """
    if iterations is None:
        return 0
    if type(iterations) is not int or iterations < 1:
        raise UserError(f"iterations: expected a whole number of at least 1, found {iterations!r}")
    return iterations


def iteration_changes(config: dict, number: int, logdir: str, data_dir: str) -> dict:
    """Return what the configuration of an iteration changes.

    The key `iteration` is for rules/common/configuration.smk.

    Args:
        config: Snakemake's object of this name.
        number: of the iteration, from 0.
        logdir: of the chain; the iteration's is <logdir>/iteration_<number>.
        data_dir: of the chain; the iteration's is <data_dir>/iteration_<number>.
    """
    name = f"iteration_{number}"
    places = {"logdir": f"{logdir}/{name}", "data_dir": f"{data_dir}/{name}", "iteration": number}
    if not number:
        return {**places, "rollouts": first_rollouts(config)}
    rollouts = {**later_rollouts(config), "agent": f"{logdir}/iteration_{number - 1}"}
    return {**places, "rollouts": rollouts, "ctrl": {"start": REFIT}}


def first_rollouts(config: dict) -> dict:
    """Return what the rollouts of iteration 0 change: without rollouts.agent the other policies drive.

    Raises:
        UserError: the sections env and rollouts are wrong.
    """
    rollouts = load_rollouts(config)
    if rollouts.agent or not needs_agent(rollouts):
        return {}
    others = {name: weight for name, weight in rollouts.mixture.items() if name != "agent" and weight}
    # The changes are merged into the configured mixture, so the agent stays there, with no weight.
    return {"policy": "mixture", "mixture": {**others, "agent": 0} if others else None}


def later_rollouts(config: dict) -> dict:
    """Return what the rollouts of later iterations change: the agent drives in AGENT_SHARE of them, if in none so far.

    Only iteration 0 learns from episodes that others made.

    Raises:
        UserError: the sections env and rollouts are wrong.
    """
    rollouts = load_rollouts(config)
    if needs_agent(rollouts):
        return {"source": ""}
    others = rollouts.mixture if rollouts.policy == "mixture" else {rollouts.policy: 1.0}
    total = sum(others.values())
    shares = {name: round((1 - AGENT_SHARE) * weight / total, 6) for name, weight in others.items()}
    mixture = {**dict.fromkeys(rollouts.mixture, 0), **shares, "agent": AGENT_SHARE}
    return {"source": "", "policy": "mixture", "mixture": mixture}


def load_rollouts(config: dict) -> RolloutsConfig:
    """Return the checked section rollouts of a configuration as config.yaml holds it."""
    return load_section(config, RolloutsConfig, load_section(config, EnvConfig))


def run_folders(logdir: str, seeds: list[int], iterations: int) -> dict[str, str]:
    """Return the folder of each run of a workflow by the prefix of its rules.

    Args:
        logdir: of the workflow.
        seeds: of a sweep; [] for none.
        iterations: of each chain; 0 for none.

    Returns:
        {"": logdir} for a single run. "seed_1_", "iteration_0_" and "seed_1_iteration_0_" begin the others' rules.
    """
    runs = {f"seed_{seed}_": f"{logdir}/seed_{seed}" for seed in seeds} or {"": logdir}
    if not iterations:
        return runs
    return {
        f"{prefix}iteration_{number}_": f"{folder}/iteration_{number}"
        for prefix, folder in runs.items()
        for number in range(iterations)
    }
