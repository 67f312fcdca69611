"""Classes that a user gives as V: Flat works, the others do not."""

from torch import nn

from worldmodels.models.vae import VAE


class Split(nn.Module):
    def __init__(self, inputs, latents):
        super().__init__()
        self.both = nn.Linear(inputs, 2 * latents)

    def forward(self, x):
        return self.both(x.flatten(1)).chunk(2, -1)


class Flat(VAE):
    def __init__(self, img_channels, latent_size, height, width):
        super().__init__(img_channels, latent_size, height, width)
        shape = (img_channels, height, width)
        self.encoder = Split(img_channels * height * width, latent_size)
        self.decoder = nn.Sequential(
            nn.Linear(latent_size, height * width * img_channels), nn.Sigmoid(), nn.Unflatten(1, shape)
        )


class Wrong(Flat):
    def __init__(self, *sizes):
        super().__init__(*sizes)
        self.decoder = nn.Linear(self.latent_size, 3)


class Broken(Flat):
    def __init__(self, *sizes):
        super().__init__(*sizes)
        self.encoder = nn.Linear(5, 5)


class Foreign(nn.Module):
    pass
