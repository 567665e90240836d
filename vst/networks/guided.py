"""The generator for CPUs and phones: it thinks at an eighth of the resolution and paints at a half."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vst.networks.layers import LocalContrast, ResidualBlock, lattice_lowpass

CELL = 4  # pixels along a side of what the frame is cut into
HALF = CELL // 2
COLOURS = 3
EMBEDDED = 16  # channels at a quarter of the resolution


class GuidedGenerator(nn.Module):
    """Generator of few operations on pixels, without normalisation: what is learned lies at 1/4 and 1/8 resolution.

    Pixels are touched twice. On the way in, each cell of 4 x 4 pixels is embedded by one matrix, beside its local
    contrast. On the way out the picture is an affine function of the frame, output = up(g) x + up(b), whose
    coefficients are upsampled: guided upsampling by a local affine model (Chen et al. 2016, section 3; Gharbi et al.
    2017, Eq. 3, without their bilateral grid). With the mean p of each cell, b = (1 - g) p + r, so that the gate g in
    (0, 1) lets the detail x - up(p) through and the residual r repaints the rest, as in `ResidualGenerator`. The
    residual has half of the resolution, and a low-pass takes the screen of its pixel shuffle away.

    Between the two lie an eighth of the resolution, where strokes are planned and the memory is, and a skip connection
    at a quarter, where they are drawn. From the one to the other features are interpolated: shuffled ones, as in an
    earlier version, left a screen of 8 pixels in flat regions. Without local contrast at a quarter it learned colours
    and hardly any strokes, with blocks there or not (500 batches, one style, by eye).

    Args:
        width: channels of the features, at an eighth of the resolution.
        num_blocks: residual blocks there; their dilations run 1, 2, 4, 1, 2, 4, ...
        num_strokes: residual blocks at a quarter of the resolution; their dilations run 1, 2, 4, ...
        inner: channels between the two convolutions of a block; None for `width`. `vst.pruning` makes it smaller.
    """

    stride = 2 * CELL

    def __init__(self, width: int, num_blocks: int, num_strokes: int = 2, inner: int | None = None) -> None:
        super().__init__()
        self.width = width
        self.embed = nn.Conv2d(COLOURS * CELL**2, EMBEDDED, 1)
        self.contrast = LocalContrast(COLOURS, floor=0.03)
        self.look = nn.Conv2d(COLOURS, EMBEDDED, 3, padding=1)
        self.stem = nn.Conv2d(EMBEDDED, width, 3, padding=1, stride=2)
        self.blocks = nn.Sequential(*(ResidualBlock(width, 2 ** (i % 3), inner=inner) for i in range(num_blocks)))
        self.rise = nn.Conv2d(width, EMBEDDED, 1)
        self.strokes = nn.Sequential(*(ResidualBlock(EMBEDDED, 2**i) for i in range(num_strokes)))
        self.head = nn.Conv2d(EMBEDDED, COLOURS * HALF**2 + 1, 3, padding=1)
        self.lowpass = lattice_lowpass(COLOURS, HALF)
        with torch.no_grad():
            self.head.weight.mul_(0.1)
            self.head.bias.zero_()

    def encode(self, frames: Tensor) -> Tensor:
        """Frames (N, 3, H, W) in [0, 1], H and W multiples of 8 -> features (N, width, H/8, W/8)."""
        return self.blocks(F.relu(self.stem(self._seen(frames))))

    def decode(self, features: Tensor, frames: Tensor) -> Tensor:
        """Features (N, width, H/8, W/8) and their frames (N, 3, H, W) -> picture (N, 3, H, W), about [0, 1]."""
        drawn = F.relu(_upsample(self.rise(features), 2) + self._seen(frames))
        residual, gate = self.head(self.strokes(drawn)).split([COLOURS * HALF**2, 1], dim=1)
        gate = torch.sigmoid(gate)
        smooth = (1 - gate) * F.avg_pool2d(frames, CELL)
        residual = self.lowpass(F.pixel_shuffle(residual, HALF))
        return _upsample(smooth, CELL) + _upsample(residual, HALF) + _upsample(gate, CELL) * frames

    def _seen(self, frames: Tensor) -> Tensor:
        contrast = self.contrast(F.avg_pool2d(frames, CELL))
        return F.relu(self.embed(F.pixel_unshuffle(frames - 0.5, CELL)) + self.look(contrast))


def _upsample(x: Tensor, factor: int) -> Tensor:
    return F.interpolate(x, scale_factor=factor, mode="bilinear", align_corners=False)
