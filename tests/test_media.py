"""The makers of test videos make what they say, or every test that reads them would be worth nothing."""

from __future__ import annotations

from pathlib import Path

import av
import numpy as np
import pytest
from av.video.frame import PictureType

from tests import media


def _stream_facts(path: Path) -> tuple[set[str], int]:
    """Kinds of picture that play, number of packets that are stored."""
    with av.open(str(path)) as container:
        types = {PictureType(frame.pict_type).name for frame in container.decode(container.streams.video[0])}
    with av.open(str(path)) as container:
        packets = sum(1 for packet in container.demux(container.streams.video[0]) if packet.size)
    return types, packets


def test_a_number_is_read_back_at_half_size_and_rotated() -> None:
    frames = media.pattern_frames(8, seed=3, first=2040)
    assert media.read_numbers(frames) == list(range(2040, 2048))
    halves = frames.reshape(8, 32, 2, 48, 2, 3).mean(axis=(2, 4)).astype(np.uint8)
    assert media.read_numbers(halves) == list(range(2040, 2048))
    assert media.read_numbers([np.rot90(f, 3) for f in frames], rotation=270) == list(range(2040, 2048))


def test_an_unreadable_number_is_an_error_and_not_a_guess() -> None:
    frame = media.pattern_frames(1)[0]
    with pytest.raises(ValueError, match="neither black nor white"):
        media.read_number(np.full_like(frame, 128))
    frame[8:16, 80:] = 235 - frame[8:16, 80:]
    with pytest.raises(ValueError, match="parity"):
        media.read_number(frame)


@pytest.mark.parametrize(
    "settings",
    [
        {"bframes": 3},
        {"bframes": 3, "open_gop": True, "gop": 10},
        {"codec": "libx265", "bframes": 3, "open_gop": True, "gop": 10},
        {"pts": [0, 20, 70, 75, 200, 230, 260, 300, 310, 400, 410, 420, 500, 505, 600], "bframes": 2},
        {"pix_fmt": "yuv420p10le"},
        {"pix_fmt": "yuv444p", "width": 97, "height": 65},
    ],
    ids=["b-frames", "open-gop", "hevc", "vfr", "10-bit", "odd"],
)
def test_every_frame_is_numbered_in_order(tmp_path: Path, settings: dict) -> None:
    path = media.make_video(tmp_path / "clip.mp4", n=15, **settings)
    assert media.read_numbers(media.decode_sequentially(path)) == list(range(15))
    types, packets = _stream_facts(path)
    assert packets == 15
    assert ("B" in types) == ("bframes" in settings)


def test_an_open_gop_has_b_frames_before_its_key_frame(tmp_path: Path) -> None:
    def after_seek(open_gop: bool) -> int:
        path = media.make_video(tmp_path / f"{open_gop}.mp4", n=30, bframes=3, gop=10, open_gop=open_gop)
        with av.open(str(path)) as container:
            stream = container.streams.video[0]
            keys = [p.pts for p in container.demux(stream) if p.is_keyframe and p.pts is not None]
            container.seek(0, stream=stream)
            leading = [p.pts for p in container.demux(stream) if p.pts is not None]
        return sum(pts < keys[1] for pts in leading[leading.index(keys[1]) + 1 :])

    assert after_seek(open_gop=True) > 0
    assert after_seek(open_gop=False) == 0


def test_the_edit_list_hides_stored_frames(tmp_path: Path) -> None:
    path = media.make_edit_list(tmp_path / "edit.mp4", n=30, hidden=9)
    assert media.read_numbers(media.decode_sequentially(path)) == list(range(9, 30))
    assert _stream_facts(path)[1] == 30


def test_rotation_audio_one_frame_and_truncation(tmp_path: Path) -> None:
    with av.open(str(media.make_video(tmp_path / "turned.mp4", n=2, rotation=90))) as container:
        assert next(container.decode(video=0)).rotation == 90
    for audio, codecs in (("aac", ["aac"]), ("opus", ["opus"]), ("multi", ["aac", "aac"])):
        with av.open(str(media.make_video(tmp_path / f"{audio}.mkv", n=25, audio=audio))) as container:
            assert [stream.codec_context.name for stream in container.streams.audio] == codecs
            assert container.duration / 1e6 == pytest.approx(1.0, abs=0.1)
    assert len(media.decode_sequentially(media.make_video(tmp_path / "one.mp4", n=1))) == 1
    cut = media.truncate(media.make_video(tmp_path / "cut.mp4", n=40), 0.6)
    decoded = 0
    with av.open(str(cut)) as container, pytest.raises(av.error.InvalidDataError):
        for _ in container.decode(video=0):
            decoded += 1
    assert 5 < decoded < 35
