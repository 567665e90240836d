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
from vst.painting.layouts import Stereo
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


BLACK = np.zeros((48, 80, 3), np.uint8)


def at(masked: Masked, seconds: float, frame: np.ndarray = BLACK) -> np.ndarray:
    masked.at(seconds)
    return masked(frame)


def shown(masked: Masked, times: list[float]) -> list[int]:
    """Numbers of the masks of `sweep` that are seen at these times."""
    return [round(painted_columns(at(masked, time), BLACK) / 8) for time in times]


def test_a_mask_video_runs_along_and_its_last_frame_holds(tmp_path: Path) -> None:
    file = make_video(tmp_path / "mask.mp4", sweep(6), options={"crf": "1"}, fps=10)
    assert shown(Masked(red(), FileMask(file)), [n / 10 for n in range(9)]) == [0, 1, 2, 3, 4, 5, 5, 5, 5]


def test_a_mask_video_is_shown_at_its_times(tmp_path: Path) -> None:
    """Whatever its rate is, and when the film's times do not begin at 0, as those of a broadcast."""
    file = make_video(tmp_path / "mask.mp4", sweep(6), options={"crf": "1"}, fps=10)
    assert shown(Masked(red(), FileMask(file)), [n / 20 for n in range(8)]) == [0, 0, 1, 1, 2, 2, 3, 3]
    assert shown(Masked(red(), FileMask(file)), [7 + n / 5 for n in range(4)]) == [0, 2, 4, 5]
    assert shown(Masked(red(), FileMask(file, begin=0.3)), [0, 0.1, 0.2, 0]) == [3, 4, 5, 3]
    uneven = make_video(tmp_path / "vfr.mp4", sweep(4), options={"crf": "1"}, pts=[40, 240, 280, 900])
    assert shown(Masked(red(), FileMask(uneven)), [0, 0.19, 0.2, 0.23, 0.25, 0.8, 0.9]) == [0, 0, 1, 1, 2, 2, 3]
    rounded = [0.033, 0.067, 0.1, 0.133, 0.167]  # milliseconds, as Matroska has them
    thirtieths = make_video(tmp_path / "30.mp4", sweep(6), options={"crf": "1"}, fps=30)
    assert shown(Masked(red(), FileMask(thirtieths)), [0.0, *rounded]) == [0, 1, 2, 3, 4, 5]


def test_a_folder_of_masks_runs_at_the_rate_of_the_film(tmp_path: Path) -> None:
    for number, picture in enumerate(sweep(6)):
        saved(tmp_path / f"{number}.png", picture)
    assert shown(Masked(red(), FileMask(tmp_path, fps=50)), [0, 0.02, 0.06, 0.08]) == [0, 1, 3, 4]


def test_a_mask_of_one_picture_is_read_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    mask = FileMask(saved(tmp_path / "mask.png", left_half(48, 80)))
    first = mask(BLACK)
    monkeypatch.setattr(FileMask, "_fitted", lambda *_: pytest.fail("it was fitted again"))
    mask.at(0.5)
    assert mask(BLACK) is first


def test_each_eye_has_its_half_of_the_mask(tmp_path: Path) -> None:
    picture = np.zeros((48, 64, 3), np.uint8)
    picture[:24, :16] = picture[24:, 32:] = 255
    file, (frame,) = saved(tmp_path / "mask.png", picture), film(1)
    for layout, axis in (("side_by_side", 1), ("top_bottom", 0)):
        masks = [FileMask(file, eye=(number, layout)) for number in (0, 1)]
        for mask in masks:
            mask.check(*((32, 48) if axis else (64, 24)))
            with pytest.raises(UserError, match=r"^mask .* is 64x48 and the film"):
                mask.check(64, 48)
        both = Stereo(*(Masked(red(), mask, feather=4) for mask in masks), layout)(frame)
        seams = [np.ascontiguousarray(half) for half in np.split(frame, 2, axis)]
        alone = [saved(tmp_path / f"{n}.png", half) for n, half in enumerate(np.split(picture, 2, axis))]
        expected = [Masked(red(), FileMask(f), feather=4)(half) for f, half in zip(alone, seams, strict=True)]
        assert np.array_equal(both, np.concatenate(expected, axis))


def test_the_soft_edge_of_a_panorama_has_no_seam(tmp_path: Path) -> None:
    picture, (frame,) = np.zeros((48, 64, 3), np.uint8), film(1)
    picture[:, :20] = 255
    turned = [saved(tmp_path / "a.png", picture), saved(tmp_path / "b.png", np.roll(picture, 30, 1))]
    here, there = (Masked(red(), FileMask(file), feather=6, wrap=True) for file in turned)
    assert np.array_equal(np.roll(here(frame), 30, 1), there(np.roll(frame, 30, 1)))


def test_cuts_do_not_rewind_a_mask_and_its_place_is_part_of_the_state(tmp_path: Path) -> None:
    file = make_video(tmp_path / "mask.mp4", sweep(6), options={"crf": "1"}, fps=10)
    frames = film(9, 48, 80)
    times = [2 + n / 10 for n in range(9)]

    def masked() -> Masked:
        return Masked(Painter({"a": engine()}, Look(calm=0.5)), FileMask(file))

    for stop in (2, 4, 7):
        whole = masked()
        for time, frame in zip(times[:stop], frames, strict=False):
            at(whole, time, frame)
        state = whole.read_state()
        resumed = masked()
        at(resumed, times[stop], frames[stop])  # as a pipeline does, to make room for the memory
        resumed.load_state(state)
        assert np.array_equal(resumed(frames[stop]), at(whole, times[stop], frames[stop]))
        for time, frame in zip(times[stop + 1 :], frames[stop + 1 :], strict=True):
            assert np.array_equal(at(resumed, time, frame), at(whole, time, frame))
    moving = Masked(red(), FileMask(file))
    assert shown(moving, [0, 0.1]) == [0, 1]
    moving.reset()
    assert shown(moving, [0.2]) == [2]


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
