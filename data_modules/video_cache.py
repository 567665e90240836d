"""The training cache: every video of a folder, once, small and quick to read at random.

Reading random clips from 720p files with long groups of pictures costs about 17 times as much as from a 256 pixel
copy with short closed groups (docs/benchmarks.md). So each video is copied once: upright, scaled down, every frame
that plays exactly once and in order, H.264 with closed groups and no B-frames, no edit list, no audio. The copy's
timestamps just number the frames. A copy is found again by the content of its source and by the settings, and an
index beside it (JSON) says where its scenes begin.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from fractions import Fraction
from itertools import pairwise
from pathlib import Path

import av
import numpy as np
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from vst.errors import UserError
from vst.video.clips import FrameIndex, upright
from vst.video.probe import probe

log = logging.getLogger(__name__)

EXTENSIONS = (".mp4", ".mov", ".mkv", ".avi", ".webm", ".m4v")
PICTURES = (".jpg", ".jpeg", ".png")
CACHE_FORMAT = 1  # raise it when copies or their indices change, so that old ones are made again
GROUP = 16  # frames per group of pictures: a random clip decodes half of one in vain
STALE_SECONDS = 3600
CUT_LEAST, CUT_RATIO, CUT_WINDOW = 0.06, 3.0, 2


@dataclass(frozen=True)
class TrainingVideo:
    """A video that clips can be drawn from.

    `name` is the source's path below the root, `digest` the hash of its content. `index` describes the file that
    is read, at `size` (width, height). `cuts` are the frames that begin a new scene. `damaged` says why the
    source ended early, or is None.
    """

    name: str
    digest: str
    index: FrameIndex
    size: tuple[int, int]
    cuts: tuple[int, ...]
    cached: bool
    damaged: str | None

    @property
    def num_frames(self) -> int:
        return self.index.num_frames

    def scenes(self) -> list[tuple[int, int]]:
        """First and one-past-last frame of every scene."""
        return list(pairwise((0, *self.cuts, self.num_frames)))


@dataclass(frozen=True)
class Scan:
    """What a training folder holds: `videos`, and the (name, reason) of the files that are left out."""

    videos: tuple[TrainingVideo, ...]
    skipped: tuple[tuple[str, str], ...]

    def warn(self) -> None:
        """Log one warning that names every file that is left out or damaged, if there is any."""
        damaged = [(video.name, video.damaged) for video in self.videos if video.damaged]
        lines = [f"  {name}: {reason}" for name, reason in self.skipped]
        lines += [f"  {name}: used as far as it decodes, {reason}" for name, reason in damaged]
        if lines:
            total = len(self.videos) + len(self.skipped)
            counts = f"{len(self.skipped)} of {total} video files skipped, {len(damaged)} damaged:"
            log.warning("\n".join([counts, *lines]))


def scan_folder(
    root: str | Path, short_side: int, cache: bool = True, cache_dir: str | Path | None = None
) -> Scan:
    """Prepare every video below `root`, in the order of their paths; broken files are left out and named.

    Frames have a short side of `short_side` pixels (an even number) or less: nothing is scaled up. With `cache`,
    copies are made in `cache_dir`, by default `<root>/.vst_cache` where that can be written, else `~/.cache/vst`;
    finished copies are kept between runs. Without it, every file is decoded once to index it, in each run.

    Raises UserError where `root` is no folder or has no videos, none can be read, or the cache cannot be written.
    """
    root = Path(root).expanduser()
    paths = find_videos(root)
    folder = _cache_folder(root, cache_dir) if cache else None
    videos, skipped = [], []
    sizes = [path.stat().st_size for path in paths]
    with _progress() as progress:
        task = progress.add_task("Preparing videos", total=max(1, sum(sizes)))
        for number, path in enumerate(paths):
            name = path.relative_to(root).as_posix()
            done = sum(sizes[:number])
            progress.update(task, completed=done, description=f"Preparing videos {number + 1}/{len(paths)}")

            def report(fraction: float, done: int = done, size: int = sizes[number]) -> None:
                progress.update(task, completed=done + fraction * size)

            try:
                videos.append(_prepare(path, name, short_side, folder, report))
            except CacheError:
                raise
            except (UserError, OSError) as error:
                skipped.append((name, str(error).removeprefix(str(path)).lstrip(": ")))
    if not videos:
        reasons = "; ".join(f"{name}: {reason}" for name, reason in skipped[:3])
        raise UserError(f"data.root={root}: none of its {len(paths)} video files can be read ({reasons})")
    return Scan(tuple(videos), tuple(skipped))


def find_videos(root: Path) -> list[Path]:
    """Return the video files below `root`, sorted by path; hidden files and folders are passed over."""
    if not root.exists():
        raise UserError(f"data.root={root}: no such folder; give a folder that holds videos")
    if not root.is_dir():
        raise UserError(f"data.root={root} is a file; give the folder that holds it")
    found = [path for path in root.rglob("*") if not _hidden(path, root) and path.is_file()]
    videos = sorted(path for path in found if path.suffix.lower() in EXTENSIONS)
    if videos:
        return videos
    kinds = ", ".join(extension[1:] for extension in EXTENSIONS)
    pictures = sum(path.suffix.lower() in PICTURES for path in found)
    if pictures:
        raise UserError(
            f"data.root={root} holds {pictures} pictures and no videos; join frames to videos ({kinds}) first"
        )
    raise UserError(f"data.root={root} holds no videos; give a folder with {kinds} files")


def fit(width: int, height: int, short_side: int) -> tuple[int, int]:
    """Scale (width, height) down to `short_side`, never up; both even, as 4:2:0 video wants them."""
    scale = min(1.0, short_side / min(width, height))
    return max(2, round(width * scale) // 2 * 2), max(2, round(height * scale) // 2 * 2)


def find_cuts(changes: list[float]) -> tuple[int, ...]:
    """Return the frames that begin a new scene.

    `changes[i]` in [0, 1] is the mean absolute difference of frames i + 1 and i. A cut is a large change that
    stands out from those around it, so that quick motion, which lasts, is none.
    """
    cuts = []
    for i, change in enumerate(changes):
        around = changes[max(0, i - CUT_WINDOW) : i] + changes[i + 1 : i + 1 + CUT_WINDOW]
        usual = sum(around) / len(around) if around else 0.0
        if change > CUT_LEAST and change > CUT_RATIO * usual:
            cuts.append(i + 1)
    return tuple(cuts)


class CacheError(UserError):
    """The cache cannot be written: no reason to leave out the video, but to stop."""


class _Changes:
    """Watches frames go by and notes how much each differs from the one before, seen at thumbnail size."""

    def __init__(self) -> None:
        self.values: list[float] = []
        self._last: np.ndarray | None = None

    def __call__(self, frame: av.VideoFrame) -> None:
        thumbnail = frame.to_ndarray(format="gray", width=32, height=32, interpolation="AREA").astype(np.float32)
        if self._last is not None:
            self.values.append(float(np.abs(thumbnail - self._last).mean() / 255))
        self._last = thumbnail


class _Encoder:
    """Writes every frame it is shown, upright and scaled, into an open container."""

    def __init__(self, container: av.container.OutputContainer, short_side: int) -> None:
        self._container, self._short_side = container, short_side
        self._stream: av.VideoStream | None = None
        self._size = (0, 0)
        self._count = 0

    def __call__(self, frame: av.VideoFrame) -> None:
        try:
            self._encode(frame)
        except (av.FFmpegError, OSError) as error:
            raise CacheError(f"the training cache cannot be written: {error}") from error

    def finish(self) -> None:
        self._container.mux(self._stream.encode(None))

    def _encode(self, frame: av.VideoFrame) -> None:
        if self._stream is None:
            self._open(frame)
        picture = av.VideoFrame.from_ndarray(np.ascontiguousarray(upright(frame, self._size)), format="rgb24")
        picture.pts, picture.time_base = self._count, self._stream.codec_context.time_base
        self._count += 1
        self._container.mux(self._stream.encode(picture))

    def _open(self, frame: av.VideoFrame) -> None:
        turned = round(frame.rotation / 90) % 2
        upright_size = (frame.height, frame.width) if turned else (frame.width, frame.height)
        self._size = fit(*upright_size, self._short_side)
        groups = f"keyint={GROUP}:min-keyint=1:open-gop=0:bframes=0"
        options = {"preset": "veryfast", "crf": "16", "x264-params": groups}
        self._stream = self._container.add_stream("libx264", rate=25, options=options)
        self._stream.width, self._stream.height = self._size
        self._stream.pix_fmt = "yuv420p"
        self._stream.time_base = self._stream.codec_context.time_base = Fraction(1, 25)


def _prepare(
    path: Path, name: str, short_side: int, folder: Path | None, report: Callable[[float], None]
) -> TrainingVideo:
    info = probe(path)
    expected = info.num_frames or max(1.0, (info.duration or 1.0) * float(info.fps))
    digest = _digest(path)
    if folder is None:
        changes = _Changes()
        index = FrameIndex.build(path, visit=_each(changes, _Counter(report, expected)))
        size = fit(index.width, index.height, short_side)
        return TrainingVideo(name, digest, index, size, find_cuts(changes.values), False, index.damaged)
    target = folder / f"{digest[:32]}-{short_side}px-v{CACHE_FORMAT}.mp4"
    known = _load(target) or _transcode(path, target, name, short_side, _Counter(report, expected))
    index = replace(FrameIndex.from_json(known["index"]), path=str(target))
    size = (index.width, index.height)
    return TrainingVideo(name, digest, index, size, tuple(known["cuts"]), True, known["damaged"])


def _transcode(path: Path, target: Path, name: str, short_side: int, count: _Counter) -> dict:
    """Make the copy of `path` and, last, the index that says it is whole."""
    changes = _Changes()
    part = target.with_name(f"{target.stem}.{os.getpid()}.part")
    try:
        with av.open(str(part), "w", format="mp4", options={"use_editlist": "0"}) as container:
            encoder = _Encoder(container, short_side)
            source = FrameIndex.build(path, visit=_each(changes, encoder, count))
            encoder.finish()
        copy = FrameIndex.build(part)
        assert copy.num_frames == source.num_frames, f"{copy.num_frames} of {source.num_frames} frames copied"
        part.replace(target)
        known = {
            "source": name,
            "num_frames": copy.num_frames,
            "size": [copy.width, copy.height],
            "cuts": find_cuts(changes.values),
            "damaged": source.damaged,
            "bytes": target.stat().st_size,
            "index": copy.to_json(),
        }
        part.write_text(json.dumps(known))
        part.replace(target.with_suffix(".json"))
    finally:
        part.unlink(missing_ok=True)
    return known


def _load(target: Path) -> dict | None:
    """The index of a finished copy; None where the copy has to be made."""
    try:
        known = json.loads(target.with_suffix(".json").read_text())
        return known if target.stat().st_size == known["bytes"] else None
    except (OSError, ValueError, KeyError):
        return None
