"""What the networks learn from: rollouts and the policies that collect them, datasets, sequences, latents."""

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
