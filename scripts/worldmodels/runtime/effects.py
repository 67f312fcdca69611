"""Which keys can change a stage's result under the present configuration.

Importing this module must stay cheap (no torch, no numpy): every dry run does it.
"""

import types

from worldmodels.runtime.config import (
    RolloutsConfig,
    WMControllerConfig,
    WMMDNRNNConfig,
    WMVAEConfig,
    is_gymnasium_certain,
)
from worldmodels.runtime.settings import BUDGET, RESULT, Section, settable


def idle_fields(section: Section, loaded: types.SimpleNamespace) -> set[str]:
    """The names of the fields that cannot change the result of their stage under the present configuration.

    Args:
        section: one of the configuration's, or a variant of it.
        loaded: the configuration.
    """
    conditions = {
        RolloutsConfig: idle_in_rollouts,
        WMVAEConfig: idle_in_vae,
        WMMDNRNNConfig: idle_in_mdrnn,
        WMControllerConfig: idle_in_ctrl,
    }
    if type(section) not in conditions:
        return set()
    return {name for name, without_effect in conditions[type(section)](section, loaded).items() if without_effect}


def idle_in_rollouts(rollouts: RolloutsConfig, loaded: types.SimpleNamespace) -> dict[str, bool]:
    def plays(policy: str) -> bool:
        return rollouts.policy == policy or (rollouts.policy == "mixture" and bool(rollouts.mixture.get(policy)))

    noise = plays("ou") or (plays("agent") and rollouts.agent_noise > 0)  # the agent's noise is ou's around 0
    return {
        "mixture": rollouts.policy != "mixture",
        "ou_mean": not plays("ou"),
        "ou_sigma": not noise,
        "ou_theta": not noise,
        "agent_noise": not plays("agent"),
        "gymnasium_share": is_gymnasium_certain(loaded.env),
    }


def idle_in_schedule(section: WMVAEConfig | WMMDNRNNConfig) -> dict[str, bool]:
    """The epochs' fields: a rate drops, and training stops, at the earliest after as many epochs as the patience."""
    rate = section.scheduler_patience >= section.num_epochs
    return {
        "scheduler_patience": rate,
        "scheduler_factor": rate,
        "early_stopping_patience": section.early_stopping_patience >= section.num_epochs,
    }


def idle_in_vae(vae: WMVAEConfig, loaded: types.SimpleNamespace) -> dict[str, bool]:
    frame = loaded.env.height * loaded.env.width * (1 if loaded.env.grey else 3)
    frames = loaded.rollouts.num_rollouts * loaded.rollouts.seq_len
    return {**idle_in_schedule(vae), "memory_gb": frames * frame <= vae.memory_gb * 1e9}


def idle_in_mdrnn(mdrnn: WMMDNRNNConfig, loaded: types.SimpleNamespace) -> dict[str, bool]:
    untrained = not mdrnn.num_epochs
    return {**idle_in_schedule(mdrnn), "learning_rate": untrained, "grad_clip": untrained}


def idle_in_ctrl(ctrl: WMControllerConfig, loaded: types.SimpleNamespace) -> dict[str, bool]:
    def never(steps: int) -> bool:
        return not steps or 0 < ctrl.max_env_steps <= steps

    constant = never(ctrl.sample_growth)
    return {
        "sample_growth": constant,
        "hard_share": constant and not int(ctrl.hard_share * ctrl.n_samples),
        "ascent_after": never(ctrl.ascent_after * ctrl.n_samples),
        "ascent_rate": never(ctrl.ascent_after * ctrl.n_samples),
    }


def compared_fields(section: Section, loaded: types.SimpleNamespace) -> list[str]:
    """The names of the fields whose new value makes the stage stale."""
    without_effect = idle_fields(section, loaded)
    roles = (RESULT, BUDGET)
    return [f.name for f in settable(type(section)) if f.metadata["role"] in roles and f.name not in without_effect]
