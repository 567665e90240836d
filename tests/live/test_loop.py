"""The loop as a whole, with fake sources and engines: bounded latency, counts, reconnecting, controls, stopping."""

import signal
import threading
import time

import numpy as np
import pytest

from tests.live.fakes import Collector, FakeEngine, FakeSource, PatientSource, grey_frames, paint
from tests.media import pattern_frames
from vst.errors import UserError
from vst.live.controls import Controls
from vst.live.loop import LiveLoop
from vst.live.sink import Sink, SinkLost
from vst.painting import Look, Painter


def counts_add_up(report) -> None:
    assert report.received == report.painted + report.dropped + report.thinned
    for sink in report.sinks:
        assert sink.delivered + sink.skipped == report.painted + report.repeated


def test_a_fast_engine_paints_every_frame_in_order() -> None:
    sink = Collector()
    report = paint(PatientSource(grey_frames(40), sink), [sink])
    assert report.painted == 40 and report.dropped == 0
    assert [int(image[0, 0, 0]) for image in sink.images] == list(range(40)) and sink.closed
    counts_add_up(report)


def test_a_slow_engine_drops_frames_and_the_latency_stays_bounded() -> None:
    """Four times too slow: with a queue, the last frame would be three seconds old."""
    engine, sink = FakeEngine(seconds=0.08), Collector()
    report = paint(FakeSource(grey_frames(200), fps=50), [sink], engine, min_scale=1)
    assert 30 <= report.painted <= 55 and report.dropped == 200 - report.painted
    assert max(sink.ages) < 0.5 and report.sinks[0].pace.p95 < 0.25
    late, early = np.mean(sink.ages[-10:]), np.mean(sink.ages[:10])
    assert late < early + 0.1  # it does not grow
    counts_add_up(report)


def test_a_slow_sink_holds_up_neither_the_painter_nor_another_sink() -> None:
    slow, fast = Collector(seconds=0.1), Collector()
    report = paint(FakeSource(grey_frames(60), fps=60), [slow, fast])
    assert report.painted > 25  # of 60: a busy machine loses some
    held, free = report.sinks
    assert len(slow.images) < 15 < len(fast.images) and free.skipped < held.skipped / 4
    assert int(slow.images[-1][0, 0, 0]) == int(fast.images[-1][0, 0, 0]) == 59  # the last one reaches both
    counts_add_up(report)


def test_the_resolution_adapts_until_the_rate_is_held() -> None:
    """64x48 take 60 ms of the 33 ms that there are, half of the pixels 30 ms."""
    engine, sink = FakeEngine(per_pixel=0.06 / (64 * 48)), Collector()
    report = paint(FakeSource(grey_frames(120), fps=30), [sink], engine, min_scale=0.4)
    assert 0.4 <= report.scale < 0.8 and 1 <= report.scale_changes <= 3
    assert all(image.shape == (48, 64, 3) for image in sink.images)
    assert min(engine.sizes)[0] < 40
    before, after = np.diff(sink.times[2:10]).mean(), np.diff(sink.times[-20:]).mean()
    assert before > 0.045 and after < 0.045


def test_a_source_that_dies_comes_back_in_the_same_picture() -> None:
    engine, sink = FakeEngine(), Collector()
    first, second = grey_frames(20), [np.full((96, 96, 3), 200, np.uint8)] * 20  # and of another size
    source = FakeSource(first, second, first, fps=50, finite=False)
    controls = Controls(["fake"], Look())
    stopper = Collector(
        lambda count: controls.stop.set() if sink.images and int(sink.images[-1].max()) == 200 else None
    )
    loop = LiveLoop(source, Painter({"fake": engine}), [sink, stopper], controls, numbers="none")
    report = loop.run()
    assert report.reconnects >= 1 and report.repeated >= 1
    held = [image for image in sink.images if int(image[24, 32, 0]) == 19]
    assert len(held) >= 2 and all(np.array_equal(image, held[0]) for image in held)  # the last frame is held
    last = sink.images[-1]
    assert last.shape == (48, 64, 3) and last[24, 32, 0] == 200 and last[24, 0, 0] == 0  # fitted in
    assert engine.resets >= 2 and engine.seen < engine.calls  # it began anew with the connection
    counts_in_flight(report)


def counts_in_flight(report) -> None:
    """As `counts_add_up`, of a loop that was stopped: one frame may be on its way."""
    assert 0 <= report.received - report.painted - report.dropped - report.thinned <= 1


def test_reconnecting_shows_on_the_picture() -> None:
    controls, lines = Controls(["fake"], Look()), []
    source = FakeSource(grey_frames(5), "gone", fps=50, finite=False)
    loop = LiveLoop(source, Painter({"fake": FakeEngine()}), [Collector()], controls, reconnect=1.2)
    emit = loop._emit
    loop._emit = lambda *args, **more: (emit(*args, **more), lines.append(loop._last.lines))
    with pytest.raises(UserError, match=r"gone; it did not come back within reconnect=1.2"):
        loop.run()
    assert not any("reconnecting" in line for line in lines[0])
    assert lines[-1][-1].startswith("reconnecting (")


def test_numbers_go_to_the_window_only_unless_all_are_asked_for() -> None:
    for numbers, own_screen, shown in (("window", True, True), ("window", False, False), ("all", False, True)):
        sink = Collector()
        sink.own_screen = own_screen
        paint(FakeSource(grey_frames(3, 128, 96), fps=100), [sink], numbers=numbers)
        assert (len(np.unique(sink.images[0])) > 1) == shown, (numbers, own_screen)
    hidden = Collector()
    controls = Controls(["fake"], overlay=False)
    LiveLoop(FakeSource(grey_frames(3)), Painter({"fake": FakeEngine()}), [hidden], controls, numbers="all").run()
    assert all(len(np.unique(image)) == 1 for image in hidden.images)


def test_cuts_reset_the_memory() -> None:
    film = [*pattern_frames(15, 64, 48, seed=0), *pattern_frames(15, 64, 48, seed=1)]
    engine = FakeEngine()
    report = paint(FakeSource(film, fps=100), [Collector()], engine)
    assert report.cuts == 1 and engine.seen <= 15 < report.painted


def test_styles_change_without_a_gap() -> None:
    """Every style has been used once before the picture starts, so the first frame of another takes no longer."""
    controls = Controls(["plain", "bright"], Look())
    engines = {"plain": SlowToStart(), "bright": SlowToStart(level=100)}
    sink = Collector(lambda count: controls.press("2") if count == 10 else None)
    LiveLoop(FakeSource(grey_frames(40), fps=50), Painter(engines), [sink], controls).run()
    levels = [int(image[0, 0, 0]) for image in sink.images]
    switch = next(number for number, level in enumerate(levels) if level >= 100)
    assert 10 <= switch <= 13 and all(level >= 100 for level in levels[switch:])
    assert max(np.diff(sink.times)) < 0.15 < SlowToStart.start


class SlowToStart(FakeEngine):
    """Needs half a second for its first frame ever."""

    start = 0.5

    def __call__(self, frame: np.ndarray, out: np.ndarray) -> np.ndarray:
        if self.calls == 0:
            time.sleep(self.start)
        return super().__call__(frame, out)


def test_strength_takes_effect_while_running() -> None:
    controls = Controls(["fake"], Look())
    sink = Collector(lambda count: controls.change(strength=0) if count == 5 else None)
    LiveLoop(FakeSource(grey_frames(20), fps=50), Painter({"fake": FakeEngine(level=100)}), [sink], controls).run()
    assert sink.images[0][0, 0, 0] == 100 and sink.images[-1][0, 0, 0] == 19


def test_stopping_takes_no_longer_than_a_source_that_hangs() -> None:
    controls, sink = Controls(["fake"], Look()), Collector(lambda count: count == 3 and controls.stop.set())
    start = time.monotonic()
    LiveLoop(Hanging(grey_frames(3), finite=False), Painter({"fake": FakeEngine()}), [sink], controls).run()
    assert time.monotonic() - start < 6 and sink.closed


class Hanging(FakeSource):
    """Gives no more frames after its last one, and does not look at `stop`."""

    def frames(self, stop: threading.Event):
        yield from super().frames(stop)
        time.sleep(20)


def test_ctrl_c_stops_and_closes() -> None:
    sink = Collector(lambda count: count == 3 and signal.raise_signal(signal.SIGINT))
    report = paint(FakeSource(grey_frames(500), fps=50), [sink])
    assert 3 <= report.painted < 100 and sink.closed


def test_an_error_of_the_engine_is_raised_and_the_sinks_are_closed() -> None:
    sink = Collector()
    with pytest.raises(ZeroDivisionError):
        paint(FakeSource(grey_frames(50), fps=50), [sink], Failing())
    assert sink.closed and len(sink.images) == 4


class Failing(FakeEngine):
    def __call__(self, frame: np.ndarray, out: np.ndarray) -> np.ndarray:
        if self.calls == 5:
            raise ZeroDivisionError
        return super().__call__(frame, out)


def test_a_source_without_a_picture_is_told_in_time() -> None:
    with pytest.raises(UserError, match=r"no picture within timeout=0.2 seconds"):
        paint(Hanging([], finite=False), [Collector()], timeout=0.2)
    with pytest.raises(UserError, match="no such camera"):
        paint(FakeSource("no such camera"), [Collector()])


class Flaky(Sink):
    """Breaks at its fifth frame; the next attempt to open it fails."""

    name = "flaky"

    def __init__(self) -> None:
        self.opened = self.written = 0

    def open(self, width: int, height: int, fps: float) -> None:
        self.opened += 1
        if self.opened == 2:
            raise SinkLost("flaky: refused")

    def write(self, image: np.ndarray, seconds: float) -> None:
        self.written += 1
        if self.written == 5:
            raise SinkLost("flaky: broken pipe")

    def close(self) -> None:
        pass


def test_a_receiver_that_breaks_off_is_connected_again() -> None:
    sink = Flaky()
    report = paint(FakeSource(grey_frames(120), fps=50), [sink])
    assert sink.opened == 3 and 20 < report.sinks[0].delivered < report.painted == 120 - report.dropped
    counts_add_up(report)


class Refusing(Flaky):
    def open(self, width: int, height: int, fps: float) -> None:
        raise SinkLost("refusing: connection refused")


def test_a_receiver_that_is_not_there_at_the_start_is_a_mistake() -> None:
    other = Collector()
    with pytest.raises(UserError, match="connection refused"):
        paint(FakeSource(grey_frames(200), fps=50), [other, Refusing()])
    assert other.closed and len(other.images) < 100
