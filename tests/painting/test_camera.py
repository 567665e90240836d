"""A camera over a still picture: smooth, sub-pixel exact, and never outside of the picture."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import cv2
import numpy as np
import pytest

from vst.errors import UserError
from vst.painting.camera import MOVES, Camera, View, render, view_at


def waves(height: int, width: int, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """A smooth picture at any places of a grid of height x width; (..., 3) in [0, 255]."""
    phases = [
        2 * np.pi * (3 * x / width + y / height),
        2 * np.pi * 4 * y / height,
        2 * np.pi * (x / width - y / height),
    ]
    return 128 + 100 * np.stack([np.sin(phase) for phase in phases], -1)


def picture(height: int, width: int) -> np.ndarray:
    y, x = np.mgrid[0:height, 0:width] + 0.5
    return waves(height, width, x, y).round().astype(np.uint8)


@pytest.fixture
def photo(tmp_path: Path) -> Path:
    path = tmp_path / "photo.png"
    cv2.imwrite(str(path), picture(60, 91)[..., ::-1])
    return path


@pytest.mark.parametrize("move", MOVES)
def test_the_view_stays_inside_and_moves_smoothly(move: str) -> None:
    views = [view_at(move, progress) for progress in np.linspace(0, 1, 101)]
    for view in views:
        assert view.zoom >= 1 and 0 <= view.x <= 1 and 0 <= view.y <= 1
    assert (views[0], views[-1]) == MOVES[move] or np.allclose(
        [[v.zoom, v.x, v.y] for v in (views[0], views[-1])], [[v.zoom, v.x, v.y] for v in MOVES[move]]
    )
    path = np.array([[np.log(view.zoom), view.x, view.y] for view in views])
    steps = np.diff(path, axis=0)
    assert (np.abs(steps) <= np.abs(path[-1] - path[0]) * 0.0205 + 1e-9).all()  # at most twice the mean speed
    assert np.abs(steps[[0, -1]]).max() < 0.1 * np.abs(steps).max()  # at rest at both ends
    assert (steps * np.sign(path[-1] - path[0]) >= -1e-9).all()  # never back


@pytest.mark.parametrize("view", [View(1), View(1.3), View(1.25, 0.137, 0.9), View(1.07, 1, 0)])
def test_places_between_pixels_are_seen_exactly(view: View) -> None:
    rows, columns, height, width = 120, 160, 90, 120
    y, x = np.mgrid[0:height, 0:width] + 0.5
    seen_width, seen_height = columns / view.zoom, rows / view.zoom
    x = view.x * (columns - seen_width) + x * seen_width / width
    y = view.y * (rows - seen_height) + y * seen_height / height
    expected = waves(rows, columns, x, y)
    image = render(picture(rows, columns), view, width, height)
    assert np.abs(image - expected)[3:-3, 3:-3].max() < 2


def test_slow_moves_do_not_jerk() -> None:
    """Each step of a fifth of a pixel moves a wave by that much, as its phase tells."""
    wave = 128 + 100 * np.sin(2 * np.pi * (np.arange(200) + 0.5) / 20)
    image = np.repeat(wave.round().astype(np.uint8)[None, :, None], 40, 0).repeat(3, 2)
    places = []
    for step in range(26):
        x = step * 0.2 / (200 - 160)  # of the free room of a window that is 160 pixels wide
        row = render(image, View(1.25, x), 160, 32)[16, :, 0].astype(float)
        turn = np.exp(-2j * np.pi * (np.arange(160) + 0.5) / 20)
        places.append(np.angle(((row - row.mean()) * turn).sum() * 1j) * 20 / (2 * np.pi))
    assert np.abs(np.diff(np.unwrap(places, period=20)) - 0.2).max() < 0.03


def test_it_is_a_source_of_frames(photo: Path) -> None:
    with Camera(photo, "drift", duration=0.5, fps=30) as camera:
        info, frames = camera.info, list(camera)
        assert (info.width, info.height, info.num_frames, info.fps) == (90, 60, 15, 30)
        assert info.duration == 0.5 and info.rotation == 0
        assert [frame.pts for frame in frames] == list(range(15))
        assert {(frame.duration, frame.time_base) for frame in frames} == {(1, Fraction(1, 30))}
        assert all(frame.image.shape == (60, 90, 3) and frame.image.dtype == np.uint8 for frame in frames)
        later = list(camera.read(9))
        assert [frame.pts for frame in later] == list(range(9, 15))
        assert all(np.array_equal(a.image, b.image) for a, b in zip(later, frames[9:], strict=True))
    assert np.abs(frames[0].image.astype(int) - frames[-1].image).mean() > 5


def test_large_pictures_become_films_of_a_usual_size(tmp_path: Path) -> None:
    path = tmp_path / "large.png"
    cv2.imwrite(str(path), picture(1501, 4000)[..., ::-1])
    camera = Camera(path, "zoom_in", duration=1, fps=2)
    assert (camera.info.width, camera.info.height) == (1920, 720)
    first = next(iter(camera)).image
    y, x = np.mgrid[0:720, 0:1920] + 0.5
    assert np.abs(first - waves(720, 1920, x, y))[4:-4, 4:-4].max() < 3


def test_mistakes_are_one_line(photo: Path, tmp_path: Path) -> None:
    with pytest.raises(
        UserError, match=r"^camera=zoom_inn: no such move \(did you mean 'zoom_in'\?\); allowed: zoom_in,"
    ):
        Camera(photo, "zoom_inn")
    with pytest.raises(UserError, match=r"^duration=0.04: that is no film at 25 frames a second"):
        Camera(photo, "drift", 0.04)
    with pytest.raises(UserError, match=r"absent.png"):
        Camera(tmp_path / "absent.png", "drift")
