"""Temporal modules: `forward(features, state) -> (features, state)` for the features of one frame.

The state is an explicit tuple of tensors, None before the first frame; a module without memory returns an empty tuple.
A traced graph always has a state; there `first`, a bool tensor that broadcasts over it, says whether it counts as None.
"""

import math
from itertools import product

import torch
import torch.nn.functional as F
from torch import Tensor, nn

State = tuple[Tensor, ...]


class Stateless(nn.Module):
    """No memory: features pass unchanged and the state is empty. The control of every recurrent module."""

    def forward(self, features: Tensor, state: State | None, first: Tensor | None = None) -> tuple[Tensor, State]:
        return features, ()


class ConvGRU(nn.Module):
    """Convolutional gated recurrent unit on the second half of the channels.

    Ballas et al. 2016, Eqs. (7)-(10), on half of the channels as in Robust Video Matting (Lin et al. 2022):
    z = sigmoid(W_z [x, h]), r = sigmoid(W_r [x, h]), c = x + W_c [x, r h], h' = (1 - z) h + z c. The candidate c is
    residual and starts as x, and z starts near 1, so that a fresh module changes nothing much and trains from there.
    Before the first frame the state is that frame's own features: a film starts without a fade-in.

    Args:
        channels: channels of the features, an even number.
        update: where z starts, in (0, 1): the share of the new frame.
    """

    def __init__(self, channels: int, update: float = 0.9) -> None:
        super().__init__()
        assert channels % 2 == 0, channels
        if not 0 < update < 1:
            raise ValueError(f"update: {update} does not lie between 0 and 1")
        self.half = channels // 2
        self.gates = nn.Conv2d(2 * self.half, 2 * self.half, 3, padding=1)
        self.candidate = nn.Conv2d(2 * self.half, self.half, 3, padding=1)
        nn.init.zeros_(self.candidate.weight)
        nn.init.zeros_(self.candidate.bias)
        with torch.no_grad():
            self.gates.weight.mul_(0.1)
            self.gates.bias[: self.half] = math.log(update / (1 - update))
            self.gates.bias[self.half :] = 0.0

    def forward(self, features: Tensor, state: State | None, first: Tensor | None = None) -> tuple[Tensor, State]:
        """Features (B, C, h, w) and state ((B, C/2, h, w),) or None -> features (B, C, h, w) and the new state."""
        still, x = features.split(self.half, dim=1)
        h = x if state is None else state[0]
        if first is not None:
            h = torch.where(first, x, h)
        z, r = torch.sigmoid(self.gates(torch.cat([x, h], 1))).split(self.half, dim=1)
        c = x + self.candidate(torch.cat([x, r * h], 1))
        h = (1 - z) * h + z * c
        return torch.cat([still, h], 1), (h,)


class AlignedConvGRU(nn.Module):
    """ConvGRU whose state first follows the motion in the picture.

    A ConvGRU remembers by place, and what moves has left the place where it was remembered. Here each place compares
    its key, a few channels of length 1, with the keys of the frame before at all shifts up to `reach`, and takes the
    state from where they agree: h~(p) = sum_d softmax_d(s k_t(p) . k_t-1(p + d) + b_d) h(p + d), attention over a
    neighbourhood (Ramachandran et al. 2019, Eq. 2, with one learned number for each shift). No flow is estimated, and
    what is new in the picture is matched to nothing in particular, which the gates can see.

    At a quarter of the resolution a reach of 2 follows 8 pixels a frame.

    Args:
        channels, update: see ConvGRU. z starts at a half, since an aligned memory can be trusted more.
        reach: largest shift, places.
        keys: channels of the keys.
    """

    def __init__(self, channels: int, reach: int = 2, keys: int = 8, update: float = 0.5) -> None:
        super().__init__()
        if reach < 1:
            raise ValueError(f"reach: {reach} is not 1 or more")
        self.reach = reach
        self.gru = ConvGRU(channels, update)
        self.key = nn.Conv2d(channels, keys, 1)
        self.log_sharpness = nn.Parameter(torch.tensor(2.0))
        self.bias = nn.Parameter(torch.zeros((2 * reach + 1) ** 2))
        with torch.no_grad():
            self.bias[len(self.bias) // 2] = 2.0  # begins by looking straight ahead

    def forward(self, features: Tensor, state: State | None, first: Tensor | None = None) -> tuple[Tensor, State]:
        """Features (B, C, h, w) and state ((B, C/2, h, w), (B, keys, h, w)) or None -> features and the new state."""
        key = F.normalize(self.key(features), dim=1)
        if state is None:
            out, (h,) = self.gru(features, None)
        else:
            out, (h,) = self.gru(features, (self.align(state[0], state[1], key),), first)
        return out, (h, key)

    def align(self, h: Tensor, before: Tensor, key: Tensor) -> Tensor:
        """The state `h` (B, C/2, h, w) of the frame with keys `before`, on the grid of the frame with `key`."""
        size = range(2 * self.reach + 1)
        # One shift after another: unfolding all of them at once would take 25 times the memory of the state.
        h, before = (F.pad(x, (self.reach,) * 4, mode="replicate") for x in (h, before))
        rows, columns = key.shape[-2:]
        views = [(slice(None), slice(None), slice(i, i + rows), slice(j, j + columns)) for i, j in product(size, size)]
        match = torch.stack([(key * before[view]).sum(1) for view in views], dim=1)
        weights = torch.softmax(self.log_sharpness.exp() * match + self.bias[None, :, None, None], dim=1)
        return sum(weights[:, n : n + 1] * h[view] for n, view in enumerate(views))
