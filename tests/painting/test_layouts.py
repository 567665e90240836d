"""Stereo and panoramas: both eyes alike, no seam."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch

from tests.painting.engines import Invert, engine, film, network
from vst.errors import UserError
from vst.networks import SlowTone, Stylizer
from vst.painting import Look, Painter
from vst.painting.compare import Comparison
from vst.painting.layouts import Stereo
from vst.runtime import open_engine

AXES = {"side_by_side": 1, "top_bottom": 0}


def stereo(layout: str, look: Look | None = None) -> Stereo:
    left, right = (Painter({"a": engine()}, look) for _ in range(2))
    return Stereo(left, right, layout)


@pytest.mark.parametrize("layout", AXES)
@pytest.mark.parametrize("look", [Look(), Look(calm=1, stroke=2, preserve_color=0.5)], ids=["plain", "all"])
def test_what_both_eyes_see_alike_is_painted_alike(layout: str, look: Look) -> None:
    both, alone = stereo(layout, look), Painter({"a": engine()}, look)
    for frame in film(5):
        pair = both(np.concatenate([frame, frame], AXES[layout]))
        left, right = np.split(pair, 2, AXES[layout])
        assert np.array_equal(left, right) and np.array_equal(left, alone(frame))


@pytest.mark.parametrize("layout", AXES)
def test_eyes_do_not_see_each_other(layout: str) -> None:
    one, other, out = stereo(layout), stereo(layout), np.empty((96, 64, 3), np.uint8)
    out = out if layout == "top_bottom" else np.empty((48, 128, 3), np.uint8)
    for left, right, changed in zip(film(4), film(4, seed=1), film(4, seed=2), strict=True):
        a = np.split(one(np.concatenate([left, right], AXES[layout]), out).copy(), 2, AXES[layout])
        b = np.split(other(np.concatenate([left, changed], AXES[layout])), 2, AXES[layout])
        assert np.array_equal(a[0], b[0]) and not np.array_equal(a[1], b[1])


def test_stereo_carries_time_and_state() -> None:
    whole, frames = stereo("side_by_side"), film(6, 48, 128)
    for frame in frames[:3]:
        whole(frame)
    resumed = stereo("side_by_side")
    resumed.load_state(whole.read_state())
    for frame in frames[3:]:
        assert np.array_equal(whole(frame), resumed(frame))
    timed = Stereo(*(Painter({"a": Invert()}, timeline=lambda t: Look(strength=t)) for _ in range(2)), "top_bottom")
    timed.at(1)
    assert np.array_equal(timed(frames[0]), 255 - frames[0])
    with pytest.raises(UserError, match="65x48 cannot be two eyes of one size: it is an odd number of pixels wide"):
        whole.output_size(65, 48)
    assert stereo("top_bottom").output_size(65, 48) == (65, 48)


@pytest.mark.parametrize("layout", AXES)
@pytest.mark.parametrize("how", ["split", "wipe", "side"])
def test_each_eye_has_its_own_comparison(layout: str, how: str) -> None:
    pair = np.concatenate([film(1)[0], film(1, seed=1)[0]], AXES[layout])
    both = Stereo(*(Comparison(Painter({"a": Invert()}), how) for _ in range(2)), layout)
    both.at(1.0)
    alone = Comparison(Painter({"a": Invert()}), how)
    alone.at(1.0)
    expected = np.concatenate([alone(eye) for eye in np.split(pair, 2, AXES[layout])], AXES[layout])
    assert np.array_equal(both(pair), expected)
    assert both.output_size(*pair.shape[1::-1]) == expected.shape[1::-1]


@pytest.mark.parametrize("memory", ["gru", "aligned", "none"])
@pytest.mark.parametrize(
    "look",
    [Look(), Look(stroke=2), Look(stroke=2 / 3), Look(calm=0.8), Look(stroke=2, calm=0.5, blend=("b", 0.5))],
    ids=["plain", "small", "large", "calm", "all"],
)
def test_a_panorama_has_no_seam(look: Look, memory: str) -> None:
    """Where the picture is cut open does not matter, for frame after frame with memory."""
    here, there = (Painter({"a": engine(memory), "b": engine(memory, 1)}, look, wrap=True) for _ in range(2))
    for frame in film(8, 48, 96):
        expected = np.roll(here(frame), 40, axis=1).astype(int)
        assert np.abs(there(np.roll(frame, 40, axis=1)) - expected).max() <= 1


def test_without_wrapping_there_is_a_seam() -> None:
    """What the test above rests on: the border changes what is painted beside it."""
    here, there = (Painter({"a": engine()}) for _ in range(2))
    for frame in film(8, 48, 96):
        difference = np.abs(np.roll(here(frame), 40, axis=1).astype(int) - there(np.roll(frame, 40, axis=1)))
    assert difference.max() > 2


def toned() -> Painter:
    tone = SlowTone(pace=0.1)
    tone.set_style([torch.linspace(0, 1, 3 * 24 * 24).reshape(3, 24, 24)])
    return Painter({"a": open_engine(Stylizer(network().generator, network().temporal, tone).eval())}, wrap=True)


@pytest.mark.parametrize("painter", [lambda: Painter({"a": engine()}, wrap=True), toned], ids=["plain", "tone"])
def test_a_panorama_of_any_width_keeps_its_size_and_resumes(painter: Callable[[], Painter]) -> None:
    frames = [np.multiply(f, 1 - n / 8, casting="unsafe").astype(np.uint8) for n, f in enumerate(film(6, 40, 85))]
    whole = painter()
    for frame in frames[:3]:
        assert whole(frame).shape == (40, 85, 3)
    resumed = painter()
    resumed.load_state(whole.read_state())
    for frame in frames[3:]:
        assert np.array_equal(whole(frame), resumed(frame))


def test_networks_that_look_at_the_whole_frame_cannot_wrap() -> None:
    with pytest.raises(UserError, match=r"^a panorama needs a network that is known to look only around each pixel"):
        Painter({"a": Invert()}, wrap=True)
