"""The training cache keeps every frame once and in order, is made once, and names what it cannot use."""

from __future__ import annotations

import json
import logging
import os
import subprocess
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path

import av
import numpy as np
import pytest
from PIL import Image

from data_modules import video_cache
from data_modules.video import read_frames
from data_modules.video_cache import TrainingVideo, fit, scan_folder
from tests import media
from vst.cache import cache_folder, in_words
from vst.errors import UserError
from vst.video.clips import FrameIndex

LEFT = (".jpg", ".braw", ".txt")

MAKERS: dict[str, Callable[[Path], Path]] = {
    "b-frames.mp4": lambda path: media.make_video(path, n=40, bframes=3, audio="aac"),
    "open-gop.mkv": lambda path: media.make_video(path, n=40, bframes=3, gop=10, open_gop=True),
    "vfr.mp4": lambda path: media.make_video(
        path, n=40, bframes=2, pts=np.cumsum([0] + [15 + 11 * i % 90 for i in range(39)]).tolist()
    ),
    "hevc.mp4": lambda path: media.make_video(path, n=40, codec="libx265", bframes=3, gop=10, open_gop=True),
    "edit-list.mp4": lambda path: media.make_edit_list(path, n=49, hidden=9),
    "rotated.mov": lambda path: media.make_video(path, n=40, rotation=90, bframes=2),
    "large.mp4": lambda path: media.make_video(path, n=40, width=240, height=160),
    "odd.m4v": lambda path: media.make_video(path, n=40, width=97, height=65, pix_fmt="yuv444p"),
    "ten-bit.webm": lambda path: media.make_video(path, n=40, codec="libvpx-vp9"),
}


def _numbers(video: TrainingVideo, start: int, length: int, stride: int, reader: str) -> list[int]:
    rotation = 90 if video.name.startswith("rotated") else 0
    return media.read_numbers(read_frames(video, start, length, stride, reader), rotation)


@pytest.mark.parametrize(("reader", "cache"), [("decord", True), ("pyav", True), ("pyav", False)])
@pytest.mark.parametrize("name", MAKERS)
def test_random_reads_give_the_frames_of_sequential_decoding(
    tmp_path: Path, name: str, reader: str, cache: bool
) -> None:
    if reader == "decord":
        pytest.importorskip("decord")
    path = MAKERS[name](tmp_path / name)
    oracle = media.read_numbers(media.decode_sequentially(path))
    (video,) = scan_folder(tmp_path, 64, cache=cache).videos
    assert video.num_frames == len(oracle) == 40
    assert video.cuts == ()
    rng = np.random.default_rng(2)
    for _ in range(8):
        stride, length = int(rng.integers(1, 5)), int(rng.integers(1, 9))
        start = int(rng.integers(0, 40 - (length - 1) * stride))
        expected = oracle[start : start + length * stride : stride][:length]
        assert _numbers(video, start, length, stride, reader) == expected


def test_the_copy_is_small_upright_and_easy_to_read(tmp_path: Path) -> None:
    media.make_video(tmp_path / "rotated.mp4", n=40, width=240, height=160, rotation=90, audio="aac", bframes=3)
    (video,) = scan_folder(tmp_path, 80).videos
    assert video.size == (80, 120)
    with av.open(video.index.path) as container:
        assert [stream.type for stream in container.streams] == ["video"]
        packets = [packet for packet in container.demux(video=0) if packet.size]
    assert all(packet.pts == packet.dts for packet in packets)
    keys = [number for number, packet in enumerate(packets) if packet.is_keyframe]
    assert max(np.diff([*keys, 40])) <= 30
    assert not any(packet.is_discard for packet in packets)


def test_the_picture_survives_the_copy(tmp_path: Path) -> None:
    frames = media.pattern_frames(6, seed=5)
    media.make_video(tmp_path / "clip.mp4", frames=frames, options={"crf": "1"})
    (video,) = scan_folder(tmp_path, 64).videos
    copied = read_frames(video, 0, 6, 1, "pyav").astype(float)
    error = copied - np.stack(media.decode_sequentially(tmp_path / "clip.mp4"))
    assert np.abs(error.mean(axis=(0, 1, 2))).max() < 2, "no shift of colour beyond a conversion's rounding"
    assert np.abs(error @ [0.299, 0.587, 0.114]).mean() < 3


def test_nothing_is_scaled_up_and_sizes_are_even() -> None:
    assert fit(1280, 720, 256) == (454, 256)
    assert fit(720, 1280, 256) == (256, 454)
    assert fit(97, 65, 256) == (96, 64)
    assert fit(640, 640, 320) == (320, 320)


def test_copies_are_kept_and_a_changed_file_is_copied_again(tmp_path: Path, monkeypatch) -> None:
    made: list[str] = []
    transcode = video_cache._transcode
    monkeypatch.setattr(video_cache, "_transcode", lambda path, *a: made.append(path.name) or transcode(path, *a))
    media.make_video(tmp_path / "a.mp4", n=12)
    media.make_video(tmp_path / "b.mp4", frames=media.pattern_frames(12, seed=1))
    first = scan_folder(tmp_path, 64)
    assert made == ["a.mp4", "b.mp4"]
    assert scan_folder(tmp_path, 64) == first
    (tmp_path / "a.mp4").rename(tmp_path / "renamed.mp4")
    names = [video.name for video in scan_folder(tmp_path, 64).videos]
    assert made == ["a.mp4", "b.mp4"] and names == ["b.mp4", "renamed.mp4"]

    changed = tmp_path / "b.mp4"
    stamp = changed.stat().st_mtime_ns
    media.make_video(changed, frames=media.pattern_frames(12, first=100))
    os.utime(changed, ns=(stamp, stamp))
    video = scan_folder(tmp_path, 64).videos[0]
    assert made[2:] == ["b.mp4"]
    assert _numbers(video, 0, 3, 1, "pyav") == [100, 101, 102]
    scan_folder(tmp_path, 48)
    assert made[3:] == ["b.mp4", "renamed.mp4"], "another size is another copy"


def test_an_interrupted_scan_goes_on_where_it_stopped(tmp_path: Path, monkeypatch) -> None:
    for seed, name in enumerate("abc"):
        media.make_video(tmp_path / f"{name}.mp4", frames=media.pattern_frames(20, seed=seed))
    made: list[str] = []

    class Interrupted(video_cache._Pass):
        def finish(self) -> None:
            if len(made) == 1:
                raise KeyboardInterrupt
            made.append("first run")
            super().finish()

    with monkeypatch.context() as patch:
        patch.setattr(video_cache, "_Pass", Interrupted)
        with pytest.raises(KeyboardInterrupt):
            scan_folder(tmp_path, 64)
    cache = cache_folder("videos")
    assert sorted(path.suffix for path in cache.iterdir()) == [".json", ".mp4"]
    kept = next(cache.glob("*.mp4"))
    before = kept.stat().st_mtime_ns
    assert [_numbers(v, 17, 3, 1, "pyav") for v in scan_folder(tmp_path, 64).videos] == [[17, 18, 19]] * 3
    assert kept.stat().st_mtime_ns == before


@pytest.mark.parametrize("damage", ["copy cut short", "index cut short", "copy missing"])
def test_a_half_written_copy_is_made_again(tmp_path: Path, damage: str) -> None:
    media.make_video(tmp_path / "a.mp4", n=20)
    copy = Path(scan_folder(tmp_path, 64).videos[0].index.path)
    if damage == "copy cut short":
        media.truncate(copy, 0.7)
    elif damage == "index cut short":
        media.truncate(copy.with_suffix(".json"), 0.5)
    else:
        copy.unlink()
    assert _numbers(scan_folder(tmp_path, 64).videos[0], 15, 5, 1, "pyav") == [15, 16, 17, 18, 19]


def test_the_index_beside_the_copy_is_plain_json(tmp_path: Path) -> None:
    (tmp_path / "deep" / "er").mkdir(parents=True)
    cut = np.concatenate([media.pattern_frames(15), media.pattern_frames(15, seed=9, first=15)])
    media.make_video(tmp_path / "deep" / "er" / "a.mp4", frames=cut)
    (video,) = scan_folder(tmp_path, 64).videos
    assert video.name == "deep/er/a.mp4"
    notes = json.loads(Path(video.index.path).with_suffix(".json").read_text())
    assert (notes["source"], notes["num_frames"], notes["size"]) == ("deep/er/a.mp4", 30, [96, 64])
    assert notes["cuts"] == [15] and video.scenes() == [(0, 15), (15, 30)]


def test_broken_files_are_named_in_one_warning(tmp_path: Path, caplog) -> None:
    media.make_video(tmp_path / "good.mp4", n=12)
    (tmp_path / "empty.mp4").touch()
    (tmp_path / "text.mp4").write_text("these are words, not frames\n" * 50)
    media.truncate(media.make_video(tmp_path / "half.mp4", n=40), 0.6)
    media.truncate(media.make_video(tmp_path / "headless.mp4", n=40, faststart=False), 0.6)
    with av.open(str(tmp_path / "sound.mkv"), "w") as container:
        media._write_sine(container, media._audio_stream(container, "aac"), 0.5, 440)
    scan = scan_folder(tmp_path, 64)
    assert [video.name for video in scan.videos] == ["good.mp4", "half.mp4"]
    assert 10 < scan.videos[1].num_frames < 35
    assert [name for name, _ in scan.skipped] == ["empty.mp4", "headless.mp4", "sound.mkv", "text.mp4"]
    with caplog.at_level(logging.WARNING):
        scan.warn()
        scan_folder(tmp_path, 64).warn()
    first, second = caplog.messages
    assert first == second, "also what is known from the cache is named"
    for name in ("empty.mp4", "headless.mp4", "sound.mkv", "text.mp4", "half.mp4"):
        assert name in first
    assert "good.mp4" not in first
    assert str(tmp_path) not in first


def test_a_video_of_a_few_pixels_is_named(tmp_path: Path) -> None:
    media.make_video(tmp_path / "good.mp4", n=3)
    media.make_video(tmp_path / "tiny.mp4", n=3, width=24, height=8)
    ((name, reason),) = scan_folder(tmp_path, 64).skipped
    assert name == "tiny.mp4" and "24 x 8" in reason


def test_a_clean_folder_has_no_warning(tmp_path: Path, caplog) -> None:
    media.make_video(tmp_path / "good.mp4", n=3)
    scan_folder(tmp_path, 64).warn()
    assert caplog.messages == []


def test_folders_that_cannot_be_used_are_errors_of_one_line(tmp_path: Path) -> None:
    (tmp_path / "nothing").mkdir()
    (tmp_path / "pictures").mkdir()
    (tmp_path / "pictures" / "0001.jpg").touch()
    (tmp_path / "photographs").mkdir()
    for number in (1, 2, 7, 12, 40, 41, 80, 95):
        (tmp_path / "photographs" / f"IMG_{number:04}.jpg").touch()
    (tmp_path / "hidden" / ".trash").mkdir(parents=True)
    (tmp_path / "hidden" / ".trash" / "a.mp4").touch()
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / "a.mp4").touch()
    (tmp_path / "file.mp4").touch()
    expected = {
        "missing": "no such folder",
        "nothing": "holds no videos",
        "pictures": "1 picture and no videos",
        "hidden": "holds no videos",
        "photographs": "8 pictures and no videos .*data=images",
        "broken": "none of its 1 video can be read",
        "file.mp4": "is a file",
    }
    for name, message in expected.items():
        with pytest.raises(UserError, match=message) as raised:
            scan_folder(tmp_path / name, 64)
        assert str(tmp_path / name) in str(raised.value)
        assert "\n" not in str(raised.value)


def test_the_place_of_the_cache(tmp_path: Path, monkeypatch) -> None:
    root = tmp_path / "root"
    root.mkdir()
    media.make_video(root / "a.mp4", n=3)

    def place(**where) -> Path:
        return Path(scan_folder(root, 64, **where).videos[0].index.path).parent

    assert place(cache_dir=tmp_path / "chosen") == tmp_path / "chosen"
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "caches"))
    assert place() == tmp_path / "caches" / "vst" / "videos"
    with pytest.raises(UserError, match=r"data\.cache_dir"):
        place(cache_dir=root / "a.mp4")
    monkeypatch.setenv("XDG_CACHE_HOME", str(root / "a.mp4"))  # a file in its place
    with pytest.raises(UserError, match=r"data\.cache_dir") as told:
        place()
    assert "\n" not in str(told.value)


def make_film(path: Path, seed: int) -> None:
    """A film of ten frames in the container and codec that its extension stands for."""
    codec, options = {
        ".vob": ("mpeg2video", {}), ".wmv": ("wmv2", {}), ".flv": ("flv", {}), ".mxf": ("mpeg2video", {}),
        ".ogv": ("libvpx", {}), ".3gp": ("mpeg4", {}),
    }.get(path.suffix, ("libx264", {}))  # fmt: skip
    formats = {".ts": "mpegts", ".m2ts": "mpegts", ".wmv": "asf", ".ogv": "ogg"}
    with av.open(str(path), "w", format=formats.get(path.suffix.lower(), path.suffix[1:])) as container:
        stream = container.add_stream(codec, rate=25, options=options)
        stream.width, stream.height, stream.pix_fmt = 96, 64, "yuv420p"
        for frame in media.pattern_frames(10, seed=seed):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
        container.mux(stream.encode(None))


def test_copies_within_the_folder_are_no_sources(tmp_path: Path) -> None:
    media.make_video(tmp_path / "a.mp4", n=3)
    first = scan_folder(tmp_path, 64, cache_dir=tmp_path)
    assert Path(first.videos[0].index.path).parent == tmp_path
    assert scan_folder(tmp_path, 64, cache_dir=tmp_path) == first


def test_a_cache_that_cannot_be_written_stops_the_scan(tmp_path: Path, monkeypatch) -> None:
    """A full disk is no reason to train on the files that were copied before it was full."""
    media.make_video(tmp_path / "a.mp4", n=3)
    media.make_video(tmp_path / "b.mp4", n=4)

    def full(self, picture: np.ndarray) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(video_cache._Pass, "_encode", full)
    with pytest.raises(UserError, match="No space left"):
        scan_folder(tmp_path, 64)


def test_only_old_leftovers_are_removed(tmp_path: Path) -> None:
    media.make_video(tmp_path / "a.mp4", n=3)
    cache = cache_folder("videos")
    cache.mkdir(parents=True)
    (cache / ".old.1.part.mp4").touch()
    os.utime(cache / ".old.1.part.mp4", (0, 0))
    (cache / ".young.2.part.mp4").touch()
    scan_folder(tmp_path, 64)
    assert [path.name for path in cache.glob(".*")] == [".young.2.part.mp4"]


def test_the_place_and_the_size_are_said_once_when_copies_are_made(tmp_path: Path, caplog) -> None:
    media.make_video(tmp_path / "a.mp4", n=3)
    with caplog.at_level(logging.INFO):
        scan_folder(tmp_path, 64)
        scan_folder(tmp_path, 64)
    (line,) = [record.getMessage() for record in caplog.records]
    size = in_words(sum(path.stat().st_size for path in cache_folder("videos").iterdir()))
    assert (
        line.startswith("cache     1 new copy ") and str(cache_folder("videos")) in line and f", {size} in all" in line
    )
    assert [path.name for path in tmp_path.iterdir()] == ["a.mp4"], "nothing is written beside the films"


def test_the_cache_of_earlier_versions_is_named_and_left_alone(tmp_path: Path, caplog) -> None:
    media.make_video(tmp_path / "a.mp4", n=3)
    (tmp_path / ".vst_cache").mkdir()
    (tmp_path / ".vst_cache" / "old.mp4").write_bytes(bytes(2500))
    with caplog.at_level(logging.WARNING):
        scan_folder(tmp_path, 64)
    (line,) = [record.getMessage() for record in caplog.records]
    assert str(tmp_path / ".vst_cache") in line and "(2.5 kB)" in line and "not used any more" in line
    assert (tmp_path / ".vst_cache" / "old.mp4").stat().st_size == 2500


def test_two_runs_at_once_share_a_cache(tmp_path: Path) -> None:
    """Both read the right frames, whoever writes last, and nothing half done stays."""
    for seed in range(3):
        media.make_video(tmp_path / f"{seed}.mp4", frames=media.pattern_frames(20, seed=seed, first=20 * seed))
    code = (
        "import sys; from data_modules.video_cache import scan_folder; from data_modules.video import read_frames; "
        "from tests import media; videos = scan_folder(sys.argv[1], 64).videos; "
        "print([media.read_numbers(read_frames(v, 3, 2, 1, 'pyav')) for v in videos])"
    )
    runs = [
        subprocess.Popen([sys.executable, "-c", code, str(tmp_path)], stdout=subprocess.PIPE, text=True)
        for _ in range(2)
    ]
    told = [run.communicate(timeout=120)[0].strip() for run in runs]
    assert told == ["[[3, 4], [23, 24], [43, 44]]"] * 2
    assert sorted(path.suffix for path in cache_folder("videos").iterdir()) == [".json"] * 3 + [".mp4"] * 3


def test_what_another_run_finished_meanwhile_is_taken(tmp_path: Path, monkeypatch) -> None:
    path = media.make_video(tmp_path / "a.mp4", n=3)
    first = scan_folder(tmp_path, 64).videos[0]
    copy = Path(first.index.path)
    before = copy.stat().st_mtime_ns
    known = video_cache._transcode(path, copy, "a.mp4", partial(video_cache._Pass, 64, lambda _: None, 3, name="a.mp4"))
    assert FrameIndex.from_json(known["index"]).num_frames == 3
    assert copy.stat().st_mtime_ns == before and not list(copy.parent.glob(".*"))


def test_films_of_every_kind_are_taken_and_others_named(tmp_path: Path, caplog) -> None:
    for number, name in enumerate(("a.TS", "b.vob", "c.wmv", "d.flv", "e.m2ts", "f.3gp", "g.mxf", "h.ogv")):
        make_film(tmp_path / name, number)
    Image.fromarray(media.pattern_frames(1)[0]).save(tmp_path / "cover.jpg")
    (tmp_path / "shot.braw").write_bytes(b"raw")
    (tmp_path / "notes.txt").write_text("no film")
    with caplog.at_level(logging.WARNING):
        scan = scan_folder(tmp_path, 64)
    assert [video.name for video in scan.videos] == sorted(p.name for p in tmp_path.iterdir() if p.suffix not in LEFT)
    assert all(video.num_frames >= 8 for video in scan.videos) and not scan.skipped
    (line,) = [record.getMessage() for record in caplog.records]
    assert "2 files were passed over: cover.jpg (a picture), shot.braw (a camera's raw file" in line


def test_an_animation_is_a_film(tmp_path: Path) -> None:
    frames = [Image.fromarray(frame) for frame in media.pattern_frames(12)]
    frames[0].save(tmp_path / "a.webp", save_all=True, append_images=frames[1:], duration=40, lossless=True)
    frames[0].save(tmp_path / "still.webp")
    (video,) = scan_folder(tmp_path, 64).videos
    assert video.name == "a.webp" and _numbers(video, 0, 12, 1, "pyav") == list(range(12))
