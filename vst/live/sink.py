"""The face of all sinks."""

from __future__ import annotations

from abc import ABC, abstractmethod

import numpy as np

from vst.errors import UserError


class SinkLost(UserError):
    """The connection of a sink broke; it may be opened again."""


class Sink(ABC):
    """Takes frames, in one thread: `open`, then `write` for each frame, `close` at the end.

    Attributes:
        name: as the user gave it.
        in_main_thread: it has to be used in the main thread, as windows have.
        own_screen: only the person at this computer sees it, so it may show numbers.
    """

    name: str
    in_main_thread = False
    own_screen = False

    @abstractmethod
    def open(self, width: int, height: int, fps: float) -> None:
        """Get ready for frames of this size, at about this rate. Raises UserError if it cannot."""

    @abstractmethod
    def write(self, image: np.ndarray, seconds: float) -> None:
        """Take a frame (H, W, 3) uint8 RGB, which it must not change, captured at `seconds`, which grow.

        Raises:
            SinkLost: the connection broke.
            UserError: it cannot take any more.
        """

    def poll(self) -> None:  # noqa: B027
        """Called at least ten times a second."""

    @abstractmethod
    def close(self) -> None:
        """Finish what was written, so that it is whole. May be called before `open` and after `SinkLost`."""


class Stamps:
    """Capture times in seconds -> milliseconds from the first one, strictly rising."""

    def __init__(self) -> None:
        self._first: float | None = None
        self._last = -1

    def __call__(self, seconds: float) -> int:
        self._first = seconds if self._first is None else self._first
        self._last = max(self._last + 1, round((seconds - self._first) * 1000))
        return self._last
