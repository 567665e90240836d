"""Noise that is drawn out along the contours of the film."""

from math import cos, pi, radians, sin

import pytest
import torch

from vst.networks import DenseMotion, FlowGrain
from vst.networks.flow_grain import stroke_noise, structure_tensors, tangents
from vst.networks.grain import PERIOD


def stripes(angle, height=120, width=160, period=12):
    """Luma (1, 1, H, W) of stripes that run at `angle`, degrees from the x axis down."""
    y, x = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
    across = -sin(radians(angle)) * x + cos(radians(angle)) * y
    return (0.5 + 0.4 * torch.sin(2 * pi * across / period))[None, None]


def drawn(luma, streak=7, cell=2):
    """The noise (1, 4, H/2, W/2) of a single frame."""
    motion, grain = DenseMotion(rows=60).eval(), FlowGrain(4, cell, streak)
    state = motion.follow(luma.expand(-1, 3, -1, -1), None)
    side = motion.cell(min(luma.shape[-2:]))
    return grain(grain.follow(state, None, side), side, tuple(side // cell for side in luma.shape[-2:]))


def similarity(noise, dx, dy):
    """Correlation of the first half of the channels with themselves (dx, dy) places away."""
    fine = noise[:, :2]
    height, width = fine.shape[-2:]
    a = fine[..., max(0, -dy) : height - max(0, dy), max(0, -dx) : width - max(0, dx)]
    b = fine[..., max(0, dy) : height - max(0, -dy), max(0, dx) : width - max(0, -dx)]
    return float((a * b).mean() / fine.square().mean())


@pytest.mark.parametrize("angle", [0, 30, 45, 90, 120, 170])
def test_tangents_run_along_stripes(angle):
    along = tangents(structure_tensors(stripes(angle)))[..., 20:-20, 20:-20]
    torch.testing.assert_close(along.norm(dim=1), torch.ones_like(along[:, 0]))
    found = torch.rad2deg(torch.atan2(along[:, 1], along[:, 0]))
    apart = (found - angle + 90) % 180 - 90  # a tangent has no sign
    assert apart.abs().max() < 5


def test_tensors_do_not_depend_on_how_finely_the_frame_is_seen():
    coarse = structure_tensors(stripes(30, 120, 160, 16))[..., 20:-20, 20:-20].mean((2, 3))
    fine = structure_tensors(stripes(30, 240, 320, 32), samples=2.0)[..., 40:-40, 40:-40].mean((2, 3))
    torch.testing.assert_close(fine, coarse, rtol=0.1, atol=0)


@pytest.mark.parametrize(
    ("angle", "along", "across"), [(0, (6, 0), (0, 6)), (90, (0, 6), (6, 0)), (45, (4, 4), (4, -4))]
)
def test_the_noise_is_drawn_out_along_contours(angle, along, across):
    noise = drawn(stripes(angle, 240, 320))
    assert similarity(noise, *along) > 0.4 > 0.2 > abs(similarity(noise, *across))
    round_ = drawn(stripes(angle, 240, 320), streak=0)
    assert abs(similarity(round_, *along)) < 0.2, "without streak it has no direction"


def test_where_nothing_is_to_be_seen_it_swirls():
    """All directions occur, each over many places."""
    luma = torch.full((1, 1, 240, 320), 0.5)
    noise = drawn(luma)
    tensors = structure_tensors(noise[:, :1])
    angles = torch.rad2deg(torch.atan2(*tangents(tensors)[0, :, 10:-10, 10:-10].flip(0))) % 180
    shares = torch.histc(angles, 6, 0, 180) / angles.numel()
    assert shares.min() > 0.03, "no direction is missing"
    energy = tensors[:, 0] + tensors[:, 2]
    coherence = torch.hypot(tensors[:, 0] - tensors[:, 2], 2 * tensors[:, 1]) / energy
    assert coherence.mean() > 0.4 > structure_coherence(drawn(luma, streak=0)[:, :1])


def structure_coherence(noise):
    t = structure_tensors(noise)
    return float((torch.hypot(t[:, 0] - t[:, 2], 2 * t[:, 1]) / (t[:, 0] + t[:, 2])).mean())


@pytest.mark.parametrize("streak", [0, 3, 7, 12])
def test_it_has_the_same_deviation_however_far_it_is_drawn_out(streak):
    noise = drawn(stripes(30, 240, 320), streak)
    assert 0.8 < noise[:, :2].std() < 1.2 and 0.6 < noise[:, 2:].std() < 1.4
    assert FlowGrain(4, 2, streak).steps == {0: (), 3: (1, 2), 7: (1, 2, 4), 12: (1, 2, 4)}[streak]


def test_its_waves_are_as_long_as_strokes_are_broad():
    """Of its power, next to none lies in waves of twice the length and more, and little in shorter ones."""
    noise = stroke_noise(4)
    spectrum = torch.fft.fft2(noise).abs().square()[0]
    rate = torch.fft.fftfreq(PERIOD)
    radius = torch.hypot(rate, rate[:, None])
    for channel, length in zip(spectrum, (4, 4, 8, 8), strict=True):
        share = channel / channel.sum()
        assert share[radius < 0.4 / length].sum() < 0.1
        assert share[(radius > 0.6 / length) & (radius < 1.9 / length)].sum() > 0.75
    assert torch.equal(noise, stroke_noise(4)) and torch.allclose(noise.std(dim=(2, 3)), torch.ones(1, 4))
