"""Frames as videos keep them, luma and two planes of chroma at half of the sides (4:2:0), instead of as RGB.

A frame of planes is (3 H / 2, W) uint8, the layout I420: Y (H, W), then U and V, (H / 2, W / 2) each, row after row.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Protocol

import cv2
import numpy as np

PIXELS = ("yuv420p", "yuvj420p")
Planes = tuple[np.ndarray, np.ndarray, np.ndarray]
GREY = 128  # chroma of what has no colour

# Shares of red and blue in luma by the code points of ITU-T H.273; 2 is unspecified, which all readers take as BT.601.
_SHARES = {1: (0.2126, 0.0722), 2: (0.299, 0.114), 5: (0.299, 0.114), 6: (0.299, 0.114)}
_FULL_RANGE = 2
_SHORT_SIDE = 64  # samples along the short side, where there are as many of chroma


class ColourTags(Protocol):
    """What files say of their colours, by code points: of H.273 for the matrix, of FFmpeg for the range."""

    @property
    def matrix(self) -> int: ...
    @property
    def range(self) -> int: ...


@dataclass(frozen=True)
class PlaneFormat:
    """How the bytes of planes stand for colours (ITU-R BT.601-7, BT.709-6).

    `red` and `blue` are the shares in luma; `full` says that all 256 values are used, instead of 16 to 235 (luma) and
    16 to 240 (chroma).
    """

    red: float
    blue: float
    full: bool

    @classmethod
    def of(cls, colour: ColourTags) -> PlaneFormat | None:
        """That of a video with these tags; None where vst knows no matrix for them."""
        shares = _SHARES.get(colour.matrix)
        return None if shares is None else cls(*shares, colour.range == _FULL_RANGE)

    @property
    def name(self) -> str:
        """For file names."""
        return f"{'bt709' if self.red == _SHARES[1][0] else 'bt601'}-{'full' if self.full else 'limited'}"

    @cached_property
    def black(self) -> np.ndarray:
        """(3,): Y, U and V of black."""
        return np.array([0 if self.full else 16, GREY, GREY], np.float64)

    @property
    def luma_range(self) -> tuple[int, int]:
        """Y of black and of white."""
        return (0, 255) if self.full else (16, 235)

    @cached_property
    def from_rgb(self) -> np.ndarray:
        """(3, 3): Y, U, V = from_rgb @ RGB + black, all in units of bytes."""
        red, blue = self.red, self.blue
        luma = np.array([red, 1 - red - blue, blue])
        u, v = (np.eye(3)[2] - luma) / (2 - 2 * blue), (np.eye(3)[0] - luma) / (2 - 2 * red)
        spans = np.ones(3) if self.full else np.array([219, 224, 224]) / 255
        return np.stack([luma, u, v]) * spans[:, None]

    @cached_property
    def to_rgb(self) -> np.ndarray:
        """(3, 3): RGB = to_rgb @ (YUV - black)."""
        return np.linalg.inv(self.from_rgb)

    @cached_property
    def conversion(self) -> np.ndarray:
        """(3, 4): RGB = conversion @ (Y, U, V, 1)."""
        return np.column_stack([self.to_rgb, -self.to_rgb @ self.black])

    def samples(self, frame: np.ndarray) -> np.ndarray:
        """A grid of pixels of a frame of planes, (h, w, 3) uint8 RGB: all that statistics of colours look at."""
        y, u, v = planes_of(frame)
        half = max(1, min(u.shape) // _SHORT_SIDE)
        chosen = [plane[::step, ::step] for plane, step in ((y, 2 * half), (u, half), (v, half))]
        return cv2.transform(np.stack(chosen, 2), self.conversion)


def planes_of(frame: np.ndarray) -> Planes:
    """Views of Y (H, W), U and V (H / 2, W / 2) of a frame of planes, which is contiguous."""
    rows, width = frame.shape
    height = rows * 2 // 3
    u, v = frame[height:].reshape(2, height // 2, width // 2)
    return frame[:height], u, v
