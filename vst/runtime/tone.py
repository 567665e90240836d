"""The tone of a stylizer on bytes, before the graph: a table for each channel."""

from __future__ import annotations

import cv2
import numpy as np
import torch
from torch import Tensor

from vst.networks.tone import SlowTone, frame_moments


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
        self.moments = self._tone.follow(frame_moments(pixels, 255), None if first else self.moments)
        table = (self._tone.paint(self._levels.T[None, :, :, None].expand(1, 3, 256, 1), self.moments) * 255).round()
        if self._out is None or self._out.shape != frame.shape:
            self._out = np.empty_like(frame)
        return cv2.LUT(frame, table[0].permute(1, 2, 0).to(torch.uint8).contiguous().numpy(), dst=self._out)


def tone_values(tone: SlowTone | None) -> tuple[float, ...]:
    """What a graph's metadata say of a tone: pace, max_gain, mean and deviation of the style; () for none."""
    if tone is None:
        return ()
    return (tone.pace, tone.max_gain, *tone.mean.tolist(), *tone.deviation.tolist())
