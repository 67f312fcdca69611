"""The data that the networks learn from: rollouts, the policies that collect them, latents, datasets and sequences.

Code here reads and writes data. It trains nothing.
"""

from worldmodels import lazily

__getattr__, __all__ = lazily(
    __name__,
    {
        "collection": ["collect_shard", "generate_rollouts"],
        "datasets": ["ObservationDataset", "RolloutDataset"],
        "sequences": ["LatentSequenceDataset", "SequenceDataset"],
        "latents": ["precompute_latents"],
    },
)
