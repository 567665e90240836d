"""Latest wins; a source that dies is opened again, ever more slowly."""

import threading
import time

import numpy as np
import pytest

from tests.live.fakes import FakeSource, grey_frames
from vst.errors import UserError
from vst.live.feed import Captured, Feed, fitted
from vst.live.slot import LatestSlot


def test_the_newest_item_replaces_the_one_that_waits() -> None:
    slot = LatestSlot[int]()
    assert [slot.put(1), slot.put(2), slot.put(3)] == [False, True, True]
    assert slot.get(0) == 3 and slot.get(0.01) is None
    slot.put(4)
    slot.close()
    assert not slot.done and slot.put(5) and slot.get(0) == 4 and slot.done and slot.get(10) is None


def test_a_slot_wakes_its_reader() -> None:
    slot, seen = LatestSlot[int](), []
    reader = threading.Thread(target=lambda: seen.append(slot.get(5)))
    reader.start()
    slot.put(7)
    reader.join(2)
    assert seen == [7]


class Clock:
    """Time that passes by waiting only."""

    def __init__(self) -> None:
        self.now, self.waits = 0.0, []

    def __call__(self) -> float:
        return self.now

    def wait(self, seconds: float) -> None:
        self.waits.append(seconds)
        self.now += seconds


def run_feed(source: FakeSource, give_up: float = 300.0, **options) -> tuple[Feed, Clock, list[Captured]]:
    """The feed after its end, on a clock of its own, and all that it put into its slot."""
    stop, clock, put = threading.Event(), Clock(), []
    slot = LatestSlot[Captured]()
    slot.put = lambda item: bool(put.append(item))  # the test wants every frame
    feed = Feed(source, slot, stop, give_up=give_up, clock=clock, wait=clock.wait, **options)
    feed.ready.set()
    feed.run()
    return feed, clock, put


def test_a_lost_source_is_tried_with_growing_delays_until_the_limit() -> None:
    source = FakeSource(grey_frames(2), "gone", fps=1e6, finite=False)
    feed, clock, put = run_feed(source, give_up=60)
    assert clock.waits == [0.5, 1, 2, 4, 8, 10, 10, 10, 10]
    assert isinstance(feed.error, UserError) and "gone" in str(feed.error) and "reconnect=60" in str(feed.error)
    assert len(put) == feed.received == 2 and feed.reconnects == 0 and feed.lost_since is not None


def test_delays_start_again_once_the_source_was_back() -> None:
    source = FakeSource(grey_frames(1), "gone", "gone", grey_frames(3), "gone", fps=1e6, finite=False)
    feed, clock, put = run_feed(source, give_up=5)
    assert clock.waits[:3] == [0.5, 1, 2] and clock.waits[3:5] == [0.5, 1]
    assert feed.reconnects == 1 and [frame.take for frame in put] == [0, 3, 3, 3]


def test_a_stream_that_ends_is_lost_and_a_film_is_done() -> None:
    ended, clock, _ = run_feed(FakeSource(grey_frames(2), fps=1e6, finite=False), give_up=0.1)
    assert "ended" in str(ended.error)
    done, clock, put = run_feed(FakeSource(grey_frames(2), fps=1e6))
    assert done.error is None and not clock.waits and len(put) == 2


@pytest.mark.parametrize(("takes", "said"), [(("no such camera",), "no such camera"), (([],), "without a picture")])
def test_a_source_that_never_gave_a_picture_is_a_mistake(takes: tuple, said: str) -> None:
    feed, clock, put = run_feed(FakeSource(*takes, finite=False))
    assert isinstance(feed.error, UserError) and said in str(feed.error) and not clock.waits and not put


def test_frames_above_the_wanted_rate_are_left_out() -> None:
    times = iter(np.arange(1000) / 60 + np.random.default_rng(0).uniform(0, 0.004, 1000))
    stop, kept = threading.Event(), []
    slot = LatestSlot[Captured]()
    slot.put = lambda item: bool(kept.append(item.time))
    feed = Feed(FakeSource(grey_frames(600), fps=1e6), slot, stop, fps=30, clock=lambda: float(next(times)))
    feed.ready.set()
    feed.run()
    assert feed.error is None and feed.received == 600 and feed.thinned + len(kept) == 600
    assert 295 <= len(kept) <= 305 and max(np.diff(kept)) < 0.05


def test_a_film_waits_until_it_is_wanted_and_a_camera_does_not() -> None:
    for finite in (True, False):
        stop, slot = threading.Event(), LatestSlot[Captured]()
        feed = Feed(FakeSource(grey_frames(50), fps=1000, finite=finite), slot, stop, give_up=0)
        thread = threading.Thread(target=feed.run)
        thread.start()
        time.sleep(0.2)
        received = feed.received
        feed.ready.set()
        thread.join(5)
        assert received == (1 if finite else 50) and feed.received == 50


def test_other_sizes_are_fitted_in_with_bars() -> None:
    image = np.full((48, 64, 3), 200, np.uint8)
    assert fitted(image, (64, 48)) is image
    wide = fitted(image, (128, 48))
    assert (
        wide.shape == (48, 128, 3)
        and (wide[:, 32:96] == 200).all()
        and not wide[:, :32].any()
        and not wide[:, 96:].any()
    )
    small = fitted(image, (32, 32))
    assert small.shape == (32, 32, 3) and (small[4:28] == 200).all() and not small[:4].any() and not small[28:].any()
