"""The tone of a stylizer for frames of bytes: a table for each channel of RGB, or a matrix for cells of planes."""

from __future__ import annotations

import cv2
import numpy as np
import torch
from torch import Tensor

from vst.networks.tone import SlowTone, Tone
from vst.networks.transport import ColourTransport
from vst.planes import PlaneFormat
from vst.runtime.transport import ByteTransport
from vst.runtime.wire import COLOURS, MIDDLE, Toned, samples_of_pixels

TONE_CHANNELS = 8  # that cells of planes get for a constant: two of 1, the others 0


class SlowBytes:
    """The statistics of a film for the tone of its frames, as `vst.networks.tone.Tone` follows them.

    Args:
        values: of `tone_values`.

    Attributes:
        moments: after the last frame; None before the first one.
    """

    def __init__(self, values: tuple[float, ...]) -> None:
        self._tone = tone_of(values)
        self.moments: Tensor | None = None

    def _observed(self, frame: np.ndarray) -> Tensor:
        """Statistics of a frame (H, W, 3) uint8."""
        return self._tone.observe(torch.from_numpy(frame).permute(2, 0, 1)[None], 255)

    def _follow(self, now: Tensor, first: bool) -> None:
        """Take the statistics of a frame into the moments of the film."""
        self.moments = self._tone.follow(now, None if first else self.moments)


class ByteTone(SlowBytes):
    """A tone of frames (H, W, 3) uint8 RGB.

    It comes before a frame is bordered or cut into tiles, so that all of them share the statistics of the whole frame.
    """

    def __init__(self, values: tuple[float, ...]) -> None:
        super().__init__(values)
        self._transport = ByteTransport(self._tone) if isinstance(self._tone, ColourTransport) else None
        self._levels = torch.arange(256)[:, None] / 255
        self._out: np.ndarray | None = None

    def __call__(self, frame: np.ndarray, first: bool) -> np.ndarray:
        """The frame in the tone of the style; the next call overwrites it. `first`: the film, or a scene, begins."""
        now = self._observed(frame) if self._transport is None else self._transport.observe(frame)
        self._follow(now, first)
        if self._out is None or self._out.shape != frame.shape:
            self._out = np.empty_like(frame)
        if self._transport is None:
            return cv2.LUT(frame, self._table(), dst=self._out)
        self._transport.paint(frame, self.moments, self._out)
        return self._out

    def _table(self) -> np.ndarray:
        """What becomes of each level of each channel, (256, 1, 3) uint8."""
        levels = self._levels.T[None, :, :, None].expand(1, 3, 256, 1)
        table = (self._tone.paint(levels, self.moments) * 255).round()
        return table[0].permute(1, 2, 0).to(torch.uint8).contiguous().numpy()


class PlaneTone(SlowBytes):
    """`vst.networks.SlowTone` of frames of planes (`vst.planes`): the map that a graph applies to their cells.

    In RGB the tone is an affine map with a clamp, so without the clamp it is one of Y, U and V. Colours are clamped
    where the chroma has its samples, at the mean of four pixels; luma by its own range (`vst.runtime.wire.Toned`).

    Args:
        cell: pixels along a side of a cell.
        dtype: that the graph multiplies in.
    """

    def __init__(self, values: tuple[float, ...], planes: PlaneFormat, cell: int, dtype: torch.dtype) -> None:
        super().__init__(values)
        self._planes, self._dtype = planes, dtype
        self._toned = toned = Toned.of(cell, planes)
        shared = samples_of_pixels(cell).numpy()
        pixels, samples = shared.shape
        seen_by_pixels = np.hstack([np.eye(pixels), shared, shared])
        seen_by_samples = np.hstack([shared.T / 4, np.eye(samples), np.eye(samples)])
        self._shares = np.vstack([seen_by_pixels, *[toned.scale * seen_by_samples] * COLOURS])
        # Which of luma, R, G and B a row gives, and which of Y, U and V a column is.
        self._rows = np.repeat(np.arange(1 + COLOURS), [pixels] + [samples] * COLOURS)
        self._columns = np.repeat(np.arange(COLOURS), [pixels, samples, samples])
        self._units = np.array([1.0] + [toned.scale] * COLOURS)
        self._zeros = np.array([toned.luma] + [127.5] * COLOURS)

    def __call__(self, colours: np.ndarray, first: bool) -> np.ndarray:
        """(N, C + 8) float32 for the cells of a frame with these `PlaneFormat.samples`, cells with `TONE_CHANNELS`.

        `first`: see `ByteTone`.
        """
        self._follow(self._observed(colours), first)
        gain, shift = (values[0].double().numpy() for values in self._tone.affine(self.moments))
        to_rgb = gain[:, None] * self._planes.conversion
        to_rgb[:, 3] += 255 * shift
        to_luma = self._planes.from_rgb[0] @ to_rgb
        to_luma[3] += self._planes.black[0]
        of_yuv = np.vstack([to_luma, to_rgb])
        matrix = self._shares * of_yuv[self._rows[:, None], self._columns]
        constant = self._units * (of_yuv[:, :3].sum(1) * MIDDLE + of_yuv[:, 3] - self._zeros)
        # In two parts, of which low precision keeps the sum.
        constants = torch.from_numpy(constant[self._rows])
        coarse = constants.to(self._dtype).double()
        unused = torch.zeros(len(matrix), TONE_CHANNELS - 2)
        parts = [torch.from_numpy(matrix), coarse[:, None], (constants - coarse)[:, None], unused]
        return torch.cat(parts, 1).float().numpy()


def tone_values(tone: Tone | None) -> tuple[float, ...]:
    """What a graph's metadata say of a tone, () for none: pace, max_gain, and what it knows of the style.

    That are mean and deviation, or the colours of a transport.
    """
    if tone is None:
        return ()
    style = [tone.mean, tone.deviation] if isinstance(tone, SlowTone) else [tone.colours]
    return (tone.pace, tone.max_gain, *torch.cat([values.flatten() for values in style]).tolist())


def is_affine(values: tuple[float, ...]) -> bool:
    """Whether the tone that `tone_values` tells of, or none, is an affine map of colours, as frames of planes need."""
    return not values or isinstance(tone_of(values), SlowTone)


def tone_of(values: tuple[float, ...]) -> Tone:
    """The tone that `tone_values` tells of."""
    pace, max_gain, *style = values
    known = torch.tensor(style).unflatten(0, (-1, 3))
    if len(known) == 2:
        tone = SlowTone(pace, max_gain)
        tone.mean.copy_(known[0])
        tone.deviation.copy_(known[1])
    else:
        tone = ColourTransport(pace, max_gain)
        tone.colours.copy_(known)
    return tone.eval()
