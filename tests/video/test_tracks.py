"""Sound, subtitles and chapters go along with a picture that is cut or spliced, and nothing is lost silently."""

from __future__ import annotations

import hashlib
import logging
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from tests import media
from vst.video.sink import open_sink
from vst.video.source import open_source

Packets = list[tuple[Fraction, str]]


def _copy(inputs, target: Path, audio: str = "copy", **options) -> Path:
    with (
        open_source(inputs, **options) as source,
        open_sink(target, source.info, tracks=source.tracks, audio=audio) as sink,
    ):
        for frame in source:
            sink.write(frame.image, frame.pts, frame.duration)
    return target


def _packets(path: Path, kind: str = "audio", track: int = 0) -> Packets:
    """Time, from the first frame on, and hash of each packet."""
    with av.open(str(path)) as container:
        stream, picture = getattr(container.streams, kind)[track], container.streams.video[0]
        packets = [p for p in container.demux(stream, picture) if p.size]
        first = min(p.pts * p.time_base for p in packets if p.stream is picture)
        sound = [p for p in packets if p.stream is stream]
        return [(p.pts * p.time_base - first, hashlib.md5(bytes(p)).hexdigest()) for p in sound]


def _lines(path: Path) -> list[tuple[float, float, str]]:
    """Time, length and text of each subtitle that says something."""
    with av.open(str(path)) as container:
        stream = container.streams.subtitles[0]
        found = []
        for packet in container.demux(stream):
            text = bytes(packet).decode(errors="replace")[-6:]
            if text.startswith("line"):
                found.append((float(packet.pts * stream.time_base), float(packet.duration * stream.time_base), text))
        return found


def _chapters(path: Path) -> list[tuple[str, float, float]]:
    with av.open(str(path)) as container:
        return [
            (c["metadata"]["title"], float(c["start"] * c["time_base"]), float(c["end"] * c["time_base"]))
            for c in container.chapters()
        ]


def _assert_close(packets: Packets, expected: Packets) -> None:
    assert [digest for _, digest in packets] == [digest for _, digest in expected]
    np.testing.assert_allclose([float(t) for t, _ in packets], [float(t) for t, _ in expected], atol=1.1e-3)


@pytest.mark.parametrize("extension", [".mp4", ".mkv"])
@pytest.mark.parametrize(("start", "end"), [(None, 1.5), (3, 3.5), (3.02, None)])
def test_sound_is_cut_with_the_picture(extension: str, start, end, tmp_path: Path) -> None:
    source = media.make_video(tmp_path / f"in{extension}", n=100, bframes=2, audio="multi")
    target = _copy(source, tmp_path / f"out{extension}", start=start, end=end)
    zero = 0 if start is None else np.ceil(start * 25 - 0.01) / 25
    first, last = -1.0 if start is None else zero, end or 9
    for track in (0, 1):
        whole = _packets(source, track=track)
        _assert_close(
            _packets(target, track=track),
            [(t - Fraction(zero), digest) for t, digest in whole if first - 1e-3 <= t < last - 1e-3],
        )


def test_six_channels_are_copied(tmp_path: Path) -> None:
    source = media.make_video(tmp_path / "in.mp4", n=20, audio="5.1")
    target = _copy(source, tmp_path / "out.mkv")
    with av.open(str(target)) as container:
        assert container.streams.audio[0].codec_context.layout.name == "5.1"
    assert [digest for _, digest in _packets(target)] == [digest for _, digest in _packets(source)]


@pytest.mark.parametrize("extension", [".mp4", ".mkv"])
def test_sound_is_spliced_with_the_picture(extension: str, tmp_path: Path) -> None:
    first = media.make_video(tmp_path / "1.mp4", n=25, audio="aac")
    second = media.make_video(tmp_path / "2.mp4", frames=media.pattern_frames(15, first=40), audio="aac")
    spliced = _packets(_copy([first, second], tmp_path / f"out{extension}"))
    before, after = _packets(first), _packets(second)
    expected = [(t, d) for t, d in before if t < 1] + [(t + 1, d) for t, d in after if t >= 0]
    _assert_close(spliced, expected)


def test_sound_changes_in_the_middle_of_a_cross_fade(tmp_path: Path) -> None:
    paths = [media.make_video(tmp_path / f"{n}.mp4", n=25, audio="aac") for n in (1, 2)]
    spliced = _packets(_copy(paths, tmp_path / "out.mp4", crossfade=0.4))
    before, after = _packets(paths[0]), _packets(paths[1])
    shift, middle = Fraction(3, 5), Fraction(4, 5)
    expected = [(t, d) for t, d in before if t < middle] + [(t + shift, d) for t, d in after if t + shift >= middle]
    _assert_close(spliced, expected)


def test_sound_is_left_out_on_request(tmp_path: Path) -> None:
    mono, none = media.make_video(tmp_path / "1.mp4", n=5, audio="aac"), media.make_video(tmp_path / "2.mp4", n=5)
    silent = _copy([mono, none], tmp_path / "out.mp4", audio="none")
    with av.open(str(silent)) as container:
        assert not container.streams.audio
    assert media.read_numbers(media.decode_sequentially(silent)) == [*range(5), *range(5)]


@pytest.mark.parametrize(("extension", "kind"), [(".mkv", "subrip"), (".mp4", "mov_text"), (".mov", "mov_text")])
def test_subtitles_and_chapters_survive(extension: str, kind: str, tmp_path: Path, caplog) -> None:
    plain = media.make_video(tmp_path / f"plain{extension}", n=50, audio="aac")
    source = media.add_extras(plain, tmp_path / f"in{extension}", kind, attachment=extension == ".mkv")
    with caplog.at_level(logging.WARNING):
        whole = _copy(source, tmp_path / f"out{extension}")
    assert caplog.messages == []
    assert _lines(whole) == _lines(source) and [text for *_, text in _lines(whole)] == ["line 1", "line 2"]
    assert _chapters(whole) == _chapters(source) == [("First", 0, 1), ("Second", 1, 2)]
    with av.open(str(whole)) as container:
        assert container.streams.subtitles[0].metadata["language"] == "eng"
        attached = [(stream.name, stream.data) for stream in container.streams.attachments]
    assert attached == ([("note.txt", b"a note")] if extension == ".mkv" else [])
    cut = _copy(source, tmp_path / f"cut{extension}", start=0.8, end=1.8)
    assert [text for *_, text in _lines(cut)] == ["line 2"]
    assert _lines(cut)[0][0] == pytest.approx(0.4, abs=2e-3)
    [(_, *first), (_, *second)] = _chapters(cut)
    assert first == pytest.approx([0, 0.2], abs=2e-3) and second == pytest.approx([0.2, 1], abs=2e-3)


@pytest.mark.parametrize(
    ("given", "kind", "target", "held"),
    [
        ("in.mkv", "subrip", "out.mp4", "mov_text"),
        ("in.mkv", "subrip", "out.mov", "mov_text"),
        ("in.mp4", "mov_text", "out.mkv", "subrip"),
        ("in.mkv", "subrip", "out.webm", "webvtt"),
    ],
)
@pytest.mark.parametrize(("start", "lines"), [(None, ["line 1", "line 2"]), (0.8, ["line 2"])])
def test_subtitles_are_written_as_the_container_wants_them(
    given: str, kind: str, target: str, held: str, start: float | None, lines: list[str], tmp_path: Path, caplog
) -> None:
    plain = media.make_video(tmp_path / f"plain{given[-4:]}", n=50)
    source = media.add_extras(plain, tmp_path / given, kind)
    with caplog.at_level(logging.WARNING):
        out = _copy(source, tmp_path / target, start=start)
    [line] = caplog.messages
    assert line.endswith(f"holds other subtitles; written anew: {kind} as {held}")
    with av.open(str(out)) as container:
        track = container.streams.subtitles[0]
        assert track.codec_context.codec.canonical_name == held and track.metadata["language"] == "eng"
    found = _lines(out)
    assert [text for *_, text in found] == lines
    expected = [time - (start or 0) for time in (0.2, 1.2)][-len(lines) :]
    assert [begin for begin, *_ in found] == pytest.approx(expected, abs=2e-3)
    assert [length for _, length, _ in found] == pytest.approx([0.4] * len(lines), abs=2e-3)


def test_slanted_subtitles_stay_slanted(tmp_path: Path) -> None:
    plain = media.make_video(tmp_path / "plain.mkv", n=50)
    with av.open(str(plain)) as before, av.open(str(tmp_path / "in.mkv"), "w") as after:
        picture, text = after.add_stream_from_template(before.streams.video[0]), after.add_mux_stream("subrip")
        line = av.Packet(b"<i>line</i> 1")
        line.pts, line.duration, line.time_base, line.stream = 200, 400, Fraction(1, 1000), text
        after.mux(line)
        for packet in before.demux():
            if packet.size:
                packet.stream = picture
                after.mux(packet)
    there = _copy(tmp_path / "in.mkv", tmp_path / "there.mp4")
    with av.open(str(_copy(there, tmp_path / "back.mkv"))) as container:
        [packet] = [p for p in container.demux(subtitles=0) if p.size]
    assert bytes(packet) == b"<i>line</i> 1"


def test_what_the_container_cannot_hold_is_told_in_one_line(tmp_path: Path, caplog) -> None:
    plain = media.make_video(tmp_path / "plain.mkv", n=50)
    source = media.add_extras(plain, tmp_path / "in.mkv", "subrip", attachment=True)
    with caplog.at_level(logging.WARNING):
        target = _copy(source, tmp_path / "out.mp4")
    _, line = caplog.messages
    assert "left out of the input: attachment note.txt" in line and "\n" not in line
    assert _chapters(target) == _chapters(source)
    caplog.clear()
    with caplog.at_level(logging.WARNING):
        _copy([source, source], tmp_path / "twice.mkv")
    [line] = caplog.messages
    assert "left out of the input: subtitles subrip, attachment note.txt, chapters" in line


def test_webm_takes_opus_as_it_is(tmp_path: Path) -> None:
    opus = media.make_video(tmp_path / "in.mkv", n=10, audio="opus")
    assert [d for _, d in _packets(_copy(opus, tmp_path / "out.webm"))] == [d for _, d in _packets(opus)]


@pytest.mark.parametrize(("start", "end"), [(None, None), (0.4, 1.2)])
def test_sound_of_what_is_read_once_goes_along(start, end, tmp_path: Path) -> None:
    source = media.make_video(tmp_path / "in.mkv", n=50, audio="multi")
    piped = _copy(f"file://{source}", tmp_path / "piped.mkv", start=start, end=end)
    file = _copy(source, tmp_path / "file.mkv", start=start, end=end)
    for track in (0, 1):
        assert _packets(piped, track=track) == _packets(file, track=track)
    assert media.read_numbers(media.decode_sequentially(piped)) == media.read_numbers(media.decode_sequentially(file))


def test_tracks_keep_what_players_choose_by(tmp_path: Path) -> None:
    """The sound and subtitles that are played by default, or always."""
    kinds = av.stream.Disposition
    plain = media.add_extras(media.make_video(tmp_path / "p.mkv", n=50, audio="multi"), tmp_path / "q.mkv", "subrip")
    wanted = [kinds.default, kinds.comment, kinds.default, kinds.default | kinds.forced]
    with av.open(str(plain)) as before, av.open(str(tmp_path / "in.mkv"), "w") as after:
        tracks = [after.add_stream_from_template(stream) for stream in before.streams]
        for track, disposition in zip(tracks, wanted, strict=True):
            track.disposition = disposition
        for packet in before.demux():
            if packet.size:
                packet.stream = tracks[packet.stream.index]
                after.mux(packet)
    with av.open(str(_copy(tmp_path / "in.mkv", tmp_path / "out.mkv"))) as result:
        tracks = [*result.streams.video, *result.streams.audio, *result.streams.subtitles]
        assert [track.disposition for track in tracks] == wanted
