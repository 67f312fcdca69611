"""Environments as V and C meet them: lanes of seeded episodes, frames, actions as vectors, and the seeds of everything.

Two backends, gymnasium and EnvPool, give the same interface. What plays in them belongs elsewhere.
"""

from worldmodels import lazily

__getattr__, __all__ = lazily(
    __name__,
    {
        "lanes": ["EnvPoolLanes", "GymnasiumLanes", "make_lanes"],
        "actions": ["ActionCodec"],
        "instances": ["Instances"],
        "backends": ["choose_backend"],
    },
)
