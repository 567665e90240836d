"""Comparisons: which pixels show the frame, which the painting, and where the divider is."""

import numpy as np
import pytest

from tests.painting.engines import Flat, engine, film
from vst.painting import Look, Painter
from vst.painting.compare import WIPE_SECONDS, Comparison

BLACK = np.zeros((54, 96, 3), np.uint8)


def comparison(how: str) -> Comparison:
    return Comparison(Painter({"red": Flat(200, 0, 0)}), how)


def border(image: np.ndarray) -> int:
    """First column of the painting, on black frames."""
    return int(np.argmax(image[0, :, 0] == 200)) if (image[0, :, 0] == 200).any() else image.shape[1]


def test_side_by_side_is_twice_as_wide() -> None:
    both = comparison("side")
    assert both.output_size(96, 54) == (192, 54)
    image = both(BLACK)
    assert (image[:, :96] == 0).all() and (image[:, 97:] == [200, 0, 0]).all()
    assert np.array_equal(both(BLACK, np.ones_like(image)), image)


def test_split_shows_halves_of_each() -> None:
    split = comparison("split")
    assert split.output_size(96, 54) == (96, 54)
    image = split(BLACK)
    assert (image[:, :48] == 0).all() and (image[:, 49:] == [200, 0, 0]).all() and (image[:, 48] > 200).any()


def test_the_divider_is_thin_at_any_size() -> None:
    for height, thickness in ((54, 1), (480, 1), (1080, 2), (2160, 4)):
        (row,) = comparison("split")(np.zeros((height, 64, 3), np.uint8))[:1]
        light = (row.min(1) > 200).sum()
        assert light == thickness and row[:32].max() in (0, 255 - 255 // 8)


def test_the_divider_of_a_wipe_moves_with_time() -> None:
    wipe, places = comparison("wipe"), []
    for share in (0, 0.125, 0.25, 0.375, 0.5, 0.75, 1):
        wipe.at(share * WIPE_SECONDS)
        places.append(border(wipe(BLACK)))
    expected = 96 * (0.5 + 0.5 * np.cos(2 * np.pi * np.array([0, 0.125, 0.25, 0.375, 0.5, 0.75, 1])))
    assert np.abs(np.array(places) - expected).max() <= 1.5
    assert places[0] == places[-1] == 96 and places[4] == 0


@pytest.mark.parametrize("how", ["side", "split", "wipe"])
def test_time_resets_and_states_reach_the_painter(how: str) -> None:
    def made() -> Comparison:
        return Comparison(Painter({"a": engine()}, timeline=lambda t: Look(strength=min(t, 1))), how)

    whole, frames = made(), film(6)
    for number, frame in enumerate(frames[:3]):
        whole.at(number), whole(frame)
    state, resumed = whole.read_state(), made()
    resumed.load_state(state)
    for number, frame in enumerate(frames[3:], 3):
        whole.at(number), resumed.at(number)
        assert np.array_equal(whole(frame), resumed(frame))
    whole.reset()
    fresh = made()
    fresh.at(5), whole.at(5)
    assert np.array_equal(whole(frames[0]), fresh(frames[0]))
