"""Dreams: M runs free, and its predictions are fed back to it (paper, sections 2.3 and 4)."""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch

from worldmodels.models.mdrnn import MDRNN, Hidden, MDRNNCell, to_cell

Mixture = tuple[torch.Tensor, torch.Tensor, torch.Tensor]  # mus, sigmas (..., K, n), logpi (..., K)


def sample_latent(
    mus: torch.Tensor,
    sigmas: torch.Tensor,
    logpi: torch.Tensor,
    temperature: float = 1.0,
    generator: torch.Generator | None = None,
) -> torch.Tensor:
    """Draw the next latent from M's mixture with random numbers of a generator, see choose_latent.

    Args:
        mus, sigmas, logpi, temperature: see choose_latent.
        generator: of the random numbers; None: torch's own.

    Returns:
        z (..., n).
    """
    uniform = torch.rand(logpi.shape[:-1], generator=generator, device=mus.device)
    normal = torch.randn((*logpi.shape[:-1], mus.shape[-1]), generator=generator, device=mus.device)
    return choose_latent(mus, sigmas, logpi, temperature, uniform, normal)


def choose_latent(
    mus: torch.Tensor,
    sigmas: torch.Tensor,
    logpi: torch.Tensor,
    temperature: float,
    uniform: torch.Tensor,
    normal: torch.Tensor,
) -> torch.Tensor:
    """Return the next latent of M's mixture at a temperature tau (paper, appendix A.2 and section 4.4).

    The logits of pi are divided by tau, and sigma is multiplied by sqrt(tau).

    Args:
        mus: (..., K, n), means of the K Gaussians.
        sigmas: (..., K, n), standard deviations.
        logpi: (..., K), log weights.
        temperature: tau. 1 is M's own distribution. A higher one makes a less certain world. 0 gives the mean of the
            most likely Gaussian.
        uniform: (...), uniform random numbers in [0, 1), which choose the Gaussians.
        normal: (..., n), standard normal random numbers.

    Returns:
        z (..., n).
    """
    if temperature == 0:
        chosen = logpi.argmax(-1)
    else:
        # The last Gaussian is chosen where no sum exceeds the number, also if the sums end below 1 by rounding.
        sums = (logpi / temperature).softmax(-1)[..., :-1].cumsum(-1)
        chosen = (sums <= uniform[..., None]).sum(-1)
    index = chosen[..., None, None].expand(*chosen.shape, 1, mus.shape[-1])
    mu, sigma = (tensor.gather(-2, index).squeeze(-2) for tensor in (mus, sigmas))
    return mu + sigma * math.sqrt(temperature) * normal


@dataclass
class DreamStep:
    """A step of B dreams: the action and what M predicts.

    Attributes:
        action: (B, A).
        mixture: of the next latent.
        latent: (B, n), the next latent, drawn from the mixture.
        reward: (B,).
        terminal: (B,), logit of the episode's end.
        hidden: M's next hidden state.
    """

    action: torch.Tensor
    mixture: Mixture
    latent: torch.Tensor
    reward: torch.Tensor
    terminal: torch.Tensor
    hidden: Hidden


@torch.inference_mode()
def dream(
    cell: MDRNNCell,
    latent: torch.Tensor,
    hidden: Hidden,
    policy: Callable[[int, torch.Tensor, Hidden], torch.Tensor],
    steps: int,
    temperature: float = 1.0,
    generator: torch.Generator | None = None,
) -> Iterator[DreamStep]:
    """Let M run free: every latent after the first is drawn from its own prediction.

    Args:
        cell: M.
        latent: (B, n), where the dreams start.
        hidden: M's hidden state before that latent.
        policy: policy(step, z (B, n), M's hidden state) -> action (B, A).
        steps: length of the dreams.
        temperature: see sample_latent.
        generator: of the random numbers; None: torch's own.

    Yields:
        The steps.
    """
    for step in range(steps):
        action = policy(step, latent, hidden)
        *mixture, reward, terminal, hidden = cell(action, latent, hidden)
        latent = sample_latent(*mixture, temperature, generator)
        yield DreamStep(action, tuple(mixture), latent, reward, terminal, hidden)


@torch.inference_mode()
def hidden_after(mdrnn: MDRNN, actions: torch.Tensor, latents: torch.Tensor) -> Hidden:
    """Return M's hidden state after it has seen L true steps: actions (L, B, A) and latents (L, B, n)."""
    cell = to_cell(mdrnn)
    hidden = cell.get_init_hidden(actions.shape[1])
    for action, latent in zip(actions, latents):
        hidden = cell.next_hidden(action, latent, hidden)
    return hidden
