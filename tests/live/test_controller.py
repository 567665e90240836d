"""The resolution settles where the frame rate is held, and stays there."""

import numpy as np
import pytest

from vst.live.controller import STEP, ScaleController


class Bench:
    """A controller with an engine whose time goes by `cost(scale)`, fed frame by frame on a clock of its own."""

    def __init__(self, cost, fps: float = 25.0, min_scale: float = 0.25, noise: float = 0.0) -> None:
        self.now, self.cost, self.noise, self.interval = 0.0, cost, noise, 1 / fps
        self.controller = ScaleController(self.interval, min_scale, clock=lambda: self.now)
        self.rng = np.random.default_rng(0)

    def run(self, seconds: float) -> list[float]:
        """The scale of every frame in this time."""
        scales, end = [], self.now + seconds
        while self.now < end:
            scales.append(self.controller.scale)
            spent = self.cost(self.controller.scale) * (1 + self.noise * self.rng.standard_normal())
            self.now += max(spent, self.interval)
            self.controller.add(spent)
        return scales


@pytest.mark.parametrize("full", [0.01, 0.035, 0.05, 0.1, 0.3])
def test_it_converges_to_the_largest_scale_that_holds_the_rate_and_stays(full: float) -> None:
    bench = Bench(lambda scale: full * scale**2, noise=0.05)
    bench.run(15)
    settled = bench.run(120)
    assert len(set(settled)) == 1
    assert full * settled[0] ** 2 <= 0.95 * bench.interval
    larger = settled[0] / STEP
    assert settled[0] == 1 or full * larger**2 > 0.8 * bench.interval
    assert bench.controller.changes <= 3


def test_it_does_not_fall_below_the_limit() -> None:
    bench = Bench(lambda scale: 1.0, min_scale=0.6)
    assert min(bench.run(60)) == 0.6 == bench.controller.scale
    fixed = Bench(lambda scale: 1.0, min_scale=1)
    assert set(fixed.run(60)) == {1.0} and fixed.controller.changes == 0


def test_it_reacts_to_load_that_comes_and_goes() -> None:
    load = 0.03
    bench = Bench(lambda scale: load * scale**2)
    assert set(bench.run(10)) == {1.0}
    load = 0.12
    assert bench.run(3)[-1] < 0.6
    load = 0.03
    assert bench.run(60)[-1] == 1.0


def test_a_single_slow_frame_changes_nothing() -> None:
    times = iter([0.02] * 100 + [0.5] + [0.02] * 100)
    bench = Bench(lambda scale: next(times))
    assert set(bench.run(4)) == {1.0}


def test_an_engine_that_is_not_faster_when_smaller_makes_it_swing_ever_less() -> None:
    """Cost that jumps between two levels: by the model the larger should do, and it never does."""
    bench = Bench(lambda scale: 0.02 if scale < 0.8 else 0.041)
    first = bench.controller
    bench.run(60)
    early = first.changes
    bench.run(600)
    late = first.changes
    bench.run(600)
    assert (first.changes - late) / 10 < early / 2 and first.changes - late <= 22
