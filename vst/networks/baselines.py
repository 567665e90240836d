"""Generators of published work, by their layer tables, to be timed beside ours: their weights are random.

Each goes into a `Stylizer` with `Stateless`, so every engine takes it. Convolutions pad with zeros: the papers'
reflection is the reflected border that the stylizer gives every frame. Frames are mapped to [-1, 1] and back.
"""

from __future__ import annotations

from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vst.errors import UserError, suggest
from vst.networks.stylizer import Stylizer
from vst.networks.temporal import Stateless


class EncoderDecoder(nn.Module):
    """A generator of `encoder` and `decoder`; `stride` pixels of the frame are one place between them."""

    def __init__(self, encoder: nn.Module, decoder: nn.Module, stride: int) -> None:
        super().__init__()
        self.encoder, self.decoder, self.stride = encoder, decoder, stride

    def encode(self, frames: Tensor) -> Tensor:
        """Frames (N, 3, H, W) in [0, 1], H and W multiples of `stride` -> features (N, C, H/stride, W/stride)."""
        return self.encoder(2 * frames - 1)

    def decode(self, features: Tensor, frames: Tensor) -> Tensor:
        """Features -> picture (N, 3, H, W) in [0, 1]; of the frames only the data type is looked at."""
        return (torch.tanh(self.decoder(features).to(frames.dtype)) + 1) / 2


class Residual(nn.Module):
    """x + body(x)."""

    def __init__(self, *body: nn.Module) -> None:
        super().__init__()
        self.body = nn.Sequential(*body)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.body(x)


class TransposedConv(nn.Module):
    """3x3 convolution of stride 1/2, (N, C, h, w) -> (N, out, 2h, 2w), in the precision of its input."""

    def __init__(self, channels: int, out: int) -> None:
        super().__init__()
        own = nn.ConvTranspose2d(channels, out, 3, stride=2, padding=1, output_padding=1)
        self.weight, self.bias = own.weight, own.bias

    def forward(self, x: Tensor) -> Tensor:
        weight, bias = self.weight.to(x.dtype), self.bias.to(x.dtype)
        return F.conv_transpose2d(x, weight, bias, stride=2, padding=1, output_padding=1)


def johnson() -> EncoderDecoder:
    """Transform net of Johnson, Alahi and Fei-Fei 2016, supplementary material, Table 1: 1.68 M parameters.

    9x9-32, 3x3-64 stride 2, 3x3-128 stride 2, five residual blocks of 128 (Gross and Wilber's: no ReLU after the sum),
    64 and 32 of stride 1/2, 9x9-3. Stride 1/2 is nearest upsampling and a convolution, as ReCoNet (Gao et al. 2018) and
    later users of this net have it against checkerboards; the paper's fractional strides need 126 kMAC a pixel, not
    154. Its batch normalisation folds into the convolutions and is not here, which makes it as fast as it can be.
    """

    def convolution(channels: int, out: int, kernel: int, stride: int = 1) -> list[nn.Module]:
        return [nn.Conv2d(channels, out, kernel, stride, kernel // 2), nn.ReLU()]

    blocks = [Residual(*convolution(128, 128, 3), nn.Conv2d(128, 128, 3, padding=1)) for _ in range(5)]
    encoder = [*convolution(3, 32, 9), *convolution(32, 64, 3, 2), *convolution(64, 128, 3, 2), *blocks]
    decoder = [nn.Upsample(scale_factor=2), *convolution(128, 64, 3), nn.Upsample(scale_factor=2)]
    decoder += [*convolution(64, 32, 3), nn.Conv2d(32, 3, 9, padding=4)]
    return EncoderDecoder(nn.Sequential(*encoder), nn.Sequential(*decoder), stride=4)


def cyclegan() -> EncoderDecoder:
    """Generator of CycleGAN with nine blocks: Zhu et al. 2017, appendix 7.2: 11.4 M parameters.

    c7s1-64, d128, d256, nine R256, u128, u64, c7s1-3, with instance normalisation.
    """

    def normed(convolution: nn.Module, channels: int) -> list[nn.Module]:
        return [convolution, nn.InstanceNorm2d(channels, affine=True), nn.ReLU()]

    def block() -> Residual:
        first, second = (nn.Conv2d(256, 256, 3, padding=1) for _ in range(2))
        return Residual(*normed(first, 256), second, nn.InstanceNorm2d(256, affine=True))

    encoder = [*normed(nn.Conv2d(3, 64, 7, padding=3), 64), *normed(nn.Conv2d(64, 128, 3, 2, 1), 128)]
    encoder += [*normed(nn.Conv2d(128, 256, 3, 2, 1), 256), *(block() for _ in range(9))]
    decoder = [*normed(TransposedConv(256, 128), 128), *normed(TransposedConv(128, 64), 64)]
    return EncoderDecoder(nn.Sequential(*encoder), nn.Sequential(*decoder, nn.Conv2d(64, 3, 7, padding=3)), stride=4)


def ast() -> EncoderDecoder:
    """Encoder and decoder of Sanakoyeu et al. 2018, "A Style-Aware Content Loss", section 4: 12.0 M parameters.

    Five convolutions, four of stride 2 (32, 32, 64, 128, 256), to a sixteenth of the resolution; nine residual blocks
    of 256; four upsampling blocks (nearest, 3x3; 256, 128, 64, 32) and 7x7-3, with instance normalisation.
    """

    def normed(channels: int, out: int, stride: int = 1) -> list[nn.Module]:
        return [nn.Conv2d(channels, out, 3, stride, 1), nn.InstanceNorm2d(out, affine=True), nn.ReLU()]

    widths = (32, 64, 128, 256)
    encoder = [*normed(3, 32), *normed(32, 32, 2)]
    for before, after in pairwise(widths):
        encoder += normed(before, after, 2)
    blocks = [Residual(*normed(256, 256), *normed(256, 256)[:2]) for _ in range(9)]
    decoder: list[nn.Module] = []
    for before, after in ((256, 256), (256, 128), (128, 64), (64, 32)):
        decoder += [nn.Upsample(scale_factor=2), *normed(before, after)]
    return EncoderDecoder(
        nn.Sequential(*encoder, *blocks), nn.Sequential(*decoder, nn.Conv2d(32, 3, 7, padding=3)), stride=16
    )


def animeganv2() -> EncoderDecoder:
    """Generator of AnimeGANv2: Chen, Liu and Chen 2020, "AnimeGAN", section 3.1, with the changes of the second version
    (layer normalisation, half the inverted residual blocks; github.com/TachibanaYoshino/AnimeGANv2): 2.14 M parameters.

    7x7-32, 64 stride 2, 64, 128 stride 2, 128, 128, four inverted residual blocks of 256, 128; bilinear upsampling,
    128, 128; upsampling, 64, 64, 7x7-32; 1x1-3. LReLU(0.2) throughout.
    """

    def normed(channels: int, out: int, kernel: int = 3, stride: int = 1, groups: int = 1) -> list[nn.Module]:
        convolution = nn.Conv2d(channels, out, kernel, stride, kernel // 2, groups=groups, bias=False)
        return [convolution, nn.GroupNorm(1, out), nn.LeakyReLU(0.2)]

    def inverted(channels: int, out: int) -> nn.Module:
        wide = 2 * channels
        project = [nn.Conv2d(wide, out, 1, bias=False), nn.GroupNorm(1, out)]
        body = [*normed(channels, wide, 1), *normed(wide, wide, groups=wide), *project]
        return Residual(*body) if channels == out else nn.Sequential(*body)

    def upsampling() -> nn.Upsample:
        return nn.Upsample(scale_factor=2, mode="bilinear")

    encoder = [*normed(3, 32, 7), *normed(32, 64, stride=2), *normed(64, 64)]
    encoder += [*normed(64, 128, stride=2), *normed(128, 128), *normed(128, 128)]
    encoder += [inverted(128, 256), *(inverted(256, 256) for _ in range(3)), *normed(256, 128)]
    decoder = [upsampling(), *normed(128, 128), *normed(128, 128), upsampling()]
    decoder += [*normed(128, 64), *normed(64, 64), *normed(64, 32, 7), nn.Conv2d(32, 3, 1, bias=False)]
    return EncoderDecoder(nn.Sequential(*encoder), nn.Sequential(*decoder), stride=4)


BASELINES = {"johnson": johnson, "cyclegan": cyclegan, "ast": ast, "animeganv2": animeganv2}


def build_baseline(name: str) -> Stylizer:
    """One of `BASELINES` as a stylizer without memory. Raises UserError for another name."""
    if name not in BASELINES:
        raise UserError(f"baseline '{name}': unknown{suggest(name, BASELINES)}; there are {', '.join(BASELINES)}")
    return Stylizer(BASELINES[name](), Stateless())
