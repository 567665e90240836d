"""Films for two eyes: both painted alike."""

from __future__ import annotations

from typing import Literal

import numpy as np

from vst.errors import UserError
from vst.painting.stage import Paints

Layout = Literal["side_by_side", "top_bottom"]


def check_eyes(width: int, height: int, layout: Layout) -> None:
    """Raise UserError for a frame that does not fall into two eyes of one size."""
    side, word = (width, "wide") if layout == "side_by_side" else (height, "high")
    if side % 2:
        raise UserError(f"{width}x{height} cannot be two eyes of one size: it is an odd number of pixels {word}")


class Stereo:
    """Paints the two eyes of each frame, each with a memory of its own.

    Strokes do not cross from one eye to the other, and what both see alike is painted alike, as the painters are the
    same: painters of two sets of engines of the same checkpoints.

    Args:
        left, right: for the left or upper, and the right or lower half of the frame.
        layout: how the eyes lie in it.
    """

    def __init__(self, left: Paints, right: Paints, layout: Layout) -> None:
        self._eyes, self._axis = (left, right), 1 if layout == "side_by_side" else 0

    def reset(self) -> None:
        for eye in self._eyes:
            eye.reset()

    def at(self, seconds: float) -> None:
        for eye in self._eyes:
            eye.at(seconds)

    def output_size(self, width: int, height: int) -> tuple[int, int]:
        check_eyes(width, height, "side_by_side" if self._axis else "top_bottom")
        return width, height

    def __call__(self, frame: np.ndarray, out: np.ndarray | None = None) -> np.ndarray:
        out = np.empty_like(frame) if out is None else out
        halves = (np.split(image, 2, self._axis) for image in (frame, out))
        for eye, seen, painted in zip(self._eyes, *halves, strict=True):
            painted[:] = eye(np.ascontiguousarray(seen))
        return out

    def read_state(self) -> list[np.ndarray]:
        left, right = (eye.read_state() for eye in self._eyes)
        return [np.array([len(left)]), *left, *right]

    def load_state(self, arrays: list[np.ndarray]) -> None:
        border = 1 + int(arrays[0][0])
        self._eyes[0].load_state(arrays[1:border])
        self._eyes[1].load_state(arrays[border:])
