"""Where a film is painted: a mask from a picture or a video, or a colour that is keyed."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np

from vst.errors import UserError
from vst.painting.color import LUMA
from vst.painting.look import Color
from vst.painting.stage import Paints, Stage
from vst.video.source import Source, open_source

_SAME_SHAPE = 0.02  # relative difference of two aspect ratios that is still taken for one
_LEAST_CHROMA = 12.0  # levels of 255
_CHROMA = np.array([[-0.168736, -0.331264, 0.5], [0.5, -0.418688, -0.081312]], np.float32)  # RGB to Cb, Cr (JPEG)


class Masked(Stage):
    """Paints inside of a mask and leaves the rest of the frame as it is.

    The whole frame is painted first, so that strokes run on across the edge of the mask.

    Args:
        mask: 1 is painted; called once for each frame, in order.
        invert: paint the outside.
        feather: pixels over which the edge is softened, to both sides.
    """

    def __init__(self, painter: Paints, mask: FileMask | ChromaKey, invert: bool = False, feather: float = 0) -> None:
        super().__init__(painter)
        self._mask, self._invert, self._feather = mask, invert, feather

    def output_size(self, width: int, height: int) -> tuple[int, int]:
        size = super().output_size(width, height)
        assert size == (width, height), "a mask lies directly on the painting"
        self._mask.check(width, height)
        return size

    def __call__(self, frame: np.ndarray, out: np.ndarray | None = None) -> np.ndarray:
        out = self._painter(frame, out)
        share = self._mask(frame)
        if self._feather > 0:
            share = cv2.GaussianBlur(share, (0, 0), self._feather / 2)
        inside, outside = (frame, out) if self._invert else (out, frame)
        np.copyto(out, blended(inside, outside, share))
        return out

    def read_state(self) -> list[np.ndarray]:
        return [np.array([self._mask.position]), *super().read_state()]

    def load_state(self, arrays: list[np.ndarray]) -> None:
        self._mask.seek(int(arrays[0][0]))
        super().load_state(arrays[1:])


class FileMask:
    """A mask from anything that frames come from: a picture, a video, a folder of pictures, a GIF. White is painted.

    The frames of a video belong to those of the film one by one; when it is over, its last one holds. They are scaled
    to the film's size.

    Raises:
        UserError: as `vst.video.source.open_source`; or the mask is not of the film's shape.
    """

    def __init__(self, path: str | Path) -> None:
        self._source: Source = open_source(path)
        self._name = path
        self.seek(0)

    def check(self, width: int, height: int) -> None:
        """Raise UserError if the mask would have to be distorted to fit a film of this size."""
        own = self._source.info.upright_size
        if abs(own[0] * height / (own[1] * width) - 1) > _SAME_SHAPE:
            raise UserError(
                f"mask {self._name} is {own[0]}x{own[1]} and the film {width}x{height}, which is another shape; "
                "crop or scale the mask"
            )

    @property
    def position(self) -> int:
        """Number of frames so far."""
        return self._position

    def seek(self, position: int) -> None:
        """Go on with the mask's frame of this number."""
        count = self._source.info.num_frames
        first = position if count is None else min(position, max(count - 1, 0))
        self._position, self._last, self._mask = position, None, None
        self._frames: Iterator | None = iter(self._source.read(first))

    def __call__(self, frame: np.ndarray) -> np.ndarray:
        self._position += 1
        following = None if self._frames is None else next(self._frames, None)
        if following is None:
            self._frames = None
        else:
            self._last, self._mask = following.image, None
        if self._last is None:  # it was over before the place that was sought
            self._last = self._final_image()
        if self._mask is None or self._mask.shape != frame.shape[:2]:
            self._mask = self._fitted(*frame.shape[:2])
        return self._mask

    def _final_image(self) -> np.ndarray:
        final = deque(self._source.read(), maxlen=1)
        if not final:
            raise UserError(f"mask {self._name}: no frame could be read")
        return final[0].image

    def _fitted(self, height: int, width: int) -> np.ndarray:
        turned = np.ascontiguousarray(np.rot90(self._last, round(self._source.info.rotation / 90)))
        grey = cv2.transform(turned, LUMA[None])
        shrinks = grey.shape[0] * grey.shape[1] > width * height
        how = cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR
        return cv2.resize(grey, (width, height), interpolation=how).astype(np.float32) / 255


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

    position = 0

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

    def seek(self, position: int) -> None:
        """It is the same at all times."""

    def __call__(self, frame: np.ndarray) -> np.ndarray:
        # Videos store one colour for four pixels: a small blur takes the steps off its edges.
        blue, red = cv2.split(cv2.transform(cv2.blur(frame, (3, 3)).astype(np.float32), _CHROMA))
        distance = cv2.magnitude(blue - self._key[0], red - self._key[1]) / self._size
        return np.clip((self._tolerance + self._softness - distance) / self._softness, 0, 1)


def blended(first: np.ndarray, second: np.ndarray, share: np.ndarray) -> np.ndarray:
    """`share` (H, W) float32 of `first` and the rest of `second`, (H, W, 3) uint8; exact where the share is 0 or 1."""
    return cv2.blendLinear(first, second, share, 1 - share)
