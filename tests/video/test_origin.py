"""Recordings whose clock does not begin at 0: times count from their begin, and sound and picture stay together."""

from __future__ import annotations

import hashlib
import logging
import threading
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from data_modules.film import VideoStyle
from data_modules.video_cache import scan_folder
from tests import media
from vst.evaluate.media import read_video
from vst.live.sources import FileSource
from vst.painting.masks import FileMask
from vst.stream import stylize_video
from vst.video import FrameIndex, VideoReader, VideoWriter, open_source, probe, read_clip

ELEVEN_HOURS = 40_000
WRAP = 2**33 / 90_000  # seconds after which the clock of a transport stream begins anew
BEGINS = [("ts", ELEVEN_HOURS), ("mkv", ELEVEN_HOURS), ("mp4", ELEVEN_HOURS), ("nut", ELEVEN_HOURS), ("ts", WRAP - 2)]


class Same:
    """An engine that returns its input, and notes the times that it is told."""

    def __init__(self) -> None:
        self.times: list[float] = []

    def reset(self) -> None: ...

    def at(self, seconds: float) -> None:
        self.times.append(seconds)

    def read_state(self) -> list:
        return []

    def load_state(self, state: list) -> None: ...

    def __call__(self, frame: np.ndarray, out: np.ndarray) -> np.ndarray:
        np.copyto(out, frame)
        return out


def recording(folder: Path, kind: str, begin: float, n: int = 30, **options) -> Path:
    plain = media.make_video(folder / "plain.mkv", n=n, audio="aac")
    return media.recorded_at(plain, folder / f"film.{kind}", begin, **options)


def stylized(film: Path | list[Path], target: Path, **options) -> Path:
    stylize_video(Same(), film, target, progress=False, **options)
    return target


def times(path: Path, kind: str) -> list[Fraction]:
    with av.open(str(path)) as container:
        stream = getattr(container.streams, kind)[0]
        return sorted(packet.pts * packet.time_base for packet in container.demux(stream) if packet.size)


def distance(path: Path) -> float:
    """Seconds from the first sound to the first picture."""
    return float(times(path, "video")[0] - times(path, "audio")[0])


def hashes(path: Path) -> list[str]:
    """Of the packets of sound, without the headers that they have in a transport stream."""
    head = 7 if path.suffix == ".ts" else 0
    with av.open(str(path)) as container:
        return [hashlib.md5(bytes(p)[head:]).hexdigest() for p in container.demux(container.streams.audio[0]) if p.size]


@pytest.mark.parametrize(("kind", "begin"), BEGINS)
def test_a_film_lasts_as_long_as_it_is_shown(kind: str, begin: float, tmp_path: Path) -> None:
    film = recording(tmp_path, kind, begin)
    assert probe(film).duration == pytest.approx(1.2, abs=0.05)
    with VideoReader(film) as reader:
        frames = list(reader)
        first = frames[0].pts * frames[0].time_base
        assert reader.info.duration == pytest.approx(1.2, abs=0.05)
        assert first == reader.info.first * reader.info.time_base and 0 <= first < Fraction(1, 10)
        assert media.read_numbers([frame.image for frame in frames]) == list(range(30))
        assert reader.damaged is None


@pytest.mark.parametrize("target", ["mp4", "mkv", "mov"])
@pytest.mark.parametrize(("kind", "begin"), BEGINS)
def test_a_painted_film_begins_at_0(kind: str, begin: float, target: str, tmp_path: Path) -> None:
    film = recording(tmp_path, kind, begin)
    painted = stylized(film, tmp_path / f"out.{target}")
    with av.open(str(painted)) as container:
        assert container.duration / av.time_base == pytest.approx(1.22, abs=0.05)
    # What its decoder needs to begin with may lie before 0, where it is not heard.
    assert 0 <= times(painted, "video")[0] < 0.03 and -0.03 < times(painted, "audio")[0] < 0.002
    assert distance(painted) == pytest.approx(distance(film), abs=0.002)
    assert len(times(painted, "video")) == 30 and hashes(painted) == hashes(film)


@pytest.mark.parametrize("later", [-0.5, 0.5])
@pytest.mark.parametrize("kind", ["ts", "mkv"])
def test_sound_and_picture_keep_their_distance(kind: str, later: float, tmp_path: Path) -> None:
    film = recording(tmp_path, kind, ELEVEN_HOURS, sound_later=later)
    painted = stylized(film, tmp_path / "out.mp4")
    begin = {name: float(times(painted, name)[0]) for name in ("video", "audio")}
    early, late = ("audio", "video") if later < 0 else ("video", "audio")
    assert -0.03 < begin[early] < 0.002 and begin[late] == pytest.approx(0.5, abs=0.03)
    assert distance(painted) == pytest.approx(distance(film), abs=0.002)
    assert probe(film).duration == pytest.approx(1.2, abs=0.05)


def test_a_film_that_begins_before_0_is_whole(tmp_path: Path) -> None:
    film = recording(tmp_path, "ts", WRAP - 1)  # half of it lies before the clock's turn
    with VideoReader(film) as reader:
        assert media.read_numbers([frame.image for frame in reader]) == list(range(30))
    assert probe(film).first < 0 < probe(film).duration
    painted = stylized(film, tmp_path / "out.mp4")
    assert hashes(painted) == hashes(film) and distance(painted) == pytest.approx(distance(film), abs=0.002)


@pytest.mark.parametrize(("kind", "begin"), BEGINS)
def test_a_part_is_cut_by_times_from_the_begin(kind: str, begin: float, tmp_path: Path) -> None:
    film = recording(tmp_path, kind, begin)
    painted = stylized(film, tmp_path / "out.mp4", start=0.4, end=0.8)
    with VideoReader(painted) as reader:
        frames = list(reader)
    assert media.read_numbers([frame.image for frame in frames]) == list(range(10, 20))
    assert times(painted, "video")[0] == 0 and 0 <= times(painted, "audio")[0] < 0.03
    assert set(hashes(painted)) < set(hashes(film)) and len(hashes(painted)) >= 17


@pytest.mark.parametrize("kind", ["ts", "mkv"])
def test_recordings_are_joined(kind: str, tmp_path: Path) -> None:
    film = recording(tmp_path, kind, ELEVEN_HOURS)
    plain = media.recorded_at(tmp_path / "plain.mkv", tmp_path / f"plain.{kind}", 0)
    alone = hashes(stylized([plain] * 3, tmp_path / "alone.mp4"))
    joined = stylized([film, plain, film], tmp_path / "out.mp4")
    assert len(times(joined, "video")) == 90 and probe(joined).duration == pytest.approx(3.6, abs=0.01)
    assert hashes(joined) == alone
    assert float(times(joined, "audio")[-1]) == pytest.approx(3.6, abs=0.05)


def test_no_sound_is_lost_where_the_next_film_begins_slowly(tmp_path: Path) -> None:
    """Its first frame is handed over when its second one is there, and where it lies in the whole is known later."""
    films = [media.make_video(tmp_path / f"{number}.mkv", n=12, audio="aac", fps=25) for number in range(2)]
    with open_source(films) as source:
        frames = iter(source)
        for _ in range(12):
            next(frames)
        following = source.tracks[1]
        reader = source._readers[1]
        reader._start_at(0)  # as the thread of the decoder does, before `_place_sound`
        assert following.begins is None
        next(frames)
        assert following.begins == following.shift + following.start == Fraction(12, 25)


def test_resumed_work_is_the_same(tmp_path: Path) -> None:
    film = recording(tmp_path, "ts", ELEVEN_HOURS)
    whole, resumed = stylized(film, tmp_path / "1.mp4"), stylized(film, tmp_path / "2.mp4", resume=True)
    for kind in ("video", "audio"):
        assert times(whole, kind) == times(resumed, kind)


@pytest.mark.parametrize("kind", ["ts", "mkv"])
def test_looks_and_masks_run_by_the_films_clock(kind: str, tmp_path: Path) -> None:
    film, engine = recording(tmp_path, kind, ELEVEN_HOURS), Same()
    stylize_video(engine, film, tmp_path / "%03d.png", progress=False)
    assert len(list(tmp_path.glob("*.png"))) == 30
    assert np.allclose(np.array(engine.times) - engine.times[0], np.arange(30) / 25, atol=0.002)
    assert 0 <= engine.times[0] < 0.1
    mask = FileMask(film)
    frame = np.zeros((64, 96, 3), np.uint8)
    for number in (0, 10, 29):
        mask.at(100 + number / 25) if number else mask.at(100)
        level = mask(frame) * 255
        assert media.read_number(np.repeat(level[..., None], 3, 2)) == number


@pytest.mark.parametrize("kind", ["ts", "mkv"])
def test_a_constant_rate_and_a_gif_have_the_true_length(kind: str, tmp_path: Path) -> None:
    film = recording(tmp_path, kind, ELEVEN_HOURS)
    with open_source(film, fps=10) as source:
        assert source.info.num_frames == 12 == len(list(source))
    gif = stylized(film, tmp_path / "out.gif")
    with av.open(str(gif)) as container:
        assert container.duration / av.time_base == pytest.approx(1.2, abs=0.03)
        assert len(list(container.decode(video=0))) == 30


@pytest.mark.parametrize("kind", ["ts", "mkv", "mp4"])
def test_sound_of_a_given_film_goes_with_its_frames(kind: str, tmp_path: Path) -> None:
    film = recording(tmp_path, kind, ELEVEN_HOURS)
    with VideoReader(film) as reader, VideoWriter(tmp_path / "out.mp4", reader.info, copy_from=film) as writer:
        for frame in reader:
            writer.write(frame.image, frame.pts, frame.duration)
    assert distance(tmp_path / "out.mp4") == pytest.approx(distance(film), abs=0.002)
    assert times(tmp_path / "out.mp4", "video")[0] < 0.1


@pytest.mark.parametrize("counted_from", ["0", "the begin"])
def test_subtitles_and_chapters_move_along(counted_from: str, tmp_path: Path) -> None:
    """FFmpeg's `-output_ts_offset` moves the tracks and leaves the chapters."""
    plain = media.make_video(tmp_path / "plain.mkv", n=50, audio="aac")
    extras = media.add_extras(plain, tmp_path / "extras.mkv", "subrip")
    film = media.recorded_at(extras, tmp_path / "film.mkv", ELEVEN_HOURS)
    if counted_from == "0":
        film = _with_chapters_moved(film, tmp_path / "moved.mkv", ELEVEN_HOURS)
    painted = stylized(film, tmp_path / "out.mkv")
    cut = stylized(film, tmp_path / "cut.mkv", start=1.0)
    assert [float(time) for time in times(painted, "subtitles")] == pytest.approx([0.2, 1.2], abs=0.05)
    assert [float(time) for time in times(cut, "subtitles")] == pytest.approx([0.2], abs=0.05)
    for path, expected in ((painted, [(0, 1), (1, 2)]), (cut, [(0, 1)])):
        with av.open(str(path)) as container:
            found = [
                (float(c["start"] * c["time_base"]), float(c["end"] * c["time_base"])) for c in container.chapters()
            ]
        found = [pair for pair in found if pair[1] - pair[0] > 0.1]
        assert np.allclose(found, expected, atol=0.05)


def _with_chapters_moved(source: Path, target: Path, seconds: int) -> Path:
    with av.open(str(source)) as before, av.open(str(target), "w") as after:
        copies = {s.index: after.add_stream_from_template(s) for s in before.streams}
        moved = []
        for chapter in before.chapters():
            shift = round(seconds / chapter["time_base"])
            moved.append({**chapter, "start": chapter["start"] + shift, "end": chapter["end"] + shift})
        after.set_chapters(moved)
        for packet in before.demux():
            if packet.size:
                packet.stream = copies[packet.stream.index]
                after.mux(packet)
    return target


# ----------------------------------------------------------------------------------------------------
# the other doors


@pytest.mark.parametrize(("kind", "begin"), BEGINS)
def test_the_index_finds_a_recording_whole(kind: str, begin: float, tmp_path: Path) -> None:
    film = recording(tmp_path, kind, begin)
    index = FrameIndex.build(film)
    assert index.damaged is None and index.num_frames == 30
    assert media.read_numbers(read_clip(index, 7, 5, 3)) == [7, 10, 13, 16, 19]


def test_a_recording_that_breaks_off_is_still_told(tmp_path: Path) -> None:
    film = media.truncate(recording(tmp_path, "mkv", ELEVEN_HOURS, n=100), 0.5)
    damaged = FrameIndex.build(film).damaged
    assert damaged is not None and " of 4.0" in damaged
    with VideoReader(film) as reader:
        assert 0 < len(list(reader)) < 100
        assert reader.damaged is not None and " of 4.0" in reader.damaged


def test_training_and_evaluation_find_nothing_wrong(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    folder = tmp_path / "films"
    folder.mkdir()
    recording(tmp_path, "mkv", ELEVEN_HOURS).rename(folder / "film.mkv")
    with caplog.at_level(logging.WARNING):
        scan = scan_folder(folder, 64, cache_dir=tmp_path / "cache")
        scan.warn()
    assert scan.videos[0].num_frames == 30 and scan.videos[0].damaged is None and not caplog.records
    frames, damaged = read_video(folder / "film.mkv", 10, 96)
    assert len(frames) == 10 and damaged is None


def test_a_style_film_counts_from_its_begin(tmp_path: Path) -> None:
    colours = np.repeat(np.random.default_rng(0).integers(0, 255, (4, 64, 96, 3), np.uint8), 25, 0)
    plain = media.make_video(tmp_path / "plain.mkv", frames=colours)
    film = media.recorded_at(plain, tmp_path / "film.mkv", ELEVEN_HOURS)
    style = VideoStyle(film, crop=32, short_side=32)
    assert [frame.time for frame in style._items] == pytest.approx([0, 1, 2, 3], abs=0.002)


def test_a_recording_plays_live_at_its_own_pace(tmp_path: Path) -> None:
    film = recording(tmp_path, "ts", ELEVEN_HOURS, n=5)
    assert media.read_numbers(list(FileSource(str(film), loop=False).frames(threading.Event()))) == list(range(5))
