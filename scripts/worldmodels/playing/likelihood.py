"""How likely the true latents are under M's dreams, by horizon."""

import math
from dataclasses import dataclass

import numpy as np
import torch

from worldmodels.models.encoding import encode
from worldmodels.models.mdrnn import MDRNN, gmm_loss, to_cell
from worldmodels.models.vae import VAE
from worldmodels.playing.dreams import dream, hidden_after


def draw_latents(vae: VAE, frames: np.ndarray, generator: torch.Generator) -> torch.Tensor:
    """z (T,n) of uint8 frames (T,H,W,C), with V's noise: what M learns from."""
    parts = [encode(vae, batch) for batch in torch.from_numpy(frames).split(256)]
    mu, logsigma = (torch.cat(part).cpu() for part in zip(*parts))
    return mu + logsigma.exp() * torch.randn(mu.shape, generator=generator)


@dataclass
class Windows:
    """Stretches of episodes, time first: warm_up steps that M sees, then the steps that it is asked about.

    latents: (warm_up + horizon + 1, B, n). actions: (warm_up + horizon, B, A).
    """

    latents: torch.Tensor
    actions: torch.Tensor
    warm_up: int

    @property
    def horizon(self) -> int:
        return len(self.actions) - self.warm_up


def cut_windows(
    episodes: list[tuple[torch.Tensor, torch.Tensor]], warm_up: int, horizon: int, stride: int
) -> Windows | None:
    """All stretches that start `stride` rows apart, none across an episode's end; None if no episode is long enough.

    Args:
        episodes: latents (T,n) and actions (T,A) of each.
    """
    length = warm_up + horizon
    cuts = [(z, a, s) for z, a in episodes for s in range(0, len(z) - length, stride)]
    if not cuts:
        return None
    latents = torch.stack([z[s : s + length + 1] for z, _, s in cuts], dim=1)
    actions = torch.stack([a[s : s + length] for _, a, s in cuts], dim=1)
    return Windows(latents, actions, warm_up)


@torch.inference_mode()
def horizon_nll(mdrnn: MDRNN, windows: Windows, samples: int, generator: torch.Generator) -> np.ndarray:
    """Negative log-likelihood of the true latents 1, 2, ... steps ahead under M's dreams, nats a latent vector.

    M sees the true steps up to the start and from then on only the true actions. What it says of step k is the mean
    of the mixtures that `samples` dreams end in; at k = 1 that is its one prediction.

    Returns:
        (horizon,) means over the windows.
    """
    seen, count = windows.warm_up, windows.latents.shape[1]
    hidden = hidden_after(mdrnn, windows.actions[:seen], windows.latents[:seen])
    start, hidden = windows.latents[seen].repeat(samples, 1), tuple(part.repeat(samples, 1) for part in hidden)
    actions = windows.actions[seen:].repeat(1, samples, 1)
    steps = dream(to_cell(mdrnn), start, hidden, lambda step, z, h: actions[step], windows.horizon, 1.0, generator)
    losses = []
    for k, step in enumerate(steps, 1):
        truth = windows.latents[seen + k].repeat(samples, 1)
        likelihoods = -gmm_loss(truth, *step.mixture, reduce=False).view(samples, count)
        losses.append(-(likelihoods.logsumexp(0) - math.log(samples)).mean().item())
    return np.array(losses)


def gaussian_nll(errors: torch.Tensor) -> float:
    """Mean negative log-likelihood of errors (B,n) under the Gaussian around 0 that fits them best, dimension by
    dimension: nats a vector."""
    variances = errors.square().mean(0).clamp_min(1e-12)
    return float(0.5 * (variances.log() + math.log(2 * math.pi) + 1).sum())


def trivial_nll(windows: Windows) -> tuple[np.ndarray, float]:
    """Two predictors that M should beat, both fitted on the very windows that they are tested on.

    Returns:
        "z stays": a Gaussian around the last latent seen, its width fitted to each horizon, (horizon,);
        "any z": one Gaussian for all latents whatever was seen.
    """
    start, ahead = windows.latents[windows.warm_up], windows.latents[windows.warm_up + 1 :]
    every = windows.latents.flatten(0, 1)
    return np.array([gaussian_nll(z - start) for z in ahead]), gaussian_nll(every - every.mean(0))
