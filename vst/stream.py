"""Stylise a whole video file: decoding, network and encoding overlap, in memory that does not grow."""

from __future__ import annotations

import logging
import os
import queue
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Protocol

import numpy as np
import torch
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from torch import Tensor, nn

from vst.cuts import CutDetector
from vst.errors import UserError
from vst.video.probe import VideoInfo
from vst.video.reader import VideoReader
from vst.video.writer import VideoWriter

MIN_SIDE = 16
# Frames that wait between two stages: enough to even out their jitter, few enough to hold 4K frames.
QUEUE_LENGTH = 3
_POLL_SECONDS = 0.1
_LINE_SECONDS = 10.0

_log = logging.getLogger(__name__)

State = tuple[Tensor, ...] | None


class FrameEngine(Protocol):
    """What `vst.runtime.Engine` is: it carries the memory from frame to frame until `reset`."""

    def reset(self) -> None: ...

    def __call__(self, frame: np.ndarray, out: np.ndarray) -> np.ndarray:
        """Stylise (H, W, 3) uint8 RGB into `out`."""
        ...


@dataclass(frozen=True)
class StreamReport:
    """What `stylize_video` did: `frames` written in `seconds` of wall time, `fps` their ratio.

    `cuts` is how often the state was reset at a hard cut. `damaged` is None or one line that says what of the
    input could not be read.
    """

    frames: int
    seconds: float
    fps: float
    cuts: int
    output: Path
    damaged: str | None


def stylize_video(
    stylizer: nn.Module | FrameEngine,
    input: str | Path,
    output: str | Path,
    *,
    device: str | torch.device = "cpu",
    codec: str = "libx264",
    crf: int = 18,
    preset: str = "veryfast",
    overwrite: bool = False,
    progress: bool = True,
) -> StreamReport:
    """Stylise the video `input` into `output` (mp4, mov, mkv): same size, frames, times, rotation and audio.

    An engine of `vst.runtime` runs where it was opened. A module
    `stylizer(frames (1, 3, H, W) float32 in [0, 1], None, state) -> (frames, state)` is moved to `device` and
    run in evaluation mode, frame after frame; its state starts at None. Both forget at every hard cut. The
    frames they see are upright: a rotation tag is applied before it and undone after it, so that strokes lie
    as in a picture shot upright, while the file keeps its layout and tag.

    What can be read of a damaged input is stylised, and the loss is logged as a warning and reported; so is a
    picture that changes its size on the way, which is scaled to the size that it begins with. The
    output appears under its name only when it is whole. Raises UserError for an input that is not a video or
    smaller than 16 pixels on a side, and as `vst.video.VideoWriter` does; an error of any stage stops all of
    them and is raised here.
    """
    output = Path(output)
    with VideoReader(input) as reader:
        info = reader.info
        _check_size(info)
        _check_distinct(info.path, output)
        writer = VideoWriter(
            output, info, copy_from=info.path, codec=codec, crf=crf, preset=preset, overwrite=overwrite
        )
        with (
            _running(stylizer, torch.device(device)) as engine,
            _Meter(info.num_frames, output.name, enabled=progress) as meter,
            writer,
        ):
            pipeline = _Pipeline(reader, engine, writer, meter)
            pipeline.run()
            if pipeline.frames == 0:
                raise UserError(reader.damaged or f"{info.path}: no frame could be read")
    for trouble in (reader.resized, reader.damaged):
        if trouble:
            _log.warning(trouble)
    seconds = meter.seconds
    return StreamReport(pipeline.frames, seconds, pipeline.frames / seconds, pipeline.cuts, output, reader.damaged)


def _check_size(info: VideoInfo) -> None:
    if min(info.width, info.height) < MIN_SIDE:
        size = f"{info.width}x{info.height}"
        raise UserError(f"{info.path} is {size} pixels; scale it up to at least {MIN_SIDE} on each side")


def _check_distinct(source: Path, output: Path) -> None:
    if output.exists() and os.path.samefile(source, output):
        raise UserError(f"input and output are the same file, {output}; choose another name for the output")


@dataclass(frozen=True)
class _Job:
    """A frame on its way: `image` (H, W, 3) uint8, upright; `cut` when it begins a new scene."""

    image: np.ndarray
    pts: int
    duration: int
    cut: bool


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


class _Pipeline:
    """Decode and encode in a thread each, beside the network in the caller's thread, where Ctrl-C arrives.

    PyAV and torch release the interpreter lock, so the three overlap. At most `QUEUE_LENGTH` frames wait
    before the network and as many output buffers exist behind it.
    """

    def __init__(
        self,
        reader: VideoReader,
        engine: FrameEngine,
        writer: VideoWriter,
        meter: _Meter,
    ) -> None:
        self.frames = 0
        self.cuts = 0
        self._reader, self._engine, self._writer, self._meter = reader, engine, writer, meter
        self._turns = round(reader.info.rotation / 90)
        self._stop = threading.Event()
        self._errors: list[BaseException] = []
        self._decoded, self._finished, self._buffers = (_Pipe(QUEUE_LENGTH, self._stop) for _ in range(3))

    def run(self) -> None:
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
        for frame in self._reader:
            upright = np.ascontiguousarray(np.rot90(frame.image, self._turns))
            self._decoded.put(_Job(upright, frame.pts, frame.duration, is_cut(frame.image)))
        self._decoded.put(None)

    def _infer(self) -> None:
        width, height = self._reader.info.width, self._reader.info.height
        if self._turns % 2:
            width, height = height, width
        for _ in range(QUEUE_LENGTH):
            self._buffers.put(np.empty((height, width, 3), np.uint8))
        self._engine.reset()
        while (job := self._decoded.get()) is not None:
            if job.cut:
                self._engine.reset()
                self.cuts += 1
            image = self._buffers.get()
            self._engine(job.image, out=image)
            self._finished.put(_Job(image, job.pts, job.duration, job.cut))
            self.frames += 1
            self._meter.update(self.frames)
        self._finished.put(None)

    def _encode(self) -> None:
        while (job := self._finished.get()) is not None:
            self._writer.write(np.rot90(job.image, -self._turns), job.pts, job.duration)
            self._buffers.put(job.image)


@contextmanager
def _running(stylizer: nn.Module | FrameEngine, device: torch.device) -> Iterator[FrameEngine]:
    """The engine, or one of a module, which is left in the mode that it came in."""
    if not isinstance(stylizer, nn.Module):
        yield stylizer
        return
    was_training = stylizer.training
    try:
        yield _ModuleEngine(stylizer.to(device).eval(), device)
    finally:
        stylizer.train(was_training)


class _ModuleEngine:
    """Any module with the interface of a stylizer, run frame by frame."""

    def __init__(self, stylizer: nn.Module, device: torch.device) -> None:
        self._stylizer, self._device = stylizer, device
        self._pixels: _Pixels | None = None
        self.reset()

    def reset(self) -> None:
        self._state: State = None

    @torch.inference_mode()
    def __call__(self, frame: np.ndarray, out: np.ndarray) -> np.ndarray:
        if self._pixels is None:
            self._pixels = _Pixels(*frame.shape[:2], self._device)
        styled, state = self._stylizer(self._pixels.to_float(frame), None, self._state)
        self._state = self._pixels.detached(state)
        self._pixels.to_bytes(styled, out)
        return out


class _Pixels:
    """Conversion between uint8 pictures and the network's floats, in buffers used again for every frame.

    Fresh tensors of this size come from the operating system page by page, which costs more than the
    conversion; and channels_last is the layout of a picture in memory, so that neither direction moves pixels
    about.
    """

    def __init__(self, height: int, width: int, device: torch.device) -> None:
        shape, layout = (1, 3, height, width), torch.channels_last
        self._input = torch.empty(shape, device=device, memory_format=layout)
        self._scaled = torch.empty(shape, device=device, memory_format=layout)
        self._bytes = torch.empty(shape, dtype=torch.uint8, device=device, memory_format=layout)

    def to_float(self, image: np.ndarray) -> Tensor:
        """(H, W, 3) uint8 to (1, 3, H, W) float32 in [0, 1], in a buffer that the next call overwrites."""
        return self._input.copy_(_as_planes(image).to(self._input.device)).div_(255)

    def to_bytes(self, frames: Tensor, image: np.ndarray) -> None:
        """Round (1, 3, H, W) in [0, 1] into `image` (H, W, 3) uint8."""
        assert frames.shape == self._scaled.shape, (tuple(frames.shape), tuple(self._scaled.shape))
        torch.mul(frames, 255, out=self._scaled)
        self._bytes.copy_(self._scaled.round_().clamp_(0, 255))
        _as_planes(image).copy_(self._bytes)

    def detached(self, state: State) -> State:
        """The state with its own copy of what lies in the input buffer, which the next frame overwrites."""
        if state is None:
            return None
        own = self._input.untyped_storage().data_ptr()
        return tuple(s.clone() if s.untyped_storage().data_ptr() == own else s for s in state)


def _as_planes(image: np.ndarray) -> Tensor:
    return torch.from_numpy(image).permute(2, 0, 1).unsqueeze(0)


class _Meter:
    """Progress on stderr: a bar with frames, FPS and time left on a terminal, else a line every ten seconds.

    A context manager; `seconds` is the wall time between entering and leaving.
    """

    def __init__(self, total: int | None, name: str, enabled: bool) -> None:
        self.seconds = 0.0
        self._total, self._name, self._enabled = total, name, enabled
        console = Console(stderr=True)
        self._bar = self._make_bar(console) if enabled and console.is_terminal else None
        self._frames = 0

    def __enter__(self) -> _Meter:
        self._start = self._last_line = time.perf_counter()
        if self._bar is not None:
            self._bar.start()
            self._task = self._bar.add_task(self._name, total=self._total, fps=0.0)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        self.seconds = time.perf_counter() - self._start
        if self._bar is not None:
            self._bar.stop()
        elif kind is None:
            self._print_line()

    def update(self, frames: int) -> None:
        self._frames = frames
        now = time.perf_counter()
        if self._bar is not None:
            self._bar.update(self._task, completed=frames, fps=frames / max(now - self._start, 1e-9))
        elif now - self._last_line > _LINE_SECONDS:
            self._last_line = now
            self._print_line()

    def _print_line(self) -> None:
        if not self._enabled:
            return
        seconds = max(time.perf_counter() - self._start, 1e-9)
        fps = self._frames / seconds
        of = f"/{self._total}" if self._total else ""
        left = (
            f", {(self._total - self._frames) / fps:.0f} s left"
            if self._total and 0 < self._frames < self._total
            else ""
        )
        print(f"{self._name}: {self._frames}{of} frames, {fps:.1f} FPS{left}", file=sys.stderr, flush=True)

    @staticmethod
    def _make_bar(console: Console) -> Progress:
        return Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[fps]:.1f} FPS"),
            TimeRemainingColumn(),
            console=console,
        )
