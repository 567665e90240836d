"""Numbers on the picture."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np

_FONT = cv2.FONT_HERSHEY_SIMPLEX
_SHARE_OF_HEIGHT = 30
_LEAST_PIXELS = 9.0
_PIXELS_AT_ONE = 22  # height of the font at scale 1


def with_lines(image: np.ndarray, lines: Sequence[str]) -> np.ndarray:
    """A copy of `image` (H, W, 3) uint8 with `lines` at its top left, white on a darkened box, small enough to fit."""
    drawn = image.copy()
    pixels = max(image.shape[0] / _SHARE_OF_HEIGHT, _LEAST_PIXELS)
    room = image.shape[1] - 2 * pixels
    widest = max(_width(line, pixels) for line in lines)
    if widest > room:
        pixels *= room / widest
    bottom = round((1.5 * len(lines) + 0.8) * pixels)
    right = round(min(widest, room) + 2 * pixels)
    drawn[:bottom, :right] //= 3
    for number, line in enumerate(lines, start=1):
        place = (round(pixels), round(1.5 * number * pixels))
        cv2.putText(drawn, line, place, _FONT, pixels / _PIXELS_AT_ONE, (255, 255, 255), _weight(pixels), cv2.LINE_AA)
    return drawn


def _width(line: str, pixels: float) -> int:
    return cv2.getTextSize(line, _FONT, pixels / _PIXELS_AT_ONE, _weight(pixels))[0][0]


def _weight(pixels: float) -> int:
    return max(1, round(pixels / 16))
