"""Decoding, painting and encoding side by side, with few frames in between."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np

from vst.cuts import CutDetector
from vst.memory import load_memory, read_memory
from vst.planes import PlaneFormat
from vst.progress import Meter
from vst.video.orientation import UPRIGHT
from vst.video.reader import Frame
from vst.video.segments import SegmentedWriter
from vst.video.sink import Sink
from vst.video.source import Source
from vst.video.splice import blacken

# Frames that wait between two stages: enough to even out their jitter, few enough to hold 4K frames.
QUEUE_LENGTH = 3
_POLL_SECONDS = 0.1

Arrays = Mapping[str, np.ndarray]


class FrameEngine(Protocol):
    """What `vst.runtime.Engine` is: it carries the memory from frame to frame until `reset`.

    An engine may also have
    - `at(seconds)`, called before each frame with its time in the output, for looks that change over time;
    - `alpha_of(alpha)`, the alpha (h, w) uint8 of what it makes of a frame with the alpha (H, W), if that is another;
    - `keep_black(border)`, called before each frame with its `Frame.border` or None, which it leaves black;
    - `output_size(width, height) -> (width, height)`, of what it makes of an upright frame, if that is another;
    - `keeps_view`, False where it makes it of a part of the frame, or puts something beside it;
    - `read_state()`, the memory after a frame as a list of tensors or arrays, and `load_state(list)`, which takes
      them back, as tensors, when a frame of the same size has been painted since `reset`: what `resume` asks for;
    - `film`, tensors that belong to the memory as well (`vst.runtime.Engine.film`);
    - `for_planes(format, (width, height))`, an engine for frames of planes (`vst.planes`) or None, which runs instead
      of it where the video is decoded to them and encoded from them. That one also gets `colours`, the frame's
      `PlaneFormat.samples`, which are taken for cuts anyway.
    """

    def reset(self) -> None: ...

    def __call__(self, frame: np.ndarray, out: np.ndarray) -> np.ndarray:
        """Stylise (H, W, 3) uint8 RGB into `out`."""
        ...


@dataclass(frozen=True)
class _Job:
    """A frame on its way: `image` (H, W, 3) uint8 or planes, upright; `cut` when it begins a new scene. `state` is
    what a resumed work needs to know after it, None within a segment. `colours` are a few of its pixels as RGB, for a
    frame of planes. `alpha` (H, W) uint8 is upright as well.
    """

    image: np.ndarray
    pts: int
    duration: int
    cut: bool
    border: np.ndarray | None
    state: Arrays | None = None
    colours: np.ndarray | None = None
    alpha: np.ndarray | None = None


class _Stopped(Exception):
    """Raised in a stage that waits for a neighbour when another stage has failed."""


class _Pipe:
    """A bounded queue between two stages, whose both ends give up once `stop` is set."""

    def __init__(self, length: int, stop: threading.Event) -> None:
        self._queue: queue.Queue = queue.Queue(length)
        self._stop = stop

    def put(self, item: object) -> None:
        while not self._stop.is_set():
            try:
                return self._queue.put(item, timeout=_POLL_SECONDS)
            except queue.Full:
                continue
        raise _Stopped

    def get(self) -> object:
        while not self._stop.is_set():
            try:
                return self._queue.get(timeout=_POLL_SECONDS)
            except queue.Empty:
                continue
        raise _Stopped


class Pipeline:
    """Decode and encode in a thread each, beside the network in the caller's thread, where Ctrl-C arrives.

    PyAV and torch release the interpreter lock, so the three overlap. At most `QUEUE_LENGTH` frames wait
    before the network and as many output buffers exist behind it. `planes`: without RGB where it can be. Into a
    `SegmentedWriter` it goes on behind the frames that are there.
    """

    def __init__(self, source: Source, engine: FrameEngine, sink: Sink, meter: Meter, planes: bool = False) -> None:
        self._segments = sink if isinstance(sink, SegmentedWriter) else None
        self._first = 0 if self._segments is None else self._segments.frames
        self.frames = self._first
        self.cuts = 0
        self._source, self._sink, self._meter = source, sink, meter
        self._engine, self._planes = without_rgb(source, engine, sink) if planes else (engine, None)
        self._orientation = sink.info.orientation
        self._stop = threading.Event()
        self._errors: list[BaseException] = []
        self._decoded, self._finished, self._buffers = (_Pipe(QUEUE_LENGTH, self._stop) for _ in range(3))

    @property
    def in_planes(self) -> bool:
        """Whether frames never become RGB."""
        return self._planes is not None

    def run(self) -> None:
        """Handle all frames; raise what went wrong first in any stage. `frames` counts those in the output."""
        stages = [threading.Thread(target=self._guard, args=(s,), daemon=True) for s in (self._decode, self._encode)]
        for stage in stages:
            stage.start()
        try:
            self._infer()
            stages[1].join()  # the encoder ends by itself after the last frame
        except _Stopped:
            pass
        finally:
            self._stop.set()
            for stage in stages:
                stage.join()
        if self._errors:
            raise self._errors[0]

    def _guard(self, stage: Callable[[], None]) -> None:
        try:
            stage()
        except _Stopped:
            pass
        except BaseException as error:
            self._errors.append(error)
            self._stop.set()

    def _decode(self) -> None:
        is_cut = CutDetector()
        is_cut.load_state(self._kept("cuts_"))
        decoded = upright_frames(self._source, self._planes, self._first)
        for number, (frame, upright, colours) in enumerate(decoded, start=self._first):
            alpha = None if frame.alpha is None else self._source.info.orientation.upright(frame.alpha)
            cut = is_cut(colours) or frame.cut
            state = _named("cuts_", is_cut.read_state()) if self._ends_segment(number) else None
            known = None if self._planes is None else colours
            self._decoded.put(_Job(upright, frame.pts, frame.duration, cut, frame.border, state, known, alpha))
        self._decoded.put(None)

    def _infer(self) -> None:
        engine, unit = self._engine, self._source.info.time_base
        width, height = self._sink.info.upright_size
        shape = (height, width, 3) if self._planes is None else (height * 3 // 2, width)
        for _ in range(QUEUE_LENGTH):
            self._buffers.put(np.empty(shape, np.uint8))
        engine.reset()
        while (job := self._decoded.get()) is not None:
            image = self._buffers.get()
            if hasattr(engine, "at"):
                engine.at(max(0.0, float(job.pts * unit)))
            if self.frames == self._first:
                self._restore(job.image, image)
            if job.cut:
                engine.reset()
                self.cuts += 1
            if hasattr(engine, "keep_black"):
                engine.keep_black(job.border)
            if job.colours is None:
                engine(job.image, out=image)
            else:
                engine(job.image, out=image, colours=job.colours)
            if job.border is not None and not hasattr(engine, "keep_black"):
                blacken(image, job.border)
            state = None if job.state is None else {**job.state, **_numbered("memory_", read_memory(engine))}
            self._finished.put(replace(job, image=image, state=state))
            self.frames += 1
            self._meter.update()
        self._finished.put(None)

    def _encode(self) -> None:
        while (job := self._finished.get()) is not None:
            image = self._with_alpha(job) if self._sink.info.alpha else job.image
            turned = image if self._planes is not None else self._orientation.stored(image)
            self._sink.write(turned, job.pts, job.duration)
            self._buffers.put(job.image)
            if job.state is not None:
                self._segments.close_segment(job.state)

    def _with_alpha(self, job: _Job) -> np.ndarray:
        """(H, W, 4): the painting with the alpha of its frame."""
        if job.alpha is None:
            alpha = np.full(job.image.shape[:2], 255, np.uint8)
        else:
            alpha = self._engine.alpha_of(job.alpha) if hasattr(self._engine, "alpha_of") else job.alpha
        return np.dstack([job.image, alpha])

    def _ends_segment(self, number: int) -> bool:
        return self._segments is not None and (number + 1) % self._segments.segment_frames == 0

    def _kept(self, prefix: str) -> dict[str, np.ndarray]:
        """What was kept under names that begin so, at the end of the last finished segment."""
        state = (self._segments.state if self._segments else None) or {}
        return {key.removeprefix(prefix): array for key, array in state.items() if key.startswith(prefix)}

    def _restore(self, image: np.ndarray, out: np.ndarray) -> None:
        """Give the engine the memory that it had when the work was interrupted."""
        memory = self._kept("memory_")
        if memory:
            self._engine(image, out=out)  # an engine has room for a memory when it has seen a frame
            load_memory(self._engine, [array for _, array in sorted(memory.items())])


def without_rgb(source: Source, engine: FrameEngine, sink: Sink) -> tuple[FrameEngine, PlaneFormat | None]:
    """The engine for planes and their format, where all three handle the same ones and the picture stays as it lies.

    Else the engine itself, and None.
    """
    planes = getattr(source, "planes", None)
    if planes is None or planes != getattr(sink, "planes", None) or not hasattr(engine, "for_planes"):
        return engine, None
    before, after = source.info, sink.info
    size = (before.width, before.height)
    if {before.orientation, after.orientation} != {UPRIGHT} or size != (after.width, after.height):
        return engine, None
    found = engine.for_planes(planes, size)
    return (engine, None) if found is None else (found, planes)


def upright_frames(
    source: Source, planes: PlaneFormat | None, first: int = 0
) -> Iterator[tuple[Frame, np.ndarray, np.ndarray]]:
    """The frames from number `first` on, each with its upright image and its colours, (h, w, 3) RGB, for cuts."""
    if planes is not None:
        for frame in source.read(first, planes=True):
            yield frame, frame.image, planes.samples(frame.image)
        return
    orientation = source.info.orientation
    for frame in source.read(first) if first else source:
        yield frame, orientation.upright(frame.image), frame.image


def _named(prefix: str, arrays: Arrays) -> dict[str, np.ndarray]:
    return {prefix + key: array for key, array in arrays.items()}


def _numbered(prefix: str, arrays: Sequence[np.ndarray]) -> dict[str, np.ndarray]:
    return {f"{prefix}{number:04d}": array for number, array in enumerate(arrays)}
