"""The settings that can change a stage's result under the present configuration.

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
    """Return the names of the fields that cannot change the result of their stage under the present configuration.

    Args:
        section: a section of the configuration, or a variant of it.
        loaded: the configuration.
    """
    rules = {
        RolloutsConfig: idle_in_rollouts,
        WMVAEConfig: idle_in_vae,
        WMMDNRNNConfig: idle_in_mdrnn,
        WMControllerConfig: idle_in_ctrl,
    }
    if type(section) not in rules:
        return set()
    is_idle = rules[type(section)](section, loaded)
    return {name for name, idle in is_idle.items() if idle}


def idle_in_rollouts(rollouts: RolloutsConfig, loaded: types.SimpleNamespace) -> dict[str, bool]:
    """Return for each field of the rollouts that may be idle whether it is."""

    def plays(policy: str) -> bool:
        return rollouts.policy == policy or (rollouts.policy == "mixture" and bool(rollouts.mixture.get(policy)))

    if rollouts.source:  # Others have chosen the actions.
        names = ("policy", "mixture", "ou_mean", "ou_sigma", "ou_theta", "agent_noise", "gymnasium_share")
        return dict.fromkeys(names, True)
    noise = plays("ou") or (plays("agent") and rollouts.agent_noise > 0)  # The agent's noise is ou's noise around 0.
    return {
        "mixture": rollouts.policy != "mixture",
        "ou_mean": not plays("ou"),
        "ou_sigma": not noise,
        "ou_theta": not noise,
        "agent_noise": not plays("agent"),
        "gymnasium_share": is_gymnasium_certain(loaded.env),
        "source_frames": True,
    }


def idle_in_schedule(section: WMVAEConfig | WMMDNRNNConfig) -> dict[str, bool]:
    """Return the same for the fields of a schedule, see idle_in_rollouts.

    A rate drops, and training stops early, at the earliest after as many epochs as the patience.
    """
    rate_is_constant = section.scheduler_patience >= section.num_epochs
    return {
        "scheduler_patience": rate_is_constant,
        "scheduler_factor": rate_is_constant,
        "early_stopping_patience": section.early_stopping_patience >= section.num_epochs,
    }


def idle_in_vae(vae: WMVAEConfig, loaded: types.SimpleNamespace) -> dict[str, bool]:
    """Return the same for V: frames that fit into the memory are not streamed; see idle_in_rollouts."""
    frame_bytes = loaded.env.height * loaded.env.width * (1 if loaded.env.grey else 3)
    frames = loaded.rollouts.num_rollouts * loaded.rollouts.seq_len
    return {**idle_in_schedule(vae), "memory_gb": frames * frame_bytes <= vae.memory_gb * 1e9}


def idle_in_mdrnn(mdrnn: WMMDNRNNConfig, loaded: types.SimpleNamespace) -> dict[str, bool]:
    """Return the same for M, which may stay untrained; see idle_in_rollouts."""
    untrained = not mdrnn.num_epochs
    return {**idle_in_schedule(mdrnn), "learning_rate": untrained, "grad_clip": untrained}


def idle_in_ctrl(ctrl: WMControllerConfig, loaded: types.SimpleNamespace) -> dict[str, bool]:
    """Return the same for C, whose search may end before a field takes effect; see idle_in_rollouts."""

    def never(steps: int) -> bool:
        # Whether this number of environment steps is 0, which means never, or the search ends before it.
        return not steps or 0 < ctrl.max_env_steps <= steps

    samples_are_constant = never(ctrl.sample_growth)
    return {
        "temperature": ctrl.world != "dream",
        "sample_growth": samples_are_constant,
        "hard_share": samples_are_constant and not int(ctrl.hard_share * ctrl.n_samples),
        "ascent_after": never(ctrl.ascent_after * ctrl.n_samples),
        "ascent_rate": never(ctrl.ascent_after * ctrl.n_samples),
    }


def compared_fields(section: Section, loaded: types.SimpleNamespace) -> list[str]:
    """Return the names of the fields whose new value makes the stage stale."""
    idle = idle_fields(section, loaded)
    roles = (RESULT, BUDGET)
    return [f.name for f in settable(type(section)) if f.metadata["role"] in roles and f.name not in idle]
