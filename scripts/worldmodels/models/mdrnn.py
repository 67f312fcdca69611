"""M: the mixture density recurrent network (paper, section 2.3 and appendix A.2)."""

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

Hidden = tuple[torch.Tensor, ...]  # (h, c) of an LSTM, (h,) of a GRU; each (B, layers * H), layer after layer
CELLS = {"lstm": (nn.LSTM, nn.LSTMCell), "gru": (nn.GRU, nn.GRUCell)}


class _MDRNNBase(nn.Module):
    """What MDRNN and MDRNNCell share: the first hidden state, and the head that predicts mixture, reward and terminal.

    Args:
        latents, actions, hiddens: sizes of z, of an action and of the hidden state.
        gaussians: components of the mixture, K.
        cell: lstm or gru.
        layers: of the recurrent network.
    """

    def __init__(
        self, latents: int, actions: int, hiddens: int, gaussians: int, cell: str = "lstm", layers: int = 1
    ) -> None:
        super().__init__()
        self.latents, self.actions, self.hiddens, self.gaussians = latents, actions, hiddens, gaussians
        self.cell, self.layers = cell, layers
        self.gmm_linear = nn.Linear(hiddens, (2 * latents + 1) * gaussians + 2)

    def get_init_hidden(self, batch: int) -> Hidden:
        """Return the hidden state at the start of `batch` episodes: zeros."""
        zeros = self.gmm_linear.weight.new_zeros(batch, self.layers * self.hiddens)
        return (zeros, zeros.clone()) if self.cell == "lstm" else (zeros,)

    def head(self, hidden: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """Predict the next step from the hidden state.

        Args:
            hidden: (..., H).

        Returns:
            mus, sigmas (..., K, n) and logpi (..., K) of the mixture; rewards (...); logits of the terminals (...).
        """
        stride = self.gaussians * self.latents
        mus, logsigmas, pi, reward, terminal = self.gmm_linear(hidden).split([stride, stride, self.gaussians, 1, 1], -1)
        shape = (*hidden.shape[:-1], self.gaussians, self.latents)
        logpi = F.log_softmax(pi, dim=-1)
        return mus.view(shape), logsigmas.view(shape).exp(), logpi, reward.squeeze(-1), terminal.squeeze(-1)


class MDRNN(_MDRNNBase):
    """M for whole sequences at once, as in training."""

    def __init__(
        self, latents: int, actions: int, hiddens: int, gaussians: int, cell: str = "lstm", layers: int = 1
    ) -> None:
        super().__init__(latents, actions, hiddens, gaussians, cell, layers)
        self.rnn = CELLS[cell][0](latents + actions, hiddens, layers)

    def forward(self, actions: torch.Tensor, latents: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """Predict every next step of some sequences; the hidden state starts at zero.

        Args:
            actions: (L,B,A).
            latents: (L,B,n).

        Returns:
            mus, sigmas (L,B,K,n) and logpi (L,B,K) of the next latent's mixture; rewards (L,B); logits of the terminals
            (L,B).
        """
        inputs = torch.cat([actions, latents], dim=-1)
        odd = self.cell == "lstm" and inputs.device.type == "cpu" and inputs.shape[-1] % 2
        return self.head(self.lstm_of_even_width(inputs) if odd else self.rnn(inputs)[0])

    def lstm_of_even_width(self, inputs: torch.Tensor) -> torch.Tensor:
        """Return the LSTM's outputs (L,B,H), computed with one more input that is always 0."""
        # Matrix units (AMX) multiply pairs of bfloat16. For an odd number of inputs oneDNN does not use them.
        first, *rest = self.rnn.parameters()
        weights = [F.pad(first, (0, 1)), *rest]
        zeros = inputs.new_zeros(self.layers, inputs.shape[1], self.hiddens)
        outputs, *_ = torch.lstm(
            F.pad(inputs, (0, 1)), (zeros, zeros), weights, has_biases=True, num_layers=self.layers,
            dropout=0.0, train=self.training, bidirectional=False, batch_first=False,
        )  # fmt: skip
        return outputs


class MDRNNCell(_MDRNNBase):
    """M for one step at a time, as in acting and dreaming.

    The hidden state is (h, c) of an LSTM or (h,) of a GRU, each (B, layers * H). An episode starts from
    get_init_hidden.
    """

    def __init__(
        self, latents: int, actions: int, hiddens: int, gaussians: int, cell: str = "lstm", layers: int = 1
    ) -> None:
        super().__init__(latents, actions, hiddens, gaussians, cell, layers)
        self.rnn = CELLS[cell][1](latents + actions, hiddens)
        self.deeper = nn.ModuleList(CELLS[cell][1](hiddens, hiddens) for _ in range(layers - 1))

    def next_hidden(self, action: torch.Tensor, latent: torch.Tensor, hidden: Hidden) -> Hidden:
        """Return the hidden state after a step, without predictions.

        Args:
            action: (B,A).
            latent: (B,n).
        """
        x, states = torch.cat([action, latent], dim=-1), []
        for cell, *state in zip([self.rnn, *self.deeper], *(tensor.split(self.hiddens, -1) for tensor in hidden)):
            states.append(cell(x, tuple(state)) if self.cell == "lstm" else (cell(x, state[0]),))
            x = states[-1][0]
        if self.layers == 1:
            return tuple(states[0])
        return tuple(torch.cat(tensors, -1) for tensors in zip(*states))

    def last_layer(self, hidden: Hidden) -> Hidden:
        """Return the hidden state of the last layer, each tensor (B,H): the input of the head and of C."""
        return hidden if self.layers == 1 else tuple(tensor[:, -self.hiddens :] for tensor in hidden)

    def forward(self, action: torch.Tensor, latent: torch.Tensor, hidden: Hidden) -> tuple:
        """Predict the next step.

        Args:
            action: (B,A).
            latent: (B,n).

        Returns:
            mus, sigmas (B,K,n), logpi (B,K), rewards (B,), logits of the terminals (B,), and the next hidden state.
        """
        hidden = self.next_hidden(action, latent, hidden)
        return *self.head(self.last_layer(hidden)[0]), hidden


def to_cell(mdrnn: MDRNN) -> MDRNNCell:
    """Return the cell with the same weights, which does step by step what the network does to a sequence."""
    sizes = (mdrnn.latents, mdrnn.actions, mdrnn.hiddens, mdrnn.gaussians)
    cell = MDRNNCell(*sizes, mdrnn.cell, mdrnn.layers)

    def cell_name(name: str) -> str:
        kind, _, layer = name.partition("_l")
        return kind if layer == "0" else f"deeper.{int(layer) - 1}.{kind.removeprefix('rnn.')}"

    weights = {
        cell_name(name) if name.startswith("rnn.") else name: weight for name, weight in mdrnn.state_dict().items()
    }
    cell.load_state_dict(weights)
    return cell.to(mdrnn.gmm_linear.weight.device)


def gmm_loss(
    latent_next_obs: torch.Tensor, mus: torch.Tensor, sigmas: torch.Tensor, logpi: torch.Tensor, reduce: bool = True
) -> torch.Tensor:
    """Return the negative log-likelihood of latents under a mixture of diagonal Gaussians (paper, section 2.3), nats.

    Args:
        latent_next_obs: (..., n).
        mus, sigmas: (..., K, n); sigmas are standard deviations.
        logpi: (..., K), normalized.
        reduce: whether to return the mean over all leading dimensions; else one value for each.
    """
    distance = (latent_next_obs.unsqueeze(-2) - mus) / sigmas
    constant = 0.5 * mus.shape[-1] * float(np.log(2 * np.pi))
    log_probs = logpi - 0.5 * distance.square().sum(-1) - sigmas.log().sum(-1) - constant
    loss = -torch.logsumexp(log_probs, dim=-1)
    return loss.mean() if reduce else loss


def get_loss(
    mdrnn: MDRNN,
    latents: torch.Tensor,
    actions: torch.Tensor,
    rewards: torch.Tensor,
    terminals: torch.Tensor,
    next_latents: torch.Tensor,
    include_reward: bool = True,
    valid: torch.Tensor | None = None,
    padding: torch.Tensor | None = None,
    reward_scale: float = 1.0,
) -> dict[str, torch.Tensor]:
    """Return the mean losses of a batch of sequences; all tensors time first (L, B, ...).

    Args:
        valid: (L, B), 0 where there is no next latent (the last step of an episode); None: everywhere there is.
        padding: (L, B), 1 at steps after a sequence's end, which do not count; None: there are none.
        reward_scale: what the reward's errors are divided by before they are squared.

    Returns:
        gmm, bce, mse, and loss = (gmm + bce + mse) / (n + 2), or (gmm + bce) / (n + 1) without the reward.
    """
    batch = {
        "latents": latents,
        "actions": actions,
        "rewards": rewards,
        "terminals": terminals,
        "next_latents": next_latents,
        "valid": torch.ones_like(rewards) if valid is None else valid,
        "padding": torch.zeros_like(rewards) if padding is None else padding,
    }
    sums = sum_losses(mdrnn, batch, include_reward, reward_scale)
    sums |= {name: sums[name].clamp(min=1) for name in ("valid", "steps")}
    return mean_losses(sums, latents.shape[-1], include_reward)


def sum_losses(
    mdrnn: MDRNN, batch: dict[str, torch.Tensor], include_reward: bool = True, reward_scale: float = 1.0
) -> dict[str, torch.Tensor]:
    """Return the losses, summed over a batch of sequences (paper, section 2.3).

    Args:
        batch: the tensors that get_loss takes, by name, valid and padding among them.
        reward_scale: what the reward's errors are divided by before they are squared.

    Returns:
        gmm, summed over the `valid` steps; bce and mse, summed over the `steps` that are no padding; valid and steps,
        the numbers of those.
    """
    return sum_prediction_losses(
        mdrnn(batch["actions"], batch["latents"]), batch, include_reward=include_reward, reward_scale=reward_scale
    )


def sum_prediction_losses(
    predictions: tuple[torch.Tensor, ...], batch: dict[str, torch.Tensor], include_reward: bool, reward_scale: float
) -> dict[str, torch.Tensor]:
    """Return what sum_losses does, from what M predicts for the batch: mus, sigmas, logpi, rewards, logits."""
    rewards, valid, inside = batch["rewards"], batch["valid"], 1 - batch["padding"]
    mus, sigmas, logpi, rs, ds = predictions
    gmm = gmm_loss(batch["next_latents"], mus, sigmas, logpi, reduce=False)
    bce = F.binary_cross_entropy_with_logits(ds, batch["terminals"], reduction="none")
    mse = ((rs - rewards) / reward_scale).square() if include_reward else torch.zeros_like(rewards)
    sums = {"gmm": (gmm * valid).sum(), "bce": (bce * inside).sum(), "mse": (mse * inside).sum()}
    return sums | {"valid": valid.sum(), "steps": inside.sum()}


def mean_losses(sums: dict, latent_size: int, include_reward: bool, terminal_weight: float = 1.0) -> dict:
    """Return gmm, bce, mse and loss, as get_loss does, from the sums of sum_losses over one or more batches.

    Args:
        terminal_weight: see total_loss. bce is returned without it.
    """
    means = {"gmm": sums["gmm"] / sums["valid"], "bce": sums["bce"] / sums["steps"], "mse": sums["mse"] / sums["steps"]}
    return means | {"loss": total_loss(means, terminal_weight) / loss_scale(latent_size, include_reward)}


def total_loss(losses: dict, terminal_weight: float = 1.0) -> torch.Tensor | float:
    """Return the sum of gmm, bce and mse, with bce multiplied by terminal_weight (mdrnn.terminal_weight)."""
    return losses["gmm"] + terminal_weight * losses["bce"] + losses["mse"]


def loss_scale(latent_size: int, include_reward: bool) -> int:
    """Return what the sum of gmm, bce and mse is divided by: how many numbers M predicts per step."""
    return latent_size + (2 if include_reward else 1)
