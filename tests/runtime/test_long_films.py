"""Models that remember the film neither pulse with it nor drift away from it."""

import numpy as np
import pytest
import torch

from tests.networks.behaviour import texture
from vst.networks import ColourTransport, DenseMotion, FlowGrain, Stateless, Stylizer, TwoScaleGenerator
from vst.runtime import open_engine

HEIGHT, WIDTH = 72, 112


@pytest.fixture
def paint():
    torch.manual_seed(0)
    generator = TwoScaleGenerator(8, 1, 8, grain=4)
    with torch.no_grad():
        generator.head.weight.mul_(10)
    tone, grade = ColourTransport(), ColourTransport()
    for part in (tone, grade):
        part.set_style([texture(64, 64, 3)[0] * torch.tensor([0.4, 0.7, 1.0])[:, None, None]])
    parts = generator, Stateless(), tone, FlowGrain(4, 2), DenseMotion("dis", 36), grade
    return open_engine(Stylizer(*parts).eval())


def scene() -> np.ndarray:
    """(H, W, 3) uint8, larger than a frame."""
    wide = texture(HEIGHT + 24, WIDTH + 64, 3)[0].permute(1, 2, 0).numpy()
    return (255 * (0.5 + 1.4 * (wide - wide.mean())).clip(0, 1)).astype(np.uint8)


def moments(picture: np.ndarray) -> np.ndarray:
    return np.array([picture.mean(), picture.std()])


def test_a_still_film_stays_still(paint):
    frame = scene()[:HEIGHT, :WIDTH]
    made = np.array([moments(paint(frame)) for _ in range(300)])
    assert np.abs(made / made[0] - 1).max() < 0.002


def test_a_bright_object_that_enters_leaves_the_far_half_alone(paint):
    background, far = scene()[:HEIGHT, :WIDTH], np.s_[:, WIDTH // 2 + 12 :]
    before = [paint(background)[far].copy() for _ in range(10)][-1]
    for entered in range(60):
        frame = background.copy()
        frame[20:44, : min(28, 2 * entered)] = 245
        made = paint(frame)
        assert np.abs(moments(made[far]) / moments(before) - 1).max() < 0.01, entered
    assert np.abs(made[20:44, :28].astype(float) - 128).mean() > 20, "the object itself is to be seen"


def test_a_film_that_comes_back_looks_as_it_did_2000_frames_ago(paint):
    wide, seen = scene(), []
    for frame in range(2000):
        x, y = round(20 + 19 * np.sin(frame * 2 * np.pi / 100)), round(10 + 9 * np.sin(frame * 4 * np.pi / 100))
        made = paint(np.ascontiguousarray(wide[y : y + HEIGHT, x : x + WIDTH]))
        if 100 <= frame < 300 or frame >= 1800:
            seen.append(moments(made))
    early, late = np.array(seen[:200]).mean(0), np.array(seen[-200:]).mean(0)
    assert np.abs(late / early - 1).max() < 0.01
