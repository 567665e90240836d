"""Before and after in one picture: beside each other, in halves, or with a border that wanders."""

from __future__ import annotations

from math import cos, pi
from typing import Literal

import numpy as np

from vst.painting.stage import Paints, Stage

WIPE_SECONDS = 8.0  # from the input to the painting and back

_LINES_PER_PIXEL = 540  # rows of the picture for each pixel of the divider's width


class Comparison(Stage):
    """The frame to the left of a divider, the painting to the right.

    Args:
        how: `side` puts them side by side, twice as wide; `split` shows the left half of the one and the right half of
            the other; `wipe` moves the divider from right to left and back.
    """

    def __init__(self, painter: Paints, how: Literal["side", "split", "wipe"]) -> None:
        super().__init__(painter)
        self._how, self._seconds = how, 0.0

    def at(self, seconds: float) -> None:
        self._seconds = seconds
        super().at(seconds)

    def output_size(self, width: int, height: int) -> tuple[int, int]:
        width, height = super().output_size(width, height)
        return (2 * width if self._how == "side" else width), height

    @property
    def keeps_view(self) -> bool:
        return self._how != "side" and super().keeps_view

    def alpha_of(self, alpha: np.ndarray) -> np.ndarray:
        alpha = super().alpha_of(alpha)
        return np.hstack([alpha, alpha]) if self._how == "side" else alpha

    def __call__(self, frame: np.ndarray, out: np.ndarray | None = None) -> np.ndarray:
        height, width = frame.shape[:2]
        if self._how == "side":
            out = np.empty((height, 2 * width, 3), np.uint8) if out is None else out
            out[:, width:] = self._painter(frame)
            divider = width
        else:
            out = self._painter(frame, out)
            divider = width // 2 if self._how == "split" else round(width * self._open())
        out[:, :divider] = frame[:, :divider]
        _draw_divider(out, divider)
        return out

    def _open(self) -> float:
        """Share of the width that shows the frame: all of it at first."""
        return 0.5 + 0.5 * cos(2 * pi * self._seconds / WIPE_SECONDS)


def _draw_divider(image: np.ndarray, place: int) -> None:
    """A light line, centred on `place` columns from the left; none at the borders of the picture."""
    height, width = image.shape[:2]
    thickness = max(1, round(height / _LINES_PER_PIXEL))
    begin = place - thickness // 2
    if 0 < place < width:
        columns = image[:, begin : begin + thickness]
        columns[:] = 255 - (255 - columns) // 8
