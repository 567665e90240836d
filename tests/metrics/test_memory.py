import numpy as np
import pytest
import torch
from torch import nn

from vst.metrics import cut_recovery, drift, static_flicker

STILL = torch.full((3, 32, 40), 0.5)


class Smooth(nn.Module):
    """Exponential average of the frames: what a memory of known length does."""

    def __init__(self, keep):
        super().__init__()
        self.keep = keep

    def forward(self, frames, style=None, state=None):
        mean = frames if state is None else self.keep * state[0] + (1 - self.keep) * frames
        return mean, (mean,)


class Count(nn.Module):
    """A network that grows brighter by `step` with every frame."""

    def __init__(self, step):
        super().__init__()
        self.step = step

    def forward(self, frames, style=None, state=None):
        count = 0 if state is None else state[0] + 1
        return frames + self.step * count, (count,)


def test_static_flicker_is_the_deviation_of_the_noise():
    value = static_flicker(lambda x: x, STILL, length=64)
    assert value == pytest.approx(2 / 255, rel=0.02)
    assert static_flicker(lambda x: 3 * x, STILL, length=64) == pytest.approx(3 * value, rel=1e-4)
    assert static_flicker(torch.zeros_like, STILL) == 0
    assert static_flicker(lambda x: x, STILL) == static_flicker(lambda x: x, STILL), "fixed noise"


def test_recovery_after_a_cut_of_an_exponential_memory():
    """The old scene's weight is keep^n, so it falls below 1.1 grey steps after log(1.1 / 255) / log(keep) frames."""
    before, after = torch.zeros(40, 3, 16, 16), torch.ones(40, 3, 16, 16)
    for keep in (0.5, 0.7):
        frames, residual = cut_recovery(Smooth(keep), before, after)
        assert frames == int(np.log(1.1 / 255) / np.log(keep))
        assert residual < 1 / 255
    assert cut_recovery(Smooth(0.0), before, after) == (0, 0)


def test_a_memory_that_never_lets_go_is_seen_in_the_residual():
    _, residual = cut_recovery(Smooth(1.0), torch.zeros(4, 3, 16, 16), torch.ones(12, 3, 16, 16))
    assert residual == 1.0


def test_drift_of_a_network_that_grows_brighter():
    clip = torch.rand(5, 3, 16, 16, generator=torch.Generator().manual_seed(0))
    # A loop of 8 frames, 5 rounds: the last is three rounds after the second.
    assert drift(Count(0.01), clip, 40) == pytest.approx(3 * 8 * 0.01, rel=1e-4)
    assert drift(Count(0.0), clip, 40) == 0
    assert drift(Smooth(0.5), clip, 40) < 0.01, "a memory that settles does not drift"


def test_drift_runs_for_the_length_that_was_asked():
    seen = []
    drift(Count(0.0), torch.rand(5, 3, 16, 16), 41, report=seen.append)
    assert seen == list(range(1, 49)), "whole rounds of 8"
