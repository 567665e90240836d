"""A painter shows its engines' frames as the look says, and its memory can be taken away and brought back."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace

import cv2
import numpy as np
import pytest

from tests.painting.engines import Flat, Invert, engine, film
from vst.errors import UserError
from vst.painting import Look, Painter
from vst.painting.detail import GuidedUpsampling


def ycc(image: np.ndarray) -> np.ndarray:
    return cv2.cvtColor(image, cv2.COLOR_RGB2YCrCb).astype(int)


def test_the_plain_look_is_the_engine_frame_for_frame() -> None:
    alone, painter = engine(), Painter({"a": engine()})
    for frame in film():
        assert np.array_equal(painter(frame), alone(frame))


def test_the_result_goes_where_it_is_wanted_and_the_input_stays() -> None:
    for look in (Look(), Look(strength=0), Look(strength=0.5), Look(stroke=2), Look(calm=1), Look(preserve_color=1)):
        painter, (frame, *_) = Painter({"a": Invert()}, look), film(1)
        before, out = frame.copy(), np.zeros_like(frame)
        assert painter(frame, out) is out and out.any()
        assert np.array_equal(frame, before)
        fresh = painter(frame)
        assert np.array_equal(fresh, painter(frame)) and not np.shares_memory(fresh, painter(frame))
        assert not np.shares_memory(fresh, frame)


class Learned(Invert):
    """An engine whose network has learned frames of so many lines."""

    def __init__(self, short_side: int) -> None:
        super().__init__()
        self.info = SimpleNamespace(short_side=short_side)


@pytest.mark.parametrize(
    ("size", "stroke", "seen"),
    [
        ((1080, 1920), 1, (360, 640)),
        ((1920, 1080), 1, (640, 360)),
        ((360, 640), 1, (360, 640)),
        ((240, 320), 1, (360, 480)),  # strokes are the same share of a small picture
        ((90, 160), 1, (180, 320)),  # but nothing is painted at more than twice its size
        ((1080, 1920), 2, (180, 320)),
        ((1080, 1920), 4, (90, 160)),
        ((720, 1280), 2 / 3, (540, 960)),
        ((1080, 1920), 0.25, (1440, 2560)),
        ((360, 640), 0.25, (720, 1280)),
    ],
)
def test_frames_are_painted_at_the_size_that_was_learned(size, stroke, seen) -> None:
    engine = Learned(360)
    frame = np.full((*size, 3), 100, np.uint8)
    painted = Painter({"a": engine}, Look(stroke=stroke))(frame)
    assert engine.sizes == [seen] and painted.shape == frame.shape and (painted == 155).all()


def test_a_style_that_learned_no_size_decides_for_all() -> None:
    engines = {"a": Learned(360), "b": Learned(0)}
    Painter(engines)(np.zeros((720, 1280, 3), np.uint8))
    assert engines["a"].sizes == [(720, 1280)]


def test_strength_blends_with_the_input() -> None:
    (frame,) = film(1)
    painter = Painter({"a": Flat(200, 40, 90)})
    for strength in (0.0, 0.25, 0.5, 1.0):
        painter.look = Look(strength=strength)
        expected = np.array([200, 40, 90]) * strength + frame * (1 - strength)
        assert np.abs(painter(frame) - expected).max() <= 0.5
    painter.look = Look(strength=0)
    assert np.array_equal(painter(frame), frame)


def test_the_chroma_of_the_input_is_kept_under_the_luma_of_the_painting() -> None:
    rng = np.random.default_rng(0)
    frame = rng.integers(0, 256, (60, 80, 3), dtype=np.uint8)  # every colour there is
    painted = Painter({"a": Invert()}, Look(preserve_color=1))(frame)
    assert np.abs(ycc(painted)[..., 1:] - ycc(frame)[..., 1:]).max() <= 2
    mild = rng.integers(110, 146, (60, 80, 3), dtype=np.uint8)  # where every luma goes with every chroma
    painter = Painter({"a": Invert()}, Look(preserve_color=1))
    assert np.abs(ycc(painter(mild)) - ycc(255 - mild) * [1, 0, 0] - ycc(mild) * [0, 1, 1]).max() <= 2
    painter.look = Look(preserve_color=0.5)
    assert np.abs(ycc(painter(mild)) - [0, 128, 128])[..., 1:].max() <= 2  # halfway between a colour and its negative


def test_a_palette_draws_colours_to_itself_without_bands() -> None:
    palette = ((20, 20, 60), (200, 60, 40), (250, 230, 180))
    pure = np.array(palette, np.uint8)[None].repeat(20, 0).repeat(20, 1)
    painter = Painter({"a": Same()}, Look(palette=palette, palette_strength=1))
    assert np.abs(painter(pure).astype(int) - pure).max() < 30  # its own colours stay about what they are
    ramp = np.linspace((0, 0, 0), (255, 255, 255), 256).round().astype(np.uint8)[None].repeat(16, 0)
    result = painter(ramp).astype(int)
    assert np.abs(np.diff(result, axis=1)).max() <= 6  # a smooth ramp stays one
    assert distance_to(palette, result) < 0.5 * distance_to(palette, ramp)
    painter.look = replace(painter.look, palette_strength=0)
    assert np.array_equal(painter(ramp), ramp)


def test_a_palette_of_one_colour_tints() -> None:
    ramp = np.linspace((0, 0, 0), (255, 255, 255), 256).round().astype(np.uint8)[None].repeat(16, 0)
    sepia = Painter({"a": Same()}, Look(palette=((180, 120, 60),), palette_strength=1))(ramp)
    lab = [cv2.cvtColor(image.astype(np.float32) / 255, cv2.COLOR_RGB2Lab) for image in (sepia, ramp)]
    assert np.abs(lab[0] - lab[1])[:, 30:225, 0].max() < 3
    assert (lab[0][:, 60:200, 2] > 30).all()


class Same(Invert):
    def __call__(self, frame: np.ndarray, out: np.ndarray) -> np.ndarray:
        np.copyto(out, frame)
        return out


def distance_to(palette: tuple, image: np.ndarray) -> float:
    """Mean distance in RGB to the segments between the palette's colours, sampled."""
    shares = np.linspace(0, 1, 33)[:, None]
    points = np.concatenate([(1 - shares) * a + shares * b for a in np.array(palette) for b in np.array(palette)])
    return np.linalg.norm(image.reshape(-1, 1, 3) - points, axis=2).min(1).mean()


def test_strokes_that_cannot_be_as_fine_are_told_of_once(caplog) -> None:
    caplog.set_level("INFO")
    painter = Painter({"a": Learned(360)}, Look(stroke=0.5))
    for height in (360, 360, 300, 720):
        painter(np.zeros((height, 640, 3), np.uint8))
    (line,) = caplog.messages
    assert line == "stroke    0.5: frames of 640x300 are painted at 2 times that at most, which is stroke=0.6"


def test_stroke_is_how_small_the_network_sees_the_frame() -> None:
    network, (frame,) = Invert(), film(1, 60, 90)
    painter = Painter({"a": network})
    for stroke, size in ((1.0, (60, 90)), (2.0, (30, 45)), (0.5, (120, 180)), (0.25, (120, 180)), (4.0, (16, 22))):
        painter.look = Look(stroke=stroke)
        assert painter(frame).shape == frame.shape
        assert network.sizes[-1] == size
    assert np.abs(painter(frame).astype(int) - (255 - frame)).mean() < 12


def test_a_change_of_stroke_starts_the_memory_afresh() -> None:
    painter, fresh, (first, second, *_) = Painter({"a": engine()}), engine(), film()
    painter(first)
    painter.look = Look(stroke=2)
    small = cv2.resize(second, (32, 24), interpolation=cv2.INTER_AREA)
    assert np.array_equal(painter(second), GuidedUpsampling()(fresh(small), small, second))


def test_two_styles_are_mixed_and_the_one_that_comes_in_starts_afresh() -> None:
    a, b, (first, second, third, *_) = engine(seed=0), engine(seed=1), film()
    painter = Painter({"a": engine(seed=0), "b": engine(seed=1)}, Look(style="a"))
    painter(first), a(first)
    painter.look = Look(style="a", blend=("b", 0.25))
    expected = 0.75 * a(second) + 0.25 * b(second).astype(float)
    assert np.abs(painter(second) - expected).max() <= 0.51
    painter.look = Look(style="a", blend=("b", 1.0))  # b goes on with its memory
    assert np.array_equal(painter(third), b(third))
    painter.look = Look(style="a")
    a.reset()
    assert np.array_equal(painter(first), a(first))


def test_only_the_styles_that_are_seen_are_painted() -> None:
    a, b, (frame,) = Invert(), Invert(), film(1)
    painter = Painter({"a": a, "b": b})
    for look in (Look(), Look(blend=("b", 0)), Look(strength=0, blend=("b", 0.5)), Look(style="b", blend=("b", 0.5))):
        painter.look = look
        painter(frame)
    assert (len(a.sizes), len(b.sizes)) == (2, 1)


def test_a_reset_forgets() -> None:
    for look in (Look(), Look(calm=0.8)):
        painter, (first, second, *_) = Painter({"a": engine()}, look), film()
        painter(first)
        carried = painter(second)
        painter.reset()
        fresh = Painter({"a": engine()}, look)(second)
        assert np.array_equal(painter(second), fresh) and not np.array_equal(carried, fresh)


@pytest.mark.parametrize("memory", ["gru", "aligned", "none"])
@pytest.mark.parametrize(
    "look",
    [
        Look(),
        Look(calm=0.7),
        Look(stroke=2, calm=1),
        Look(style="b"),
        Look(blend=("b", 0.4), calm=0.5),
        Look(strength=0),
    ],
    ids=["plain", "calm", "small", "second", "two", "none"],
)
def test_a_saved_state_goes_on_bit_for_bit(look: Look, memory: str) -> None:
    def painter() -> Painter:
        return Painter({"a": engine(memory, 0), "b": engine(memory, 1)}, look)

    whole, frames = painter(), film(8)
    for frame in frames[:4]:
        whole(frame)
    state = whole.read_state()
    assert all(isinstance(array, np.ndarray) and array.dtype != object for array in state)
    expected = [whole(frame) for frame in frames[4:]]
    resumed = painter()
    resumed(frames[-1])  # what it did before does not matter
    resumed.load_state(state)
    for frame, image in zip(frames[4:], expected, strict=True):
        assert np.array_equal(resumed(frame), image)


def test_a_saved_state_of_the_beginning_is_the_beginning() -> None:
    painter, (first, second, *_) = Painter({"a": engine()}), film()
    state, expected = painter.read_state(), painter(first)
    painter(second)
    painter.load_state(state)
    assert np.array_equal(painter(first), expected)


def test_the_timeline_is_asked_with_the_time_of_the_frame() -> None:
    painter, (frame,) = Painter({"a": Flat(100, 100, 100)}, timeline=lambda t: Look(strength=t / 10)), film(1)
    painter.at(0)
    assert np.array_equal(painter(frame), frame)
    painter.at(10)
    assert (painter(frame) == 100).all()


def test_mistakes_are_one_line() -> None:
    with pytest.raises(UserError, match="at least one style"):
        Painter({})
    with pytest.raises(UserError, match=r"^style=wave: no such style; styles: scream$"):
        Painter({"scream": Invert()}, Look(style="wave"))
    painter = Painter({"scream": Invert()})
    with pytest.raises(UserError, match=r"^strength=7: "):
        painter.look = Look(strength=7)
    assert painter.look == Look()
    painter(film(1)[0])
    with pytest.raises(UserError, match=r"^Invert: its memory cannot be read; use vst.runtime.open_engine"):
        painter.read_state()
    with pytest.raises(UserError, match="at least 16 on each side"):
        Painter({"a": engine()})(np.zeros((12, 40, 3), np.uint8))
