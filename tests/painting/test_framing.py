"""Crops and sizes: which pixels are painted, and what is refused."""

import numpy as np
import pytest

from tests.painting.engines import Flat, engine, film
from vst.errors import UserError
from vst.painting import Look, Painter
from vst.painting.framing import Framed, read_crop, read_size

STRENGTHLESS = Look(strength=0.0)  # gives back what the painter was given


def framed(crop: tuple[int, int, int, int] | None = None, size: tuple[int, int | None] | None = None) -> Framed:
    return Framed(Painter({"red": Flat(200, 0, 0)}, STRENGTHLESS), crop, size)


def test_a_crop_keeps_these_pixels() -> None:
    frame = np.random.default_rng(0).integers(0, 256, (54, 96, 3), np.uint8)
    cropped = framed(crop=(10, 4, 40, 32))
    assert cropped.output_size(96, 54) == (40, 32)
    out = np.empty((32, 40, 3), np.uint8)
    assert np.array_equal(cropped(frame, out), frame[4:36, 10:50]) and np.array_equal(out, frame[4:36, 10:50])


def test_a_size_is_what_comes_out_and_a_lone_width_keeps_the_shape() -> None:
    across = np.broadcast_to(np.linspace(0, 255, 96)[None, :, None], (54, 96, 3)).astype(np.uint8)
    for size, expected in (((48, 30), (48, 30)), ((48, None), (48, 28)), ((192, None), (192, 108))):
        scaled = framed(size=size)
        assert scaled.output_size(96, 54) == expected
        image = scaled(across)
        assert image.shape[1::-1] == expected
        wanted = np.interp((np.arange(size[0]) + 0.5) * 96 / size[0] - 0.5, np.arange(96), np.linspace(0, 255, 96))
        assert np.abs(image[5, :, 0] - wanted).max() <= 2


def test_the_crop_comes_first() -> None:
    frame = np.zeros((54, 96, 3), np.uint8)
    frame[:, 48:] = 250
    both = framed(crop=(48, 0, 48, 54), size=(24, None))
    assert both.output_size(96, 54) == (24, 28)
    assert (both(frame) == 250).all()


def test_resets_and_states_reach_the_painter() -> None:
    def made() -> Framed:
        return Framed(Painter({"a": engine()}), (8, 8, 48, 32), (32, 32))

    whole, frames = made(), film(6)
    for frame in frames[:3]:
        whole(frame)
    other = made()
    other(frames[0])
    other.load_state(whole.read_state())
    assert np.array_equal(whole(frames[3]), other(frames[3]))
    whole.reset()
    assert np.array_equal(whole(frames[4]), made()(frames[4]))


def test_what_is_no_frame_is_refused_in_one_line() -> None:
    with pytest.raises(UserError, match=r"columns end at 100 and rows at 54, and the picture is 96x54"):
        framed(crop=(60, 0, 40, 54)).output_size(96, 54)
    with pytest.raises(UserError, match=r"20x10 pixels are left"):
        framed(size=(20, 10)).output_size(96, 54)
    for crop in ([1, 2, 3], [0, 0, 0, 5], [-1, 0, 5, 5], [0, 0, 1.5, 5], ["a", 0, 1, 1]):
        with pytest.raises(UserError, match="left,top,width,height"):
            read_crop(crop)
    for size in ("1280:720", "0x50", "50x0", "x720", "-50", 0, "1280x", "axb", "1280x720x3", "64x123456"):
        with pytest.raises(UserError, match=r"as 1280x720, or a width"):
            read_size(size)
        with pytest.raises(UserError, match=r"as 1280x720$"):
            read_size(size, both=True)
    with pytest.raises(UserError, match=r"as 1280x720$"):
        read_size("1280", both=True)
    assert read_size("1280x720", both=True) == (1280, 720) and read_size(None, both=True) is None
    assert read_crop([0, 1, 2, 3]) == (0, 1, 2, 3) and read_crop(None) is None
    assert read_size("1280x720") == (1280, 720) and read_size(640) == (640, None) and read_size(None) is None
