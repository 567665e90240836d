"""Generators: an encoder from a frame to features and a decoder from features (and the frame) to a picture.

The temporal module of `vst.networks.temporal` stands between the two, so any generator goes with any memory.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vst.networks.layers import LocalContrast, ResidualBlock, lattice_lowpass, normalisation


class ResidualGenerator(nn.Module):
    """Small residual generator that works at a quarter of the resolution or less, without normalisation.

    The picture is split into a smooth part and detail, x = low(x) + (x - low(x)). The network repaints the smooth part
    freely and lets detail through by a gate in (0, 1) for each place: output = low(x + r) + gate * (x - low(x)). An
    identity skip instead would hand through all of the photograph's grain and noise, and leave texture losses content
    with it. Beside the pixels the network sees their local contrast, so that it paints in flat regions too.

    Args:
        width: channels of the features.
        num_blocks: residual blocks; their dilations run 1, 2, 4, 1, 2, 4, ...
        norm: `none`, or `instance` for the control that depends on the whole frame.
        stride: pixels of the frame that one place of the features stands for, along each side. With 8 the smooth part
            is half as fine and strokes twice as long as with 4, for frames of 1080 lines and more.
        inner: channels between the two convolutions of a block; None for `width`. `vst.pruning` makes it smaller.
        grain: channels of the noise that it gets beside the frames (`vst.networks.CameraGrain`), 0 for none.
    """

    def __init__(
        self,
        width: int,
        num_blocks: int,
        norm: str = "none",
        stride: int = 4,
        inner: int | None = None,
        grain: int = 0,
    ) -> None:
        super().__init__()
        if stride not in (2, 4, 8):
            raise ValueError(f"stride: {stride} is not 2, 4 or 8")
        self.width, self.stride, self.grain = width, stride, grain
        self.contrast = LocalContrast(3, floor=0.03)
        self.stem = nn.Conv2d(3 * self.stride**2 + 3 + grain, width, 3, padding=1)
        self.norm = normalisation(norm, width)
        self.blocks = nn.Sequential(*(ResidualBlock(width, 2 ** (i % 3), norm, inner) for i in range(num_blocks)))
        self.head = nn.Conv2d(width, 3 * self.stride**2 + 1, 3, padding=1)
        self.lowpass = lattice_lowpass(3, self.stride)
        with torch.no_grad():
            self.head.weight.mul_(0.1)
            self.head.bias.zero_()

    @property
    def grain_cell(self) -> int:
        """Pixels along each side of a place of the grain."""
        return self.stride

    def encode(self, frames: Tensor, grain: Tensor | None = None) -> Tensor:
        """Frames (N, 3, H, W) in [0, 1], H and W multiples of the stride s, and their grain (N, grain, H/s, W/s), None
        for zeros -> features (N, width, H/s, W/s)."""
        contrast = self.contrast(F.avg_pool2d(frames, self.stride))
        if grain is None:
            grain = contrast.new_zeros(len(contrast), self.grain, *contrast.shape[2:])
        x = torch.cat([F.pixel_unshuffle(frames - 0.5, self.stride), contrast, grain], dim=1)
        return self.blocks(F.relu(self.norm(self.stem(x))))

    def decode(self, features: Tensor, frames: Tensor) -> Tensor:
        """Features (N, width, H/s, W/s) and their frames (N, 3, H, W) -> picture (N, 3, H, W), about [0, 1]."""
        residual, gate = self.head(features).split([3 * self.stride**2, 1], dim=1)
        gate = F.interpolate(torch.sigmoid(gate), scale_factor=self.stride, mode="bilinear", align_corners=False)
        repainted = self.lowpass(frames + F.pixel_shuffle(residual, self.stride))
        return repainted + gate * (frames - self.lowpass(frames))


class TwoScaleGenerator(nn.Module):
    """Residual generator that thinks at a quarter of the resolution and paints at a half.

    Like `ResidualGenerator` it splits the picture, x = low(x) + (x - low(x)), and it gives back low(x) + r + gate *
    (x - low(x)). The strokes r are painted at a half of the resolution, where the features of the quarter meet the
    frame once more. Each pixel shuffle (Shi et al. 2016) is followed by a low-pass with nulls at the frequencies of its
    lattice, and the first one starts alike in all of its phases (Aitken et al. 2017): texture losses are glad to be
    satisfied by a fixed screen.

    Args:
        width: channels of the features at a quarter.
        num_blocks: residual blocks there; their dilations run 1, 2, 4, 1, 2, 4, ...
        half: channels at a half.
        norm, inner, grain: see `ResidualGenerator`.
        grain_cell: pixels along each side of a place of the grain, 2 or 4. With 4 a place is as broad as a stroke.
    """

    stride = 4

    def __init__(
        self,
        width: int,
        num_blocks: int,
        half: int = 32,
        norm: str = "none",
        inner: int | None = None,
        grain: int = 0,
        grain_cell: int = 2,
    ) -> None:
        super().__init__()
        if grain_cell not in (2, 4):
            raise ValueError(f"grain_cell: {grain_cell} is not 2 or 4")
        self.width, self.grain, self.grain_cell = width, grain, grain_cell
        self.contrast = LocalContrast(3, floor=0.03)
        self.stem = nn.Conv2d(3 * 4**2 + 3 + grain * (4 // grain_cell) ** 2, width, 3, padding=1)
        self.norm = normalisation(norm, width)
        self.blocks = nn.Sequential(*(ResidualBlock(width, 2 ** (i % 3), norm, inner) for i in range(num_blocks)))
        self.up = nn.Conv2d(width, 4 * half, 3, padding=1)
        self.smooth = lattice_lowpass(half, 2)
        self.meet = nn.Conv2d(half + 3 * 2**2, half, 3, padding=1)
        self.paint = nn.Conv2d(half, half, 3, padding=1)
        self.head = nn.Conv2d(half, 3 * 2**2 + 1, 3, padding=1)
        self.lowpass, self.strokes = lattice_lowpass(3, 4), lattice_lowpass(3, 2)
        with torch.no_grad():
            self.up.weight.copy_(self.up.weight[::4].repeat_interleave(4, dim=0))
            self.up.bias.copy_(self.up.bias[::4].repeat_interleave(4))
            self.paint.weight.mul_(0.3)
            self.head.weight.mul_(0.1)
            self.head.bias.copy_(torch.tensor([0.0] * 12 + [-1.0]))

    def encode(self, frames: Tensor, grain: Tensor | None = None) -> Tensor:
        """Frames (N, 3, H, W) in [0, 1], H and W multiples of 4, and their grain (N, grain, H/c, W/c) in cells of c
        pixels, None for zeros -> features (N, width, H/4, W/4)."""
        seen = [F.pixel_unshuffle(frames - 0.5, 4), self.contrast(F.avg_pool2d(frames, 4))]
        if self.grain:
            if grain is None:
                places = (side // self.grain_cell for side in frames.shape[-2:])
                grain = frames.new_zeros(len(frames), self.grain, *places)
            seen.append(F.pixel_unshuffle(grain, 4 // self.grain_cell))
        x = torch.cat(seen, dim=1)
        return self.blocks(F.relu(self.norm(self.stem(x))))

    def decode(self, features: Tensor, frames: Tensor) -> Tensor:
        """Features (N, width, H/4, W/4) and their frames (N, 3, H, W) -> picture (N, 3, H, W), about [0, 1]."""
        x = F.relu(self.smooth(F.pixel_shuffle(self.up(features), 2)))
        x = F.relu(self.meet(torch.cat([x, F.pixel_unshuffle(frames - 0.5, 2)], dim=1)))
        x = x + F.relu(self.paint(x))
        residual, gate = self.head(x).split([3 * 2**2, 1], dim=1)
        gate = F.interpolate(torch.sigmoid(gate), scale_factor=2, mode="bilinear", align_corners=False)
        low = self.lowpass(frames)
        return low + self.strokes(F.pixel_shuffle(residual, 2)) + gate * (frames - low)
