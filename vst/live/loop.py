"""The live picture: capture, painting and each sink in a thread of its own, with a slot for one frame between them."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from math import isnan

import numpy as np

from vst.cuts import CutDetector
from vst.errors import UserError
from vst.live.controller import ScaleController
from vst.live.controls import Controls
from vst.live.feed import Captured, Feed
from vst.live.meter import Pace
from vst.live.outlet import Outlet, Painted, started
from vst.live.sink import Sink
from vst.live.slot import LatestSlot
from vst.live.sources import Source
from vst.painting import Painter
from vst.painting.look import RANGES

HOLD_SECONDS = 0.25
LOG_SECONDS = 5.0
_ASSUMED_FPS = 30.0
_FPS_RANGE = (1.0, 240.0)  # beyond it the header of a stream is wrong
_POLL_SECONDS = 0.05
_CLOSING_SECONDS = 20.0
_SOURCE_SECONDS = 2.0

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class SinkReport:
    """`delivered` frames reached the sink at this `pace`; `skipped` were painted and did not."""

    name: str
    delivered: int
    skipped: int
    pace: Pace


@dataclass(frozen=True)
class LiveReport:
    """What a live picture did in `seconds`.

    Attributes:
        received: frames that the source gave.
        painted: those that were painted.
        dropped: those that were too old once the painter was free.
        thinned: those left out for `fps`.
        repeated: frames shown again while the source gave none.
        cuts: hard cuts, at which the memory was reset.
        reconnects: how often the source came back.
        scale: the resolution at the end over the full one, by the controller; `scale_changes` how often it changed.
        sinks: the counts of each.
    """

    seconds: float
    received: int
    painted: int
    dropped: int
    thinned: int
    repeated: int
    cuts: int
    reconnects: int
    scale: float
    scale_changes: int
    sinks: tuple[SinkReport, ...]


class LiveLoop:
    """Paints a source into sinks until it ends or `controls.stop` is set. It drops old frames: latency is bounded.

        LiveLoop(open_source("webcam"), painter, [open_sink("window")]).run()

    Where painting is slower than the frames come, the resolution within the network falls, to `min_scale` at the least,
    and rises again when it can. While the source is lost its last frame is repeated. The memory is reset at hard cuts
    and when a source comes back.

    Args:
        controls: what a person changes meanwhile; by default the look of `painter` stays.
        fps: the rate to hold and to paint at most; None for the source's.
        size: (width, height) of the picture; None for that of the first frame.
        min_scale: lowest resolution over the full one, in (0, 1]; 1 keeps it.
        numbers: which sinks show them: `window` for those that only the person here sees, `all`, `none`.
        timeout: seconds within which the first frame has to come.
        reconnect: seconds that a lost source is waited for.
    """

    def __init__(
        self,
        source: Source,
        painter: Painter,
        sinks: Sequence[Sink],
        controls: Controls | None = None,
        *,
        fps: float | None = None,
        size: tuple[int, int] | None = None,
        min_scale: float = 0.5,
        numbers: str = "window",
        timeout: float = 10.0,
        reconnect: float = 300.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        assert sum(sink.in_main_thread for sink in sinks) <= 1, "one main thread holds one window"
        self._source, self._painter, self._clock = source, painter, clock
        self._controls = controls or Controls(painter.styles, painter.look)
        self._fps, self._min_scale, self._timeout = fps, min_scale, timeout
        self._slot = LatestSlot[Captured]()
        self._stop = self._controls.stop
        self._feed = Feed(source, self._slot, self._stop, size=size, fps=fps, give_up=reconnect, clock=clock)
        self._outlets = [Outlet(s, _shows(s, numbers), self._stop.set, clock) for s in sinks]
        self._errors: list[BaseException] = []
        self._finished = threading.Event()
        self._is_cut = CutDetector()
        self._last: Painted | None = None
        self._take = self._painted = self._stale = self._repeated = self._cuts = 0
        self._shape = (0, 0, _ASSUMED_FPS)
        self._start_clocks()

    def run(self) -> LiveReport:
        """Run in the main thread; Ctrl-C stops it as `controls.stop` does. Every sink is closed whole.

        Raises:
            UserError: the source gives no picture, or stays lost; the painter or a sink failed.
        """
        threads = [started(self._feed.run)]
        try:
            first = self._first_frame()
            self._prepare(first)
            threads += self._start_outlets(first.image)
            self._start_clocks()
            self._feed.ready.set()
            threads.append(started(self._paint))
            self._wait()
        except KeyboardInterrupt:
            self._stop.set()
        finally:
            self._stop.set()
            self._close(threads)
        for error in (*self._errors, *(o.error for o in self._outlets), self._feed.error):
            if error is not None:
                raise error
        return self.report()

    def report(self) -> LiveReport:
        """The counts so far."""
        seconds = self._clock() - self._begun
        sinks = [SinkReport(o.sink.name, o.delivered, o.skipped, o.meter.total(seconds)) for o in self._outlets]
        feed, scaling = self._feed, self._scaling
        return LiveReport(
            seconds, feed.received, self._painted, feed.dropped + self._stale, feed.thinned, self._repeated,
            self._cuts, feed.reconnects, scaling.scale, scaling.changes, tuple(sinks),
        )  # fmt: skip

    def _first_frame(self) -> Captured:
        end = self._clock() + self._timeout
        while not self._slot.done and self._clock() < end and not self._stop.is_set():
            frame = self._slot.get(_POLL_SECONDS)
            if frame is not None:
                return frame
        if self._stop.is_set():
            raise KeyboardInterrupt
        if self._feed.error is not None:
            raise self._feed.error
        raise UserError(f"{self._source.name}: no picture within timeout={self._timeout:g} seconds; check the source")

    def _prepare(self, first: Captured) -> None:
        """Let every style paint once, so that changing it later does not wait for buffers and kernels."""
        look = self._controls.look
        for number, style in enumerate(self._painter.styles, start=1):
            _log.info("live      preparing %s (%d of %d)", style, number, len(self._painter.styles))
            self._painter.look = replace(look, style=style, strength=1.0, blend=None)
            self._painter(first.image)
        self._painter.look = look
        self._painter.reset()
        if self._source.finite:
            self._slot.put(replace(first, time=self._clock()))
        else:
            self._stale += 1

    def _start_outlets(self, image: np.ndarray) -> list[threading.Thread]:
        rate = self._fps or self._source.fps or _ASSUMED_FPS
        self._shape = (image.shape[1], image.shape[0], min(max(rate, _FPS_RANGE[0]), _FPS_RANGE[1]))
        return [started(o.run, *self._shape) for o in self._outlets if not o.sink.in_main_thread]

    def _start_clocks(self) -> None:
        self._scaling = ScaleController(1 / self._shape[2], self._min_scale, self._clock)
        self._begun = self._clock()
        self._next_line = self._begun + LOG_SECONDS

    def _wait(self) -> None:
        for outlet in self._outlets:
            if outlet.sink.in_main_thread:
                outlet.run(*self._shape)
        # Not by join: interrupted by Ctrl-C, Python 3.11 and 3.12 take a thread that still runs for one that has ended.
        while not self._finished.wait(_POLL_SECONDS):
            pass

    def _paint(self) -> None:
        try:
            while not self._stop.is_set() and not self._slot.done:
                frame = self._slot.get(HOLD_SECONDS)
                if frame is not None:
                    self._emit(self._painting(frame), frame.time)
                elif not self._slot.done:
                    self._repeat()
                self._say()
        except BaseException as error:
            self._errors.append(error)
        finally:
            for outlet in self._outlets:
                outlet.slot.close()
            self._finished.set()

    def _painting(self, frame: Captured) -> np.ndarray:
        cut = self._is_cut(frame.image)
        self._cuts += cut
        if cut or frame.take != self._take:
            self._painter.reset()
        self._take = frame.take
        self._take_look()
        start = self._clock()
        image = self._painter(frame.image)
        self._scaling.add(self._clock() - start)
        self._painted += 1
        return image

    def _take_look(self) -> None:
        look = self._controls.look
        wanted = replace(look, stroke=min(look.stroke / self._scaling.scale, RANGES["stroke"][1]))
        if wanted != self._painter.look:
            self._painter.look = wanted

    def _emit(self, image: np.ndarray, time: float, repeated: bool = False) -> None:
        lines = tuple(self._lines()) if self._controls.overlay else ()
        self._last = Painted(image, time, lines, repeated)
        for outlet in self._outlets:
            outlet.put(self._last)

    def _repeat(self) -> None:
        if self._last is not None:
            self._repeated += 1
            self._emit(self._last.image, self._clock(), repeated=True)

    def _lines(self) -> list[str]:
        lost, pace = self._feed.lost_since, self._pace()
        look = self._painter.look
        lines = [f"{pace.fps:.1f} FPS  p95 {_milliseconds(pace.p95)}  dropped {self._feed.dropped + self._stale}"]
        lines.append(f"{look.style or self._painter.styles[0]} {look.strength:.1f}  stroke {look.stroke:.2f}")
        if look.calm:
            lines[-1] += f"  calm {look.calm:.1f}"
        if lost is not None:
            lines.append(f"reconnecting ({self._clock() - lost:.0f} s)")
        return lines

    def _pace(self) -> Pace:
        meters = [outlet.meter for outlet in self._outlets]
        return meters[0].recent(self._clock()) if meters else Pace(0.0, float("nan"), float("nan"))

    def _say(self) -> None:
        now = self._clock()
        if now < self._next_line:
            return
        self._next_line = now + LOG_SECONDS
        pace, look = self._pace(), self._painter.look
        _log.info(
            "live      %.1f FPS, p50 %s, p95 %s, received %d, painted %d, dropped %d, repeated %d, stroke %.2f, %s",
            pace.fps, _milliseconds(pace.p50), _milliseconds(pace.p95), self._feed.received, self._painted,
            self._feed.dropped + self._stale, self._repeated, look.stroke, look.style or self._painter.styles[0],
        )  # fmt: skip

    def _close(self, threads: Sequence[threading.Thread]) -> None:
        """Wait for the sinks to finish; a source that hangs in its driver is left behind."""
        feed, *others = threads
        end = time.monotonic() + _CLOSING_SECONDS
        for outlet in self._outlets:
            outlet.slot.close()
        for thread in others:
            thread.join(max(0.0, end - time.monotonic()))
        feed.join(_SOURCE_SECONDS)
        stuck = [o.sink.name for o, t in zip(self._threaded(), others, strict=False) if t.is_alive()]
        if stuck:
            _log.warning("%s: not closed within %g s", ", ".join(stuck), _CLOSING_SECONDS)

    def _threaded(self) -> list[Outlet]:
        return [outlet for outlet in self._outlets if not outlet.sink.in_main_thread]


def _shows(sink: Sink, numbers: str) -> bool:
    return numbers == "all" or (numbers == "window" and sink.own_screen)


def _milliseconds(seconds: float) -> str:
    return "-" if isnan(seconds) else f"{seconds * 1000:.0f} ms"
