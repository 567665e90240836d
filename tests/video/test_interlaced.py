"""Film of two fields a frame: whole frames at its times, by every door, and one line that says so."""

from __future__ import annotations

from pathlib import Path

import av
import numpy as np
import pytest

from tests import media
from tests.video.doors import DOORS, mask_of, stylised
from vst.errors import UserError
from vst.live.sources import open_source as open_live
from vst.video.decoder import DEINTERLACE
from vst.video.reader import VideoReader

SIZE = (64, 48)


def bars(count: int) -> np.ndarray:
    """(count, 48, 64, 3): an upright bar that moves by three pixels."""
    frames = np.full((count, SIZE[1], SIZE[0], 3), 40, np.uint8)
    for number, frame in enumerate(frames):
        left = 4 + 3 * number % 48
        frame[:, left : left + 10] = (220, 180, 60)
    return frames


def combed(frames: np.ndarray) -> float:
    """How much rows differ from their neighbours, which an upright bar's do not."""
    rows = frames[:, :, :, 0].astype(int)
    return float(np.abs(2 * rows[:, 1:-1] - rows[:, :-2] - rows[:, 2:]).mean())


def off(frames: np.ndarray, expected: np.ndarray) -> float:
    return float(np.abs(frames.astype(int) - expected).mean())


@pytest.fixture(scope="module")
def film(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """12 frames of 24 fields, the upper one first."""
    return media.make_interlaced(tmp_path_factory.mktemp("fields") / "film.mp4", bars(24))


def _read(path: Path, **options) -> list:
    with VideoReader(path, **options) as reader:
        return list(reader)


@pytest.mark.parametrize("top_first", [True, False])
@pytest.mark.parametrize(
    ("name", "codec", "pix_fmt"),
    [
        ("f.mp4", "libx264", "yuv422p"), ("f.mkv", "libx264", "yuv420p"), ("f.ts", "mpeg2video", "yuv422p"),
        ("f.mov", "prores_ks", "yuv422p10le"), ("fa.mov", "prores_ks", "yuva444p10le"),
    ],
)  # fmt: skip
def test_a_frame_is_the_picture_of_its_first_field(
    name: str, codec: str, pix_fmt: str, top_first: bool, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = media.make_interlaced(tmp_path / name, bars(24), codec, top_first, pix_fmt)
    with av.open(str(path)) as container:
        raw = list(container.decode(video=0))
    assert len(raw) == 12 and all(frame.interlaced_frame for frame in raw)
    frames = _read(path)
    assert [frame.pts for frame in frames] == [frame.pts - raw[0].pts for frame in raw]
    assert frames[-1].duration * frames[-1].time_base == pytest.approx(0.04, abs=1e-3)
    images, coarse = np.stack([frame.image for frame in frames]), 4.0 if pix_fmt == "yuv420p" else 2.5
    assert off(images, bars(24)[::2]) < coarse and combed(images) < 1
    assert off(np.stack([frame.to_ndarray(format="rgb24") for frame in raw]), bars(24)[::2]) > 5
    lines = [record.getMessage() for record in caplog.records]
    assert len(lines) == 1 and name in lines[0] and "deinterlaced" in lines[0]


@pytest.mark.parametrize("door", DOORS)
def test_every_door_shows_whole_frames(door: str, film: Path, tmp_path: Path) -> None:
    frames = DOORS[door](film, tmp_path)
    assert len(frames) == 12
    coarse = {"gif": 6.0, "cache": 4.0}.get(door, 2.0)
    assert off(frames, bars(24)[::2]) < coarse and combed(frames) < coarse


def test_a_mask_film_has_whole_frames(film: Path) -> None:
    mask = mask_of(film, SIZE[1], SIZE[0])
    assert np.abs(np.diff(mask, axis=0)).max() < 0.05


def test_the_word_leaves_fields_or_weaves_what_no_flag_tells(
    film: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    left = _read(film, deinterlace="none")
    assert combed(np.stack([frame.image for frame in left])) > 5 and not caplog.records
    woven = np.stack([frame.image for frame in left])
    unflagged = media.make_video(tmp_path / "unflagged.mp4", woven, pix_fmt="yuv444p", options={"crf": "1"})
    assert combed(np.stack([frame.image for frame in _read(unflagged)])) > 5 and not caplog.records
    told = _read(unflagged, deinterlace="yes")
    assert len(told) == 12 and off(np.stack([frame.image for frame in told]), bars(24)[::2]) < 2
    with pytest.raises(UserError, match="deinterlace=on is not one of auto, yes, none"):
        stylised(film, tmp_path / "out.mp4", deinterlace="on")
    with pytest.raises(UserError, match="deinterlace=on"):
        open_live(str(film), deinterlace="on")
    assert DEINTERLACE == ("auto", "yes", "none")


def test_flags_that_come_later(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Progressive frames stay as they are, bit for bit, and the fields behind them are put together."""
    plain = media.make_video(tmp_path / "plain.h264", bars(9), pix_fmt="yuv422p", options={"crf": "1"})
    fields = media.make_interlaced(tmp_path / "fields.h264", bars(16))
    mixed = tmp_path / "mixed.h264"
    mixed.write_bytes(plain.read_bytes() + fields.read_bytes())
    with av.open(str(mixed)) as container:
        raw = [(f.interlaced_frame, f.to_ndarray(format="rgb24")) for f in container.decode(video=0)]
    assert [flag for flag, _ in raw] == [False] * 9 + [True] * 8
    frames = _read(mixed)
    assert len(frames) == 17 and len(caplog.records) == 1
    np.testing.assert_array_equal(frames[3].image, raw[3][1])
    assert off(np.stack([frame.image for frame in frames[9:]]), bars(16)[::2]) < 1.5
    assert np.all(np.diff([frame.pts for frame in frames]) > 0)


def test_a_cut_gives_the_frames_of_the_whole(tmp_path: Path) -> None:
    path = media.make_interlaced(tmp_path / "long.mp4", bars(140))
    whole, cut = _read(path), _read(path, start=2, end=2.4)
    assert len(whole) == 70 and len(cut) == 10
    for first, second in zip(whole[50:60], cut, strict=True):
        np.testing.assert_array_equal(first.image, second.image)
    assert [frame.pts * frame.time_base for frame in cut] == [pytest.approx(n / 25) for n in range(10)]


def test_damage_costs_the_frames_that_it_breaks_and_no_more(tmp_path: Path) -> None:
    path = media.make_interlaced(tmp_path / "film.ts", bars(60), "mpeg2video")
    media.truncate(path, 0.6)
    frames, raw = _read(path), _read(path, deinterlace="none")
    assert 10 < len(frames) == len(raw) < 30
    assert [frame.pts for frame in frames] == [frame.pts - raw[0].pts for frame in raw]


@pytest.mark.parametrize("count", [1, 2])
def test_short_films_lose_no_frame(count: int, tmp_path: Path) -> None:
    path = media.make_interlaced(tmp_path / "short.mkv", bars(2 * count))
    assert [frame.pts for frame in _read(path)] == [0, 40][:count]
