"""Every frame once, in order, with its time; and the truth about what a damaged file has lost."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from tests import media
from vst.video.reader import Frame, VideoReader

VFR = np.cumsum([0] + [20 + 7 * i % 50 for i in range(29)]).tolist()


def _read(path: Path) -> tuple[list[Frame], str | None]:
    with VideoReader(path) as reader:
        frames = list(reader)
        return frames, reader.damaged


def _flip_bytes(path: Path, start: float, stop: float) -> Path:
    data = bytearray(path.read_bytes())
    for position in range(int(len(data) * start), int(len(data) * stop), 7):
        data[position] ^= 0xFF
    path.write_bytes(data)
    return path


@pytest.mark.parametrize("name", ["v.mp4", "v.mkv", "v.avi", "v.ts"])
def test_all_frames_as_stored_and_in_order(name: str, tmp_path: Path) -> None:
    path = media.make_video(tmp_path / name, n=30, bframes=0 if name == "v.avi" else 3)
    frames, damaged = _read(path)
    assert damaged is None
    assert media.read_numbers([f.image for f in frames]) == list(range(30))
    np.testing.assert_array_equal(np.stack([f.image for f in frames]), media.decode_sequentially(path))
    times = [float(f.pts * f.time_base) for f in frames]
    np.testing.assert_allclose(np.diff(times), 1 / 25, atol=1e-3)


def test_variable_frame_rate_keeps_its_times(tmp_path: Path) -> None:
    frames, damaged = _read(media.make_video(tmp_path / "v.mp4", n=30, bframes=2, pts=VFR))
    assert [f.pts * f.time_base for f in frames] == [Fraction(pts, 1000) for pts in VFR]
    assert [f.duration * 1000 * f.time_base for f in frames[:-1]] == np.diff(VFR).tolist()
    assert damaged is None


def test_an_edit_list_hides_frames_and_is_no_damage(tmp_path: Path) -> None:
    frames, damaged = _read(media.make_edit_list(tmp_path / "v.mp4", n=40, hidden=9))
    assert media.read_numbers([f.image for f in frames]) == list(range(9, 40))
    assert damaged is None


def test_frames_are_not_rotated(tmp_path: Path) -> None:
    frames, _ = _read(media.make_video(tmp_path / "v.mp4", n=2, rotation=90))
    assert frames[1].image.shape == (64, 96, 3) and media.read_number(frames[1].image) == 1


def test_each_iteration_starts_at_the_first_frame(tmp_path: Path) -> None:
    with VideoReader(media.make_video(tmp_path / "v.mp4", n=12)) as reader:
        started = iter(reader)
        assert [media.read_number(next(started).image) for _ in range(3)] == [0, 1, 2]
        assert media.read_numbers([f.image for f in reader]) == list(range(12))


def test_missing_timestamps_are_made_from_the_frame_rate(tmp_path: Path) -> None:
    """A raw stream has no timestamps at all: what the decoder gives is missing or repeats itself."""
    frames, _ = _read(media.make_video(tmp_path / "v.h264", n=20, fps=25, bframes=2))
    assert media.read_numbers([f.image for f in frames]) == list(range(20))
    times = [float(f.pts * f.time_base) for f in frames]
    np.testing.assert_allclose(np.diff(times), 1 / 25, atol=1e-6)


@pytest.mark.parametrize("name", ["v.mp4", "v.mkv"])
def test_an_early_end_is_damage(name: str, tmp_path: Path) -> None:
    path = media.truncate(media.make_video(tmp_path / name, n=60, bframes=2), 0.6)
    frames, damaged = _read(path)
    assert 10 < len(frames) < 55
    assert media.read_numbers([f.image for f in frames[:-2]]) == list(range(len(frames) - 2))
    assert damaged is not None and f"{len(frames)} " in damaged and "\n" not in damaged
    assert "of 2.40 s" in damaged


def test_reading_goes_on_after_damage_in_the_middle(tmp_path: Path) -> None:
    path = _flip_bytes(media.make_video(tmp_path / "v.mp4", n=60, gop=12), 0.45, 0.55)
    frames, damaged = _read(path)
    assert damaged is not None and "decoding errors" in damaged
    assert media.read_number(frames[-1].image) == 59
    assert [f.pts for f in frames] == sorted({f.pts for f in frames})


def test_closing_ends_an_iteration_half_way(tmp_path: Path) -> None:
    with VideoReader(media.make_video(tmp_path / "v.mp4", n=12)) as reader:
        frames = iter(reader)
        assert media.read_number(next(frames).image) == 0
        assert media.read_number(next(iter(reader)).image) == 0
        assert list(frames) == []
        frames = iter(reader)
        next(frames)
    assert list(frames) == []
