"""Work in segments: the joined file is whole, equal to one without interruption, and of the right job."""

from __future__ import annotations

import dataclasses
import hashlib
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from tests import media
from vst.errors import UserError
from vst.video import segments as segments_module
from vst.video.probe import probe
from vst.video.reader import VideoReader
from vst.video.segments import SegmentedWriter
from vst.video.writer import new_video

VFR = np.cumsum([0] + [20 + 37 * i % 90 for i in range(39)]).tolist()
JOB = {"look": "blue"}


@pytest.fixture(autouse=True)
def _segments_of_eight_frames(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(segments_module, "SEGMENT_SECONDS", Fraction(8, 25))


def _write(source: Path, target: Path, stop: int | None = None, job: dict | None = None, **options) -> list[int]:
    """Copy as a pipeline would; break off behind frame `stop`. The numbers of the frames that were written."""
    written = []
    with VideoReader(source) as reader:
        info = dataclasses.replace(reader.info, fps=Fraction(25))
        with SegmentedWriter(target, info, job or JOB, tracks=reader.tracks, **options) as writer:
            assert writer.segment_frames == 8
            if writer.frames:
                assert writer.state["seen"].tolist() == [writer.frames]
            for number, frame in enumerate(reader.read(writer.frames), start=writer.frames):
                if number == stop:
                    raise KeyboardInterrupt
                writer.write(frame.image, frame.pts, frame.duration)
                written.append(number)
                if (number + 1) % 8 == 0:
                    writer.close_segment({"seen": np.array([number + 1])})
    return written


def _digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("out.mp4", {}),
        ("out.mkv", {}),
        ("out.mov", {"codec": "libx265", "preset": "ultrafast"}),
        ("out.webm", {"preset": 8}),
        ("out.mp4", {"codec": "libsvtav1", "preset": 8}),
    ],
)
def test_joined_segments_have_all_frames_at_their_times(name: str, options: dict, tmp_path: Path) -> None:
    audio = "aac" if name.endswith(".mov") else "opus"
    source = media.make_video(tmp_path / "in.mkv", n=40, bframes=2, pts=VFR, audio=audio)
    _write(source, tmp_path / name, **options)
    with VideoReader(tmp_path / name) as reader:
        frames = list(reader)
        assert reader.damaged is None
    assert media.read_numbers([frame.image for frame in frames]) == list(range(40))
    times = [float(frame.pts * frame.time_base) for frame in frames]
    np.testing.assert_allclose(times, np.array(VFR) / 1000, atol=1e-3)
    assert probe(tmp_path / name).has_audio
    with av.open(str(tmp_path / name)) as container:
        stamps = [packet.dts for packet in container.demux(video=0) if packet.dts is not None]
    assert stamps == sorted(set(stamps))
    assert _names(tmp_path) == ["in.mkv", name]


def test_each_segment_begins_with_a_key_frame(tmp_path: Path) -> None:
    source = media.make_video(tmp_path / "in.mp4", n=30)
    _write(source, tmp_path / "out.mp4")
    with av.open(str(tmp_path / "out.mp4")) as container:
        keys = [number for number, frame in enumerate(container.decode(video=0)) if frame.key_frame]
    assert {0, 8, 16, 24} <= set(keys)


@pytest.mark.parametrize("stops", [(3,), (8,), (21,), (9, 25, 30)])
def test_an_interrupted_work_ends_in_the_same_file(stops: tuple[int, ...], tmp_path: Path) -> None:
    source = media.make_video(tmp_path / "in.mp4", n=36, bframes=2, audio="aac", rotation=90)
    _write(source, tmp_path / "whole.mp4")
    for stop in stops:
        with pytest.raises(KeyboardInterrupt):
            _write(source, tmp_path / "out.mp4", stop=stop)
        assert not (tmp_path / "out.mp4").exists()
        assert (tmp_path / ".out.mp4.parts").exists() == (stop >= 8)
    rest = _write(source, tmp_path / "out.mp4")
    assert rest == list(range(stops[-1] // 8 * 8, 36))
    assert _digest(tmp_path / "out.mp4") == _digest(tmp_path / "whole.mp4")
    assert _names(tmp_path) == ["in.mp4", "out.mp4", "whole.mp4"]


def test_what_is_left_of_a_segment_without_its_index_does_not_count(tmp_path: Path) -> None:
    source = media.make_video(tmp_path / "in.mp4", n=20)
    with pytest.raises(KeyboardInterrupt):
        _write(source, tmp_path / "out.mp4", stop=10)
    folder = tmp_path / ".out.mp4.parts"
    (folder / "00001.nut").write_bytes(b"half a segment")
    (folder / "00001.part").write_bytes(b"half an index")
    (folder / ".out.mp4.1234.part").write_bytes(b"half an output")
    assert _write(source, tmp_path / "out.mp4") == list(range(8, 20))
    assert media.read_numbers(media.decode_sequentially(tmp_path / "out.mp4")) == list(range(20))


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"job": {"look": "red"}}, "look was blue, is red"),
        ({"crf": 30}, "encoding.options.crf was 18, is 30"),
        ({"job": {"look": {"calm": 0, "strength": 1}}}, "look was blue, is None; look.calm was None, is 0; look.str"),
    ],
)
def test_another_job_is_refused_and_loses_nothing(changes: dict, words: str, tmp_path: Path) -> None:
    source = media.make_video(tmp_path / "in.mp4", n=20)
    with pytest.raises(KeyboardInterrupt):
        _write(source, tmp_path / "out.mp4", stop=10)
    before = _names(tmp_path / ".out.mp4.parts")
    with pytest.raises(
        UserError, match=rf"holds the begin of another job: {words}.*; set it back, or delete"
    ) as caught:
        _write(source, tmp_path / "out.mp4", **changes)
    assert "\n" not in str(caught.value) and _names(tmp_path / ".out.mp4.parts") == before


def test_no_frame_and_a_damaged_job(tmp_path: Path) -> None:
    with (
        pytest.raises(UserError, match="no frame was given"),
        SegmentedWriter(tmp_path / "a.mp4", new_video(64, 48, 25), JOB),
    ):
        pass
    assert _names(tmp_path) == []
    (tmp_path / ".a.mp4.parts").mkdir()
    (tmp_path / ".a.mp4.parts" / "job.json").write_text("{")
    with (
        pytest.raises(UserError, match=r"parts is damaged; delete it"),
        SegmentedWriter(tmp_path / "a.mp4", new_video(64, 48, 25), JOB),
    ):
        pytest.fail("it must not open")
