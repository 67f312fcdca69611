"""An agent that a run takes over instead of training one (the key `agent`): a package, or the V, M and C of a run."""

import copy
from pathlib import Path

from worldmodels.runtime.config import REFIT
from worldmodels.runtime.digests import file_digest
from worldmodels.runtime.errors import UserError
from worldmodels.runtime.loading import agent_network
from worldmodels.runtime.package_settings import adopt
from worldmodels.runtime.packages import STAGES, find_package, is_checkpoint
from worldmodels.runtime.paths import normal_path


def read_agent(value: object) -> str:
    """Return the checked value of the key `agent`: "" for none.

    Raises:
        UserError: the value is neither a package nor the logdir of a finished run.
    """
    if value in (None, ""):
        return ""
    if not isinstance(value, str):
        raise UserError(f"agent: expected a package or the logdir of a finished run, found {value!r}")
    agent = normal_path(value, "agent")
    for stage in STAGES:
        if not is_checkpoint(f"{agent}/{stage}/best.tar"):
            raise UserError(
                f"agent: expected a package or the logdir of a finished run, found no {agent}/{stage}/best.tar"
            )
    return agent


def agent_digest(agent: str) -> str:
    """Return the digests of an agent's V, M and C."""
    return " ".join(file_digest(f"{agent}/{stage}/best.tar") for stage in STAGES)


def adopt_settings(config: dict, agent: str) -> dict:
    """Return the configuration of a run that takes over an agent.

    A setting that the agent fixes comes from the agent where the configuration has its default. A package tells all of
    package_settings.FIXED, a run only its network of V.

    Args:
        config: as config.yaml holds it.
        agent: see read_agent.

    Raises:
        UserError: a setting is neither the agent's nor the default, or C is to start elsewhere.
    """
    values = copy.deepcopy(config)
    package = find_package(agent)
    fixed = {"vae": {"model": agent_network(agent) or "ConvVAE"}}
    if package:
        models = {stage: package.config["models"][stage]["config"] for stage in STAGES}
        fixed = {"env": package.config["env"], **models}
    for section, own in fixed.items():
        given = values.get(section) or {}
        values[section] = given | adopt(section, given, own, f"the agent {agent}")
    start = values.get("ctrl", {}).get("start", "")
    if start not in ("", REFIT):
        raise UserError(f'ctrl.start: expected "" or {REFIT} beside the key agent, found {start!r}')
    values.setdefault("ctrl", {})["start"] = ""
    if values.get("logdir") is None:
        values["logdir"] = f"results/agent/{Path(agent).stem}"
    return values
