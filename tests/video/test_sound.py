"""Sound that is encoded anew stays where it was beside the picture, whatever codecs, cuts and joins do."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from tests import media
from vst.errors import UserError
from vst.video.segments import SegmentedWriter
from vst.video.sink import open_sink
from vst.video.source import open_source

FPS = 25
NEAR = 0.003  # seconds between a flash and its click


def film(
    path: Path,
    codec: str | None = "aac",
    clicks: Sequence[float] = (0.4, 1.2),
    seconds: float = 2.0,
    rate: int = 48000,
    layout: str = "mono",
    picture: str = "libx264",
    offset: float = 0.0,
    late: float = 0.0,
    tracks: int = 1,
) -> Path:
    """A black film that flashes white for a frame whenever its sound clicks, at `clicks` seconds.

    `offset` is added to all time stamps; the sound begins `late` seconds after the picture.
    """
    frames = np.zeros((round(seconds * FPS), 48, 64, 3), np.uint8)
    frames[[round(click * FPS) for click in clicks]] = 255
    with av.open(str(path), "w") as container:
        video = container.add_stream(picture, rate=FPS, options={"crf": "18"})
        video.width, video.height, video.pix_fmt = 64, 48, "yuv420p"
        base = Fraction(1, 1000 if picture == "libx264" else FPS)
        video.time_base = video.codec_context.time_base = base
        sounds = []
        for _ in range(tracks if codec else 0):
            sound = container.add_stream(codec, rate=rate, layout=layout, options={"strict": "experimental"})
            sound.bit_rate = 128_000 if codec == "wmav2" else 256_000
            sounds.append(sound)
        for number, image in enumerate(frames):
            frame = av.VideoFrame.from_ndarray(image, format="rgb24")
            frame.pts, frame.time_base = round((number / FPS + offset) / base), base
            container.mux(video.encode(frame))
        container.mux(video.encode(None))
        samples = np.zeros(round((seconds - late) * rate), np.float32)
        for click in clicks:
            burst = round((click - late) * rate)
            samples[burst : burst + rate // 200] = 0.9 * np.sin(np.arange(rate // 200) * 2 * np.pi * 2000 / rate)
        for sound in sounds:
            channels = sound.codec_context.layout.nb_channels
            for start in range(0, len(samples), 960):
                block = np.repeat(samples[None, start : start + 960], channels, axis=0)
                frame = av.AudioFrame.from_ndarray(np.ascontiguousarray(block), format="fltp", layout=layout)
                frame.sample_rate, frame.time_base = rate, Fraction(1, rate)
                frame.pts = start + round((offset + late) * rate)
                container.mux(sound.encode(frame))
            container.mux(sound.encode(None))
    return path


def painted(inputs, target: Path, audio: str = "copy", **options) -> Path:
    with (
        open_source(inputs, **options) as source,
        open_sink(target, source.info, tracks=source.tracks, audio=audio) as sink,
    ):
        for frame in source:
            sink.write(frame.image, frame.pts, frame.duration)
    return target


def heard(path: Path, track: int = 0) -> tuple[np.ndarray, int]:
    """How loud the loudest channel is, (N,) from time 0 on by the time stamps of the decoded frames, and the rate."""
    with av.open(str(path)) as container:
        parts = []
        for frame in container.decode(container.streams.audio[track]):
            plane = frame.to_ndarray().astype(np.float64)
            if frame.format.name == "s16":
                plane = plane / 32768
            each = plane if frame.format.is_planar else plane.reshape(-1, frame.layout.nb_channels).T
            parts.append((round(frame.time * frame.sample_rate), np.abs(each).max(axis=0)))
        rate = frame.sample_rate
    whole = np.zeros(max(start + len(plane) for start, plane in parts))
    for start, plane in parts:
        skipped = max(0, -start)
        whole[max(start, 0) : start + len(plane)] = plane[skipped:]
    return whole, rate


def clicks_of(path: Path, track: int = 0) -> list[float]:
    """When the bursts begin, in seconds."""
    sound, rate = heard(path, track)
    loud = np.flatnonzero(sound > 0.35)
    begins = loud[np.insert(np.diff(loud) > rate // 20, 0, True)] if len(loud) else loud
    return [float(begin / rate) for begin in begins]


def flashes_of(path: Path) -> list[float]:
    with av.open(str(path)) as container:
        frames = container.decode(container.streams.video[0])
        return [frame.time for frame in frames if frame.to_ndarray(format="gray").mean() > 128]


def together(path: Path, count: int, track: int = 0) -> None:
    flashes, clicks = flashes_of(path), clicks_of(path, track)
    assert len(flashes) == len(clicks) == count, (flashes, clicks)
    np.testing.assert_allclose(clicks, flashes, atol=NEAR)


def codecs_of(path: Path) -> list[str]:
    with av.open(str(path)) as container:
        return [stream.codec_context.codec.canonical_name for stream in container.streams.audio]


@pytest.mark.parametrize(
    ("given", "codec", "rate", "layout", "target", "result"),
    [
        ("in.mp4", "aac", 44100, "stereo", "out.webm", "opus"),
        ("in.mp4", "aac", 48000, "5.1", "out.webm", "opus"),
        ("in.mkv", "libmp3lame", 44100, "stereo", "out.webm", "opus"),
        ("in.mkv", "ac3", 48000, "5.1(side)", "out.webm", "opus"),
        ("in.mov", "pcm_s16le", 22050, "mono", "out.webm", "opus"),
        ("in.mkv", "flac", 96000, "stereo", "out.webm", "opus"),
        ("in.avi", "pcm_s16le", 11025, "mono", "out.webm", "opus"),
        ("in.asf", "wmav2", 44100, "stereo", "out.mp4", "aac"),
        ("in.mkv", "vorbis", 48000, "stereo", "out.mp4", "aac"),
        ("in.mkv", "libopus", 48000, "stereo", "out.mov", "aac"),
        ("in.mkv", "flac", 8000, "mono", "out.mov", "aac"),
    ],
)
def test_what_a_container_cannot_hold_is_encoded_anew_in_its_place(
    given: str, codec: str, rate: int, layout: str, target: str, result: str, tmp_path: Path, caplog
) -> None:
    picture = "mpeg4" if given[-3:] in ("asf", "avi") else "libx264"
    source = film(tmp_path / given, codec, rate=rate, layout=layout, picture=picture)
    with caplog.at_level(logging.WARNING):
        out = painted(source, tmp_path / target)
    [line] = caplog.messages
    assert "encoded anew" in line and target in line and "\n" not in line
    assert codecs_of(out) == [result]
    together(out, 2)


@pytest.mark.parametrize("target", ["out.webm", "out.mkv"])
@pytest.mark.parametrize(("start", "end"), [(0.4, None), (3.96, 7), (None, 5.5), (3.02, 3.6)])
def test_a_cut_is_exact_to_the_sample(target: str, start, end, tmp_path: Path) -> None:
    clicks = (0.8, 1.6, 3.2, 4.0, 5.2, 6.4)
    source = film(tmp_path / "in.mp4", "aac", clicks, seconds=8, rate=44100, layout="stereo")
    out = painted(source, tmp_path / target, audio="opus", start=start, end=end)
    together(out, sum((start or 0) <= click < (end or 9) for click in clicks))
    sound, rate = heard(out)
    with av.open(str(out)) as container:
        length = sum(1 for _ in container.decode(video=0)) / FPS
    assert len(sound) / rate == pytest.approx(length, abs=0.021)  # Opus ends with a whole packet


@pytest.mark.parametrize("target", ["out.webm", "out.mp4"])
@pytest.mark.parametrize("times", [{"offset": 1.5}, {"late": 0.3}, {"offset": -0.2}, {"offset": 0.7, "late": 0.2}])
def test_time_stamps_that_begin_elsewhere(target: str, times: dict, tmp_path: Path) -> None:
    """Also below zero, where all is moved."""
    source = film(tmp_path / ("in.mp4" if "offset" in times else "in.mkv"), "aac", **times)
    out = painted(source, tmp_path / target, audio="opus")
    together(out, 2)


def test_forced_sound_is_copied_where_it_is_that_already(tmp_path: Path, caplog) -> None:
    source = film(tmp_path / "in.mkv", "libmp3lame", tracks=2)
    assert codecs_of(painted(source, tmp_path / "copied.mp4")) == ["mp3", "mp3"]
    with caplog.at_level(logging.WARNING):
        made = painted(source, tmp_path / "made.mp4", audio="aac")
        again = painted(made, tmp_path / "again.mp4", audio="aac")
    assert caplog.messages == [] and codecs_of(made) == codecs_of(again) == ["aac", "aac"]
    for track in (0, 1):
        together(again, 2, track)
    with av.open(str(made)) as first, av.open(str(again)) as second:
        packets = [[bytes(p) for p in c.demux(audio=0) if p.size] for c in (first, second)]
    assert packets[0] == packets[1]
    with pytest.raises(UserError, match=r"audio=aac: \.webm holds no such sound; name it \.mp4, \.mov, \.mkv"):
        painted(source, tmp_path / "no.webm", audio="aac")
    assert not (tmp_path / "no.webm").exists()
    assert codecs_of(painted(source, tmp_path / "silent.webm", audio="none")) == []


@pytest.mark.parametrize("target", ["out.mp4", "out.mkv", "out.webm"])
def test_films_of_any_sound_are_joined(target: str, tmp_path: Path, caplog) -> None:
    parts = [
        film(tmp_path / "1.mp4", None, (0.4,), seconds=1),
        film(tmp_path / "2.mp4", "aac", (0.2, 0.8), seconds=1, rate=44100),
        film(tmp_path / "3.mkv", None, (0.6,), seconds=1.2),
        film(tmp_path / "4.mkv", "ac3", (0.4,), seconds=1, layout="5.1(side)"),
        film(tmp_path / "5.mp4", "aac", (0.4,), seconds=1, layout="stereo"),
        film(tmp_path / "6.mp4", None, (0.4,), seconds=1.4),
    ]
    with caplog.at_level(logging.WARNING):
        out = painted(parts, tmp_path / target)
    [line] = [message for message in caplog.messages if "sound" in message]
    assert "differ in their sound (none; aac 44100 mono); silence stands in for what has none" in line
    flashes, clicks = flashes_of(out), clicks_of(out)
    begins = np.cumsum([0, 1, 1, 1.2, 1, 1])
    np.testing.assert_allclose(flashes, [0.4, 1.2, 1.8, 2.6, 3.6, 4.6, 5.6], atol=2e-3)
    np.testing.assert_allclose(clicks, begins[[1, 1, 3, 4]] + [0.2, 0.8, 0.4, 0.4], atol=NEAR)
    sound, rate = heard(out)
    assert len(sound) / rate == pytest.approx(6.6, abs=0.022)
    assert sound[: int(0.95 * rate)].max() < 1e-3


def test_one_channel_stays_as_loud_beside_two(tmp_path: Path) -> None:
    parts = [film(tmp_path / f"{name}.mp4", "aac", (0.4,), 1, layout=name) for name in ("mono", "stereo")]
    sound, rate = heard(painted(parts, tmp_path / "out.mp4"))
    first, second = (part.max() for part in np.split(sound[: 2 * rate], 2))
    assert first == pytest.approx(second, rel=0.15)


def test_joined_sound_changes_in_the_middle_of_a_cross_fade(tmp_path: Path) -> None:
    first = film(tmp_path / "1.mp4", "aac", (0.2, 0.7, 0.9), 1)
    second = film(tmp_path / "2.mp4", "aac", (0.12, 0.32, 0.8), 1, rate=44100)
    out = painted([first, second], tmp_path / "out.mp4", crossfade=0.4)  # the second begins at 0.6 s
    np.testing.assert_allclose(clicks_of(out), [0.2, 0.7, 0.92, 1.4], atol=NEAR)


def test_a_resumed_work_has_its_sound(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("vst.video.segments.SEGMENT_SECONDS", 0.6)
    source = film(tmp_path / "in.mp4", "aac", rate=44100)

    def paint(target: str, stop: int | None = None) -> Path:
        path = tmp_path / target
        with (
            open_source(source) as frames,
            SegmentedWriter(path, frames.info, {}, tracks=frames.tracks) as sink,
        ):
            for number, frame in enumerate(frames.read(sink.frames), start=sink.frames):
                if number == stop:
                    raise KeyboardInterrupt
                sink.write(frame.image, frame.pts, frame.duration)
                if (number + 1) % sink.segment_frames == 0:
                    sink.close_segment({})
        return path

    whole = paint("whole.webm")
    together(whole, 2)
    with pytest.raises(KeyboardInterrupt):
        paint("out.webm", stop=40)
    resumed = paint("out.webm")
    together(resumed, 2)
    np.testing.assert_array_equal(heard(resumed)[0], heard(whole)[0])


def test_sound_of_what_is_read_once_is_encoded_anew(tmp_path: Path) -> None:
    source = film(tmp_path / "in.mkv", "aac", rate=44100)
    together(painted(f"file://{source}", tmp_path / "out.webm"), 2)
    cut = painted(f"file://{source}", tmp_path / "cut.webm", start=1)
    together(cut, 1)


def test_a_gap_in_the_sound_stays_a_gap(tmp_path: Path) -> None:
    """Packets that are missing do not pull what follows forward."""
    source = film(tmp_path / "whole.mkv", "pcm_s16le")
    with av.open(str(source)) as before, av.open(str(tmp_path / "in.mkv"), "w") as after:
        tracks = [after.add_stream_from_template(stream) for stream in before.streams]
        for packet in before.demux():
            if packet.size and not (packet.stream.type == "audio" and 0.6 < packet.pts * packet.time_base < 1):
                packet.stream = tracks[packet.stream.index]
                after.mux(packet)
    together(painted(tmp_path / "in.mkv", tmp_path / "out.webm"), 2)


def test_no_sound_at_all_in_a_track_makes_a_film(tmp_path: Path) -> None:
    source = film(tmp_path / "in.mp4", "aac", (0.4, 1.2), late=1.0)
    out = painted(source, tmp_path / "out.webm", end=0.8)
    assert flashes_of(out) == pytest.approx([0.4]) and media.decode_sequentially(out)
