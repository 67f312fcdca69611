"""The likelihood of the true latents under M's dreams, per horizon."""

import math
from dataclasses import dataclass

import numpy as np
import torch

from worldmodels.models.encoding import encode
from worldmodels.models.mdrnn import MDRNN, Hidden, gmm_loss, to_cell
from worldmodels.models.vae import VAE
from worldmodels.playing.dreams import dream, hidden_after


def draw_latents(vae: VAE, frames: np.ndarray, generator: torch.Generator) -> torch.Tensor:
    """Draw the latents that M learns from, with V's noise.

    Args:
        vae: V.
        frames: (T, H, W, C) uint8.
        generator: of the noise.

    Returns:
        z (T, n) float32.
    """
    batches = [encode(vae, batch) for batch in torch.from_numpy(frames).split(256)]
    mu, logsigma = (torch.cat(tensors).cpu() for tensors in zip(*batches))
    return mu + logsigma.exp() * torch.randn(mu.shape, generator=generator)


@dataclass
class Windows:
    """Stretches of B episodes, time first: the steps that M sees, then the steps that it predicts.

    Attributes:
        latents: (warm_up + horizon + 1, B, n).
        actions: (warm_up + horizon, B, A).
        warm_up: steps that M sees.
    """

    latents: torch.Tensor
    actions: torch.Tensor
    warm_up: int

    @property
    def horizon(self) -> int:
        """Steps that M predicts."""
        return len(self.actions) - self.warm_up


def cut_windows(
    episodes: list[tuple[torch.Tensor, torch.Tensor]], warm_up: int, horizon: int, stride: int
) -> Windows | None:
    """Cut episodes into windows, which may overlap. No window crosses an episode's end.

    Args:
        episodes: latents (T, n) and actions (T, A) of each.
        warm_up: steps of a window that M sees.
        horizon: steps of a window that M predicts.
        stride: rows between the starts of two windows.

    Returns:
        The windows, or None if no episode is long enough.
    """
    length = warm_up + horizon
    latents, actions = [], []
    for z, a in episodes:
        for start in range(0, len(z) - length, stride):
            latents.append(z[start : start + length + 1])
            actions.append(a[start : start + length])
    if not latents:
        return None
    return Windows(torch.stack(latents, dim=1), torch.stack(actions, dim=1), warm_up)


@torch.inference_mode()
def horizon_nll(mdrnn: MDRNN, windows: Windows, samples: int, generator: torch.Generator) -> np.ndarray:
    """Return the negative log-likelihood of the true latents 1, 2, ... steps ahead under M's dreams.

    M sees the true steps of the warm-up, and after them only the true actions. Its prediction for step k is the mean of
    the mixtures at step k of several dreams. At k = 1 all dreams have the same mixture.

    Args:
        mdrnn: M.
        windows: the true steps.
        samples: dreams per window.
        generator: of the dreams' random numbers.

    Returns:
        (horizon,) means over the windows, nats per latent vector.
    """
    warm_up, count = windows.warm_up, windows.latents.shape[1]
    hidden = hidden_after(mdrnn, windows.actions[:warm_up], windows.latents[:warm_up])
    hidden = tuple(tensor.repeat(samples, 1) for tensor in hidden)
    start = windows.latents[warm_up].repeat(samples, 1)
    actions = windows.actions[warm_up:].repeat(1, samples, 1)

    def policy(step: int, z: torch.Tensor, hidden: Hidden) -> torch.Tensor:
        return actions[step]

    losses = []
    for k, step in enumerate(dream(to_cell(mdrnn), start, hidden, policy, windows.horizon, 1.0, generator), 1):
        truth = windows.latents[warm_up + k].repeat(samples, 1)
        log_likelihoods = -gmm_loss(truth, *step.mixture, reduce=False).view(samples, count)
        losses.append(-(log_likelihoods.logsumexp(0) - math.log(samples)).mean().item())
    return np.array(losses)


def gaussian_nll(errors: torch.Tensor) -> float:
    """Return the mean negative log-likelihood of errors under the Gaussian around 0 that fits them best.

    Args:
        errors: (B, n). The Gaussian has one variance per dimension.

    Returns:
        Nats per vector.
    """
    variances = errors.square().mean(0).clamp_min(1e-12)
    return float(0.5 * (variances.log() + math.log(2 * math.pi) + 1).sum())


def trivial_nll(windows: Windows) -> tuple[np.ndarray, float]:
    """Return the negative log-likelihoods of two simple predictors that M should beat.

    Both are fitted on the windows that they are tested on.

    Returns:
        "z stays": a Gaussian around the last latent seen, with a width per horizon, (horizon,);
        "any z": one Gaussian for all latents, whatever was seen. Nats per latent vector.
    """
    last_seen, future = windows.latents[windows.warm_up], windows.latents[windows.warm_up + 1 :]
    all_latents = windows.latents.flatten(0, 1)
    nll_stays = np.array([gaussian_nll(z - last_seen) for z in future])
    return nll_stays, gaussian_nll(all_latents - all_latents.mean(0))
