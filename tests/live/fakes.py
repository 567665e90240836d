"""Sources, engines and sinks without hardware."""

import threading
import time
from collections.abc import Callable, Iterator, Sequence

import numpy as np

from vst.errors import UserError
from vst.live.loop import LiveLoop, LiveReport
from vst.live.sinks import CallbackSink
from vst.live.sources import Source
from vst.painting import Look, Painter


class FakeSource(Source):
    """Plays each of `takes`, a list of frames: one after the other at `fps`, then it dies; `again` says what opens.

    A take that is a string is what opening it fails with.
    """

    name = "fake"

    def __init__(self, *takes: Sequence[np.ndarray] | str, fps: float = 50.0, finite: bool = True) -> None:
        self.takes, self.fps, self.finite = list(takes), fps, finite
        self.opened = 0

    def frames(self, stop: threading.Event) -> Iterator[np.ndarray]:
        take = self.takes[min(self.opened, len(self.takes) - 1)]
        self.opened += 1
        if isinstance(take, str):
            raise UserError(take)
        start = None
        for number, image in enumerate(take):
            start = time.monotonic() - number / self.fps if start is None else start
            stop.wait(max(0.0, start + number / self.fps - time.monotonic()))
            if stop.is_set():
                return
            yield image
            start = time.monotonic() if number == 0 else start


class PatientSource(FakeSource):
    """Gives each frame when the one before has arrived at a sink, however long that takes: nothing is to be dropped."""

    def __init__(self, take: Sequence[np.ndarray], sink: "Collector") -> None:
        super().__init__(take, fps=1000.0)
        self.sink = sink

    def frames(self, stop: threading.Event) -> Iterator[np.ndarray]:
        for number, image in enumerate(super().frames(stop)):
            while len(self.sink.images) < number and not stop.wait(0.001):
                pass
            yield image


class FakeEngine:
    """Takes `seconds` per frame, or `per_pixel` seconds per pixel, and mixes `level` into what it sees.

    `seen` are the frames since the last reset, and `resets` how often there was one.
    """

    def __init__(self, level: int = 0, seconds: float = 0.0, per_pixel: float = 0.0) -> None:
        self.level, self.seconds, self.per_pixel = level, seconds, per_pixel
        self.resets = self.seen = self.calls = 0
        self.sizes: list[tuple[int, int]] = []

    def reset(self) -> None:
        self.resets += 1
        self.seen = 0

    def __call__(self, frame: np.ndarray, out: np.ndarray) -> np.ndarray:
        self.seen += 1
        self.calls += 1
        self.sizes.append(frame.shape[:2])
        time.sleep(self.seconds + self.per_pixel * frame.shape[0] * frame.shape[1])
        np.copyto(out, frame // 2 + self.level if self.level else frame)
        return out


class Collector(CallbackSink):
    """Keeps what it is given: `images`, and how old each was on arrival."""

    def __init__(self, then: Callable[[int], None] = lambda count: None, seconds: float = 0.0) -> None:
        super().__init__(self._collect, "collector")
        self.images: list[np.ndarray] = []
        self.ages: list[float] = []
        self.times: list[float] = []
        self.closed = False
        self._then, self._seconds = then, seconds

    def _collect(self, image: np.ndarray, seconds: float) -> None:
        time.sleep(self._seconds)
        self.images.append(image)
        self.times.append(seconds)
        self.ages.append(time.monotonic() - seconds)
        self._then(len(self.images))

    def close(self) -> None:
        self.closed = True


def grey_frames(n: int, width: int = 64, height: int = 48) -> list[np.ndarray]:
    """Frames whose pixels are all of their number."""
    return [np.full((height, width, 3), number % 256, np.uint8) for number in range(n)]


def paint(source: Source, sinks: list, engine: FakeEngine | None = None, **options) -> LiveReport:
    """Run a loop with one style, `fake`."""
    return LiveLoop(source, Painter({"fake": engine or FakeEngine()}, Look()), sinks, **options).run()
