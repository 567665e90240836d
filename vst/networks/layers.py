"""Building blocks without any statistics of the frame: what a pixel becomes depends on its neighbourhood alone.

Instance normalisation makes each pixel depend on the whole frame, so that video pulses when an object enters; these
networks are trained without normalisation layers instead.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class ResidualBlock(nn.Module):
    """x + conv(relu(conv(x))), (B, C, h, w) to the same. The second convolution starts at a tenth of its usual scale."""

    def __init__(self, channels: int, dilation: int = 1) -> None:
        super().__init__()
        self.first = nn.Conv2d(channels, channels, 3, padding=dilation, dilation=dilation)
        self.second = nn.Conv2d(channels, channels, 3, padding=1)
        with torch.no_grad():
            self.second.weight.mul_(0.1)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.second(F.relu(self.first(x)))


class LatticeLowpass(nn.Module):
    """Separable low-pass with nulls at the frequencies of a pixel-shuffle lattice of period 4: [1 2 2 2 1] / 8.

    Pixel shuffle paints each of its 16 phases with other weights, and texture losses are glad to be satisfied by the
    fixed 4-pixel screen that results. The kernel is box(4) * box(2), which is zero at every harmonic of that screen.
    (B, C, H, W) to the same size, replicated borders.
    """

    KERNEL = (1.0, 2.0, 2.0, 2.0, 1.0)

    def __init__(self, channels: int) -> None:
        super().__init__()
        kernel = torch.tensor(self.KERNEL) / sum(self.KERNEL)
        self.channels = channels
        self.register_buffer("row", kernel.view(1, 1, 1, 5).repeat(channels, 1, 1, 1), persistent=False)
        self.register_buffer("column", kernel.view(1, 1, 5, 1).repeat(channels, 1, 1, 1), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        x = F.pad(x, (2, 2, 2, 2), mode="replicate")
        return F.conv2d(F.conv2d(x, self.row, groups=self.channels), self.column, groups=self.channels)


class LocalContrast(nn.Module):
    """The picture's deviation from its local mean in units of its local deviation: (x - mean) / sqrt(variance + floor^2).

    Local contrast normalisation (Jarrett et al. 2009, section 2.1) in a window that is a box applied twice; a single box
    leaves horizontal and vertical streaks in flat regions. What is faint, like clouds or folds in cloth, arrives as
    large as strong edges, so the network can hang strokes on it; below `floor` it fades out, so sensor noise does not
    become paint. (B, C, h, w) to the same size.
    """

    def __init__(self, box: int, floor: float) -> None:
        super().__init__()
        assert box % 2 == 1, box
        self.box, self.floor = box, floor

    def forward(self, x: Tensor) -> Tensor:
        mean = self._mean(x)
        variance = (self._mean(x * x) - mean * mean).clamp_min(0)
        return (x - mean) / (variance + self.floor**2).sqrt()

    def _mean(self, x: Tensor) -> Tensor:
        for _ in range(2):
            x = F.avg_pool2d(x, self.box, stride=1, padding=self.box // 2, count_include_pad=False)
        return x
