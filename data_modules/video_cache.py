"""The training cache: every video of a folder, once, small and quick to read at random.

A random clip from a 720p file with long groups of pictures costs about 17 times the decoding of one from a
256 pixel copy with short groups. So each video is copied once: upright, scaled down, every frame that plays
exactly once and in order, H.264 with closed groups and no B-frames, no edit list, no audio. The copy's
timestamps just number the frames. A copy is found again by the content of its source and by the settings, and
an index beside it (JSON) says where its scenes begin. A folder of numbered pictures is a video too. Copies lie in the
user's cache folder (`vst.cache`), never beside the films.
"""

from __future__ import annotations

import hashlib
import json
import logging
import re
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from functools import partial
from itertools import pairwise
from pathlib import Path

import av
import numpy as np
from av.container import OutputContainer
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

from data_modules.frames import frame_files, frame_folders, visit_frames
from vst.cache import cache_folder, in_words, reason, remove_leftovers, replacing, size_of
from vst.cuts import CutDetector
from vst.errors import UserError
from vst.video.clips import FrameIndex, Upright, upright_size
from vst.video.formats import COMMON_FILMS, PICTURES, has_suffix, passed_over
from vst.video.pictures import is_film
from vst.video.probe import probe

log = logging.getLogger(__name__)

CACHE_FORMAT = 2  # raise it when copies or their indices change, so that old ones are made again
GROUP = 16  # frames per group of pictures: a random clip decodes half of one in vain
SMALLEST = 16  # pixels: what the cut detector and the encoder need
OLD_CACHE = ".vst_cache"  # where earlier versions kept their copies, beside the films
COPY_NAME = re.compile(r"[0-9a-f]{32}-\d+px-v\d+\.mp4")


@dataclass(frozen=True)
class TrainingVideo:
    """A video that clips can be drawn from.

    `name` is the source's path below the root, `digest` the hash of its content. `index` describes the file
    that is read, at `size` (width, height). `cuts` are the frames that begin a new scene. `damaged` says
    why the source ended early, or is None.
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


def scan_folder(root: str | Path, short_side: int, cache: bool = True, cache_dir: str | Path | None = None) -> Scan:
    """Prepare every video below `root`, in the order of their paths; broken files are left out and named.

    Frames have a short side of `short_side` pixels (an even number) or less: nothing is scaled up. With
    `cache`, copies are made in `cache_dir`, by default in the user's cache folder, and kept between runs. Without it,
    every file is decoded once to index it, in each run.

    Raises UserError where `root` is no folder or has no videos, none can be read, or the cache cannot be
    written.
    """
    root = Path(root).expanduser()
    paths = find_videos(root)
    folder = _cache_folder(cache_dir) if cache else None
    _name_old_cache(root)
    before = _copies(folder)
    videos, skipped = [], []
    sizes = [sum(file.stat().st_size for file in _files(path)) for path in paths]
    with progress_bar() as progress:
        task = progress.add_task("Preparing videos", total=max(1, sum(sizes)))
        for number, path in enumerate(paths):
            name = path.name if path == root else path.relative_to(root).as_posix()
            done = sum(sizes[:number])
            progress.update(task, completed=done, description=f"Preparing videos {number + 1}/{len(paths)}")

            def report(fraction: float, done: int = done, size: int = sizes[number]) -> None:
                progress.update(task, completed=done + fraction * size)

            try:
                videos.append(_prepare(path, name, short_side, folder, report))
            except CacheError:
                raise
            except (UserError, OSError, av.FFmpegError) as error:
                skipped.append((name, str(error).removeprefix(str(path)).lstrip(": ")))
    made = len(_copies(folder) - before)
    if made:
        copies = f"{made} new {'copy' if made == 1 else 'copies'}"
        size = in_words(size_of(folder))
        log.info("cache     %s of videos in %s, %s in all; `vst cache` shows and clears it", copies, folder, size)
    if not videos:
        reasons = "; ".join(f"{name}: {reason}" for name, reason in skipped[:3])
        raise UserError(f"data.root={root}: none of its {_count(len(paths), 'video')} can be read ({reasons})")
    return Scan(tuple(videos), tuple(skipped))


def find_videos(root: Path) -> list[Path]:
    """Return the videos below `root`, files and folders of numbered pictures, sorted by path.

    Hidden ones and the cache's copies are passed over.
    """
    if not root.exists():
        raise UserError(f"data.root={root}: no such folder; give a folder that holds videos")
    if not root.is_dir():
        raise UserError(f"data.root={root} is a file; give the folder that holds it")
    found = [path for path in root.rglob("*") if not _hidden(path, root) and path.is_file()]
    found = [path for path in found if not COPY_NAME.fullmatch(path.name)]
    videos = sorted(path for path in found if is_film(path))
    folders = frame_folders(root, videos)
    others = _passed_over(found, videos)
    if videos or folders:
        if others:
            log.warning("data.root=%s: %s", root, others)
        return sorted([*videos, *folders])
    pictures = sum(has_suffix(path, PICTURES) for path in found)
    if pictures:
        raise UserError(
            f"data.root={root} holds {_count(pictures, 'picture')} and no videos ({COMMON_FILMS}, or folders of "
            "pictures numbered 00000.jpg, 00001.jpg, ...); for photographs choose data=images"
        )
    told = f", {others}" if others else ""
    raise UserError(f"data.root={root} holds no videos{told}; give a folder with {COMMON_FILMS} files")


def _passed_over(found: Sequence[Path], videos: Sequence[Path]) -> str | None:
    """What is told of files that are no videos: of pictures only where they lie beside some."""
    beside, taken = {path.parent for path in videos}, set(videos)
    left = (path for path in found if path not in taken)
    return passed_over(path for path in left if path.parent in beside or not has_suffix(path, PICTURES))


def fit(width: int, height: int, short_side: int) -> tuple[int, int]:
    """Scale (width, height) down to `short_side`, never up; both even, as 4:2:0 video wants them."""
    scale = min(1.0, short_side / min(width, height))
    return max(2, round(width * scale) // 2 * 2), max(2, round(height * scale) // 2 * 2)


class CacheError(UserError):
    """The cache cannot be written: no reason to leave out the video, but to stop."""


class _Pass:
    """One pass over a video: finds its cuts, counts its frames for the progress bar, and encodes its copy.

    Called with every frame in turn, of the video `name`. Without an output container nothing is encoded.
    """

    def __init__(
        self,
        short_side: int,
        report: Callable[[float], None],
        expected: float,
        container: OutputContainer | None = None,
        *,
        name: str,
    ) -> None:
        self._upright = Upright(name)
        self.cuts: list[int] = []
        self._short_side, self._report, self._expected = short_side, report, expected
        self._container, self._stream = container, None
        self._detect = CutDetector()
        self._size: tuple[int, int] | None = None
        self._count = 0

    def __call__(self, frame: av.VideoFrame) -> None:
        self._size = self._size or self._fit(frame)
        picture = np.ascontiguousarray(self._upright(frame, self._size))
        if self._detect(picture):
            self.cuts.append(self._count)
        if self._container is not None:
            self._encode(picture)
        self._count += 1
        self._report(min(1.0, self._count / self._expected))

    def finish(self) -> None:
        """Write the frames that the encoder still holds."""
        self._container.mux(self._stream.encode(None))

    def _fit(self, frame: av.VideoFrame) -> tuple[int, int]:
        width, height = upright_size(frame)
        if min(width, height) < SMALLEST:
            raise UserError(f"{width} x {height} pixels are too few, {SMALLEST} a side is the least")
        return fit(width, height, self._short_side)

    def _encode(self, picture: np.ndarray) -> None:
        if self._stream is None:
            self._stream = _copy_stream(self._container, self._size)
        frame = av.VideoFrame.from_ndarray(picture, format="rgb24")
        frame.pts, frame.time_base = self._count, self._stream.codec_context.time_base
        self._container.mux(self._stream.encode(frame))


def _copy_stream(container: OutputContainer, size: tuple[int, int]) -> av.VideoStream:
    groups = f"keyint={GROUP}:min-keyint=1:open-gop=0:bframes=0"
    options = {"preset": "veryfast", "crf": "16", "x264-params": groups}
    stream = container.add_stream("libx264", rate=25, options=options)
    stream.width, stream.height = size
    stream.pix_fmt = "yuv420p"
    stream.time_base = stream.codec_context.time_base = Fraction(1, 25)
    return stream


def _prepare(
    path: Path, name: str, short_side: int, folder: Path | None, report: Callable[[float], None]
) -> TrainingVideo:
    if path.is_dir() and folder is None:
        raise UserError("a folder of pictures is quick to read from its copy only; set data.cache=true")
    expected = _expected_frames(path)
    digest = _digest(path)
    if folder is None:
        seen = _Pass(short_side, report, expected, name=name)
        index = FrameIndex.build(path, visit=seen)
        size = fit(index.width, index.height, short_side)
        return TrainingVideo(name, digest, index, size, tuple(seen.cuts), False, index.damaged)
    target = folder / f"{digest[:32]}-{short_side}px-v{CACHE_FORMAT}.mp4"
    known = _load(target) or _transcode(path, target, name, partial(_Pass, short_side, report, expected, name=name))
    index = replace(FrameIndex.from_json(known["index"]), path=str(target))
    size = (index.width, index.height)
    return TrainingVideo(name, digest, index, size, tuple(known["cuts"]), True, known["damaged"])


def _transcode(path: Path, target: Path, name: str, start: Callable[[OutputContainer], _Pass]) -> dict:
    """Make the copy of `path` and, last, the index that says it is whole; or take what another run made meanwhile."""
    try:
        with replacing(target.with_suffix(".json")) as index, replacing(target) as part:
            with av.open(str(part), "w", format="mp4", options={"use_editlist": "0"}) as container:
                seen = start(container)
                num_frames, damaged = _visit(path, seen)
                if num_frames == 0:
                    raise UserError(f"no frame can be read, it {damaged}")
                seen.finish()
            copy = FrameIndex.build(part)
            assert copy.num_frames == num_frames, f"{copy.num_frames} of {num_frames} frames copied"
            made_meanwhile = _load(target)
            if made_meanwhile is not None:
                part.unlink()
                return made_meanwhile
            known = {
                "source": name,
                "num_frames": copy.num_frames,
                "size": [copy.width, copy.height],
                "cuts": seen.cuts,
                "damaged": damaged,
                "bytes": part.stat().st_size,
                "index": copy.to_json(),
            }
            index.write_text(json.dumps(known))
    except (av.FFmpegError, OSError) as error:
        raise CacheError(
            f"the training cache {target.parent} cannot be written ({reason(error)}); see data.cache_dir"
        ) from error
    return known


def _visit(path: Path, visit: Callable[[av.VideoFrame], None]) -> tuple[int, str | None]:
    """Show every frame to `visit`; returns their number and why the source ended early, or None."""
    if path.is_dir():
        return visit_frames(path, visit)
    index = FrameIndex.build(path, visit=visit)
    return index.num_frames, index.damaged


def _expected_frames(path: Path) -> float:
    if path.is_dir():
        return len(_files(path))
    info = probe(path)
    return info.num_frames or max(1.0, (info.duration or 1.0) * float(info.fps))


def _files(path: Path) -> Sequence[Path]:
    """The files that a video consists of."""
    return frame_files(path) if path.is_dir() else [path]


def _load(target: Path) -> dict | None:
    """The index of a finished copy; None where the copy has to be made."""
    try:
        known = json.loads(target.with_suffix(".json").read_text())
        return known if target.stat().st_size == known["bytes"] else None
    except (OSError, ValueError, KeyError):
        return None


def _cache_folder(cache_dir: str | Path | None) -> Path:
    folder = cache_folder("videos") if cache_dir is None else Path(cache_dir).expanduser()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise CacheError(
            f"the training cache {folder} cannot be written ({reason(error)}); set data.cache_dir or data.cache=false"
        ) from error
    remove_leftovers(folder)
    return folder


def _copies(folder: Path | None) -> set[str]:
    return set() if folder is None else {path.name for path in folder.glob("[!.]*.json")}


def _name_old_cache(root: Path) -> None:
    old = root / OLD_CACHE
    if old.is_dir():
        size = in_words(size_of(old))
        log.warning("%s (%s) is the training cache of earlier versions, and not used any more; delete it", old, size)


def _digest(path: Path) -> str:
    """Hash of a video's size and content."""
    digest = hashlib.sha256()
    for part in _files(path):
        with part.open("rb") as file:
            hashlib.file_digest(file, lambda: digest)
        digest.update(str(part.stat().st_size).encode())
    return digest.hexdigest()


def _hidden(path: Path, root: Path) -> bool:
    return any(part.startswith(".") for part in path.relative_to(root).parts)


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" + ("" if number == 1 else "s")


def progress_bar() -> Progress:
    """A bar with the time left, on stderr so that it never mixes with results."""
    columns = (TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), TimeRemainingColumn())
    return Progress(*columns, console=Console(stderr=True), transient=True)
