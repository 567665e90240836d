"""Holds the frame rate by the resolution that the network works at."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable
from statistics import median

STEP = 2 ** (-1 / 4)  # from level to level in scale: about 30 % fewer pixels
_WINDOW = 12
_LEAST_FRAMES = 4
_LEAST_SECONDS = 0.5
_SETTLING_FRAMES = 2  # the first ones at a new size get their buffers
_FULL = 0.95  # of the frame interval: above it the rate is lost
_AIM = 0.8  # of the frame interval, for the time expected after a change
_FIRST_PATIENCE = 2.0
_LONGEST_PATIENCE = 60.0


class ScaleController:
    """Chooses `scale` in [min_scale, 1] so that painting takes less than `interval` seconds.

    The time is taken to grow with the pixels, so with the square of the scale. It goes down as far as needed once the
    median of the last times exceeds 95 % of the interval; it goes up one level when 80 % are expected to do there, and
    that for some seconds. Between the two it stays. Each rise that has to be taken back doubles these seconds, up to a
    minute, so that a model of time that is wrong for an engine does not make it swing.

    Attributes:
        scale: to paint the next frame with.
        changes: how often it changed.
    """

    def __init__(self, interval: float, min_scale: float, clock: Callable[[], float] = time.monotonic) -> None:
        self.scale = 1.0
        self.changes = 0
        self._interval, self._clock = interval, clock
        self._levels = _levels(min_scale)
        self._times: deque[float] = deque(maxlen=_WINDOW)
        self._settling = _SETTLING_FRAMES
        self._patience = _FIRST_PATIENCE
        self._changed = self._begun = clock()
        self._rose = False

    def add(self, seconds: float) -> None:
        """Tell how long the last frame took at the present scale."""
        now = self._clock()
        if self._settling:
            self._settling -= 1
            self._begun = now
            return
        self._times.append(seconds)
        if len(self._times) < _LEAST_FRAMES or now - self._begun < _LEAST_SECONDS:
            return
        typical = median(self._times)
        if typical > _FULL * self._interval:
            self._fall(typical, now)
        elif now - self._changed > self._patience:
            self._rise(typical, now)

    def _fall(self, typical: float, now: float) -> None:
        if self._rose:
            self._patience = min(2 * self._patience, _LONGEST_PATIENCE)
        self._rose = False
        lower = [level for level in self._levels if level < self.scale]
        fitting = [level for level in lower if self._expected(typical, level) <= _AIM * self._interval]
        if lower:
            self._change(max(fitting, default=lower[-1]), now)

    def _rise(self, typical: float, now: float) -> None:
        higher = [level for level in self._levels if level > self.scale]
        if higher and self._expected(typical, higher[-1]) <= _AIM * self._interval:
            self._rose = True
            self._change(higher[-1], now)
        elif self._rose and now - self._changed > _LONGEST_PATIENCE:
            self._rose, self._patience = False, _FIRST_PATIENCE  # the last rise has held

    def _expected(self, typical: float, level: float) -> float:
        return typical * (level / self.scale) ** 2

    def _change(self, scale: float, now: float) -> None:
        self.scale, self._changed = scale, now
        self.changes += 1
        self._times.clear()
        self._settling = _SETTLING_FRAMES


def _levels(min_scale: float) -> list[float]:
    """From 1 down to `min_scale`."""
    levels = [1.0]
    while levels[-1] * STEP > min_scale * 1.01:
        levels.append(levels[-1] * STEP)
    return levels if min_scale >= 1 else [*levels, min_scale]
