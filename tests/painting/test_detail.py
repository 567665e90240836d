"""What was painted smaller is enlarged along the frame's edges, and the frame's texture does not show through."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
import torch

from tests.painting.engines import Flat
from vst.networks import DenseMotion, FlowGrain, ResidualGenerator, Stateless, Stylizer
from vst.painting import Look, Painter
from vst.painting.detail import GuidedUpsampling
from vst.runtime import open_engine

SIZES = ((640, 360), (1920, 1080), (3840, 2160))
ALIKE = 45.0
"""dB between the pictures of one film in two sizes, both reduced to the smaller one."""


def psnr(a: np.ndarray, b: np.ndarray) -> float:
    return float(20 * np.log10(255 / np.sqrt(np.square(a.astype(float) - b).mean())))


def reduced(image: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    return image if image.shape[1::-1] == size else cv2.resize(image, size, interpolation=cv2.INTER_AREA)


def disks(height: int = 360, width: int = 480, seed: int = 0) -> np.ndarray:
    """Overlapping disks of many colours with sharp edges."""
    rng, image = np.random.default_rng(seed), np.full((height, width, 3), 90, np.uint8)
    for _ in range(60):
        centre = int(rng.integers(width)), int(rng.integers(height))
        cv2.circle(image, centre, int(rng.integers(8, height // 5)), rng.integers(0, 256, 3).tolist(), -1, cv2.LINE_AA)
    return image


def enlarged(image: np.ndarray, width: int, height: int) -> np.ndarray:
    return cv2.resize(image, (width, height), interpolation=cv2.INTER_CUBIC)


def test_painted_edges_become_as_sharp_as_those_of_the_frame() -> None:
    frame = disks()
    small = reduced(frame, (120, 90))
    guided = GuidedUpsampling()(small, small, frame)
    grey = np.repeat(frame.mean(2, keepdims=True), 3, 2).astype(np.uint8)
    small_grey = reduced(grey, (120, 90))
    assert psnr(GuidedUpsampling()(small_grey, small_grey, grey), grey) > psnr(enlarged(small_grey, 480, 360), grey) + 4
    assert psnr(guided, frame) > psnr(enlarged(small, 480, 360), frame) + 1  # colours have edges that luma has not


@pytest.mark.parametrize("deviation", [4, 12])
def test_noise_of_the_frame_does_not_show_through_strokes(deviation: int) -> None:
    rng = np.random.default_rng(0)
    frame = np.clip(rng.normal(128, deviation, (360, 480, 1)).repeat(3, 2), 0, 255).astype(np.uint8)
    y, x = np.mgrid[:90, :120]
    strokes = (128 + 60 * np.sin(0.8 * x + 0.5 * y)).astype(np.uint8)[..., None].repeat(3, 2)
    shown = GuidedUpsampling()(strokes, reduced(frame, (120, 90)), frame).astype(float) - enlarged(strokes, 480, 360)
    assert shown.std() < 0.25 * frame.std()


def test_an_edge_that_was_painted_the_other_way_round_gets_no_halo() -> None:
    frame = disks()
    small = reduced(frame, (120, 90))
    negative = 255 - small
    assert np.abs(GuidedUpsampling()(negative, small, frame) - enlarged(negative, 480, 360).astype(int)).mean() < 0.5


def test_a_still_film_with_noise_keeps_still() -> None:
    rng, painter = np.random.default_rng(0), Painter({"a": Flat(90, 120, 40)}, Look(stroke=4))
    noisy = [np.clip(disks() + rng.normal(0, 6, (360, 480, 1)), 0, 255).astype(np.uint8) for _ in range(3)]
    assert all(np.abs(painter(frame).astype(int) - (90, 120, 40)).max() <= 1 for frame in noisy)


def paintings(short_side: int | None) -> list[np.ndarray]:
    """The third frame of one film, painted in each of `SIZES` and reduced to the first."""
    torch.manual_seed(0)
    generator, motion = ResidualGenerator(8, 1, grain=4), DenseMotion("dis", 60)
    network = Stylizer(generator, Stateless(), None, FlowGrain(4, 4), motion, short_side=short_side).eval()
    with torch.no_grad():
        for parameter in network.generator.parameters():
            parameter.add_(0.05 * torch.randn_like(parameter))
    film = [np.roll(disks(2160, 3840), 12 * i, axis=1) for i in range(3)]
    results = []
    for size in SIZES:
        painter = Painter({"a": open_engine(network)})
        results.append(reduced([painter(reduced(frame, size)) for frame in film][-1], SIZES[0]))
    return results


def test_a_film_looks_the_same_in_every_size() -> None:
    small, *others = paintings(short_side=180)
    assert all(psnr(other, small) > ALIKE for other in others)
    small, *others = paintings(short_side=None)
    assert all(psnr(other, small) < ALIKE - 10 for other in others)  # strokes of so many pixels are another picture


def test_a_panorama_that_is_turned_stays_the_same_picture() -> None:
    frame, enlarge = disks(), GuidedUpsampling(wrap=True)
    small = reduced(frame, (120, 90))
    turned = enlarge(np.roll(small, 30, 1), np.roll(small, 30, 1), np.roll(frame, 120, 1)).astype(int)
    assert np.abs(np.roll(turned, -120, 1) - enlarge(small, small, frame)).max() <= 1
