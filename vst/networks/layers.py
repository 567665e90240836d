"""Building blocks without any statistics of the frame: what a pixel becomes depends on its neighbourhood alone.

Instance normalisation makes each pixel depend on the whole frame, so that video pulses when an object enters; these
networks are trained without normalisation layers instead.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn


def normalisation(kind: str, channels: int) -> nn.Module:
    """`none`, or `instance`: Ulyanov et al. 2017, by the statistics of the whole frame, kept as the field's control."""
    if kind == "none":
        return nn.Identity()
    if kind == "instance":
        return nn.InstanceNorm2d(channels, affine=True)
    raise ValueError(f"norm: {kind!r} is neither none nor instance")


class ResidualBlock(nn.Module):
    """x + conv(relu(norm(conv(x)))), (B, C, h, w) to the same. The second one starts at a tenth of its scale.

    Args:
        channels, dilation, norm: C; dilation of the first convolution; see `normalisation`.
        inner: channels between the two convolutions; None for C.
    """

    def __init__(self, channels: int, dilation: int = 1, norm: str = "none", inner: int | None = None) -> None:
        super().__init__()
        inner = channels if inner is None else inner
        self.first = nn.Conv2d(channels, inner, 3, padding=dilation, dilation=dilation)
        self.norm = normalisation(norm, inner)
        self.second = nn.Conv2d(inner, channels, 3, padding=1)
        with torch.no_grad():
            self.second.weight.mul_(0.1)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.second(F.relu(self.norm(self.first(x))))


class SeparableFilter(nn.Module):
    """A fixed symmetric kernel along rows and columns, of sum 1, borders replicated. (B, C, H, W) to the same size.

    Args:
        channels: of the input.
        kernel: an odd number of weights.
    """

    def __init__(self, channels: int, kernel: tuple[float, ...]) -> None:
        super().__init__()
        assert len(kernel) % 2 == 1, kernel
        weights = torch.tensor(kernel) / sum(kernel)
        self.channels, self.reach = channels, len(kernel) // 2
        self.register_buffer("row", weights.view(1, 1, 1, -1).repeat(channels, 1, 1, 1), persistent=False)
        self.register_buffer("column", weights.view(1, 1, -1, 1).repeat(channels, 1, 1, 1), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        x = F.pad(x, (self.reach,) * 4, mode="replicate")
        row, column = self.row.to(x.dtype), self.column.to(x.dtype)
        return F.conv2d(F.conv2d(x, row, groups=self.channels), column, groups=self.channels)


def lattice_lowpass(channels: int, period: int = 4) -> SeparableFilter:
    """[1 2 ... 2 1] / (2 period): a low-pass with nulls at the frequencies of a pixel-shuffle lattice of that period.

    Pixel shuffle paints each of its period^2 phases with other weights, and texture losses are glad to be satisfied by
    the fixed screen that results. The kernel is box(period) * box(2), which is zero at every harmonic of that screen.
    """
    return SeparableFilter(channels, (1, *(2,) * (period - 1), 1))


class LocalContrast(nn.Module):
    """The deviation from the local mean in units of the local deviation: (x - mean) / sqrt(variance + floor^2).

    Local contrast normalisation (Jarrett et al. 2009, section 2.1) in a triangular window of 13 pixels; a box leaves
    horizontal and vertical streaks in flat regions. What is faint, like clouds or folds in cloth, arrives as large as
    strong edges, so the network can hang strokes on it; below `floor` it fades out, so sensor noise does not become
    paint. (B, C, h, w) to the same size.
    """

    def __init__(self, channels: int, floor: float) -> None:
        super().__init__()
        self.floor = floor
        self.mean = SeparableFilter(2 * channels, (1, 2, 3, 4, 5, 6, 7, 6, 5, 4, 3, 2, 1))

    def forward(self, x: Tensor) -> Tensor:
        mean, square = self.mean(torch.cat([x, x * x], dim=1)).chunk(2, dim=1)
        variance = (square - mean * mean).clamp_min(0)
        return (x - mean) / (variance + self.floor**2).sqrt()
