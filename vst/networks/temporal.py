"""Temporal modules: `forward(features, state) -> (features, state)` for the features of one frame.

The state is an explicit tuple of tensors, None before the first frame; a module without memory returns an empty tuple.
"""

import torch
from torch import Tensor, nn

State = tuple[Tensor, ...]


class Stateless(nn.Module):
    """No memory: features pass unchanged and the state is empty. The control of every recurrent module."""

    def initial(self, features: Tensor) -> State:
        """The state before the first frame, given that frame's features."""
        return ()

    def forward(self, features: Tensor, state: State | None) -> tuple[Tensor, State]:
        return features, ()


class ConvGRU(nn.Module):
    """Convolutional gated recurrent unit on the second half of the channels.

    Ballas et al. 2016, Eqs. (7)-(10), on half of the channels as in Robust Video Matting (Lin et al. 2022):
    z = sigmoid(W_z [x, h]), r = sigmoid(W_r [x, h]), c = x + W_c [x, r h], h' = (1 - z) h + z c. The candidate c is
    residual and starts as x, and z starts at 0.9, so that a fresh module changes nothing much and trains from there.
    Before the first frame the state is that frame's own features: a film starts without a fade-in.

    Args:
        channels: channels of the features, an even number.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        assert channels % 2 == 0, channels
        self.half = channels // 2
        self.gates = nn.Conv2d(2 * self.half, 2 * self.half, 3, padding=1)
        self.candidate = nn.Conv2d(2 * self.half, self.half, 3, padding=1)
        nn.init.zeros_(self.candidate.weight)
        nn.init.zeros_(self.candidate.bias)
        with torch.no_grad():
            self.gates.weight.mul_(0.1)
            self.gates.bias[: self.half] = 2.2  # sigmoid(2.2) = 0.9
            self.gates.bias[self.half :] = 0.0

    def initial(self, features: Tensor) -> State:
        """The state before the first frame, given that frame's features."""
        return (features[:, self.half :],)

    def forward(self, features: Tensor, state: State | None) -> tuple[Tensor, State]:
        """Features (B, C, h, w) and state ((B, C/2, h, w),) or None -> features (B, C, h, w) and the new state."""
        still, x = features.split(self.half, dim=1)
        (h,) = self.initial(features) if state is None else state
        z, r = torch.sigmoid(self.gates(torch.cat([x, h], 1))).split(self.half, dim=1)
        c = x + self.candidate(torch.cat([x, r * h], 1))
        h = (1 - z) * h + z * c
        return torch.cat([still, h], 1), (h,)
