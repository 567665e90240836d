"""The pace of frames: what comes before the first one is preparation."""

from __future__ import annotations

import pytest

from vst.progress import Pace


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


def test_a_pace_begins_with_the_first_frame() -> None:
    clock = Clock()
    pace = Pace(clock)
    assert (pace.frames, pace.preparing, pace.fps, pace.left(10)) == (0, 0, None, None)
    clock.now += 60
    pace.add()
    assert (pace.frames, pace.preparing, pace.fps, pace.left(10)) == (1, 60, None, None)
    for _ in range(4):
        clock.now += 0.25
        pace.add()
    clock.now += 5
    assert pace.frames == 5 and pace.fps == pytest.approx(4) and pace.left(10) == pytest.approx(2.5)


def test_frames_at_the_same_time_have_no_pace_yet() -> None:
    pace = Pace(Clock())
    pace.add()
    pace.add()
    assert pace.fps is None and pace.left(1) is None
