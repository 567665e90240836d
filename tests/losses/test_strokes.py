"""The direction of strokes."""

from math import cos, pi, radians, sin

import pytest
import torch

from tests.losses.cases import descend, make
from vst.batch import ClipBatch
from vst.curriculum import Curriculum, Phase
from vst.losses import LossSet, StrokeDirection
from vst.networks import DenseMotion, FlowGrain, Stateless, Stylizer, TwoScaleGenerator
from vst.schedules import FlatLinear
from vst.task import StyleTransferTask

SIZE = 96


def stripes(angle, period=8, size=SIZE):
    """(1, 3, size, size) of stripes that run at `angle`, degrees from the x axis down."""
    y, x = torch.meshgrid(torch.arange(size), torch.arange(size), indexing="ij")
    across = -sin(radians(angle)) * x + cos(radians(angle)) * y
    return (0.5 + 0.2 * torch.sin(2 * pi * across / period)).expand(1, 3, size, size)


def tangents(angle):
    return torch.tensor([cos(radians(angle)), sin(radians(angle))]).view(1, 2, 1, 1).expand(1, 2, SIZE // 2, SIZE // 2)


FLAT = torch.full((1, 3, SIZE, SIZE), 0.5)


@pytest.mark.parametrize("angle", [0, 30, 45, 90, 135])
def test_strokes_along_the_contours_are_right_and_across_are_not(angle):
    term = StrokeDirection(1.0)
    along, across, weave = (
        term(*make(stripes(a), photo=FLAT, along=tangents(angle))).item() for a in (angle, angle + 90, angle + 45)
    )
    assert along < 0.02 and across > 0.98 and 0.35 < weave < 0.65
    assert term(*make(stripes(angle), photo=FLAT, along=-tangents(angle))).item() == pytest.approx(along), "no sign"


def test_neither_strength_nor_what_the_photograph_shows_counts():
    term, photo = StrokeDirection(1.0), stripes(70, 17)
    faint = photo + 0.2 * (stripes(20) - 0.5)
    assert term(*make(faint, photo=photo, along=tangents(20))).item() < 0.02
    assert term(*make(photo, photo=photo, along=tangents(20))).item() == 0
    assert term(*make(faint, photo=FLAT, toned=photo, along=tangents(20))).item() < 0.02, "in the style's colours"


def test_its_gradient_turns_strokes():
    torch.manual_seed(0)
    term = StrokeDirection(1.0)
    start = FLAT + 0.1 * torch.randn(1, 3, SIZE, SIZE)
    before = term(*make(start, photo=FLAT, along=tangents(30))).item()
    turned = descend(term, lambda still: make(still, photo=FLAT, along=tangents(30)), start, 0.01)
    assert term(*make(turned, photo=FLAT, along=tangents(30))).item() < 0.7 * before
    assert (turned - FLAT).std() > 0.03


def test_noise_without_a_direction_asks_for_nothing():
    assert StrokeDirection(1.0)(*make(stripes(10), photo=FLAT)) == 0


@pytest.mark.parametrize("training", [True, False])
def test_the_tangents_are_those_of_the_photograph_that_was_drawn(training):
    """Clips of stripes at two angles: each picture comes with its own, cut to what counts."""
    torch.manual_seed(0)
    parts = TwoScaleGenerator(8, 1, 8, grain=4), Stateless(), None, FlowGrain(4, 2), DenseMotion("lucas_kanade", 32)
    task = StyleTransferTask(
        Stylizer(*parts), None, LossSet({"direction": StrokeDirection(1.0)}), {"generator": torch.optim.Adam},
        FlatLinear(0.5, 0.1), Curriculum({"images": Phase(share=1.0, frames=1)}), model_config={}, style_name="test",
        margin=16,
    )  # fmt: skip
    task.stylizer.train(training)
    frames = torch.cat([stripes(20, 16, 128), stripes(110, 16, 128)])[:, None].repeat(1, 2, 1, 1, 1)
    flow = torch.zeros(2, 1, 2, 128, 128)
    batch = ClipBatch(frames, torch.rand(2, 3, 32, 32), ["a", "b"], flow, torch.ones(2, 1, 1, 128, 128))
    _, outputs = task.outputs(task.stylizer, batch)
    assert outputs.along.shape == (2, 2, SIZE // 2, SIZE // 2) and not outputs.along.requires_grad
    for along, angle in zip(outputs.along, (20, 110), strict=True):
        inner = along[:, 8:-8, 8:-8]
        found = torch.rad2deg(torch.atan2(inner[1], inner[0]))
        assert ((found - angle + 90) % 180 - 90).abs().median() < 5
    outputs.still.mean().backward()
