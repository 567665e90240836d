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
from vst.errors import UserError
from vst.video.sink import open_sink
from vst.video.source import open_source

Packets = list[tuple[Fraction, str]]


def _copy(inputs, target: Path, sound: bool = True, **options) -> Path:
    with (
        open_source(inputs, **options) as source,
        open_sink(target, source.info, tracks=source.tracks, sound=sound) as sink,
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


def test_sound_that_differs_is_not_spliced(tmp_path: Path) -> None:
    mono = media.make_video(tmp_path / "1.mp4", n=5, audio="aac")
    none = media.make_video(tmp_path / "2.mp4", n=5)
    many = media.make_video(tmp_path / "3.mp4", n=5, audio="5.1")
    for other, words in ((none, r"aac 48000 mono; none"), (many, r"aac 48000 mono; aac 48000 5\.1")):
        with pytest.raises(UserError, match=rf"differ in their audio \({words}\).* set audio=none") as caught:
            _copy([mono, other], tmp_path / "out.mp4")
        assert "\n" not in str(caught.value)
    silent = _copy([mono, none], tmp_path / "out.mp4", sound=False)
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


def test_what_the_container_cannot_hold_is_told_in_one_line(tmp_path: Path, caplog) -> None:
    plain = media.make_video(tmp_path / "plain.mkv", n=50)
    source = media.add_extras(plain, tmp_path / "in.mkv", "subrip", attachment=True)
    with caplog.at_level(logging.WARNING):
        target = _copy(source, tmp_path / "out.mp4")
    [line] = caplog.messages
    assert "left out of the input: subtitles" in line and "attachment note.txt" in line and "\n" not in line
    assert _chapters(target) == _chapters(source)


def test_webm_takes_opus_and_refuses_aac(tmp_path: Path) -> None:
    opus = media.make_video(tmp_path / "in.mkv", n=10, audio="opus")
    assert [d for _, d in _packets(_copy(opus, tmp_path / "out.webm"))] == [d for _, d in _packets(opus)]
    aac = media.make_video(tmp_path / "in.mp4", n=10, audio="aac")
    with pytest.raises(
        UserError, match=r"\.webm cannot hold the input's aac audio; name it no\.mp4, or set audio=none"
    ):
        _copy(aac, tmp_path / "no.webm")
    silent = _copy(aac, tmp_path / "silent.webm", sound=False)
    assert len(media.decode_sequentially(silent)) == 10


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
