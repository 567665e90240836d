"""All eight ways that a display matrix or a photograph's EXIF can turn and mirror a picture, through every door."""

from __future__ import annotations

import shutil
import subprocess
import threading
from pathlib import Path

import av
import numpy as np
import pytest
from PIL import Image

from data_modules.video import read_frames
from data_modules.video_cache import scan_folder
from tests import media
from vst.evaluate.media import read_video
from vst.live.sources import FileSource, StreamSource
from vst.painting.masks import FileMask
from vst.quality import film as calibration
from vst.stream import stylize_video
from vst.video import FrameIndex, VideoReader, open_source, probe, read_clip
from vst.video.orientation import UPRIGHT, Orientation

UNIT = 65536
# EXIF's number of an orientation: the a, b, c, d of the matrix that says the same, and what Pillow does for it.
TURNS = {
    1: ((1, 0, 0, 1), None),
    2: ((-1, 0, 0, 1), Image.Transpose.FLIP_LEFT_RIGHT),
    3: ((-1, 0, 0, -1), Image.Transpose.ROTATE_180),
    4: ((1, 0, 0, -1), Image.Transpose.FLIP_TOP_BOTTOM),
    5: ((0, 1, 1, 0), Image.Transpose.TRANSPOSE),
    6: ((0, 1, -1, 0), Image.Transpose.ROTATE_270),
    7: ((0, -1, -1, 0), Image.Transpose.TRANSVERSE),
    8: ((0, -1, 1, 0), Image.Transpose.ROTATE_90),
}
ALL = pytest.mark.parametrize("exif", TURNS)
STORED = np.zeros((64, 96, 3), np.uint8)
STORED[:32, :48], STORED[:32, 48:], STORED[32:, :48], STORED[32:, 48:] = (
    (220, 30, 30),
    (30, 200, 30),
    (30, 30, 220),
    240,
)


def matrix(exif: int) -> tuple[int, ...]:
    a, b, c, d = (UNIT * value for value in TURNS[exif][0])
    return (a, b, 0, c, d, 0, 0, 0, 1 << 30)


def shown(exif: int, stored: np.ndarray = STORED) -> np.ndarray:
    turn = TURNS[exif][1]
    return np.asarray(Image.fromarray(stored) if turn is None else Image.fromarray(stored).transpose(turn))


def film(path: Path, exif: int, n: int = 3, stored: np.ndarray = STORED) -> Path:
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=25, options={"crf": "10"})
        stream.height, stream.width = stored.shape[:2]
        stream.pix_fmt = "yuv420p"
        stream.set_display_matrix(matrix(exif))
        for number in range(n):
            frame = av.VideoFrame.from_ndarray(stored, format="rgb24")
            frame.pts = number
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


def alike(image: np.ndarray, expected: np.ndarray, most: float = 12) -> bool:
    return image.shape == expected.shape and np.abs(image.astype(int) - expected).mean() < most


class Watching:
    """An engine that returns its input and keeps what it saw first."""

    def __init__(self) -> None:
        self.seen: np.ndarray | None = None

    def reset(self) -> None: ...

    def __call__(self, frame: np.ndarray, out: np.ndarray) -> np.ndarray:
        self.seen = frame.copy() if self.seen is None else self.seen
        np.copyto(out, frame)
        return out


@ALL
def test_a_matrix_is_read_and_undone(exif: int) -> None:
    orientation = Orientation.of(matrix(exif))
    upright = orientation.upright(STORED)
    assert np.array_equal(upright, shown(exif)) and upright.flags.c_contiguous
    assert np.array_equal(orientation.stored(upright), STORED)
    assert orientation.size(96, 64) == upright.shape[1::-1] and orientation.size(*upright.shape[1::-1]) == (96, 64)
    assert (orientation == UPRIGHT) == (exif == 1)


@pytest.mark.parametrize(("degrees", "exif"), [(0, 1), (30, 1), (60, 8), (90, 8), (-80, 6), (170, 3), (-100, 6)])
def test_other_angles_go_to_the_nearest_right_one(degrees: int, exif: int) -> None:
    turn = np.deg2rad(degrees)
    a, b, c, d = (round(UNIT * value) for value in (np.cos(turn), -np.sin(turn), np.sin(turn), np.cos(turn)))
    assert Orientation.of((a, b, 0, c, d, 0, 0, 0, 1 << 30)) == Orientation.of(matrix(exif))


@ALL
@pytest.mark.parametrize("kind", ["mp4", "mov", "mkv"])
def test_files_keep_it_and_networks_see_it_upright(kind: str, exif: int, tmp_path: Path) -> None:
    source, engine = film(tmp_path / f"in.{kind}", exif), Watching()
    assert probe(source).upright_size == shown(exif).shape[1::-1]
    stylize_video(engine, source, tmp_path / f"out.{kind}", progress=False)
    assert alike(engine.seen, shown(exif))
    info = probe(tmp_path / f"out.{kind}")
    assert info.orientation == Orientation.of(matrix(exif)) and (info.width, info.height) == (96, 64)
    assert alike(media.decode_sequentially(tmp_path / f"out.{kind}")[0], STORED)


@ALL
def test_pictures_gifs_and_splices_are_upright(exif: int, tmp_path: Path) -> None:
    source, engine = film(tmp_path / "in.mp4", exif), Watching()
    stylize_video(engine, source, tmp_path / "%d.png", progress=False)
    assert alike(np.asarray(Image.open(tmp_path / "1.png")), shown(exif))
    stylize_video(engine, source, tmp_path / "out.gif", progress=False)
    assert alike(np.asarray(Image.open(tmp_path / "out.gif").convert("RGB")), shown(exif), 25)
    stylize_video(engine, [source, source], tmp_path / "both.mp4", progress=False)
    assert probe(tmp_path / "both.mp4").orientation == UPRIGHT
    assert alike(media.decode_sequentially(tmp_path / "both.mp4")[-1], shown(exif))


@ALL
def test_live_pictures_are_upright(exif: int, tmp_path: Path) -> None:
    source = film(tmp_path / "in.mp4", exif)
    for live in (FileSource(str(source), loop=False), StreamSource(str(source), {}, 5.0)):
        assert alike(next(live.frames(threading.Event())), shown(exif))


@ALL
def test_evaluation_masks_and_calibration_see_it_upright(exif: int, tmp_path: Path) -> None:
    source = film(tmp_path / "in.mp4", exif)
    expected = shown(exif)
    assert alike(read_video(source, 2, expected.shape[1])[0][0], expected)
    assert alike(calibration(source)[0], expected)
    mask = FileMask(source)
    mask.check(*expected.shape[1::-1])
    grey = np.asarray(Image.fromarray(expected).convert("L")) / 255
    assert np.abs(mask(expected) - grey).mean() < 0.05


@ALL
@pytest.mark.parametrize("cached", [True, False])
def test_training_sees_it_upright(cached: bool, exif: int, tmp_path: Path) -> None:
    source = film(tmp_path / "in.mp4", exif)
    index = FrameIndex.build(source)
    assert (index.width, index.height) == shown(exif).shape[1::-1] and alike(read_clip(index, 1, 1)[0], shown(exif))
    (video,) = scan_folder(tmp_path, 64, cache=cached, cache_dir=tmp_path / "cache").videos
    assert alike(read_frames(video, 0, 1, 1, "pyav")[0], shown(exif))


@ALL
@pytest.mark.parametrize("kind", ["jpg", "png", "tif", "webp"])
def test_photographs_are_upright(kind: str, exif: int, tmp_path: Path) -> None:
    tags = Image.Exif()
    tags[0x0112] = exif
    picture = tmp_path / f"photo.{kind}"
    Image.fromarray(STORED).save(picture, exif=tags, quality=95)
    with open_source(picture) as source:
        (frame,) = source
        assert source.info.upright_size == (source.info.width, source.info.height) == shown(exif).shape[1::-1]
    assert alike(frame.image, shown(exif))


@ALL
def test_pixels_that_are_not_square_turn_along(exif: int, tmp_path: Path) -> None:
    """Also where the stored picture is a square, whose size does not tell that it was turned."""
    square = np.ascontiguousarray(STORED[:, :64])
    plain = film(tmp_path / "plain.mp4", exif, stored=square)
    source = tmp_path / "in.mkv"
    with av.open(str(source), "w") as container:
        stream = container.add_stream("libx264", rate=25)
        stream.width = stream.height = 64
        stream.pix_fmt, stream.codec_context.sample_aspect_ratio = "yuv420p", 2
        stream.set_display_matrix(matrix(exif))
        for number in range(2):
            frame = av.VideoFrame.from_ndarray(square, format="rgb24")
            frame.pts = number
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    with open_source([source, plain]) as spliced:
        assert spliced.info.sample_aspect_ratio == (2 if exif < 5 else 1 / 2)


@pytest.mark.skipif(shutil.which("ffmpeg") is None, reason="needs the program ffmpeg")
@ALL
def test_ffmpeg_shows_it_the_same(exif: int, tmp_path: Path) -> None:
    source = film(tmp_path / "in.mp4", exif)
    picture = tmp_path / "out.png"
    subprocess.run(["ffmpeg", "-v", "error", "-i", source, "-frames:v", "1", picture], check=True, timeout=60)
    with VideoReader(source) as reader:
        ours = reader.info.orientation.upright(next(iter(reader)).image)
    assert alike(ours, np.asarray(Image.open(picture).convert("RGB")), 4)
