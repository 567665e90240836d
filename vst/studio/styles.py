"""The styles of a studio, and painters that hold all of them."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np

from vst.painting.look import Look
from vst.painting.painter import Painter
from vst.stream import FrameEngine


@dataclass(frozen=True)
class Style:
    """A style on offer: what the page calls it, how its engine is opened, by what its thumbnail is found again (None:
    it is made anew), and the short side of the frames that it has learned to paint, 0 for any.
    """

    title: str
    open: Callable[[], FrameEngine]
    key: str | None = None
    short_side: int = 0


class Painters:
    """Lends painters of all styles; one that came back is lent again.

    An engine carries the memory of one film, so that everybody who paints needs a painter of their own.
    """

    def __init__(self, styles: Mapping[str, Style]) -> None:
        assert styles, "a studio has at least one style"
        self._styles = dict(styles)
        self._idle: list[Painter] = []
        self._lock = threading.Lock()

    def take(self, look: Look) -> Painter:
        """A painter without memory, in `look`. Raises UserError for a look with a style that is not there."""
        look.checked(self._styles)
        with self._lock:
            painter = self._idle.pop() if self._idle else None
        painter = painter or Painter({name: _LateEngine(style) for name, style in self._styles.items()}, look)
        painter.reset()
        painter.look = look
        return painter

    def give(self, painter: Painter) -> None:
        with self._lock:
            self._idle.append(painter)

    @contextmanager
    def lent(self, look: Look) -> Iterator[Painter]:
        painter = self.take(look)
        try:
            yield painter
        finally:
            self.give(painter)


class _LateEngine:
    """An engine that is opened by its first frame: a guest rarely tries all styles."""

    def __init__(self, style: Style) -> None:
        self._open, self.short_side = style.open, style.short_side
        self._engine: FrameEngine | None = None

    def reset(self) -> None:
        if self._engine is not None:
            self._engine.reset()

    def __call__(self, frame: np.ndarray, out: np.ndarray) -> np.ndarray:
        if self._engine is None:
            self._engine = self._open()
            self._engine.reset()
        return self._engine(frame, out)
