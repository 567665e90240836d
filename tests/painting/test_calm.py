"""Calm: noise on still places settles, what moves leaves no trace, slow changes are not missed."""

from __future__ import annotations

import numpy as np
import pytest

from tests.painting.engines import Invert
from vst.painting import Look, Painter


def still_film(frames: int, noise: float = 4.0) -> list[np.ndarray]:
    """Grey with a gradient and fresh noise in every frame."""
    rng = np.random.default_rng(0)
    base = np.linspace(60, 180, 96)[None, :, None].repeat(64, 0).repeat(3, 2)
    return [(base + rng.normal(0, noise, base.shape)).clip(0, 255).round().astype(np.uint8) for _ in range(frames)]


def painted(frames: list[np.ndarray], calm: float) -> np.ndarray:
    painter = Painter({"a": Invert()}, Look(calm=calm))
    return np.stack([painter(frame) for frame in frames]).astype(float)


def test_still_noise_settles_the_more_the_calmer() -> None:
    frames = still_film(50)
    variances = [painted(frames, calm)[25:].var(axis=0).mean() for calm in (0, 0.5, 1)]
    assert variances[0] == pytest.approx(16, rel=0.1)  # the input's own, inverted
    assert variances[1] < 0.5 * variances[0] and variances[2] < 0.12 * variances[0]
    settled = painted(frames, 1)[-1]
    truth = 255 - np.mean(frames, axis=0)
    assert np.abs(settled - truth).mean() < 0.5 * np.abs(255 - frames[-1].astype(float) - truth).mean()


def test_without_noise_a_still_picture_is_exact_and_detail_is_kept() -> None:
    rng = np.random.default_rng(1)
    frame = rng.integers(0, 256, (64, 96, 3), dtype=np.uint8)
    assert np.abs(painted([frame] * 20, 1.0) - (255 - frame.astype(float))).max() <= 1


def test_a_moving_edge_is_not_smeared() -> None:
    """A bright square on noise moves 3 pixels a frame; where it was there is no ghost of it."""
    frames = still_film(30)
    for number, frame in enumerate(frames):
        frame[20:40, 3 * number : 3 * number + 16] = 235
    result = painted(frames, 1.0)
    background = 255 - np.mean(still_film(30), axis=0)
    for number in range(10, 24):
        ghost = result[number, 20:40, : 3 * number] - background[20:40, : 3 * number]
        assert np.abs(ghost.mean(axis=0)).max() < 6
        square = result[number, 22:38, 3 * number + 2 : 3 * number + 14]
        assert np.abs(square - 20).max() <= 2


def test_a_slow_change_is_followed() -> None:
    """A third of a level a frame is never seen from one frame to the next; it adds up."""
    frames = [np.full((32, 48, 3), round(60 + number / 3), np.uint8) for number in range(240)]
    lag = painted(frames, 1.0) - (255 - np.stack(frames).astype(float))
    assert np.abs(lag).max() <= 3


def test_a_scene_begins_with_its_own_picture() -> None:
    dark, bright = (np.full((32, 48, 3), level, np.uint8) for level in (30, 31))
    painter = Painter({"a": Invert()}, Look(calm=1))
    for _ in range(5):
        painter(dark)
    assert (painter(bright) == 225).all()  # held back: the change is small
    painter.reset()
    assert (painter(bright) == 224).all()
    painter.look = Look(calm=0)
    assert (painter(dark) == 225).all()


def test_one_style_does_not_wait_for_the_other() -> None:
    frame = still_film(1)[0]
    painter = Painter({"a": Invert(), "b": Same()}, Look(calm=1))
    for _ in range(5):
        painter(frame)
    painter.look = Look(style="b", calm=1)
    assert np.array_equal(painter(frame), frame)


class Same(Invert):
    def __call__(self, frame: np.ndarray, out: np.ndarray) -> np.ndarray:
        np.copyto(out, frame)
        return out
