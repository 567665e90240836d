"""Masks: the inside painted, the outside untouched; films as masks; a colour as a mask."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from tests.media import make_video
from tests.painting.engines import Flat, Invert, engine, film
from vst.errors import UserError
from vst.painting import Look, Painter
from vst.painting.masks import ChromaKey, FileMask, Masked

RED = (200, 30, 20)


def left_half(height: int = 48, width: int = 64) -> np.ndarray:
    picture = np.zeros((height, width, 3), np.uint8)
    picture[:, : width // 2] = 255
    return picture


def saved(path: Path, picture: np.ndarray) -> Path:
    cv2.imwrite(str(path), picture[..., ::-1])
    return path


def red() -> Painter:
    return Painter({"red": Flat(*RED)})


def test_inside_and_outside(tmp_path: Path) -> None:
    file, (frame,) = saved(tmp_path / "mask.png", left_half()), film(1)
    inside, outside = (Masked(red(), FileMask(file), invert)(frame) for invert in (False, True))
    assert (inside[:, :32] == RED).all() and np.array_equal(inside[:, 32:], frame[:, 32:])
    assert (outside[:, 32:] == RED).all() and np.array_equal(outside[:, :32], frame[:, :32])


def test_grey_is_a_share_and_feather_softens_the_edge_alone(tmp_path: Path) -> None:
    black = np.zeros((48, 64, 3), np.uint8)
    grey = saved(tmp_path / "grey.png", np.full((48, 64, 3), 51, np.uint8))
    painted = Masked(Painter({"white": Flat(255, 255, 255)}), FileMask(grey))(black)
    assert np.abs(painted.astype(int) - 51).max() <= 1
    file = saved(tmp_path / "half.png", left_half())
    row = Masked(Painter({"white": Flat(255, 255, 255)}), FileMask(file), feather=6)(black)[20, :, 0].astype(int)
    assert (row[:20] == 255).all() and (row[44:] == 0).all() and (np.diff(row) <= 0).all()
    assert np.abs(np.diff(row)).max() < 50 and abs(row[31] + row[32] - 255) <= 2


def test_masks_are_scaled_and_other_shapes_refused(tmp_path: Path) -> None:
    file, (frame,) = saved(tmp_path / "mask.png", left_half(96, 128)), film(1)
    masked = Masked(red(), FileMask(file))
    assert masked.output_size(64, 48) == (64, 48)
    painted = masked(frame)
    assert (painted[:, :31] == RED).all() and np.array_equal(painted[:, 33:], frame[:, 33:])
    with pytest.raises(
        UserError, match=r"^mask .* is 128x96 and the film 64x64, which is another shape; crop or scale"
    ):
        masked.output_size(64, 64)
    with pytest.raises(UserError, match=r"nothing.png"):
        FileMask(tmp_path / "nothing.png")


def sweep(frames: int) -> np.ndarray:
    """Mask n is white in the leftmost n tenths."""
    pictures = np.zeros((frames, 48, 80, 3), np.uint8)
    for number, picture in enumerate(pictures):
        picture[:, : 8 * number] = 255
    return pictures


def painted_columns(image: np.ndarray, frame: np.ndarray) -> int:
    """Width of the red part, in columns, read where the codec's edge does not matter."""
    return int((np.abs(image[24].astype(int) - RED).max(1) < 20).sum())


def test_a_mask_video_runs_along_and_its_last_frame_holds(tmp_path: Path) -> None:
    file = make_video(tmp_path / "mask.mp4", sweep(6), options={"crf": "1"})
    masked, frames = Masked(red(), FileMask(file)), [np.zeros((48, 80, 3), np.uint8)] * 9
    widths = [painted_columns(masked(frame), frame) for frame in frames]
    assert np.abs(np.array(widths) - [0, 8, 16, 24, 32, 40, 40, 40, 40]).max() <= 1


def test_cuts_do_not_rewind_a_mask_and_its_place_is_part_of_the_state(tmp_path: Path) -> None:
    file = make_video(tmp_path / "mask.mp4", sweep(6), options={"crf": "1"})
    frames = film(9, 48, 80)

    def masked() -> Masked:
        return Masked(Painter({"a": engine()}, Look(calm=0.5)), FileMask(file))

    for stop in (2, 4, 7):
        whole = masked()
        for frame in frames[:stop]:
            whole(frame)
        state = whole.read_state()
        resumed = masked()
        resumed.load_state(state)
        for frame in frames[stop:]:
            assert np.array_equal(resumed(frame), whole(frame))
    moving = Masked(red(), FileMask(file))
    black = np.zeros((48, 80, 3), np.uint8)
    moving(black), moving.reset(), moving(black)
    assert abs(painted_columns(moving(black), black) - 16) <= 1


def green_screen() -> tuple[np.ndarray, np.ndarray]:
    """A grey disc with skin colours on an uneven green, and where it is."""
    y, x = np.mgrid[0:120, 0:160]
    light = (0.7 + 0.3 * x / 160)[..., None]
    frame = np.clip(np.array([30, 180, 50]) * light, 0, 255)
    disc = (x - 80) ** 2 + (y - 60) ** 2 < 30**2
    frame[disc] = [190, 150, 130]
    return frame.astype(np.uint8), disc


def test_a_colour_is_keyed_whatever_its_brightness() -> None:
    frame, disc = green_screen()
    share = ChromaKey((30, 180, 50))(frame)
    near = cv2.dilate(disc.astype(np.uint8), np.ones((5, 5))).astype(bool)
    far = cv2.erode(disc.astype(np.uint8), np.ones((5, 5))).astype(bool)
    assert (share[~near] == 1).all() and (share[far] == 0).all()
    kept = Masked(Painter({"a": Invert()}), ChromaKey((30, 180, 50)))(frame)
    assert np.array_equal(kept[far], frame[far]) and np.array_equal(kept[~near], 255 - frame[~near])
    turned = Masked(Painter({"a": Invert()}), ChromaKey((30, 180, 50)), invert=True)(frame)
    assert np.array_equal(turned[~near], frame[~near]) and np.array_equal(turned[far], 255 - frame[far])


def test_tolerance_and_softness_are_distances_of_chroma() -> None:
    """Along a line away from the key, against cv2's own conversion."""
    steps = np.linspace(0, 1, 64)[:, None]
    colors = ((1 - steps) * [30, 180, 50] + steps * [150, 120, 160]).round().astype(np.uint8)
    frame = colors[None].repeat(9, 0)
    chroma = cv2.cvtColor(frame, cv2.COLOR_RGB2YCrCb)[4, :, 1:].astype(float)
    distance = np.linalg.norm(chroma - chroma[0], axis=1)
    to_grey = np.linalg.norm(chroma[0] - 128)
    share = ChromaKey((30, 180, 50), tolerance=0.4, softness=0.3)(frame)[4]
    assert np.abs(share - np.clip((0.7 - distance / to_grey) / 0.3, 0, 1))[1:-1].max() < 0.1
    hard = ChromaKey((30, 180, 50), tolerance=0.4, softness=0)(frame)[4]
    assert set(np.unique(hard)) == {0.0, 1.0}


def test_neither_greys_nor_nothing_can_be_keyed() -> None:
    greys = np.arange(256, dtype=np.uint8)[None, :, None].repeat(9, 0).repeat(3, 2)
    assert (ChromaKey((40, 175, 60))(greys) == 0).all()
    with pytest.raises(UserError, match=r"^mask.color: \[120, 125, 122\] is nearly grey"):
        ChromaKey((120, 125, 122))
