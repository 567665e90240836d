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


def both_eyes(width: int, height: int, layout: Layout) -> tuple[int, int]:
    """(width, height) of a frame of two eyes, each of this size."""
    return (2 * width, height) if layout == "side_by_side" else (width, 2 * height)


def one_eye(width: int, height: int, layout: Layout) -> tuple[int, int]:
    """(width, height) of one of the two eyes of a frame of this size."""
    return (width // 2, height) if layout == "side_by_side" else (width, height // 2)


def halves(image: np.ndarray, layout: Layout) -> list[np.ndarray]:
    """The left or upper, and the right or lower half of (H, W) or (H, W, 3), as views."""
    return np.array_split(image, 2, _axis(layout))


def _axis(layout: Layout) -> int:
    return 1 if layout == "side_by_side" else 0


class Stereo:
    """Paints the two eyes of each frame, each with a memory of its own. Masks and comparisons lie within the eyes.

    Strokes do not cross from one eye to the other, and what both see alike is painted alike, as the painters are the
    same: painters of two sets of engines of the same checkpoints.

    Args:
        left, right: for the left or upper, and the right or lower half of the frame.
        layout: how the eyes lie in it.
    """

    def __init__(self, left: Paints, right: Paints, layout: Layout) -> None:
        self._eyes, self._layout = (left, right), layout

    def reset(self) -> None:
        for eye in self._eyes:
            eye.reset()

    def at(self, seconds: float) -> None:
        for eye in self._eyes:
            eye.at(seconds)

    def keep_black(self, border: np.ndarray | None) -> None:
        parts = [None, None] if border is None else halves(border, self._layout)
        for eye, part in zip(self._eyes, parts, strict=True):
            eye.keep_black(part)

    def output_size(self, width: int, height: int) -> tuple[int, int]:
        check_eyes(width, height, self._layout)
        sizes = {eye.output_size(*one_eye(width, height, self._layout)) for eye in self._eyes}
        assert len(sizes) == 1, sizes
        return both_eyes(*sizes.pop(), self._layout)

    @property
    def keeps_view(self) -> bool:
        return all(eye.keeps_view for eye in self._eyes)

    def alpha_of(self, alpha: np.ndarray) -> np.ndarray:
        parts = zip(self._eyes, halves(alpha, self._layout), strict=True)
        return np.concatenate([eye.alpha_of(np.ascontiguousarray(part)) for eye, part in parts], _axis(self._layout))

    def __call__(self, frame: np.ndarray, out: np.ndarray | None = None) -> np.ndarray:
        seen = zip(self._eyes, halves(frame, self._layout), strict=True)
        painted = [eye(np.ascontiguousarray(half)) for eye, half in seen]
        return np.concatenate(painted, _axis(self._layout), out=out)

    def read_state(self) -> list[np.ndarray]:
        left, right = (eye.read_state() for eye in self._eyes)
        return [np.array([len(left)]), *left, *right]

    def load_state(self, arrays: list[np.ndarray]) -> None:
        border = 1 + int(arrays[0][0])
        self._eyes[0].load_state(arrays[1:border])
        self._eyes[1].load_state(arrays[border:])
