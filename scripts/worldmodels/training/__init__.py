"""The trainings of V, M and C. V and M share the epoch loop and early stopping.

Networks and losses belong to models/, searches to search/.
"""

from worldmodels import lazily

__getattr__, __all__ = lazily(
    __name__,
    {
        "vae": ["train_vae"],
        "mdrnn": ["train_mdrnn"],
        "controller": ["train_controller"],
        "controller_in_environment": ["train_controller_in_environment"],
        "controller_in_dream": ["train_controller_in_dream"],
        "refit": ["refit_controller"],
        "early_stopping": ["EarlyStopping"],
        "loop": ["TrainingLoop"],
    },
)
