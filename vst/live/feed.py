"""The capture thread: the newest frame of a source in a slot, and the way back to a source that was lost."""

from __future__ import annotations

import contextlib
import logging
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import cv2
import numpy as np

from vst.errors import UserError
from vst.live.slot import LatestSlot
from vst.live.sources import Source

FIRST_DELAY = 0.5
LONGEST_DELAY = 10.0
_POLL_SECONDS = 0.1

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Captured:
    """A frame `image` (H, W, 3) uint8 RGB, upright, that arrived at `time` (monotonic seconds).

    `take` is the number of the connection that it came by; the first frame of another one begins a new scene.
    """

    image: np.ndarray
    time: float
    take: int


class Feed:
    """Reads `source` into `slot` until it ends, `stop` is set, or it stays lost for `give_up` seconds.

    A source that fails before its first frame is a mistake, told by `error`. One that fails later is opened again after
    0.5, 1, 2, 4, 8, 10, 10, ... seconds.

    Args:
        size: (width, height) of all frames, None for that of the first one. Others are fitted in, with black bars.
        fps: most frames a second that are passed on; None for all.
        give_up: seconds.

    Attributes:
        received, dropped, thinned: frames of the source, those among them that a newer one replaced in the slot, and
            those left out for `fps`.
        reconnects: how often the source came back.
        lost_since: when it was lost, None while it is there.
        error: why the feed ended, None for a source at its end.
        ready: to be set when frames are wanted; a source that can wait does so after its first one.
    """

    def __init__(
        self,
        source: Source,
        slot: LatestSlot[Captured],
        stop: threading.Event,
        *,
        size: tuple[int, int] | None = None,
        fps: float | None = None,
        give_up: float = 300.0,
        clock: Callable[[], float] = time.monotonic,
        wait: Callable[[float], object] | None = None,
    ) -> None:
        self.received = self.dropped = self.thinned = self.reconnects = 0
        self.lost_since: float | None = None
        self.error: BaseException | None = None
        self.ready = threading.Event()
        self._source, self._slot, self._stop = source, slot, stop
        self._size, self._interval, self._give_up = size, 1 / fps if fps else 0.0, give_up
        self._clock, self._wait = clock, wait or stop.wait
        self._due = float("-inf")
        self._take = 0

    def run(self) -> None:
        """Read all there is; closes the slot at the end."""
        try:
            self._read()
        except BaseException as error:
            self.error = error
        finally:
            self._slot.close()

    def _read(self) -> None:
        delays = _delays()
        while not self._stop.is_set():
            before = self.received
            why = self._read_take()
            if why is None:
                return
            if self.received > before:
                delays = _delays()
            if self.lost_since is None:
                self.lost_since = self._clock()
                _log.warning("lost      %s; trying again for %g s", why, self._give_up)
            delay = next(delays)
            if self._clock() + delay - self.lost_since > self._give_up:
                raise UserError(f"{why}; it did not come back within reconnect={self._give_up:g} seconds")
            self._wait(delay)
            self._take += 1

    def _read_take(self) -> str | None:
        """Read what one connection gives. Why it ended, None if that is the end of all."""
        try:
            with contextlib.closing(self._source.frames(self._stop)) as frames:
                for image in frames:
                    self._receive(image)
                    if self._stop.is_set():
                        return None
        except UserError as error:
            if not self.received:
                raise
            return str(error)
        if self._source.finite or self._stop.is_set():
            return None
        if not self.received:
            raise UserError(f"{self._source.name}: it ended without a picture; check what it sends")
        return f"{self._source.name}: the stream ended"

    def _receive(self, image: np.ndarray) -> None:
        now = self._clock()
        self.received += 1
        if self.lost_since is not None:
            _log.info("back      %s after %.1f s", self._source.name, now - self.lost_since)
            self.lost_since = None
            self.reconnects += 1
        if self._is_early(now):
            self.thinned += 1
            return
        if self._size is None:
            self._size = (image.shape[1], image.shape[0])
        self.dropped += self._slot.put(Captured(fitted(image, self._size), now, self._take))
        while self._source.finite and not self._stop.is_set() and not self.ready.wait(_POLL_SECONDS):
            pass

    def _is_early(self, now: float) -> bool:
        # A quarter of the interval is left to the jitter of frames that come just at the wanted rate.
        if now < self._due - self._interval / 4:
            return True
        self._due = max(self._due, now - self._interval / 2) + self._interval
        return False


def fitted(image: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """`image` (H, W, 3) uint8 scaled to fit into (width, height), in the middle, on black."""
    width, height = size
    rows, columns = image.shape[:2]
    if (columns, rows) == (width, height):
        return image
    scale = min(width / columns, height / rows)
    inner = (max(1, round(columns * scale)), max(1, round(rows * scale)))
    scaled = cv2.resize(image, inner, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR)
    result = np.zeros((height, width, 3), np.uint8)
    top, left = (height - inner[1]) // 2, (width - inner[0]) // 2
    result[top : top + inner[1], left : left + inner[0]] = scaled
    return result


def _delays() -> Iterator[float]:
    delay = FIRST_DELAY
    while True:
        yield delay
        delay = min(2 * delay, LONGEST_DELAY)
