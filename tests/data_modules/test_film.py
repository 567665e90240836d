"""Frames of a film as pictures of the style."""

from __future__ import annotations

import logging
import pickle
from pathlib import Path

import numpy as np
import pytest
import torch

from data_modules.film import VideoStyle
from tests import media
from vst.errors import UserError

RED, GREEN, BLUE, BLACK = (220, 30, 30), (30, 200, 30), (30, 30, 220), (0, 0, 0)


def shot(colour: tuple[int, int, int], n: int, width: int = 96, height: int = 64) -> np.ndarray:
    """`n` equal frames: dark on the left, of `colour` on the right."""
    frame = np.full((height, width, 3), 60, np.uint8)
    frame[:, width // 2 :] = colour
    return np.stack([frame] * n)


def film(path: Path, *shots: np.ndarray, **options) -> Path:
    media.make_video(path, frames=np.concatenate(shots), fps=10, **options)
    return path


def style(path: Path, **options) -> VideoStyle:
    return VideoStyle(path, **{"crop": 16, "short_side": 64, **options})


def dominant(picture: torch.Tensor) -> int:
    """Number of the channel in which the right side is brightest."""
    return int(picture[:, :, -8:].mean((1, 2)).argmax())


def test_one_frame_for_every_interval_by_the_clock(tmp_path: Path) -> None:
    """A jump in the timestamps counts as the time that it takes."""
    frames = media.pattern_frames(40)
    path = tmp_path / "a.mp4"
    media.make_video(path, frames=frames, fps=10)
    found = style(path, every=0.5)
    times = [item.time for item in found._items]
    assert np.allclose(times, np.arange(8) * 0.5)
    seen = [media.read_number(item.picture) for item in found._items]
    assert seen == list(range(0, 40, 5)) and found.count == 8
    assert style(path, every=100.0).count == 1 and style(path, every=0.01).count == 40


def test_near_duplicates_and_blank_frames_are_left_out(tmp_path: Path) -> None:
    blank = np.zeros((10, 64, 96, 3), np.uint8)
    path = film(tmp_path / "a.mp4", blank, shot(RED, 30), shot(GREEN, 20), shot(RED, 20), blank)
    found = style(path, every=1.0)
    pictures = [torch.from_numpy(item.picture.transpose(2, 0, 1).copy()).float() for item in found._items]
    assert [dominant(picture) for picture in pictures] == [0, 1]
    assert "2 frames of " in found.origin() and "5 near-duplicates left out, 2 blank left out" in found.origin()
    assert dominant(found.reference()) == 0


def test_crops_are_of_the_film_in_its_colours_and_a_function_of_the_generator(tmp_path: Path) -> None:
    found = style(film(tmp_path / "The Film.mp4", shot(BLUE, 10)))
    again = pickle.loads(pickle.dumps(found))
    for seed in range(10):
        crop = found.sample(np.random.default_rng(seed))
        assert crop.shape == (3, 16, 16) and 0 <= crop.min() and crop.max() <= 1
        assert torch.equal(crop, again.sample(np.random.default_rng(seed)))
    right = found.reference()[:, :, -20:].mean((1, 2)) * 255
    assert torch.allclose(right, torch.tensor([30.0, 30.0, 220.0]), atol=8)
    assert found.name == "the-film"


def test_black_bars_are_cut_off(tmp_path: Path) -> None:
    shots = np.concatenate([shot(RED, 10, height=128), shot(BLUE, 10, height=128)])
    shots[:, :24] = shots[:, -16:] = 0
    found = style(film(tmp_path / "wide.mp4", shots), short_side=128, every=0.9)
    assert found.count == 2
    assert found.reference().shape[1:] == pytest.approx((88, 96), abs=2)
    assert found.reference()[:, :2].mean() > 0.1 and found.reference()[:, -2:].mean() > 0.1


def test_a_long_film_gives_a_bounded_number_over_its_whole_length(tmp_path: Path) -> None:
    path = tmp_path / "long.mp4"
    media.make_video(path, frames=media.pattern_frames(60), fps=10)
    found = style(path, every=0.1, cache=8)
    times = [item.time for item in found._items]
    assert 4 <= len(times) <= 8 and times[0] == 0 and times[-1] > 4
    assert np.allclose(np.diff(times), times[1]), "evenly spread"
    assert f"one in {times[1]:g} s" in found.origin()


def test_a_rotated_film_is_upright_and_scaled_to_the_short_side(tmp_path: Path) -> None:
    path = tmp_path / "phone.mp4"
    film(path, shot(RED, 10, width=240, height=160), rotation=90)
    assert style(path, short_side=80).reference().shape == (3, 120, 80)


def test_a_broken_film_is_used_as_far_as_it_decodes(tmp_path: Path, caplog) -> None:
    path = film(tmp_path / "a.mkv", *(shot(c, 30) for c in (RED, GREEN, BLUE)))
    path.write_bytes(path.read_bytes()[: int(path.stat().st_size * 0.8)])
    with caplog.at_level(logging.WARNING):
        assert 1 <= style(path).count <= 3
    assert len(caplog.messages) == 1 and "used as far as it decodes" in caplog.messages[0]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"every": 0.0}, r"style\.every is 0\.0"),
        ({"every": float("nan")}, r"style\.every is nan"),
        ({"crop": 4}, r"style\.crop is 4"),
        ({"cache": 0}, r"style\.cache is 0"),
    ],
)
def test_numbers_out_of_range_are_one_line(tmp_path: Path, options: dict, message: str) -> None:
    path = film(tmp_path / "a.mp4", shot(RED, 3))
    with pytest.raises(UserError, match=message) as error:
        style(path, **options)
    assert "\n" not in str(error.value)


def test_films_that_show_nothing_are_one_line(tmp_path: Path) -> None:
    (tmp_path / "text.mp4").write_text("no film")
    film(tmp_path / "blank.mp4", np.zeros((5, 64, 96, 3), np.uint8))
    for name, message in (
        ("none.mp4", "none.mp4"),
        ("text.mp4", "text.mp4"),
        ("blank.mp4", "all its frames are blank"),
    ):
        with pytest.raises(UserError, match=message) as error:
            style(tmp_path / name)
        assert "\n" not in str(error.value)
