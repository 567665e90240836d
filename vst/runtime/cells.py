"""Generators in the form that runs: on cells of the frame, the channels of one place, instead of on its pixels.

A network of a few thousand multiply-adds a pixel spends most of its time moving pixels: shuffling them, filtering them,
upsampling to them. A cell of s x s pixels is one vector of 3 s^2 bytes, its channels in the order (row, column,
colour). On cells, a pixel shuffle is nothing, pooling is a 1x1 convolution, and a fixed filter or an interpolation is a
3x3 convolution at 1/s of the resolution, which is what machines are fast at. The weights are those of the checkpoint.
Only within the border that is cut off do the results differ, where filters see zeros instead of repeated pixels.

Values run from -128 to 127, which half precision represents exactly.

The bytes may also be planes of Y, U and V (`vst.planes`), half as many: that is another linear map into a cell
and out of it (`Wire`), which the first and the last convolutions take in.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vst.networks.generators import ResidualGenerator, TwoScaleGenerator
from vst.networks.guided import CELL, HALF, GuidedGenerator
from vst.networks.layers import LocalContrast, SeparableFilter
from vst.planes import PlaneFormat
from vst.runtime.wire import COLOURS, MIDDLE, Toned, Wire

Views = tuple[Tensor, ...]  # of the frame, as the other two steps need it
SHIFT = MIDDLE / 255 - 0.5  # what is added to x / 255 to have what generators see of the byte x + 128

# Convolutions by the ends of their names: those of the network after which nothing is learned, and fixed filters.
PAINTERS = ("generator.head", "form.head", "form.residual", "form.gate")
FILTERS = tuple(f"form.{name}" for name in ("anchor", "mean", "embed", "smooth", "colours", "gates", "low", "detail"))


class Pixels(nn.Module):
    """Any generator as it was trained. `read`, `encode` and `paint` are what every form has.

    Args:
        generator: may be changed.
        dtype: of the convolutions. Pixels and their statistics are float32 here, because the difference of nearly equal
            squares that the local contrast rests on vanishes in half precision.
    """

    cell = 0
    dtype = torch.float32  # of what it sees

    def __init__(self, generator: nn.Module, dtype: torch.dtype) -> None:
        super().__init__()
        self.generator = lowered(generator, dtype)

    def read(self, frame: Tensor, tone: None = None) -> Tensor:
        """(1, H, W, 3) uint8 to what the other two take."""
        return frame.permute(0, 3, 1, 2).to(torch.float32) * (1 / 255)

    def encode(self, x: Tensor, grain: Tensor | None) -> Tensor:
        """To features (1, C, h, w), with the grain (1, C, h, w) where there is one."""
        return self.generator.encode(x) if grain is None else self.generator.encode(x, grain)

    def paint(self, features: Tensor, x: Tensor) -> Tensor:
        """To a picture (1, 3, H, W), or (1, C, h, w) of cells, about [0, 255]."""
        return self.generator.decode(features, x) * 255


class Cells(nn.Module):
    """What generators on cells have in common.

    Args:
        cell: side of a cell.
        dtype: of everything but the local contrast.
        anchored: for OpenVINO. The pixels pass through a convolution that is the identity, which keeps them in the
            layout of convolutions and saves more than it costs.
        planes: format of the bytes; None for RGB.
        toned: cells of planes come with a tone (`vst.runtime.tone.PlaneTone`).
    """

    def __init__(self, cell: int, dtype: torch.dtype, anchored: bool, planes: PlaneFormat | None, toned: bool) -> None:
        super().__init__()
        self.cell, self.dtype, self.anchored = cell, dtype, anchored
        self.wire = Wire.of(cell, planes)
        self.toned = Toned.of(cell, planes) if toned else None
        self.mean = pointwise(*self.looking(torch.eye(COLOURS).repeat(1, cell**2) / cell**2, torch.zeros(COLOURS)))
        self.anchor = nn.Identity()
        if self.toned is not None:
            self.anchor = pointwise(self.toned.back, self.toned.shift)
        elif anchored:
            self.anchor = pointwise(torch.eye(len(self.wire.zero)), torch.zeros(len(self.wire.zero)))

    def looking(self, weight: Tensor, bias: Tensor) -> tuple[Tensor, Tensor]:
        """Weight (N, 3 s^2) and bias (N,) of a function of a cell of RGB -> of the same function of what is read."""
        weight, bias = self.wire.looking(weight, bias)
        return (weight, bias) if self.toned is None else self.toned.looking(weight, bias)

    def read(self, frame: Tensor, tone: Tensor | None = None) -> Views:
        """Cells (1, h, w, C) uint8, and their tone -> (cells for `mean` and the like, the bytes to be painted)."""
        cells = (frame.to(self.dtype) - MIDDLE).permute(0, 3, 1, 2)
        if self.toned is not None:
            bound = self.toned.bound
            cells = F.conv2d(cells, tone.to(self.dtype)[:, :, None, None]).clamp(-bound, bound)
        return cells, self.anchor(cells)

    def share(self, coarse: Tensor) -> nn.Conv2d:
        """A convolution from one channel to each of a cell's, by the weights (s^2, 1, 3, 3) to its pixels."""
        return fixed(torch.einsum("cp,poij->coij", self.wire.pixels, coarse))

    def seen(self, contrast: LocalContrast, means: Tensor) -> Tensor:
        return contrast(means.to(torch.float32) * (1 / 255)).to(self.dtype)

    def mixed(self, painted: Tensor, gate: Tensor, detail: Tensor) -> Tensor:
        """`painted` + `gate` * `detail`, as bytes."""
        # OpenVINO would else add within a convolution, and then has to clamp, round and convert in passes of their own.
        dtype = torch.float32 if self.anchored else self.dtype
        return painted.to(dtype) + gate.to(dtype) * detail.to(dtype) + MIDDLE

    def finish(self) -> None:
        """Take the data type, when all parts are there."""
        contrast = self.contrast
        self.to(self.dtype)
        contrast.to(torch.float32)


class GuidedCells(Cells):
    """`GuidedGenerator` on cells of 4 x 4 pixels.

    Parting and joining channels costs as much as a convolution. So the residual, the gate and the means share 16
    channels from the head on: 12 of the residual, then the gate four times, in the place of whose first three the means
    are added.
    """

    def __init__(
        self, generator: GuidedGenerator, dtype: torch.dtype, anchored: bool, planes: PlaneFormat | None, toned: bool
    ) -> None:
        super().__init__(CELL, dtype, anchored, planes, toned)
        g, wire = generator, self.wire
        weight = g.embed.weight.detach()[:, order(CELL), 0, 0]
        self.embed = pointwise(*self.looking(weight / 255, g.embed.bias.detach() + SHIFT * weight.sum(1)))
        self.contrast, self.look, self.stem = g.contrast, g.look, g.stem
        self.blocks, self.strokes, self.rise = g.blocks, g.strokes, doubling(g.rise)
        residuals, head = COLOURS * HALF**2, scaled(g.head, COLOURS * HALF**2)
        kept = [*range(residuals), *[residuals] * (COLOURS + 1)]
        self.head = fixed(head.weight[kept], head.bias[kept])
        around = (0, 0, residuals, 1)
        self.smooth = pointwise(F.pad(self.mean.weight[:, :, 0, 0], around), F.pad(self.mean.bias, around[2:]))
        places = torch.arange(residuals + COLOURS + 1)[:, None, None]
        self.is_residual, self.is_gate = (
            nn.Parameter((places < residuals).float()),
            nn.Parameter((places == places[-1]).float()),
        )
        up = nn.Upsample(scale_factor=CELL, mode="bilinear")
        smooth = convolution_of(up, COLOURS, CELL)  # of the means
        fine = nn.Sequential(nn.PixelShuffle(HALF), g.lowpass, nn.Upsample(scale_factor=HALF, mode="bilinear"))
        self.gates = self.share(convolution_of(up, 1, CELL))
        painted = wire.painting(torch.cat([convolution_of(fine, residuals, CELL), smooth], 1)[order(CELL)])
        # The gate lets x - zero through, not x.
        self.colours = fixed(torch.cat([painted, -wire.zero[:, None, None, None] * self.gates.weight], 1), wire.zero)
        self.finish()

    def read(self, frame: Tensor, tone: Tensor | None = None) -> Views:
        cells, planes = super().read(frame, tone)
        contrast = self.seen(self.contrast, self.mean(cells))
        return planes, self.smooth(cells), F.relu(self.embed(cells) + self.look(contrast))

    def encode(self, x: Views, grain: Tensor | None) -> Tensor:
        assert grain is None, "this generator takes none"
        return self.blocks(F.relu(self.stem(x[-1])))

    def paint(self, features: Tensor, x: Views) -> Tensor:
        planes, means, seen = x
        # Strokes reach farther than the border: here it has to be what interpolation makes of it.
        features = F.pad(features.to(self.dtype), (1, 1, 1, 1), mode="replicate")
        head = self.head(self.strokes(F.relu(self.rise(features) + seen)))
        gate = torch.sigmoid(head)
        coarse = head * self.is_residual + means + gate * (self.is_gate - means)
        return self.mixed(self.colours(coarse), self.gates(coarse[:, -1:]), planes)


class ResidualCells(Cells):
    """`ResidualGenerator` without normalisation, on cells as large as its stride."""

    def __init__(
        self, generator: ResidualGenerator, dtype: torch.dtype, anchored: bool, planes: PlaneFormat | None, toned: bool
    ) -> None:
        g, places = generator, generator.stride**2
        super().__init__(g.stride, dtype, anchored, planes, toned)
        at, wire = order(g.stride), self.wire
        weight, contrast = g.stem.weight.detach().split([COLOURS * places, COLOURS + g.grain], 1)
        weight, bias = wire.looking(weight[:, at] / 255, g.stem.bias.detach() + SHIFT * weight.sum((1, 2, 3)))
        self.stem, self.look = fixed(weight), fixed(contrast, bias)
        self.contrast, self.blocks = g.contrast, g.blocks
        head = scaled(g.head, COLOURS * places)
        self.residual = fixed(wire.painting(head.weight[at]), wire.painting(head.bias[at, None])[:, 0])
        self.gate = fixed(head.weight[-1:], head.bias[-1:])
        low = convolution_of(nn.Sequential(nn.PixelShuffle(g.stride), g.lowpass), COLOURS * places, g.stride)[at][:, at]
        low, _ = wire.looking(wire.painting(low), torch.zeros(len(wire.zero)))
        whole = torch.zeros_like(low)
        whole[range(len(low)), range(len(low)), 1, 1] = 1
        self.low, self.detail = fixed(low), fixed(whole - low)
        up = nn.Upsample(scale_factor=g.stride, mode="bilinear")
        self.gates = self.share(convolution_of(up, 1, g.stride))
        self.finish()

    def encode(self, x: Views, grain: Tensor | None) -> Tensor:
        cells, planes = x
        seen = self.seen(self.contrast, self.mean(cells))
        if grain is not None:
            seen = torch.cat([seen, grain], 1)
        return self.blocks(F.relu(self.stem(planes) + self.look(seen)))

    def paint(self, features: Tensor, x: Views) -> Tensor:
        _, planes = x
        features = features.to(self.dtype)
        repainted = self.low(planes + self.residual(features))
        gate = self.gates(torch.sigmoid(self.gate(features)))
        return self.mixed(repainted, gate, self.detail(planes))


class TwoScaleCells(Cells):
    """`TwoScaleGenerator` on cells of 2 x 2 pixels, the places of its strokes.

    A pixel unshuffle before a convolution is a convolution with a stride. Parting channels costs as much as a
    convolution, so residual and gate stay together: those who want the one have weights of 0 for the other.
    """

    def __init__(
        self, generator: TwoScaleGenerator, dtype: torch.dtype, anchored: bool, planes: PlaneFormat | None, toned: bool
    ) -> None:
        super().__init__(HALF, dtype, anchored, planes, toned)
        g, wire, at, residuals = generator, self.wire, order(HALF), COLOURS * HALF**2
        seen = [COLOURS * g.stride**2, COLOURS]
        frame, contrast, noise = g.stem.weight.detach().split([*seen, g.stem.in_channels - sum(seen)], 1)
        frame = unfolded(frame, g.stride)
        bias = g.stem.bias.detach() + SHIFT * frame.sum((1, 2, 3))
        frame, bias = wire.looking(F.pixel_unshuffle(frame, HALF)[:, at] / 255, bias)
        self.stem, self.look = strided(frame, g.stride // HALF), fixed(contrast, bias)
        places = g.stride // g.grain_cell
        self.noise = strided(unfolded(noise, places), places) if g.grain else None
        self.contrast, self.blocks = g.contrast, g.blocks
        # One transposed convolution would do, in three times the time.
        self.rise = nn.Sequential(g.up, nn.PixelShuffle(HALF), by_channel(g.smooth))
        features, cells = g.meet.weight.detach().split([g.paint.in_channels, residuals], 1)
        cells, bias = wire.looking(cells[:, at] / 255, g.meet.bias.detach() + SHIFT * cells.sum((1, 2, 3)))
        self.meet, self.met = fixed(features), fixed(cells, bias)
        self.strokes = g.paint
        kept = len(wire.zero)
        painting = scaled(g.head, residuals)
        drawn, opened = painting.weight.split([residuals, 1])
        drawn_bias, opened_bias = painting.bias.split([residuals, 1])
        self.head = fixed(
            torch.cat([wire.painting(drawn[at]), opened]),
            torch.cat([wire.painting(drawn_bias[at, None])[:, 0], opened_bias]),
        )
        low, strokes = (
            convolution_of(nn.Sequential(nn.PixelShuffle(HALF), f), residuals, HALF)[at][:, at]
            for f in (g.lowpass, g.strokes)
        )
        low, strokes = (wire.looking(wire.painting(w), torch.zeros(kept))[0] for w in (low, strokes))
        whole = torch.zeros_like(low)
        whole[range(kept), range(kept), 1, 1] = 1
        self.low, self.detail = fixed(F.pad(low, (0, 0, 0, 0, 0, 0, 0, 1))), fixed(whole - low)
        gates = self.share(convolution_of(nn.Upsample(scale_factor=HALF, mode="bilinear"), 1, HALF)).weight
        self.colours = fixed(F.pad(strokes, (0, 0, 0, 0, 0, 1)))
        self.gates = fixed(F.pad(gates, (0, 0, 0, 0, kept, 0)))
        self.finish()

    def encode(self, x: Views, grain: Tensor | None) -> Tensor:
        cells, planes = x
        seen = self.look(self.seen(self.contrast, F.avg_pool2d(self.mean(cells), 2)))
        if grain is not None:
            seen = seen + self.noise(grain)
        return self.blocks(F.relu(self.stem(planes) + seen))

    def paint(self, features: Tensor, x: Views) -> Tensor:
        _, planes = x
        met = F.relu(self.meet(F.relu(self.rise(features.to(self.dtype)))) + self.met(planes))
        head = self.head(met + F.relu(self.strokes(met)))
        return self.mixed(self.colours(head + self.low(planes)), self.gates(torch.sigmoid(head)), self.detail(planes))


def form_of(
    generator: nn.Module,
    dtype: torch.dtype,
    anchored: bool = False,
    planes: PlaneFormat | None = None,
    toned: bool = False,
) -> Pixels | Cells:
    """The form of `generator`, which it may take apart; with `planes` it is one on cells. See `Cells`."""
    if not on_cells(generator):
        return Pixels(generator, dtype)
    forms = {GuidedGenerator: GuidedCells, ResidualGenerator: ResidualCells, TwoScaleGenerator: TwoScaleCells}
    form = next(form for kind, form in forms.items() if isinstance(generator, kind))
    return form(generator, dtype, anchored, planes, toned)


def on_cells(generator: nn.Module) -> bool:
    """Whether there is a form for it that is faster than the one on pixels."""
    # Cells of 8 x 8 would make the filters of one colour touch those of all: dearer than the pixels they save.
    if isinstance(generator, ResidualGenerator | TwoScaleGenerator):
        return isinstance(generator.norm, nn.Identity) and generator.stride <= CELL
    return isinstance(generator, GuidedGenerator)


def to_cells(frame: Tensor, cell: int) -> Tensor:
    """(1, H, W, 3) -> (1, H / cell, W / cell, 3 cell^2)."""
    rows, columns = frame.shape[1] // cell, frame.shape[2] // cell
    return frame.reshape(1, rows, cell, columns, 3 * cell).permute(0, 1, 3, 2, 4).reshape(1, rows, columns, -1)


def to_pixels(cells: Tensor, cell: int) -> Tensor:
    """The inverse of `to_cells`."""
    rows, columns = cells.shape[1:3]
    pixels = cells.reshape(1, rows, columns, cell, 3 * cell).permute(0, 1, 3, 2, 4)
    return pixels.reshape(1, rows * cell, columns * cell, 3)


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


def by_channel(separable: SeparableFilter) -> nn.Conv2d:
    """The filter as one convolution, with zeros around."""
    channels, reach = separable.channels, separable.reach
    made = nn.Conv2d(channels, channels, 2 * reach + 1, padding=reach, groups=channels, bias=False)
    with torch.no_grad():
        made.weight.copy_(separable.column * separable.row)
    return made


def unfolded(weight: Tensor, cell: int) -> Tensor:
    """Weights (N, C s^2, h, w) of what `F.pixel_unshuffle` gives -> (N, C, s h, s w) of what it is given."""
    n, channels, h, w = weight.shape
    parts = weight.reshape(n, channels // cell**2, cell, cell, h, w)
    return parts.permute(0, 1, 4, 2, 5, 3).reshape(n, -1, cell * h, cell * w)


@torch.no_grad()
def strided(weight: Tensor, stride: int) -> nn.Conv2d:
    """A convolution with weights (N, C, 3 stride, 3 stride), which gives one place for so many a side."""
    made = nn.Conv2d(weight.shape[1], len(weight), 3 * stride, stride, padding=stride, bias=False)
    made.weight.copy_(weight)
    return made


def pointwise(weight: Tensor, bias: Tensor) -> nn.Conv2d:
    """A convolution of 1 x 1 with the weights (N, C)."""
    return fixed(weight[:, :, None, None], bias)


@torch.no_grad()
def fixed(weight: Tensor, bias: Tensor | None = None, padding: int | None = None) -> nn.Conv2d:
    """A convolution with these weights that keeps the size, unless `padding` says otherwise."""
    out_channels, in_channels, side, _ = weight.shape
    padding = side // 2 if padding is None else padding
    made = nn.Conv2d(in_channels, out_channels, side, padding=padding, bias=bias is not None)
    made.weight.copy_(weight)
    if bias is not None:
        made.bias.copy_(bias)
    return made


def scaled(head: nn.Conv2d, channels: int) -> nn.Conv2d:
    """A head whose first `channels` are in units of bytes."""
    units = torch.ones(head.out_channels)
    units[:channels] = 255
    return fixed(head.weight * units[:, None, None, None], head.bias * units)


class _LowPrecision(nn.Module):
    """A convolution in another data type, whatever it is given."""

    def __init__(self, convolution: nn.Conv2d, dtype: torch.dtype) -> None:
        super().__init__()
        self.convolution, self.dtype = convolution.to(dtype), dtype

    def forward(self, x: Tensor) -> Tensor:
        return self.convolution(x.to(self.dtype))


def lowered(module: nn.Module, dtype: torch.dtype) -> nn.Module:
    """`module` with convolutions in `dtype`, but for fixed filters and local contrast."""
    if dtype == torch.float32:
        return module
    for name, child in module.named_children():
        if isinstance(child, nn.Conv2d):
            setattr(module, name, _LowPrecision(child, dtype))
        elif not isinstance(child, LocalContrast | SeparableFilter):
            lowered(child, dtype)
    return module
