"""Where a film is painted: a mask from a picture or a video, or a colour that is keyed."""

from __future__ import annotations

import math
from fractions import Fraction
from math import ceil
from pathlib import Path

import cv2
import numpy as np

from vst.errors import UserError
from vst.painting.color import LUMA
from vst.painting.layouts import Layout, both_eyes, halves
from vst.painting.look import Color
from vst.painting.stage import Paints, Stage
from vst.video.pixels import BLACK
from vst.video.reader import Frame
from vst.video.source import Source, are_pictures, find_inputs, open_source

_SAME_SHAPE = 0.02  # relative difference of two aspect ratios that is still taken for one
_SLACK = 0.002  # seconds: containers round times to as much
_LEAST_CHROMA = 12.0  # levels of 255
_CHROMA = np.array([[-0.168736, -0.331264, 0.5], [0.5, -0.418688, -0.081312]], np.float32)  # RGB to Cb, Cr (JPEG)


class Masked(Stage):
    """Paints inside of a mask and leaves the rest of the frame as it is.

    The whole frame is painted first, so that strokes run on across the edge of the mask.

    Args:
        mask: 1 is painted.
        invert: paint the outside.
        feather: pixels over which the edge is softened, to both sides.
        wrap: left and right border are neighbours.
    """

    def __init__(
        self,
        painter: Paints,
        mask: FileMask | ChromaKey,
        invert: bool = False,
        feather: float = 0,
        wrap: bool = False,
    ) -> None:
        super().__init__(painter)
        self._mask, self._invert, self._feather = mask, invert, feather
        self._border = cv2.BORDER_WRAP if wrap else cv2.BORDER_REFLECT_101

    def at(self, seconds: float) -> None:
        self._mask.at(seconds)
        super().at(seconds)

    def output_size(self, width: int, height: int) -> tuple[int, int]:
        size = super().output_size(width, height)
        assert size == (width, height), "a mask lies directly on the painting"
        self._mask.check(width, height)
        return size

    def __call__(self, frame: np.ndarray, out: np.ndarray | None = None) -> np.ndarray:
        out = self._painter(frame, out)
        share = self._mask(frame)
        if self._feather > 0:
            share = self._softened(share)
        inside, outside = (frame, out) if self._invert else (out, frame)
        np.copyto(out, blended(inside, outside, share))
        return out

    def read_state(self) -> list[np.ndarray]:
        return [self._mask.read_state(), *super().read_state()]

    def load_state(self, arrays: list[np.ndarray]) -> None:
        self._mask.load_state(arrays[0])
        super().load_state(arrays[1:])

    def _softened(self, share: np.ndarray) -> np.ndarray:
        margin = min(ceil(2 * self._feather), share.shape[1])
        padded = cv2.copyMakeBorder(share, 0, 0, margin, margin, self._border)
        return cv2.GaussianBlur(padded, (0, 0), self._feather / 2)[:, margin:-margin]


class FileMask:
    """A mask from anything that frames come from: a picture, a video, a folder of pictures, a GIF. White is painted,
    what is black or transparent is not.

    Its frames are shown at their times, counted from its first one as the film's are from its own; when it is over, its
    last one holds. They are scaled to the film's size.

    Args:
        begin: seconds of its clock at which the film begins that is painted: more than 0 for one that is cut.
        fps: of a folder of pictures; None for 25.
        eye: which of the two halves of its frames is meant, as `halves` numbers them, and how they lie.

    Raises:
        UserError: as `vst.video.source.open_source`; or the mask is not of the film's shape.
    """

    def __init__(
        self,
        path: str | Path,
        begin: float | Fraction = 0,
        fps: float | Fraction | None = None,
        eye: tuple[int, Layout] | None = None,
    ) -> None:
        rate = fps if are_pictures(find_inputs(path)) else None
        self._source: Source = open_source(path, fps=rate, background=BLACK)
        self._name, self._begin, self._eye = path, float(begin), eye
        self._origin = math.nan  # of the film's times; they need not begin at 0
        self._seconds = 0.0
        self._rewind(0)

    def check(self, width: int, height: int) -> None:
        """Raise UserError if the mask would have to be distorted to fit a film of this size."""
        across, down = self._source.info.upright_size
        wide, high = both_eyes(width, height, self._eye[1]) if self._eye else (width, height)
        if abs(across * high / (down * wide) - 1) > _SAME_SHAPE:
            raise UserError(
                f"mask {self._name} is {across}x{down} and the film {wide}x{high}, which is another shape; "
                "crop or scale the mask"
            )

    def at(self, seconds: float) -> None:
        """Say when in the film the next frame is shown; the first time is that of its first frame."""
        self._origin = seconds if math.isnan(self._origin) else self._origin
        self._seconds = seconds

    def read_state(self) -> np.ndarray:
        """The time of the film's first frame in seconds, and the number of the mask's frame."""
        return np.array([self._origin, self._number])

    def load_state(self, state: np.ndarray) -> None:
        self._origin = float(state[0])
        self._rewind(max(0, int(state[1])))

    def __call__(self, frame: np.ndarray) -> np.ndarray:
        """The share (H, W) float32 of the painting in `frame`."""
        since = 0.0 if math.isnan(self._origin) else self._seconds - self._origin
        time = self._begin + since + _SLACK
        if self._shown is not None and self._time_of(self._shown) > time:
            self._rewind(0)
        while self._shown is None or (self._following is not None and self._time_of(self._following) <= time):
            self._advance()
        if self._mask is None or self._mask.shape != frame.shape[:2]:
            self._mask = self._fitted(self._shown.image, *frame.shape[:2])
        return self._mask

    def _rewind(self, number: int) -> None:
        self._frames, self._number = self._source.read(number), number - 1
        self._shown: Frame | None = None
        self._following: Frame | None = None

    def _advance(self) -> None:
        if self._shown is None:
            self._following = next(self._frames, None)
            if self._following is None:
                raise UserError(f"mask {self._name}: no frame could be read")
        self._shown, self._mask = self._following, None
        self._following = next(self._frames, None)
        self._number += 1

    def _time_of(self, frame: Frame) -> Fraction:
        return (frame.pts - self._source.info.first) * frame.time_base

    def _fitted(self, image: np.ndarray, height: int, width: int) -> np.ndarray:
        turned = self._source.info.orientation.upright(image)
        if self._eye is not None:
            number, layout = self._eye
            turned = np.ascontiguousarray(halves(turned, layout)[number])
        grey = cv2.transform(turned, LUMA[None])
        shrinks = grey.shape[0] * grey.shape[1] > width * height
        how = cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR
        return cv2.resize(grey, (width, height), interpolation=how).astype(np.float32) / 255


def begin_of(source: Source, start: Fraction | None) -> Fraction:
    """Seconds from the first frame of a whole film to the first one of `source`, which is cut at `start`."""
    if start is None:
        return Fraction(0)
    if not source.tracks:  # pictures
        return round(start * source.info.fps) / source.info.fps
    asked = source.tracks[0].shift
    next(iter(source), None)
    return start + asked - source.tracks[0].shift  # which is exact when its first frame is known


class ChromaKey:
    """The mask of all that has a colour, whatever its brightness: of a green screen the screen itself.

    Distances are in the plane of Cb and Cr, over that of the colour to grey, which is 1.

    Args:
        color: RGB.
        tolerance: distance up to which a pixel belongs to it.
        softness: further distance over which it belongs to it less and less.

    Raises:
        UserError: the colour is too near to grey to be told from it.
    """

    def __init__(self, color: Color, tolerance: float = 0.4, softness: float = 0.3) -> None:
        self._key = _CHROMA @ np.array(color, np.float32)
        self._size = float(np.hypot(*self._key))
        if self._size < _LEAST_CHROMA:
            raise UserError(
                f"mask.color: {list(color)} is nearly grey, and only a colour can be keyed; give the screen's"
            )
        self._tolerance, self._softness = tolerance, max(softness, 1e-3)

    def check(self, width: int, height: int) -> None:
        """It fits every film."""

    def at(self, seconds: float) -> None:
        """It is the same at all times."""

    def read_state(self) -> np.ndarray:
        """It has none."""
        return np.empty(0)

    def load_state(self, state: np.ndarray) -> None:
        """It has none."""

    def __call__(self, frame: np.ndarray) -> np.ndarray:
        # Videos store one colour for four pixels: a small blur takes the steps off its edges.
        blue, red = cv2.split(cv2.transform(cv2.blur(frame, (3, 3)).astype(np.float32), _CHROMA))
        distance = cv2.magnitude(blue - self._key[0], red - self._key[1]) / self._size
        return np.clip((self._tolerance + self._softness - distance) / self._softness, 0, 1)


def blended(first: np.ndarray, second: np.ndarray, share: np.ndarray) -> np.ndarray:
    """`share` (H, W) float32 of `first` and the rest of `second`, (H, W, 3) uint8; exact where the share is 0 or 1."""
    return cv2.blendLinear(first, second, share, 1 - share)
