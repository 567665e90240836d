"""A still picture as a film: a synthetic camera glides over it (the Ken Burns effect)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from fractions import Fraction
from math import pi, sin
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from vst.errors import UserError, suggest
from vst.painting.panorama import resized
from vst.video.excerpts import Excerpt
from vst.video.pictures import PictureReader
from vst.video.pixels import WHITE, Color
from vst.video.reader import Frame

LONGEST_SIDE = 1920  # pixels of a film; larger pictures are scaled down


@dataclass(frozen=True)
class View:
    """What the camera sees: a window of the picture's shape, `zoom` times smaller, placed within its free room.

    `x` and `y` are 0 at the left and top end of that room and 1 at the other.
    """

    zoom: float
    x: float = 0.5
    y: float = 0.5


MOVES: dict[str, tuple[View, View]] = {
    "zoom_in": (View(1.0), View(1.3)),
    "zoom_out": (View(1.3), View(1.0)),
    "pan_left": (View(1.25, x=1), View(1.25, x=0)),
    "pan_right": (View(1.25, x=0), View(1.25, x=1)),
    "pan_up": (View(1.25, y=1), View(1.25, y=0)),
    "pan_down": (View(1.25, y=0), View(1.25, y=1)),
    "drift": (View(1.1, 0.2, 0.8), View(1.35, 0.7, 0.35)),
}
"""Name of a move -> first and last view."""


def view_at(move: str, progress: float) -> View:
    """The view at `progress`, 0 to 1, of a move: it starts and ends at rest, and a zoom grows by equal factors."""
    first, last = MOVES[move]
    eased = progress - sin(2 * pi * progress) / (2 * pi)

    def between(a: float, b: float) -> float:
        return a + (b - a) * eased

    return View(first.zoom * (last.zoom / first.zoom) ** eased, between(first.x, last.x), between(first.y, last.y))


class Camera:
    """The film of a camera that moves over a picture: a source of frames as `vst.video.source.open_source` gives.

    The film has the picture's shape, with even sides of at most 1920 pixels.

    Args:
        path: the picture.
        move: one of `MOVES`.
        duration: in seconds.
        fps: frames a second.
        background: what transparency is laid onto; None where it is kept.

    Raises:
        UserError: the picture cannot be read, the move is not known, or there would be less than two frames.
    """

    def __init__(
        self,
        path: str | Path,
        move: str,
        duration: float = 6.0,
        fps: float | Fraction = 25,
        background: Color | None = WHITE,
    ) -> None:
        if move not in MOVES:
            raise UserError(f"camera={move}: no such move{suggest(move, MOVES)}; allowed: {', '.join(MOVES)}")
        rate = Fraction(fps).limit_denominator(1001)
        self._count, self._move = round(duration * rate), move
        if self._count < 2:
            raise UserError(f"duration={duration:g}: that is no film at {float(rate):g} frames a second; give more")
        self._picture = PictureReader([Path(path)], rate, background)
        width, height = _film_size(self._picture.info.width, self._picture.info.height)
        length = float(self._count / rate)
        self.info = replace(self._picture.info, width=width, height=height, num_frames=self._count, duration=length)
        self.damaged: str | None = None
        self.resized: str | None = None
        self.tracks: list[Excerpt] = []

    def __enter__(self) -> Camera:
        return self

    def __exit__(self, *_: Any) -> None:
        pass

    def __iter__(self) -> Iterator[Frame]:
        return self.read()

    def read(self, first: int = 0) -> Iterator[Frame]:
        """The frames from number `first` on."""
        # At the size of the widest view nothing is ever shrunk, which would flicker, and the rest is interpolated.
        widest = min(view.zoom for view in MOVES[self._move])
        least = [round(side * widest) for side in (self.info.width, self.info.height)]
        still = self._picture.still(0, min(least))
        size = [min(pair) for pair in zip(least, still.image.shape[1::-1], strict=True)]
        picture, alpha = (None if plane is None else resized(plane, *size) for plane in (still.image, still.alpha))
        for number in range(first, self._count):
            view = view_at(self._move, number / (self._count - 1))
            image, seen = (
                None if plane is None else render(plane, view, self.info.width, self.info.height)
                for plane in (picture, alpha)
            )
            yield Frame(image, number, 1, self.info.time_base, alpha=seen)


def render(picture: np.ndarray, view: View, width: int, height: int) -> np.ndarray:
    """What a camera sees of `picture` (H, W, 3) uint8, as (height, width, 3) uint8; also of an alpha, (H, W).

    Convention: pixel (x, y) covers the square from (x, y) to (x + 1, y + 1); the window is as wide as the picture over
    `zoom`, and places between pixels are interpolated (Lanczos).
    """
    rows, columns = picture.shape[:2]
    across, down = columns / (view.zoom * width), rows / (view.zoom * height)
    left, top = view.x * (columns - across * width), view.y * (rows - down * height)
    places = np.array([[across, 0, left + across / 2 - 0.5], [0, down, top + down / 2 - 0.5]])
    how = cv2.INTER_LANCZOS4 | cv2.WARP_INVERSE_MAP
    return cv2.warpAffine(picture, places, (width, height), flags=how, borderMode=cv2.BORDER_REPLICATE)


def _film_size(width: int, height: int) -> tuple[int, int]:
    factor = min(1.0, LONGEST_SIDE / max(width, height))
    return tuple(max(2 * int(side * factor / 2 + 1e-6), 2) for side in (width, height))
