"""What surrounds a painter: a mask, a comparison, two eyes. Each is an engine of frames itself."""

from __future__ import annotations

from typing import Protocol

import numpy as np


class Paints(Protocol):
    """What a `Painter` and every stage around one are: a `vst.stream.FrameEngine` that knows time, size and state."""

    def reset(self) -> None: ...

    def at(self, seconds: float) -> None:
        """Say when in the film the next frame is shown."""

    def keep_black(self, border: np.ndarray | None) -> None:
        """Say how much of each pixel of the next frame is a black border, (H, W) uint8, which is not painted."""

    def output_size(self, width: int, height: int) -> tuple[int, int]:
        """(width, height) of what becomes of a frame of this size. Raises UserError for a size that cannot be."""
        ...

    @property
    def keeps_view(self) -> bool:
        """Whether the result shows the whole frame and nothing besides."""

    def alpha_of(self, alpha: np.ndarray) -> np.ndarray:
        """The alpha of what becomes of a frame with the alpha (H, W) uint8."""
        ...

    def __call__(self, frame: np.ndarray, out: np.ndarray | None = None) -> np.ndarray:
        """(H, W, 3) uint8 RGB -> the result of `output_size`, in `out` if given."""
        ...

    def read_state(self) -> list[np.ndarray]:
        """Copies of all that the next frame depends on besides itself and its time."""
        ...

    def load_state(self, arrays: list[np.ndarray]) -> None:
        """Go on from what `read_state` gave."""


class Stage:
    """Passes everything on to the painter within; a stage overrides what it changes."""

    def __init__(self, painter: Paints) -> None:
        self._painter = painter

    def reset(self) -> None:
        self._painter.reset()

    def at(self, seconds: float) -> None:
        self._painter.at(seconds)

    def keep_black(self, border: np.ndarray | None) -> None:
        self._painter.keep_black(border)

    def output_size(self, width: int, height: int) -> tuple[int, int]:
        return self._painter.output_size(width, height)

    @property
    def keeps_view(self) -> bool:
        return self._painter.keeps_view

    def alpha_of(self, alpha: np.ndarray) -> np.ndarray:
        return self._painter.alpha_of(alpha)

    def read_state(self) -> list[np.ndarray]:
        return self._painter.read_state()

    def load_state(self, arrays: list[np.ndarray]) -> None:
        self._painter.load_state(arrays)
