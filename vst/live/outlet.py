"""The thread of a sink, with a slot before it, so that no sink holds up the painting or another sink."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from vst.errors import UserError
from vst.live.meter import PaceMeter
from vst.live.overlay import with_lines
from vst.live.sink import Sink, SinkLost
from vst.live.slot import LatestSlot

_POLL_SECONDS = 0.02
_FIRST_DELAY, _LONGEST_DELAY = 0.5, 10.0

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Painted:
    """A frame `image` (H, W, 3) uint8 RGB, captured at `time`; `repeated` when shown before; `lines` of numbers."""

    image: np.ndarray
    time: float
    lines: tuple[str, ...]
    repeated: bool


class Outlet:
    """Delivers what is put into `slot` to `sink`, until the slot is closed; the newest wins.

    A connection that breaks is made again after 0.5, 1, 2, ..., 10 seconds, for as long as the picture runs. The first
    one has to succeed.

    Attributes:
        delivered, skipped: frames that the sink took, and those that were replaced or met no connection.
        meter: rate, and latency from capture to the return of the sink, of frames that are no repetition.
        error: why it ended before its slot was closed.
    """

    def __init__(
        self, sink: Sink, numbers: bool, failed: Callable[[], None], clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.sink, self.slot, self.meter = sink, LatestSlot[Painted](), PaceMeter()
        self.delivered = self.skipped = 0
        self.error: BaseException | None = None
        self._numbers, self._failed, self._clock = numbers, failed, clock
        self._retry_at: float | None = None
        self._delay = _FIRST_DELAY

    def put(self, painted: Painted) -> None:
        """Hand over a frame; never waits."""
        self.skipped += self.slot.put(painted)

    def run(self, width: int, height: int, fps: float) -> None:
        """Open the sink, deliver, and close it whole."""
        shape = (width, height, fps)
        try:
            try:
                self.sink.open(*shape)
                while not self.slot.done:
                    painted = self.slot.get(_POLL_SECONDS)
                    self.sink.poll()
                    if painted is not None:
                        self._deliver(painted, shape)
            finally:
                self.sink.close()
        except SinkLost as error:
            if not self.delivered:
                self.error = error
            else:  # it broke while it was closed
                _log.warning("lost      %s", error)
        except Exception as error:
            self.error = error
        finally:
            if self.error is not None:
                self._failed()

    def _deliver(self, painted: Painted, shape: tuple[int, int, float]) -> None:
        if self._retry_at is not None and not self._reopened(shape):
            self.skipped += 1
            return
        image = with_lines(painted.image, painted.lines) if self._numbers and painted.lines else painted.image
        try:
            self.sink.write(image, painted.time)
        except SinkLost as error:
            _log.warning("lost      %s; trying again", error)
            self.skipped += 1
            self._retry_at, self._delay = self._clock() + _FIRST_DELAY, _FIRST_DELAY
            return
        self.delivered += 1
        if not painted.repeated:
            now = self._clock()
            self.meter.add(now, now - painted.time)

    def _reopened(self, shape: tuple[int, int, float]) -> bool:
        if self._clock() < self._retry_at:
            return False
        try:
            self.sink.open(*shape)
        except UserError:
            self._delay = min(2 * self._delay, _LONGEST_DELAY)
            self._retry_at = self._clock() + self._delay
            return False
        _log.info("back      %s", self.sink.name)
        self._retry_at = None
        return True


def started(target: Callable[..., None], *arguments: object) -> threading.Thread:
    """A running daemon thread: one that hangs in a driver must not keep the program alive."""
    thread = threading.Thread(target=target, args=arguments, daemon=True)
    thread.start()
    return thread
