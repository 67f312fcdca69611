"""Environments: lanes of seeded episodes, frames for V, actions as vectors, and the seeds of a run.

The backends gymnasium and EnvPool have the same interface. Code that plays episodes belongs to the later packages.
"""

from worldmodels import lazily

__getattr__, __all__ = lazily(
    __name__,
    {
        "lanes": ["EnvPoolLanes", "GymnasiumLanes", "make_lanes"],
        "frames": ["frames_for_v"],
        "actions": ["ActionCodec"],
        "instances": ["Instances"],
        "backends": ["choose_backend"],
    },
)
