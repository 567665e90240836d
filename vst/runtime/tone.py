"""The tone of a stylizer on bytes, before the graph: a table for each channel, or three planes by their matrix."""

from __future__ import annotations

import cv2
import numpy as np
import torch
from torch import Tensor

from vst.networks.tone import SlowTone, frame_moments
from vst.planes import GREY, PlaneFormat, Planes, planes_of


class ByteTone:
    """`vst.networks.SlowTone` of frames (H, W, 3) uint8 RGB; the moments of the film lie within.

    It comes before a frame is bordered or cut into tiles, so that all of them share the statistics of the whole frame.

    Args:
        values: of `tone_values`.
    """

    def __init__(self, values: tuple[float, ...]) -> None:
        pace, max_gain, *style = values
        self._tone = SlowTone(pace, max_gain).eval()
        self._tone.mean.copy_(torch.tensor(style[:3]))
        self._tone.deviation.copy_(torch.tensor(style[3:]))
        self._levels = torch.arange(256)[:, None] / 255
        self._out: np.ndarray | None = None
        self.moments: Tensor | None = None

    def __call__(self, frame: np.ndarray, first: bool) -> np.ndarray:
        """The frame in the tone of the style; the next call overwrites it. `first`: the film, or a scene, begins."""
        pixels = torch.from_numpy(frame).permute(2, 0, 1)[None]
        self._follow(pixels, first)
        table = (self._tone.paint(self._levels.T[None, :, :, None].expand(1, 3, 256, 1), self.moments) * 255).round()
        if self._out is None or self._out.shape != frame.shape:
            self._out = np.empty_like(frame)
        return cv2.LUT(frame, table[0].permute(1, 2, 0).to(torch.uint8).contiguous().numpy(), dst=self._out)

    def _follow(self, pixels: Tensor, first: bool) -> None:
        """Take a frame, (1, 3, H, W) uint8, into the moments of the film."""
        self.moments = self._tone.follow(frame_moments(pixels, 255), None if first else self.moments)


class PlaneTone(ByteTone):
    """The same of frames of planes (`vst.planes`).

    In RGB the tone is an affine map with a clamp, so without the clamp it is one of Y, U and V. Colours are clamped
    where the chroma has its samples, at the mean of four pixels; luma by its own range.
    """

    def __init__(self, values: tuple[float, ...], planes: PlaneFormat) -> None:
        super().__init__(values)
        self._planes = planes
        self._back = np.column_stack([planes.from_rgb, planes.black])
        self._range = (0, 255) if planes.full else (16, 235)

    def __call__(self, frame: np.ndarray, first: bool) -> np.ndarray:
        """A frame of planes in the tone of the style; the next call overwrites it."""
        self._follow(torch.from_numpy(self._planes.samples(frame)).permute(2, 0, 1)[None], first)
        gain, shift = (values[0].double().numpy() for values in self._tone.affine(self.moments))
        toned = gain[:, None] * self._planes.conversion
        toned[:, 3] += 255 * shift
        if self._out is None or self._out.shape != frame.shape:
            self._make_buffers(frame)
        self._paint_chroma(planes_of(frame), toned)
        self._paint_luma(planes_of(frame), toned)
        return self._out

    def _make_buffers(self, frame: np.ndarray) -> None:
        """Fresh memory for each step of each frame would cost as much as the steps."""
        self._out = np.empty_like(frame)
        height, width = planes_of(frame)[1].shape
        self._half = [np.empty((height, width, channels), np.uint8).squeeze() for channels in (1, 3, 3, 3)]
        self._whole = np.empty((2 * height, 2 * width), np.uint8)

    def _paint_chroma(self, frame: Planes, toned: np.ndarray) -> None:
        y, u, v = frame
        means, colours, clamped, back = self._half
        cv2.resize(y, u.shape[::-1], dst=means, interpolation=cv2.INTER_AREA)
        cv2.merge([means, u, v], dst=colours)
        cv2.transform(colours, toned, dst=clamped)  # to bytes of RGB
        cv2.transform(clamped, self._back, dst=back)
        for channel, target in enumerate(planes_of(self._out)[1:], start=1):
            cv2.extractChannel(back, channel, dst=target)

    def _paint_luma(self, frame: Planes, toned: np.ndarray) -> None:
        y, u, v = frame
        target, added = planes_of(self._out)[0], self._half[0]
        of_y, of_u, of_v, constant = self._back[0, :3] @ toned + (0, 0, 0, self._back[0, 3])
        # What chroma adds to luma lies about 0; as bytes it lies about GREY.
        cv2.addWeighted(u, of_u, v, of_v, GREY * (1 - of_u - of_v), dst=added)
        cv2.resize(added, y.shape[::-1], dst=self._whole, interpolation=cv2.INTER_NEAREST)
        cv2.addWeighted(y, of_y, self._whole, 1, constant + GREY * (of_u + of_v - 1), dst=target)
        low, high = self._range
        if (low, high) != (0, 255):
            cv2.min(cv2.max(target, low, dst=target), high, dst=target)


def tone_values(tone: SlowTone | None) -> tuple[float, ...]:
    """What a graph's metadata say of a tone: pace, max_gain, mean and deviation of the style; () for none."""
    if tone is None:
        return ()
    return (tone.pace, tone.max_gain, *tone.mean.tolist(), *tone.deviation.tolist())
