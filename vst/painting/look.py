"""The controls of a painted picture, in one value that every tool shares."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from numbers import Real

from vst.errors import UserError, suggest

Color = tuple[int, int, int]

RANGES: dict[str, tuple[float, float]] = {
    "strength": (0, 1),
    "calm": (0, 1),
    "preserve_color": (0, 1),
    "palette_strength": (0, 1),
    "stroke": (0.25, 4),
}
"""What the numbers of a `Look` may be."""

LARGEST = 2.0
"""Size that a frame is painted at, at most, over its own: enlarged it shows no more, and strokes would become thinner
than the pixels that show them."""


@dataclass(frozen=True)
class Look:
    """How a frame is painted. `dataclasses.replace` makes another.

    Attributes:
        style: name of an engine; empty for the first one.
        strength: share of the painting in the result; 0 is the input, bit for bit.
        calm: 0 to 1, how much places that do not change are held from frame to frame: less texture moves.
        preserve_color: share of the input's chroma under the painting's luma.
        palette: RGB colours, 0 to 255, that the painting is pulled towards; a single one tints it.
        palette_strength: how far; 1 leaves no colour that is not a mixture of neighbours in the palette.
        stroke: breadth of the strokes over that which was learned: 2 is twice as broad, and faster; see `painted_size`.
        blend: another style and its share, 0 to 1, while one fades into the other.
    """

    style: str = ""
    strength: float = 1.0
    calm: float = 0.0
    preserve_color: float = 0.0
    palette: tuple[Color, ...] = ()
    palette_strength: float = 0.0
    stroke: float = 1.0
    blend: tuple[str, float] | None = None

    @property
    def plain(self) -> bool:
        """It shows the painting of one style as it is, whatever the breadth of its strokes."""
        pulled = bool(self.palette) and self.palette_strength > 0
        return self.strength == 1 and self.calm == self.preserve_color == 0 and not pulled and not self.blend

    def checked(self, styles: Iterable[str] = ()) -> Look:
        """This look, if its values are in range and its styles, where `styles` are given, among them.

        Raises:
            UserError: they are not.
        """
        for name, (low, high) in RANGES.items():
            _check_number(name, getattr(self, name), low, high)
        check_palette(self.palette)
        if self.blend is not None:
            _check_number("blend", self.blend[1], 0, 1)
        known = list(styles)
        for name in (self.style, self.blend[0] if self.blend else ""):
            if known and name and name not in known:
                raise UserError(f"style={name}: no such style{suggest(name, known)}; styles: {', '.join(known)}")
        return self


def painted_size(size: tuple[int, int], stroke: float = 1.0, short_side: int = 0) -> tuple[float, float]:
    """(width, height) that frames of `size` are painted at, not rounded.

    A network's strokes are so many pixels broad. They are the same share of every picture, `stroke` times that which
    it has learned, where the short side is `short_side` / `stroke`; 0 is for frames of any size, and takes their own.
    At most it is `LARGEST` times the frame.
    """
    width, height = size
    share = min(_enlargement(size, short_side) / stroke, LARGEST)
    return width * share, height * share


def finest_stroke(size: tuple[int, int], short_side: int = 0) -> float:
    """The `stroke` below which nothing changes for frames of `size`, since they are not enlarged further."""
    return _enlargement(size, short_side) / LARGEST


def _enlargement(size: tuple[int, int], short_side: int) -> float:
    return short_side / min(size) if short_side else 1.0


def check_palette(palette: Iterable[object], name: str = "palette") -> None:
    """Raise UserError, beginning with `name`, for a palette that is not of RGB colours."""
    for color in palette:
        numbers = list(color) if isinstance(color, list | tuple) else []
        if len(numbers) != 3 or not all(type(n) is int and 0 <= n <= 255 for n in numbers):
            raise UserError(f"{name}: {color} is no colour; give red, green and blue from 0 to 255, as [230,80,20]")


def _check_number(name: str, value: object, low: float, high: float) -> None:
    if not isinstance(value, Real) or isinstance(value, bool) or not low <= value <= high:
        raise UserError(f"{name}={value}: give a number from {low} to {high}")
