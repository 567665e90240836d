"""A picture is the same to everything that reads one, and what a folder's reader does not take is said."""

from __future__ import annotations

import logging
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
import tifffile
from PIL import Image

from data_modules.frames import visit_frames
from data_modules.images import FolderPhotos, readable_photos
from data_modules.styles import FolderStyle, ImageStyle, WikiArtStyle
from data_modules.video_cache import scan_folder
from tests import icc, media
from vst.errors import UserError
from vst.evaluate.media import find_clips, find_pictures, read_pictures, read_video
from vst.live.sources import open_source as open_live
from vst.painting.camera import Camera
from vst.painting.masks import FileMask
from vst.video import open_source, stills
from vst.video.stills import read_still

SIDE = 64
GREY = np.tile(np.linspace(0, 255, SIDE).round().astype(np.uint8), (SIDE, 1))
RGB = np.stack([GREY, GREY.T, GREY[:, ::-1]], 2)


def save_deep_grey(path: Path) -> None:
    Image.fromarray(GREY.astype(np.uint16) * 257).save(path.with_suffix(".png"))


def save_integers(path: Path) -> None:
    tifffile.imwrite(path.with_suffix(".tif"), GREY.astype(np.int32) * 257)


def save_floats(path: Path) -> None:
    tifffile.imwrite(path.with_suffix(".tif"), GREY / np.float32(255))


def save_transparent(path: Path) -> None:
    Image.fromarray(np.dstack([RGB, GREY.T])).save(path.with_suffix(".png"))


def save_wide(path: Path) -> None:
    Image.fromarray(RGB).save(path.with_suffix(".png"), icc_profile=icc.profile(icc.ADOBE_RGB, 2.2))


def save_cmyk(path: Path) -> None:
    Image.fromarray(RGB).convert("CMYK").save(path.with_suffix(".tif"))


def save_lying(path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 7
    Image.fromarray(RGB).save(path.with_suffix(".png"), exif=exif)


KINDS: dict[str, tuple[Callable[[Path], None], np.ndarray]] = {
    "16 bits of grey": (save_deep_grey, np.dstack([GREY] * 3)),
    "integers": (save_integers, np.dstack([GREY] * 3)),
    "floating point": (save_floats, np.dstack([GREY] * 3)),
    "transparency": (save_transparent, RGB * (GREY.T[..., None] / 255) + 255 - GREY.T[..., None]),
    "a wide gamut": (save_wide, icc.in_srgb(RGB, icc.ADOBE_RGB, 2.2)),
    "CMYK": (save_cmyk, RGB),
    "lying": (save_lying, RGB[::-1, ::-1].transpose(1, 0, 2)),
}


def by_style(path: Path) -> np.ndarray:
    return ImageStyle(path, crop=32, short_side=SIDE).reference().permute(1, 2, 0).numpy() * 255


def by_folder_of_styles(path: Path) -> np.ndarray:
    return FolderStyle(path.parent, crop=32, short_side=SIDE).reference().permute(1, 2, 0).numpy() * 255


def by_wikiart(path: Path) -> np.ndarray:
    return WikiArtStyle(path.parent, crop=32, short_side=SIDE).reference().permute(1, 2, 0).numpy() * 255


def by_photographs(path: Path) -> np.ndarray:
    return FolderPhotos(path.parent, readable_photos(path.parent), 200).load(0)[0]


def by_training_frames(path: Path) -> np.ndarray:
    (path.parent / "video").mkdir()
    for number in range(2):
        (path.parent / "video" / f"{number}{path.suffix}").write_bytes(path.read_bytes())
    seen = []
    visit_frames(path.parent / "video", lambda frame: seen.append(frame.to_ndarray(format="rgb24")))
    return seen[1]


def by_evaluation(path: Path) -> np.ndarray:
    return read_pictures(find_pictures(path, "styles"), SIDE)[0].permute(1, 2, 0).numpy() * 255


def by_evaluated_frames(path: Path) -> np.ndarray:
    for number in (1, 2):
        (path.parent / f"{number}{path.suffix}").write_bytes(path.read_bytes())
    path.unlink()
    return read_video(find_clips(path.parent, "clips")[0], 2, SIDE)[0][1]


def by_stylising(path: Path) -> np.ndarray:
    with open_source(path) as source:
        (frame,) = source
    return frame.image


def by_stylising_a_folder(path: Path) -> np.ndarray:
    with open_source(path.parent) as source:
        (frame,) = source
    return frame.image


def by_camera(path: Path) -> np.ndarray:
    return next(Camera(path, "zoom_in", 1).read()).image


DOORS = [
    by_style, by_folder_of_styles, by_wikiart, by_photographs, by_training_frames, by_evaluation, by_evaluated_frames,
    by_stylising, by_stylising_a_folder, by_camera,
]  # fmt: skip


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("door", DOORS)
def test_a_picture_is_the_same_at_every_door(tmp_path: Path, door: Callable[[Path], np.ndarray], kind: str) -> None:
    save, expected = KINDS[kind]
    save(tmp_path / "a")
    found = door(next(tmp_path.iterdir())).astype(float)
    assert found.shape == expected.shape
    assert np.abs(found - expected).max() <= 2.5


@pytest.mark.parametrize("kind", KINDS)
def test_a_mask_is_read_alike(tmp_path: Path, kind: str) -> None:
    save, expected = KINDS[kind]
    save(tmp_path / "a")
    if kind == "transparency":
        expected = expected - (255 - GREY.T[..., None])  # what cannot be seen is not painted: as if on black
    share = FileMask(next(tmp_path.iterdir()))(np.zeros((SIDE, SIDE, 3), np.uint8))
    assert np.abs(255 * share - expected @ [0.299, 0.587, 0.114]).max() <= 2.5


# ----------------------------------------------------------------------------------------------------
# Large pictures


def test_a_huge_jpeg_is_read_wherever_little_of_it_is_needed(tmp_path: Path, monkeypatch) -> None:
    Image.fromarray(np.kron(RGB, np.ones((16, 16, 1), np.uint8))).save(tmp_path / "a.jpg", quality=95)
    monkeypatch.setattr(stills, "LARGEST", 512 * 512)
    monkeypatch.setattr("vst.painting.camera.LONGEST_SIDE", 256)
    with pytest.raises(UserError, match="megapixels"):
        read_still(tmp_path / "a.jpg")
    for door in (by_style, by_folder_of_styles, by_photographs, by_evaluation, by_camera):
        found = door(tmp_path / "a.jpg").astype(float)
        assert min(found.shape[:2]) >= SIDE and abs(found.mean() - RGB.mean()) < 3, door


def test_what_is_too_large_is_told_with_the_reason_at_every_door(tmp_path: Path, monkeypatch) -> None:
    Image.fromarray(np.kron(RGB, np.ones((16, 16, 1), np.uint8))).save(tmp_path / "a.png")
    monkeypatch.setattr(stills, "LARGEST", 512 * 512)
    for door in (by_style, by_folder_of_styles, by_evaluation, by_stylising):
        with pytest.raises(UserError, match="megapixels") as told:
            door(tmp_path / "a.png")
        assert "\n" not in str(told.value)
    (tmp_path / "b.png").write_bytes((tmp_path / "a.png").read_bytes())
    with open_source(tmp_path) as source:
        assert not list(source) and "2 of 2 pictures cannot be read" in source.damaged
        assert "megapixels" in source.damaged


# ----------------------------------------------------------------------------------------------------
# What is passed over, and animations


def looks_into(folder: Path, door: str) -> None:
    if door == "style":
        FolderStyle(folder, crop=32, short_side=SIDE)
    elif door == "wikiart":
        WikiArtStyle(folder, crop=32, short_side=SIDE)
    elif door == "images":
        readable_photos(folder)
    elif door == "styles of evaluate":
        find_pictures(folder, "styles")
    elif door == "clips of evaluate":
        find_clips(folder, "clips")
    elif door == "video":
        scan_folder(folder, 64)
    else:
        with open_source(folder):
            open_source(folder)


@pytest.mark.parametrize("door", ["style", "wikiart", "images", "styles of evaluate", "stylise"])
def test_pictures_that_are_not_read_are_named_once(tmp_path: Path, caplog, door: str) -> None:
    Image.fromarray(RGB).save(tmp_path / "A.JPG")
    (tmp_path / "b.CR2").write_bytes(b"raw")
    (tmp_path / "drawing.svg").write_text("<svg/>")
    media.make_video(tmp_path / "c.mp4", n=2)
    (tmp_path / "notes.txt").write_text("nothing")
    with caplog.at_level(logging.WARNING):
        looks_into(tmp_path, door)
    (line,) = [text for text in map(logging.LogRecord.getMessage, caplog.records) if "passed over" in text]
    assert "3 files were passed over: b.CR2 (a camera's raw file" in line and "c.mp4 (a film)" in line
    assert "drawing.svg" in line and "notes" not in line and "\n" not in line


@pytest.mark.parametrize("door", ["clips of evaluate", "video"])
def test_films_that_are_not_read_are_named_once(tmp_path: Path, caplog, door: str) -> None:
    media.make_video(tmp_path / "a.ts", n=12)
    (tmp_path / "b.R3D").write_bytes(b"raw")
    with caplog.at_level(logging.WARNING):
        looks_into(tmp_path, door)
    (line,) = [record.getMessage() for record in caplog.records]
    assert "1 file was passed over: b.R3D (a camera's raw file" in line


@pytest.mark.parametrize("door", ["style", "images", "styles of evaluate", "stylise"])
def test_a_folder_of_what_is_not_read_says_what_it_holds(tmp_path: Path, door: str) -> None:
    (tmp_path / "b.CR2").write_bytes(b"raw")
    with pytest.raises(UserError, match=r"1 file was passed over: b\.CR2") as told:
        looks_into(tmp_path, door)
    assert "\n" not in str(told.value)


def animated(path: Path) -> Path:
    frames = [Image.fromarray(frame) for frame in media.pattern_frames(8)]
    frames[0].save(path, save_all=True, append_images=frames[1:], duration=[40, 80] * 4, lossless=True)
    return path


def test_a_style_that_moves_says_that_its_first_frame_is_taken(tmp_path: Path, caplog) -> None:
    with caplog.at_level(logging.WARNING):
        style = ImageStyle(animated(tmp_path / "a.webp"), crop=32, short_side=SIDE)
    assert "a.webp: the first of its 8 frames is taken" in caplog.text
    assert media.read_number((style.reference().permute(1, 2, 0).numpy() * 255).astype(np.uint8)) == 0
    with caplog.at_level(logging.WARNING):
        readable_photos(tmp_path)
    assert "of a.webp, the first frame is taken" in caplog.text


def test_an_animation_is_a_film_to_whatever_reads_films(tmp_path: Path) -> None:
    path = animated(tmp_path / "a.webp")
    frames, damaged = read_video(find_clips(tmp_path, "clips")[0], 20, 96)
    assert media.read_numbers(frames) == list(range(8)) and damaged is None
    (video,) = scan_folder(tmp_path, 64).videos
    assert video.num_frames == 8

    class Running:
        def is_set(self) -> bool:
            return False

        def wait(self, seconds: float) -> None: ...

    assert media.read_numbers(list(open_live(str(path)).frames(Running()))) == list(range(8))
    with open_source(path, fps=Fraction(25)) as source:
        assert media.read_numbers([frame.image for frame in source]) == [0, 1, 1, 2, 3, 3, 4, 5, 5, 6, 7, 7]
