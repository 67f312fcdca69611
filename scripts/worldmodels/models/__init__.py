"""V, M and C as networks with their losses: what the paper's equations say.

How they are trained and played belongs elsewhere. Their checkpoints are read in
`load_vae`, `load_mdrnn` and `load_controller`.
"""

from worldmodels import lazily

__getattr__, __all__ = lazily(
    __name__,
    {
        "vae": ["VAE", "ConvVAE", "ConvVAEDecoder", "ConvVAEEncoder", "conv_vae_loss_fn"],
        "mdrnn": ["MDRNN", "MDRNNCell", "get_loss", "gmm_loss"],
        "controller": ["Controller", "flatten_parameters", "load_parameters"],
        "load_controller": ["load_controller"],
        "load_mdrnn": ["load_mdrnn"],
        "load_vae": ["load_vae"],
        "encoding": ["encode"],
        "decoding": ["decode"],
    },
)
