"""Convolutions with weights that are known: on cells of pixels, of fixed filters and of shuffles."""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vst.networks.guided import HALF
from vst.runtime.wire import COLOURS


def order(cell: int) -> Tensor:
    """Places in the order of `F.pixel_unshuffle`, (colour, row, column), of the channels of a cell."""
    return torch.arange(COLOURS * cell**2).view(COLOURS, cell, cell).permute(1, 2, 0).flatten()


@torch.no_grad()
def convolution_of(function: Callable[[Tensor], Tensor], channels: int, cell: int) -> Tensor:
    """The weights (c cell^2, channels, 3, 3) of an affine function from (N, channels, h, w) to (N, c, h cell, w cell).

    The results are in the order of `F.pixel_unshuffle`. They are the answers to one impulse for each channel, so that
    no filter is written down twice. It may look no farther than the neighbouring cells.
    """
    impulses = torch.zeros(channels, channels, 7, 7)
    impulses[range(channels), range(channels), 3, 3] = 1
    answers = F.pixel_unshuffle(function(impulses) - function(torch.zeros_like(impulses)), cell)
    near = answers[:, :, 2:5, 2:5]
    assert torch.allclose(near.abs().sum(), answers.abs().sum()), "it looks farther than a convolution of 3x3"
    return near.flip(2, 3).transpose(0, 1).contiguous()


@torch.no_grad()
def doubling(convolution: nn.Conv2d) -> nn.ConvTranspose2d:
    """A convolution of 1 x 1 and bilinear interpolation to twice the sides, of what has a border of one place."""
    made = nn.ConvTranspose2d(convolution.in_channels, convolution.out_channels, 4, stride=2, padding=3)
    line = torch.tensor([0.25, 0.75, 0.75, 0.25])
    made.weight.copy_(convolution.weight.transpose(0, 1) * line[:, None] * line)
    made.bias.copy_(convolution.bias)
    return made


@torch.no_grad()
def rising(weight: Tensor, bias: Tensor | None = None) -> nn.ConvTranspose2d:
    """A convolution (4 N, C, 3, 3) and a pixel shuffle by two as one transposed convolution, with a bias (N,)."""
    channels, inputs = len(weight) // HALF**2, weight.shape[1]
    of_phases = weight.view(channels, HALF, HALF, inputs, 3, 3).flip(4, 5)
    kernel = of_phases.permute(3, 0, 4, 1, 5, 2).reshape(inputs, channels, 3 * HALF, 3 * HALF)
    kernel, padding = _trimmed(kernel)
    made = nn.ConvTranspose2d(inputs, channels, kernel.shape[-1], HALF, padding, bias=bias is not None)
    made.weight.copy_(kernel)
    if bias is not None:
        made.bias.copy_(bias)
    return made


@torch.no_grad()
def falling(weight: Tensor) -> nn.Conv2d:
    """A pixel unshuffle by two and a convolution (N, 4 C, 3, 3) as one convolution of stride 2."""
    channels = weight.shape[1] // HALF**2
    of_phases = weight.view(len(weight), channels, HALF, HALF, 3, 3)
    kernel = of_phases.permute(0, 1, 4, 2, 5, 3).reshape(len(weight), channels, 3 * HALF, 3 * HALF)
    kernel, padding = _trimmed(kernel)
    made = nn.Conv2d(channels, len(weight), kernel.shape[-1], HALF, padding, bias=False)
    made.weight.copy_(kernel)
    return made


def _trimmed(kernel: Tensor) -> tuple[Tensor, int]:
    """A kernel (..., 6, 6) of padding 2 without its outermost weights where they are 0, and its padding."""
    inner = kernel[..., 1:-1, 1:-1]
    return (inner, 1) if torch.equal(F.pad(inner, (1,) * 4), kernel) else (kernel, 2)


def pointwise(weight: Tensor, bias: Tensor) -> nn.Conv2d:
    """A convolution of 1 x 1 with the weights (N, C)."""
    return fixed(weight[:, :, None, None], bias)


@torch.no_grad()
def fixed(weight: Tensor, bias: Tensor | None = None, padding: int | None = None, groups: int = 1) -> nn.Conv2d:
    """A convolution with these weights that keeps the size, unless `padding` says otherwise."""
    out_channels, in_channels, side, _ = weight.shape
    padding = side // 2 if padding is None else padding
    made = nn.Conv2d(groups * in_channels, out_channels, side, padding=padding, bias=bias is not None, groups=groups)
    made.weight.copy_(weight)
    if bias is not None:
        made.bias.copy_(bias)
    return made


def scaled(head: nn.Conv2d, channels: int) -> nn.Conv2d:
    """A head whose first `channels` are in units of bytes."""
    units = torch.ones(head.out_channels)
    units[:channels] = 255
    return fixed(head.weight * units[:, None, None, None], head.bias * units)
