"""Random clips of a folder of videos, with the motion between their frames estimated by optical flow."""

from __future__ import annotations

import logging
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from data_modules.base import ClipDataModule, StyleSource
from data_modules.flow_cache import FlowCache
from data_modules.sensor import Sensor
from data_modules.video_cache import Scan, TrainingVideo, scan_folder
from vst.batch import Clip
from vst.errors import UserError, suggest
from vst.flow import ESTIMATORS, FlowEstimator, build_estimator, occlusion_mask
from vst.video.clips import read_clip

log = logging.getLogger(__name__)

BACKENDS = ("auto", "decord", "pyav")
FLOWS = (*ESTIMATORS, "none")


@dataclass(frozen=True)
class Segment:
    """Frames `first` .. `end` - 1 of a video, without a cut between them."""

    video: TrainingVideo
    first: int
    end: int


class VideoClips:
    """Random clips of `clip_length` frames, `stride` apart, cropped to squares of side `size`.

    All frames of a clip share crop and horizontal flip, and no clip leaves its segment. Every possible
    start is equally likely. `reader` is "decord" (only for videos of the training cache) or "pyav"; a
    reader is opened for one clip and closed, because idle decord readers go on decoding into memory. `flow`
    estimates the motion within each square, both ways, for flow and occlusion mask; or it holds what was
    estimated in the whole frames before; or it is None, which leaves the motion unknown. What `sensor` does to
    the frames comes after.
    """

    def __init__(
        self,
        segments: Sequence[Segment],
        clip_length: int,
        stride: int,
        size: int,
        reader: str,
        flow: FlowEstimator | FlowCache | None,
        description: str,
        sensor: Sensor | None = None,
    ) -> None:
        self.span = (clip_length - 1) * stride + 1
        self.segments = [s for s in segments if s.end - s.first >= self.span]
        assert self.segments, "no segment is long enough for a clip"
        self.clip_length, self.stride, self.size = clip_length, stride, size
        self.reader, self.flow, self.description = reader, flow, description
        self.sensor = sensor or Sensor()
        self._ends = np.cumsum([s.end - s.first - self.span + 1 for s in self.segments])

    def describe(self) -> str:
        return self.description

    def sample(self, rng: np.random.Generator, length: int | None = None) -> Clip:
        length = length or self.clip_length
        video, start = self.draw(rng)
        frames = read_frames(video, start, length, self.stride, self.reader)
        window = self._window(*frames.shape[1:3], rng)
        clip = Clip(_to_tensor(_cut(frames, window)), source=f"{video.name}:{start}")
        if isinstance(self.flow, FlowCache):
            flow, valid = self.flow.read(video, start, length, window)
            clip = replace(clip, flow=flow, valid=valid)
        elif self.flow is not None:
            clip = _with_motion(clip, self.flow)
        return replace(clip, frames=torch.from_numpy(self.sensor(clip.frames.numpy(), rng)))

    def draw(self, rng: np.random.Generator) -> tuple[TrainingVideo, int]:
        """Draw a video and the number of a clip's first frame."""
        ticket = int(rng.integers(self._ends[-1]))
        chosen = int(np.searchsorted(self._ends, ticket, side="right"))
        segment = self.segments[chosen]
        return segment.video, segment.first + ticket - (int(self._ends[chosen - 1]) if chosen else 0)

    def _window(self, height: int, width: int, rng: np.random.Generator) -> tuple[int, int, int, bool]:
        """Draw top, left and side of the square, and whether it is flipped."""
        top = int(rng.integers(height - self.size + 1))
        left = int(rng.integers(width - self.size + 1))
        return top, left, self.size, rng.random() < 0.5


class VideoDataModule(ClipDataModule):
    """Clips of the videos below a folder; `kwargs` are those of `ClipDataModule`.

    Args:
        style: pictures of the style.
        root: folder of videos (`vst.video.formats`), searched with its sub-folders.
        stride: frames from one frame of a clip to the next.
        short_side: short side of the frames that squares are cut from, pixels; nothing is scaled up. None
            takes a quarter more than the square needs, so that its place varies.
        val_fraction: share of the files kept for validation, chosen by their content; of a single file, its
            end.
        backend: "auto" (decord where it is installed, else PyAV), "decord" or "pyav".
        cache: copy each video once into a training cache that is quick to read at random. Without it the
            sources are read by PyAV whatever the backend, because decord returns wrong frames for some of
            them.
        cache_dir: place of that cache; None for the user's cache folder (`vst.cache`).
        flow: what estimates the motion between the frames of a clip: "dis", "lucas_kanade", "raft" or an
            estimator of `vst.flow` with settings of its own; "none" leaves it unknown.
        flow_weights: for "raft": path of its weights, or "torchvision" to download them; see `vst.flow.RAFT`.
        flow_cache: estimate the flow of all frames once, whole, and keep it beside the training cache. Else it
            is estimated within each square when it is drawn.

    Raises:
        UserError: an argument is out of range or does not fit another, decord is asked for and missing, the
            weights or the folder cannot be used, or no video is long and large enough for a clip.
    """

    def __init__(
        self,
        style: StyleSource,
        *,
        root: str | Path,
        stride: int = 1,
        short_side: int | None = None,
        val_fraction: float = 0.1,
        backend: str = "auto",
        cache: bool = True,
        cache_dir: str | Path | None = None,
        flow: str | FlowEstimator = "dis",
        flow_weights: str | None = None,
        flow_cache: bool = False,
        **kwargs: Any,
    ) -> None:
        super().__init__(style, **kwargs)
        _check_choice("backend", backend, BACKENDS)
        self.estimator = choose_estimator(flow, flow_weights)
        if flow_cache and self.estimator is None:
            raise UserError("data.flow_cache=true, but data.flow=none has no flow to keep; choose a data.flow")
        if flow_cache and not cache:
            raise UserError("data.flow_cache=true needs data.cache=true: the flow is kept beside the copies")
        if stride < 1:
            raise UserError(f"data.stride is {stride}, it has to be at least 1")
        if not 0 < val_fraction < 1:
            raise UserError(f"data.val_fraction is {val_fraction}, it has to lie between 0 and 1")
        side = math.ceil(1.25 * self.size) if short_side is None else short_side
        if side < self.size:
            raise UserError(
                f"data.short_side is {side}, it has to be at least data.crop + 2 * data.margin = {self.size}"
            )
        self.root, self.stride, self.val_fraction = root, stride, val_fraction
        self.short_side = side + side % 2
        self.cache, self.cache_dir, self.flow_cache = cache, cache_dir, flow_cache
        self.reader = choose_reader(backend, cache)
        self._scan: Scan | None = None

    @property
    def span(self) -> int:
        """Frames from the first to the last of a clip, both included."""
        return (self.clip_length - 1) * self.stride + 1

    def train_source(self) -> VideoClips:
        scan = self._scanned()
        train, _ = split(scan.videos, self.val_fraction, self.span)
        frames = sum(s.end - s.first for s in train)
        files = len({s.video.name for s in train})
        how = f"cached at {self.short_side} px" if self.cache else "not cached and therefore"
        reader = {"decord": "decord", "pyav": "PyAV"}[self.reader]
        text = f"{_count(files, 'video')}, {frames:,} frames, {how}{',' * self.cache} read by {reader}"
        text += ", with its flow" * self.flow_cache
        if scan.skipped:
            text += f" ({_count(len(scan.skipped), 'file')} skipped)"
        return self._clips(train, text, self.sensor)

    def val_source(self) -> VideoClips:
        train, val = split(self._scanned().videos, self.val_fraction, self.span)
        names = {s.video.name for s in val}
        share = "the end of it" if names & {s.video.name for s in train} else _count(len(names), "other video")
        return self._clips(val, share)

    def preview_source(self, index: int, length: int, size: int) -> VideoClips:
        _, val = split(self._scanned().videos, self.val_fraction, self.span)
        ranked = sorted(val, key=lambda segment: segment.first - segment.end)  # the longest scenes first
        chosen = ranked[index % len(ranked)]
        length = min(length, chosen.end - chosen.first)
        size = min(size, *(side for segment in val for side in segment.video.size))
        return VideoClips([chosen], length, 1, size, self.reader, None, "a held-out scene")

    def _clips(self, segments: Sequence[Segment], text: str, sensor: Sensor | None = None) -> VideoClips:
        if self.flow_cache:
            self.prepare_flow()
        motion = FlowCache(self.estimator.key, self.stride) if self.flow_cache else self.estimator
        return VideoClips(segments, self.clip_length, self.stride, self.size, self.reader, motion, text, sensor)

    def prepare_flow(self) -> int:
        """Estimate and keep the flow of all pairs that is not on disk yet; returns how many pairs that were."""
        return FlowCache(self.estimator.key, self.stride).prepare(self.estimator, self._scanned().videos)

    def _scanned(self) -> Scan:
        """Scan the folder once, and leave out videos that no clip can be cut from."""
        if self._scan is None:
            scan = scan_folder(self.root, self.short_side, self.cache, self.cache_dir)
            refused = [(v.name, reason) for v in scan.videos if (reason := self._unfit(v))]
            names = {name for name, _ in refused}
            fitting = tuple(v for v in scan.videos if v.name not in names)
            scan = replace(scan, videos=fitting, skipped=tuple(sorted([*scan.skipped, *refused])))
            if not fitting:
                raise UserError(
                    f"data.root={self.root}: no video has {self.span} frames without a cut at {self.size} x "
                    f"{self.size} pixels or more ({refused[0][0]}: {refused[0][1]}); lower clip_length, "
                    "data.stride or data.crop"
                )
            scan.warn()
            self._scan = scan
        return self._scan

    def _unfit(self, video: TrainingVideo) -> str | None:
        width, height = video.size
        if min(width, height) < self.size:
            return f"{width} x {height} is smaller than the square of {self.size} (crop + 2 * margin)"
        longest = max(end - first for first, end in video.scenes())
        if longest < self.span:
            return f"{longest} frames without a cut, a clip needs {self.span}"
        return None


def choose_reader(backend: str, cache: bool) -> str:
    """Return "decord" or "pyav"; UserError where decord is asked for by name and is not installed."""
    if not cache or backend == "pyav":
        return "pyav"
    if _decord() is not None:
        return "decord"
    if backend == "decord":
        raise UserError("data.backend=decord, but decord cannot be imported; pip install decord, or use pyav")
    return "pyav"


def choose_estimator(flow: str | FlowEstimator, weights: str | None) -> FlowEstimator | None:
    """The estimator of that name, or None for "none"; UserError for other names and for unfit weights."""
    if callable(flow):
        if weights is not None:
            raise UserError("data.flow_weights belongs to data.flow=raft; an estimator given as _target_ has its own")
        return flow
    if flow == "exact":
        raise UserError(
            "data.flow=exact: only data=synthetic and data=images know their motion; for videos choose "
            + ", ".join(FLOWS)
        )
    _check_choice("flow", str(flow), FLOWS)
    if flow == "none" and weights is not None:
        raise UserError(f"data.flow=none has no weights; leave out data.flow_weights={weights}")
    return None if flow == "none" else build_estimator(flow, weights)


def read_frames(video: TrainingVideo, start: int, length: int, stride: int, reader: str) -> np.ndarray:
    """Return frames start, start + stride, ... as (length, H, W, 3) uint8 at `video.size`."""
    if reader == "pyav":
        return read_clip(video.index, start, length, stride, video.size)
    assert video.cached, "decord returns wrong frames for open groups, HEVC and edit lists: cache files only"
    container = _decord().VideoReader(video.index.path, num_threads=1)
    return container.get_batch(range(start, start + length * stride, stride)).asnumpy()


def split(videos: Sequence[TrainingVideo], val_fraction: float, span: int) -> tuple[list[Segment], list[Segment]]:
    """Divide videos, each with room for a clip of `span` frames, into segments to train and to validate on.

    A file's side depends on its content alone, so it stays where it is when files are renamed or added, as
    long as each side has one. A single file is divided by time; where it has no room for both, both get all
    of it.
    """
    if len({video.digest for video in videos}) == 1:
        return _split_by_time(videos, val_fraction, span)
    ranked = sorted(videos, key=lambda video: video.digest)
    held_out = {v.digest for v in ranked if int(v.digest[:12], 16) / 16**12 < val_fraction}
    held_out = (held_out or {ranked[0].digest}) - {ranked[-1].digest}
    train = [s for v in videos if v.digest not in held_out for s in _segments(v)]
    return train, [s for v in videos if v.digest in held_out for s in _segments(v)]


def _split_by_time(
    videos: Sequence[TrainingVideo], val_fraction: float, span: int
) -> tuple[list[Segment], list[Segment]]:
    """Give validation the last share of the frames, but at least one clip."""
    video = videos[0]
    whole = _segments(video)
    last = max(s.end - span for s in whole if s.end - s.first >= span)
    border = min(round(video.num_frames * (1 - val_fraction)), last)
    train = [replace(s, end=min(s.end, border)) for s in whole if s.first < border]
    val = [replace(s, first=max(s.first, border)) for s in whole if s.end > border]
    if any(s.end - s.first >= span for s in train):
        return train, val
    return whole, whole


def _segments(video: TrainingVideo) -> list[Segment]:
    return [Segment(video, first, end) for first, end in video.scenes()]


def _cut(frames: np.ndarray, window: tuple[int, int, int, bool]) -> np.ndarray:
    """Cut the square (top, left, side, flipped) out of frames (T, H, W, 3)."""
    top, left, size, flipped = window
    square = frames[:, top : top + size, left : left + size]
    return square[:, :, ::-1] if flipped else square


def _with_motion(clip: Clip, estimate: FlowEstimator) -> Clip:
    """Estimate the flow from each frame back to the one before, and where it can be trusted."""
    after, before = clip.frames[1:], clip.frames[:-1]
    flow = estimate(after, before)
    return replace(clip, flow=flow, valid=occlusion_mask(flow, estimate(before, after)))


def _to_tensor(frames: np.ndarray) -> Tensor:
    return torch.from_numpy(np.ascontiguousarray(frames.transpose(0, 3, 1, 2))).float() / 255


def _decord() -> Any:
    """The decord module, or None. Imported late: it is optional, and it has to come after torch."""
    try:
        import decord
    except (ImportError, OSError):
        return None
    return decord


def _check_choice(name: str, given: str, allowed: tuple[str, ...]) -> None:
    if given not in allowed:
        raise UserError(f"data.{name}={given} is not one of {', '.join(allowed)}{suggest(given, allowed)}")


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" + ("" if number == 1 else "s")
