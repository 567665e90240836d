"""How a stored picture is turned and mirrored to be upright, for all eight ways that a display matrix can say."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction

import av
import numpy as np
from av.sidedata.sidedata import Type
from av.video.frame import VideoFrame

Matrix = tuple[int, ...]

_NAMED = max(kind.value for kind in Type)  # of the kinds of side data that PyAV has a name for
_NEWER = 16  # kinds beyond these that a newer FFmpeg may have


@dataclass(frozen=True)
class Orientation:
    """What makes a stored picture upright: rows become columns (`swaps`), then it is mirrored left to right (`across`)
    and top to bottom (`down`).
    """

    swaps: bool = False
    across: bool = False
    down: bool = False

    @classmethod
    def of(cls, matrix: Matrix | None) -> Orientation:
        """That of the nine integers of a display matrix, at the nearest right angle; UPRIGHT for None.

        A stored point (x, y) is shown at (a x + c y, b x + d y).
        """
        if matrix is None:
            return UPRIGHT
        a, b, _, c, d = matrix[:5]
        if abs(b) + abs(c) > abs(a) + abs(d):
            return cls(True, c < 0, b < 0)
        return cls(False, a < 0, d < 0)

    def upright(self, image: np.ndarray) -> np.ndarray:
        """(H, W, ...) as stored -> (H, W, ...) or (W, H, ...) as shown, contiguous."""
        return np.ascontiguousarray(self._mirrored(image.swapaxes(0, 1) if self.swaps else image))

    def stored(self, image: np.ndarray) -> np.ndarray:
        """The way back: as shown -> as stored, contiguous."""
        image = self._mirrored(image)
        return np.ascontiguousarray(image.swapaxes(0, 1) if self.swaps else image)

    def size(self, width: int, height: int) -> tuple[int, int]:
        """(width, height) as stored -> as shown, and back."""
        return (height, width) if self.swaps else (width, height)

    def aspect(self, ratio: Fraction) -> Fraction:
        """The width of a pixel over its height, as stored -> as shown, and back."""
        return 1 / ratio if self.swaps else ratio

    def _mirrored(self, image: np.ndarray) -> np.ndarray:
        return image[:: -1 if self.down else 1, :: -1 if self.across else 1]


UPRIGHT = Orientation()


def orientation_of(frame: VideoFrame) -> Orientation:
    """How a decoded frame becomes upright."""
    return Orientation.of(display_matrix(frame))


def display_matrix(frame: VideoFrame) -> Matrix | None:
    """The nine integers of a decoded frame's display matrix; None where it has none."""
    data = side_data(frame, Type.DISPLAYMATRIX)
    return None if data is None else tuple(np.frombuffer(data, np.int32).tolist())


def side_data(frame: VideoFrame, kind: Type) -> bytes | None:
    """What a decoded frame carries of this kind, as FFmpeg's structure; None where it has none."""
    try:
        found = frame.side_data.get(kind)
    except ValueError:  # PyAV stumbles over kinds that it has no name for, such as a photograph's EXIF
        found = _of_named_kinds(frame).side_data.get(kind)
    return None if found is None else bytes(found)


def _of_named_kinds(frame: VideoFrame) -> VideoFrame:
    """The frame without the side data that PyAV has no name for."""
    graph = av.filter.Graph()
    last = graph.add_buffer(
        width=frame.width, height=frame.height, format=frame.format.name, time_base=Fraction(1, 1000)
    )
    for number in range(_NAMED + 1, _NAMED + 1 + _NEWER):
        following = graph.add("sidedata", f"mode=delete:type={number}")
        last.link_to(following)
        last = following
    drain = graph.add("buffersink")
    last.link_to(drain)
    graph.configure()
    graph.push(frame)
    return graph.pull()
