"""What of the picture is seen, and how large: a crop and another size, before anything is painted."""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np

from vst.errors import UserError
from vst.painting.panorama import resized
from vst.painting.stage import Paints, Stage
from vst.runtime.engine import MIN_SIDE

Crop = tuple[int, int, int, int]
Size = tuple[int, int | None]


class Framed(Stage):
    """Crops each frame and scales it, then passes it on. The outermost stage: masks and eyes belong to what is left.

    Args:
        crop: (left, top, width, height) in pixels of the upright frame; None for all of it.
        size: (width, height) of the frame then, pixels; a height of None keeps the shape, and is even.

    Raises:
        UserError: from `output_size`, where the crop does not lie in the frame or less than 16 pixels are left.
    """

    def __init__(self, painter: Paints, crop: Crop | None = None, size: Size | None = None) -> None:
        super().__init__(painter)
        self._crop, self._size = crop, size

    def output_size(self, width: int, height: int) -> tuple[int, int]:
        return super().output_size(*seen_size((width, height), self._crop, self._size))

    @property
    def keeps_view(self) -> bool:
        return self._crop is None and super().keeps_view

    def keep_black(self, border: np.ndarray | None) -> None:
        super().keep_black(None if border is None else self._framed(border))

    def alpha_of(self, alpha: np.ndarray) -> np.ndarray:
        return super().alpha_of(self._framed(alpha))

    def __call__(self, frame: np.ndarray, out: np.ndarray | None = None) -> np.ndarray:
        return self._painter(self._framed(frame), out)

    def _framed(self, image: np.ndarray) -> np.ndarray:
        size = seen_size(image.shape[1::-1], self._crop, self._size)
        if self._crop is not None:
            left, top, width, height = self._crop
            image = np.ascontiguousarray(image[top : top + height, left : left + width])
        return resized(image, *size)


def seen_size(frame: tuple[int, int], crop: Crop | None, size: Size | None) -> tuple[int, int]:
    """(width, height) of what is painted of a `frame` of that size. Raises UserError as `Framed` does."""
    width, height = frame
    if crop is not None:
        left, top, wide, high = crop
        if left + wide > width or top + high > height:
            raise UserError(
                f"crop={list(crop)}: columns end at {left + wide} and rows at {top + high}, and the picture is "
                f"{width}x{height}; give [left,top,width,height] within it"
            )
        width, height = wide, high
    if size is not None:
        wide, high = size
        width, height = wide, high or max(2, 2 * round(height * wide / width / 2))
    if min(width, height) < MIN_SIDE:
        raise UserError(f"{width}x{height} pixels are left to paint; give at least {MIN_SIDE} on each side")
    return width, height


def read_crop(given: Sequence[object] | None) -> Crop | None:
    """Four whole numbers. Raises UserError for anything else."""
    if given is None:
        return None
    whole = all(type(value) is int for value in given)
    if len(given) != 4 or not whole or min(given[:2]) < 0 or min(given[2:]) < 1:
        raise UserError(
            f"crop={list(given)}: give [left,top,width,height] in whole pixels, such as crop=[0,60,1280,600]"
        )
    return tuple(given)


def read_size(given: str | int | None, *, both: bool = False) -> Size | None:
    """1280x720, or 1280 for a width whose height follows, unless `both` are wanted; in pixels, up to 99999.

    Raises UserError for anything else.
    """
    if given is None:
        return None
    match = re.fullmatch(r"(\d{1,5})(?:x(\d{1,5}))?", str(given), re.ASCII)
    sides = [int(side) for side in match.groups() if side is not None] if match else []
    if not sides or min(sides) < 1 or (both and len(sides) < 2):
        other = "" if both else ", or a width, 1280, whose height follows"
        raise UserError(f"size={given}: give width and height as 1280x720{other}")
    return sides[0], sides[1] if len(sides) == 2 else None
