"""Films of 4:2:0 that are painted smaller never become RGB at their own size, and look as if they had."""

from __future__ import annotations

import av
import numpy as np
import pytest

from tests.painting.engines import Invert, engine, film
from vst.memory import load_memory, read_memory
from vst.painting import Look, Painter
from vst.planes import PlaneFormat

SIZE = 128, 96
PLANES = PlaneFormat(red=0.299, blue=0.114, full=False)  # BT.601, as FFmpeg converts by itself


class Same(Invert):
    """The frame itself."""

    def __call__(self, frame: np.ndarray, out: np.ndarray) -> np.ndarray:
        np.copyto(out, frame)
        return out


def as_planes(frame: np.ndarray) -> np.ndarray:
    return av.VideoFrame.from_ndarray(frame, format="rgb24").reformat(format="yuv420p").to_ndarray()


def as_rgb(planes: np.ndarray) -> np.ndarray:
    return av.VideoFrame.from_ndarray(planes, format="yuv420p").reformat(format="rgb24").to_ndarray()


def clip() -> list[np.ndarray]:
    width, height = SIZE
    return film(4, height, width)


def shown(painter: Painter, frames: list[np.ndarray]) -> list[np.ndarray]:
    on_planes = painter.for_planes(PLANES, SIZE)
    on_planes.reset()
    return [on_planes(planes, out=np.empty_like(planes)) for planes in map(as_planes, frames)]


@pytest.mark.parametrize("stroke", [2, 1.7])  # chroma of the small frame's size, and of another
def test_planes_are_painted_as_rgb_is(stroke: float) -> None:
    look = Look(stroke=stroke)
    for planes, frame in zip(shown(Painter({"a": Invert()}, look), clip()), clip(), strict=True):
        expected = as_planes(Painter({"a": Invert()}, look)(frame)).astype(int)
        assert np.abs(planes - expected).mean() < 0.5


def test_luma_gets_its_detail_back() -> None:
    width, height = SIZE
    stripes = (
        np.where(np.arange(width) % 32 < 15, 60, 200).astype(np.uint8)[None, :, None].repeat(height, 0).repeat(3, 2)
    )
    painted = as_rgb(shown(Painter({"a": Same()}, Look(stroke=4)), [stripes])[0]).astype(int)
    assert np.abs(painted - stripes).mean() < 3  # 10 without it


@pytest.mark.parametrize(
    "look", [Look(), Look(stroke=2, strength=0.5), Look(stroke=2, calm=0.5), Look(stroke=2, preserve_color=0.5)]
)
def test_what_needs_rgb_has_none_for_planes(look: Look) -> None:
    assert Painter({"a": Invert()}, look).for_planes(PLANES, SIZE) is None
    if look == Look():
        timeline = Painter({"a": Invert()}, None, lambda seconds: Look(stroke=2))
        panorama = Painter({"a": engine()}, Look(stroke=2), wrap=True)
        assert timeline.for_planes(PLANES, SIZE) is None and panorama.for_planes(PLANES, SIZE) is None


def test_the_memory_goes_on_in_another_painter() -> None:
    frames, look = clip(), Look(stroke=2)
    first, second, forgetful = (Painter({"a": engine()}, look).for_planes(PLANES, SIZE) for _ in range(3))
    painted = [first(planes, out=np.empty_like(planes)) for planes in map(as_planes, frames[:3])]
    memory, next_ = read_memory(first), as_planes(frames[3])
    expected = first(next_, out=np.empty_like(next_))
    for other in (second, forgetful):
        other(as_planes(frames[0]), out=np.empty_like(next_))
    load_memory(second, memory)
    assert np.array_equal(second(next_, out=np.empty_like(next_)), expected) and len(painted) == 3
    assert not np.array_equal(forgetful(next_, out=np.empty_like(next_)), expected)
