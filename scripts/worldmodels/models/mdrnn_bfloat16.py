"""M's step with products in bfloat16, for devices that multiply it in hardware, see precision.has_bfloat16."""

import torch
import torch.nn.functional as F

from worldmodels.models.mdrnn import Hidden, MDRNNCell


class Bfloat16Cell(MDRNNCell):
    """The cell of another one with its weights in bfloat16. States, sums and predictions stay float32.

    Args:
        cell: the cell in float32.
    """

    def __init__(self, cell: MDRNNCell) -> None:
        super().__init__(cell.latents, cell.actions, cell.hiddens, cell.gaussians, cell.cell, cell.layers)
        self.load_state_dict(cell.state_dict())
        self.to(cell.gmm_linear.weight.device, torch.bfloat16).eval().requires_grad_(False)

    def get_init_hidden(self, batch: int) -> Hidden:
        """Return the hidden state at the start of `batch` episodes: zeros in float32."""
        return tuple(tensor.float() for tensor in super().get_init_hidden(batch))

    def next_hidden(self, action: torch.Tensor, latent: torch.Tensor, hidden: Hidden) -> Hidden:
        """Return the hidden state after a step, see MDRNNCell.next_hidden."""
        x, states = torch.cat([action, latent], dim=-1), []
        take_step = self.lstm_step if self.cell == "lstm" else self.gru_step
        for cell, *state in zip([self.rnn, *self.deeper], *(tensor.split(self.hiddens, -1) for tensor in hidden)):
            states.append(take_step(cell, x, *state))
            x = states[-1][0]
        if self.layers == 1:
            return states[0]
        return tuple(torch.cat(tensors, -1) for tensors in zip(*states))

    @staticmethod
    def lstm_step(cell: torch.nn.LSTMCell, x: torch.Tensor, h: torch.Tensor, c: torch.Tensor) -> Hidden:
        """Return h and c (B,H) of an LSTM after the input x (B,n); see torch.nn.LSTMCell."""
        gates = F.linear(x.bfloat16(), cell.weight_ih, cell.bias_ih).float()
        gates += F.linear(h.bfloat16(), cell.weight_hh, cell.bias_hh)
        i, f, g, o = gates.chunk(4, -1)
        c = f.sigmoid() * c + i.sigmoid() * g.tanh()
        return o.sigmoid() * c.tanh(), c

    @staticmethod
    def gru_step(cell: torch.nn.GRUCell, x: torch.Tensor, h: torch.Tensor) -> Hidden:
        """Return h (B,H) of a GRU after the input x (B,n); see torch.nn.GRUCell."""
        from_x = F.linear(x.bfloat16(), cell.weight_ih, cell.bias_ih).float().chunk(3, -1)
        from_h = F.linear(h.bfloat16(), cell.weight_hh, cell.bias_hh).float().chunk(3, -1)
        r, z = ((a + b).sigmoid() for a, b in zip(from_x[:2], from_h[:2]))
        n = (from_x[2] + r * from_h[2]).tanh()
        return (n + z * (h - n),)

    def head(self, hidden: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """Predict the next step from the hidden state, see MDRNNCell.head."""
        return tuple(tensor.float() for tensor in super().head(hidden.bfloat16()))
