"""Decoding, painting and encoding side by side, with few frames in between."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from vst.cuts import CutDetector
from vst.progress import Meter
from vst.video.segments import SegmentedWriter
from vst.video.sink import Sink
from vst.video.source import Source

# Frames that wait between two stages: enough to even out their jitter, few enough to hold 4K frames.
QUEUE_LENGTH = 3
_POLL_SECONDS = 0.1

Arrays = Mapping[str, np.ndarray]


class FrameEngine(Protocol):
    """What `vst.runtime.Engine` is: it carries the memory from frame to frame until `reset`.

    An engine may also have
    - `at(seconds)`, called before each frame with its time in the output, for looks that change over time;
    - `output_size(width, height) -> (width, height)`, of what it makes of an upright frame, if that is another;
    - `read_state()`, the memory after a frame as a list of tensors or arrays, and `load_state(list)`, which takes
      them back when a frame of the same size has been painted since `reset`: what `resume` asks for.
    """

    def reset(self) -> None: ...

    def __call__(self, frame: np.ndarray, out: np.ndarray) -> np.ndarray:
        """Stylise (H, W, 3) uint8 RGB into `out`."""
        ...


@dataclass(frozen=True)
class _Job:
    """A frame on its way: `image` (H, W, 3) uint8, upright; `cut` when it begins a new scene. `state` is what a
    resumed work needs to know after it, None within a segment.
    """

    image: np.ndarray
    pts: int
    duration: int
    cut: bool
    state: Arrays | None = None


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
    before the network and as many output buffers exist behind it. Into a `SegmentedWriter` it goes on behind the
    frames that are there.
    """

    def __init__(self, source: Source, engine: FrameEngine, sink: Sink, meter: Meter) -> None:
        self._segments = sink if isinstance(sink, SegmentedWriter) else None
        self._first = 0 if self._segments is None else self._segments.frames
        self.frames = self._first
        self.cuts = 0
        self._source, self._engine, self._sink, self._meter = source, engine, sink, meter
        self._turns = round(source.info.rotation / 90)
        self._turns_back = round(sink.info.rotation / 90)
        self._stop = threading.Event()
        self._errors: list[BaseException] = []
        self._decoded, self._finished, self._buffers = (_Pipe(QUEUE_LENGTH, self._stop) for _ in range(3))

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
        frames = self._source.read(self._first) if self._first else self._source
        for number, frame in enumerate(frames, start=self._first):
            upright = np.ascontiguousarray(np.rot90(frame.image, self._turns))
            cut = is_cut(frame.image) or frame.cut
            state = _named("cuts_", is_cut.read_state()) if self._ends_segment(number) else None
            self._decoded.put(_Job(upright, frame.pts, frame.duration, cut, state))
        self._decoded.put(None)

    def _infer(self) -> None:
        engine, unit = self._engine, self._source.info.time_base
        width, height = self._sink.info.width, self._sink.info.height
        if self._turns_back % 2:
            width, height = height, width
        for _ in range(QUEUE_LENGTH):
            self._buffers.put(np.empty((height, width, 3), np.uint8))
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
            engine(job.image, out=image)
            state = None if job.state is None else {**job.state, **_read_memory(engine)}
            self._finished.put(replace(job, image=image, state=state))
            self.frames += 1
            self._meter.update(self.frames)
        self._finished.put(None)

    def _encode(self) -> None:
        while (job := self._finished.get()) is not None:
            self._sink.write(np.rot90(job.image, -self._turns_back), job.pts, job.duration)
            self._buffers.put(job.image)
            if job.state is not None:
                self._segments.close_segment(job.state)

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
            self._engine.load_state(_memory_of(memory))


def _named(prefix: str, arrays: Arrays) -> dict[str, np.ndarray]:
    return {prefix + key: array for key, array in arrays.items()}


def _read_memory(engine: FrameEngine) -> dict[str, np.ndarray]:
    """The memory of an engine as arrays, whose names tell their order and whether they were tensors."""
    memory = {}
    for number, item in enumerate(engine.read_state()):
        kind = "tensor" if isinstance(item, Tensor) else "array"
        memory[f"memory_{number:04d}_{kind}"] = _as_array(item) if isinstance(item, Tensor) else item.copy()
    return memory


def _as_array(tensor: Tensor) -> np.ndarray:
    """A copy. numpy has no bfloat16, which float32 holds exactly."""
    tensor = tensor.detach().cpu()
    return (tensor.float() if tensor.dtype == torch.bfloat16 else tensor).numpy().copy()


def _memory_of(arrays: Arrays) -> list[Tensor | np.ndarray]:
    return [torch.from_numpy(array) if key.endswith("tensor") else array for key, array in sorted(arrays.items())]
