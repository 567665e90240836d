"""What the channels of a cell of the frame mean, and how functions of pixels become functions of them."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from vst.planes import PlaneFormat

COLOURS = 3
MIDDLE = 128  # the byte that is 0 in a graph on cells


@dataclass(frozen=True)
class Wire:
    """What the C channels of a cell are, against its 3 s^2 bytes of RGB; both less `MIDDLE`.

    Attributes:
        to_rgb: (3 s^2, C), RGB = to_rgb @ (x - zero).
        from_rgb: (C, 3 s^2), x = from_rgb @ RGB + zero.
        zero: (C,), the channels of a cell where RGB is `MIDDLE`.
        pixels: (C, s^2), the share of each pixel in a channel.
    """

    to_rgb: Tensor
    from_rgb: Tensor
    zero: Tensor
    pixels: Tensor

    @classmethod
    def of(cls, cell: int, planes: PlaneFormat | None) -> Wire:
        """The wire of RGB, or of planes."""
        places = cell**2
        if planes is None:
            identity = torch.eye(COLOURS * places)
            return cls(identity, identity, torch.zeros(len(identity)), torch.eye(places).repeat_interleave(COLOURS, 0))
        shared = samples_of_pixels(cell)
        pixels = torch.cat([torch.eye(places), shared.T / 4, shared.T / 4])
        of_rgb, rgb_of = (torch.from_numpy(matrix).float() for matrix in (planes.from_rgb, planes.to_rgb))
        grey = torch.from_numpy(planes.from_rgb.sum(1) * MIDDLE + planes.black).float() - MIDDLE
        kinds = torch.tensor([0] * places + [1] * (places // 4) + [2] * (places // 4))
        shown = (pixels > 0).float()  # by which pixels
        to_rgb = torch.einsum("cp,kc->pkc", shown, rgb_of[:, kinds]).flatten(0, 1)
        from_rgb = torch.einsum("cp,ck->cpk", pixels, of_rgb[kinds]).flatten(1)
        return cls(to_rgb, from_rgb, grey[kinds], pixels)

    def looking(self, weight: Tensor, bias: Tensor) -> tuple[Tensor, Tensor]:
        """Weight (N, 3 s^2, ...) and bias (N,) of a function of RGB -> of the same function of a cell's channels."""
        weight = torch.einsum("nk...,kc->nc...", weight, self.to_rgb)
        return weight, bias - weight.reshape(*weight.shape[:2], -1).sum(2) @ self.zero

    def painting(self, weight: Tensor) -> Tensor:
        """Weight (3 s^2, N, ...) of a function that gives RGB -> that gives a cell's channels, less `zero`."""
        return torch.einsum("ck,kn...->cn...", self.from_rgb, weight)


@dataclass(frozen=True)
class Toned:
    """A cell of planes in which colours can be clamped where they are: luma of its pixels, and R, G and B of each
    sample of chroma.

    All lie about 0 in the same range, so that one bound holds for all of them. The tone of a frame is an affine map
    from the C channels of a cell of planes to these N (`vst.runtime.tone.PlaneTone`), then the clamp, then a fixed map
    back to planes.

    Attributes:
        bound: where they are clamped, on both sides.
        back: (C, N), planes less `MIDDLE` = back @ toned + shift.
        shift: (C,)
        luma: what lies at 0, a byte of Y.
        scale: units of a channel of colour in a byte of RGB, whose 127.5 lies at 0.
    """

    bound: float
    back: Tensor
    shift: Tensor
    luma: float
    scale: float

    @classmethod
    def of(cls, cell: int, planes: PlaneFormat) -> Toned:
        low, high = planes.luma_range
        bound, middle = (high - low) / 2, (high + low) / 2
        places, samples, scale = cell**2, cell**2 // 4, bound / 127.5
        back = torch.zeros(places + 2 * samples, places + COLOURS * samples)
        back[:places, :places] = torch.eye(places)
        chroma = torch.from_numpy(planes.from_rgb[1:]).float() / scale
        back[places:, places:] = torch.kron(chroma, torch.eye(samples))
        shift = torch.zeros(len(back))
        shift[:places] = middle - MIDDLE
        return cls(bound, back, shift, middle, scale)

    def looking(self, weight: Tensor, bias: Tensor) -> tuple[Tensor, Tensor]:
        """Weight (N, C) and bias (N,) of a function of planes -> of the same function of these channels."""
        return weight @ self.back, bias + weight @ self.shift


def samples_of_pixels(cell: int) -> Tensor:
    """(s^2, s^2 / 4): 1 where a pixel of a cell belongs to a sample of chroma."""
    half = torch.arange(cell) // 2
    return F.one_hot(half[:, None] * (cell // 2) + half).view(cell**2, -1).to(torch.float32)
