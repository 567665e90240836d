"""The description of a file, and one clear line for whatever is not a video."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from tests import media
from vst.errors import UserError
from vst.video.probe import Colour, probe


def _two_streams(path: Path, first_is_garbage: bool) -> Path:
    """An mp4 with a 64x48 and a 96x64 video stream; the packets of the first can be made undecodable."""
    with av.open(str(path), "w") as container:
        streams = []
        for width, height in ((64, 48), (96, 64)):
            stream = container.add_stream("libx264", rate=25)
            stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
            streams.append(stream)
        for stream in streams:
            packets = []
            for number, image in enumerate(media.pattern_frames(6, stream.width, stream.height)):
                frame = av.VideoFrame.from_ndarray(image)
                frame.pts = number
                packets += stream.encode(frame)
            for packet in packets + stream.encode(None):
                if first_is_garbage and stream is streams[0]:
                    garbage = av.Packet(b"\xff" * packet.size)
                    garbage.pts, garbage.dts, garbage.time_base = packet.pts, packet.dts, packet.time_base
                    garbage.stream = stream
                    packet = garbage
                container.mux(packet)
    return path


def test_an_ordinary_file(tmp_path: Path) -> None:
    info = probe(media.make_video(tmp_path / "v.mp4", n=30, width=96, height=64, fps=24, audio="aac"))
    assert (info.width, info.height, info.rotation, info.codec) == (96, 64, 0, "h264")
    assert (info.fps, info.num_frames, info.pix_fmt, info.has_audio) == (24, 30, "yuv420p", True)
    assert info.duration == pytest.approx(30 / 24, abs=1e-3)
    assert info.time_base == Fraction(1, 12288)
    assert info.display_matrix is None and info.colour == Colour(0, 2, 2, 2)


def test_the_size_is_as_stored_and_the_rotation_is_told(tmp_path: Path) -> None:
    info = probe(media.make_video(tmp_path / "v.mov", n=3, rotation=90))
    assert (info.width, info.height, info.rotation) == (96, 64, 90)
    assert info.display_matrix is not None and len(info.display_matrix) == 9


def test_a_container_without_a_frame_count(tmp_path: Path) -> None:
    info = probe(media.make_video(tmp_path / "v.mkv", n=10))
    assert info.num_frames is None and info.duration == pytest.approx(0.4, abs=2e-3)
    assert info.has_audio is False


def test_the_first_stream_that_decodes_is_chosen(tmp_path: Path) -> None:
    assert probe(_two_streams(tmp_path / "good.mp4", first_is_garbage=False)).stream == 0
    info = probe(_two_streams(tmp_path / "bad.mp4", first_is_garbage=True))
    assert (info.stream, info.width, info.height) == (1, 96, 64)


def test_cover_art_is_not_the_video(tmp_path: Path) -> None:
    source = media.make_video(tmp_path / "v.mp4", n=3)
    path = tmp_path / "cover.mp4"
    with av.open(str(source)) as original, av.open(str(path), "w") as container:
        cover = container.add_stream("mjpeg", rate=1)
        cover.width, cover.height, cover.pix_fmt = 32, 32, "yuvj420p"
        cover.disposition = av.stream.Disposition.attached_pic
        video = container.add_stream_from_template(original.streams.video[0])
        frame = av.VideoFrame.from_ndarray(np.zeros((32, 32, 3), np.uint8)).reformat(format="yuvj420p")
        container.mux(cover.encode(frame) + cover.encode(None))
        for packet in original.demux(original.streams.video[0]):
            if packet.dts is not None:
                packet.stream = video
                container.mux(packet)
    with av.open(str(path)) as container:
        pictures = [s.index for s in container.streams.video if s.disposition & s.disposition.attached_pic]
        assert len(pictures) == 1 and len(container.streams.video) == 2
    info = probe(path)
    assert info.stream not in pictures and info.width == 96


def _missing(folder: Path) -> Path:
    return folder / "missing.mp4"


def _folder(folder: Path) -> Path:
    return folder


def _empty(folder: Path) -> Path:
    (folder / "empty.mp4").touch()
    return folder / "empty.mp4"


def _text(folder: Path) -> Path:
    (folder / "notes.txt").write_text("some words\n" * 50)
    return folder / "notes.txt"


def _noise(folder: Path) -> Path:
    (folder / "noise.mp4").write_bytes(np.random.default_rng(0).bytes(5000))
    return folder / "noise.mp4"


def _picture(folder: Path) -> Path:
    path = folder / "picture.png"
    av.VideoFrame.from_ndarray(np.zeros((32, 32, 3), np.uint8)).to_image().save(path)
    return path


def _sound(folder: Path) -> Path:
    path = folder / "sound.m4a"
    with av.open(str(path), "w", format="mp4") as container:
        stream = container.add_stream("aac", rate=48000, layout="mono")
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 4800), np.float32), format="fltp", layout="mono")
        frame.sample_rate = 48000
        container.mux(stream.encode(frame) + stream.encode(None))
    return path


def _header_only(folder: Path) -> Path:
    return media.truncate(media.make_video(folder / "header.mp4", n=20), 0.2)


def _cut_before_header(folder: Path) -> Path:
    return media.truncate(media.make_video(folder / "cut.mp4", n=20, faststart=False), 0.7)


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (_missing, "no such file"),
        (_folder, "is a folder"),
        (_empty, "0 bytes"),
        (_text, "not a video"),
        (_noise, "not a video"),
        (_picture, "not a video"),
        (_sound, "no video stream"),
        (_header_only, "no frame can be decoded"),
        (_cut_before_header, "not a video"),
    ],
    ids=lambda value: value.__name__.strip("_") if callable(value) else "",
)
def test_what_is_not_a_video_is_told_in_one_line(make, words: str, tmp_path: Path) -> None:
    path = make(tmp_path)
    with pytest.raises(UserError, match=words) as caught:
        probe(path)
    assert str(path) in str(caught.value) and "\n" not in str(caught.value)
