"""Frame-exact reading, against the oracle of decoding the file from its start."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import av
import numpy as np
import pytest

from tests import media
from vst.errors import UserError
from vst.video.clips import FrameIndex, read_clip

VFR = np.cumsum([0] + [20 + 7 * i % 50 for i in range(44)]).tolist()
MAKERS: dict[str, Callable[[Path], Path]] = {
    "b-frames.mp4": lambda path: media.make_video(path, n=45, bframes=3, gop=12),
    "b-frames.mkv": lambda path: media.make_video(path, n=45, bframes=3, gop=12, audio="opus"),
    "open-gop.mp4": lambda path: media.make_video(path, n=45, bframes=3, gop=10, open_gop=True),
    "open-gop.mkv": lambda path: media.make_video(path, n=45, bframes=3, gop=10, open_gop=True),
    "vfr.mp4": lambda path: media.make_video(path, n=45, bframes=2, pts=VFR),
    "hevc.mp4": lambda path: media.make_video(path, n=45, codec="libx265", bframes=3, gop=10, open_gop=True),
    "edit-list.mp4": lambda path: media.make_edit_list(path, n=54, hidden=9),
    "short-groups.mp4": lambda path: media.make_video(path, n=45, bframes=3, gop=4, open_gop=True),
    "mpeg4.avi": lambda path: media.make_video(path, n=45, codec="mpeg4"),
    "no-timestamps.h264": lambda path: media.make_video(path, n=45, bframes=2),
    "transport.ts": lambda path: media.make_video(path, n=45, bframes=3, gop=10, open_gop=True),
}


@pytest.mark.parametrize("name", MAKERS)
def test_random_reads_equal_sequential_decoding(tmp_path: Path, name: str) -> None:
    path = MAKERS[name](tmp_path / name)
    oracle = media.decode_sequentially(path)
    first = media.read_number(oracle[0])
    index = FrameIndex.build(path)
    assert index.num_frames == len(oracle) == 45
    assert index.damaged is None
    rng = np.random.default_rng(1)
    for _ in range(12):
        stride, length = int(rng.integers(1, 5)), int(rng.integers(1, 9))
        start = int(rng.integers(0, 45 - (length - 1) * stride))
        numbers = range(start, start + length * stride, stride)
        clip = read_clip(index, start, length, stride)
        assert media.read_numbers(clip) == [first + number for number in numbers]
        assert np.array_equal(clip, np.stack([oracle[number] for number in numbers]))


def test_clips_read_from_a_key_frame_and_not_from_the_start(tmp_path: Path, monkeypatch) -> None:
    """Exact reading by decoding everything would pass every other test here, and be useless for training."""
    path = media.make_video(tmp_path / "long.mp4", n=120, bframes=3, gop=10, open_gop=True)
    index = FrameIndex.build(path)
    assert index.keys == tuple(range(0, 120, 10))
    sequential = len(index.keys)
    attempts: list[int | None] = []
    from vst.video import clips

    whole = clips._read_from
    monkeypatch.setattr(clips, "_read_from", lambda i, n, key, s: attempts.append(key) or whole(i, n, key, s))
    for start in range(0, 110, 7):
        read_clip(index, start, 4)
    assert None not in attempts
    assert len(attempts) < 2 * sequential + 16


@pytest.mark.parametrize("rotation", [90, 180, -90])
def test_rotation_is_applied(tmp_path: Path, rotation: int) -> None:
    path = media.make_video(tmp_path / "turned.mp4", n=12, rotation=rotation)
    index = FrameIndex.build(path)
    assert (index.width, index.height) == ((96, 64) if rotation == 180 else (64, 96))
    clip = read_clip(index, 3, 4, stride=2)
    stored = media.decode_sequentially(path)
    assert media.read_numbers(clip, rotation=rotation) == [3, 5, 7, 9]
    assert np.array_equal(clip[0], np.rot90(stored[3], rotation // 90))


def test_size_is_that_of_the_upright_picture(tmp_path: Path) -> None:
    index = FrameIndex.build(media.make_video(tmp_path / "turned.mp4", n=4, width=192, height=128, rotation=90))
    clip = read_clip(index, 1, 2, size=(64, 96))
    assert clip.shape == (2, 96, 64, 3)
    assert media.read_numbers(clip, rotation=90) == [1, 2]


@pytest.mark.parametrize(("pix_fmt", "width"), [("yuv420p10le", 96), ("yuv444p", 97)])
def test_ten_bit_and_odd_sizes(tmp_path: Path, pix_fmt: str, width: int) -> None:
    index = FrameIndex.build(media.make_video(tmp_path / "clip.mp4", n=9, pix_fmt=pix_fmt, width=width))
    clip = read_clip(index, 2, 3)
    assert clip.shape == (3, 64, width, 3)
    assert media.read_numbers(clip) == [2, 3, 4]


def test_the_tagged_colour_matrix_is_obeyed(tmp_path: Path) -> None:
    """Pure green of BT.709 read as BT.601 is off by 24 and more in blue or red."""
    green = np.zeros((64, 96, 3), np.uint8)
    green[..., 1] = 200
    with av.open(str(tmp_path / "bt709.mp4"), "w") as container:
        stream = container.add_stream("libx264", rate=25, options={"crf": "4"})
        stream.width, stream.height, stream.pix_fmt = 96, 64, "yuv420p"
        stream.codec_context.colorspace = 1  # BT.709, ITU-T H.273 table 4
        frame = av.VideoFrame.from_ndarray(green, format="rgb24")
        frame = frame.reformat(format="yuv420p", src_colorspace="ITU709", dst_colorspace="ITU709")
        frame.pts = 0
        container.mux([*stream.encode(frame), *stream.encode(None)])
    index = FrameIndex.build(tmp_path / "bt709.mp4")
    for size in (None, (48, 32)):
        clip = read_clip(index, 0, 1, size=size)
        assert np.abs(clip.reshape(-1, 3).mean(axis=0) - [0, 200, 0]).max() < 5


def test_one_frame_and_frames_that_are_not_there(tmp_path: Path) -> None:
    index = FrameIndex.build(media.make_video(tmp_path / "one.mp4", n=1))
    assert media.read_numbers(read_clip(index, 0, 1)) == [0]
    for start, length, stride in [(0, 2, 1), (1, 1, 1), (-1, 1, 1), (0, 0, 1), (0, 1, 0)]:
        with pytest.raises(IndexError):
            read_clip(index, start, length, stride)


def test_the_index_survives_json(tmp_path: Path) -> None:
    index = FrameIndex.build(media.make_video(tmp_path / "clip.mp4", n=20, bframes=2))
    assert FrameIndex.from_json(json.loads(json.dumps(index.to_json()))) == index


@pytest.mark.parametrize("settings", [{}, {"audio": "aac"}, {"bframes": 2}], ids=["plain", "audio", "b-frames"])
def test_a_truncated_file_is_read_as_far_as_it_decodes(tmp_path: Path, settings: dict) -> None:
    path = media.truncate(media.make_video(tmp_path / "cut.mp4", n=40, **settings), 0.6)
    index = FrameIndex.build(path)
    assert index.damaged
    assert 10 < index.num_frames < 35
    clip = read_clip(index, index.num_frames - 4, 4)
    assert media.read_numbers(clip)[0] == index.num_frames - 4


def test_a_truncated_mkv_has_no_frame_count_and_is_still_named(tmp_path: Path) -> None:
    whole = media.make_video(tmp_path / "cut.mkv", n=60)
    assert FrameIndex.build(whole).damaged is None
    index = FrameIndex.build(media.truncate(whole, 0.5))
    assert index.damaged
    assert 10 < index.num_frames < 50


@pytest.mark.parametrize("seed", range(6))
def test_every_frame_of_the_index_of_a_damaged_file_can_be_read(tmp_path: Path, seed: int) -> None:
    """Faults in the middle: whatever the decoder makes of them, what the index promises is there."""
    path = media.make_video(tmp_path / "hurt.mp4", n=40, bframes=2)
    data = bytearray(path.read_bytes())
    rng = np.random.default_rng(seed)
    for place in rng.integers(len(data) // 3, len(data), 4):
        data[place : place + 200] = rng.bytes(len(data[place : place + 200]))
    path.write_bytes(bytes(data))
    index = FrameIndex.build(path)
    assert 1 <= index.num_frames <= 40
    for start in range(index.num_frames):
        assert read_clip(index, start, 1).shape == (1, 64, 96, 3)


def test_a_file_that_changed_is_an_error(tmp_path: Path) -> None:
    path = tmp_path / "clip.mp4"
    index = FrameIndex.build(media.make_video(path, n=40))
    media.make_video(path, n=20)
    with pytest.raises(UserError, match="changed since it was indexed"):
        read_clip(index, 30, 4)


def test_files_that_are_no_videos_are_errors_of_one_line(tmp_path: Path) -> None:
    (tmp_path / "empty.mp4").touch()
    (tmp_path / "text.mp4").write_text("not a video\n" * 100)
    media.truncate(media.make_video(tmp_path / "header-lost.mp4", n=20, faststart=False), 0.5)
    with av.open(str(tmp_path / "sound.mkv"), "w") as container:
        media._write_sine(container, media._audio_stream(container, "aac"), 0.5, 440)
    for name in ("empty.mp4", "text.mp4", "header-lost.mp4", "sound.mkv", "missing.mp4", ""):
        with pytest.raises(UserError) as raised:
            FrameIndex.build(tmp_path / name)
        assert name in str(raised.value)
        assert "\n" not in str(raised.value)


def test_visit_sees_every_frame_once(tmp_path: Path) -> None:
    seen: list[int] = []
    path = media.make_edit_list(tmp_path / "edit.mp4", n=30, hidden=5)
    FrameIndex.build(path, visit=lambda frame: seen.append(media.read_number(frame.to_ndarray(format="rgb24"))))
    assert seen == list(range(5, 30))
