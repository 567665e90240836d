"""Entries of a benchmark: a model, an engine, a precision and a size, opened and timed in turns."""

from __future__ import annotations

import ctypes
import re
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from math import prod
from pathlib import Path

import numpy as np
import torch

from vst.benchmark.cost import Cost, count_cost
from vst.benchmark.latency import parse_size
from vst.benchmark.limits import DTYPES
from vst.errors import UserError, suggest
from vst.networks import Stylizer
from vst.runtime import ENGINES, Engine, open_engine
from vst.runtime.build import FILE_ENGINES

SIZES = {"360p": (640, 360), "720p": (1280, 720), "1080p": (1920, 1080), "4K": (3840, 2160)}
USUAL_ENGINES = ("torch", "onnxruntime", "openvino")
NUM_FRAMES = 4  # different ones, so that no cache is warm with the frame


@dataclass(frozen=True)
class Model:
    """What is timed. `kind` is checkpoint, file (of export.py), preset or baseline; the last two of random weights."""

    name: str
    kind: str
    source: Stylizer | Path

    @property
    def engines(self) -> list[str]:
        """The usual ones that there are for it."""
        fitting = ENGINES if isinstance(self.source, Stylizer) else FILE_ENGINES[self.source.suffix]
        return [engine for engine in USUAL_ENGINES if engine in fitting]

    @property
    def cost(self) -> Cost | None:
        """Of a stylizer; an exported file cannot be counted."""
        return count_cost(self.source) if isinstance(self.source, Stylizer) else None


@dataclass
class Entry:
    """One line of the table: what is asked for, and from `open` and `run` what was found.

    `precision` becomes that of the engine (a file of int8 is int8 whatever was asked), `pixels` those of the frame with
    its border, `latencies` are seconds.
    """

    model: Model
    engine_name: str
    precision: str
    size: tuple[int, int]
    cost: Cost | None
    engine: Engine | None = None
    latencies: list[float] = field(default_factory=list)
    pixels: int = 0
    peak_bytes: int | None = None
    description: str = ""

    @property
    def title(self) -> str:
        return f"{self.model.name} {self.engine_name} {self.precision} {self.size[0]}x{self.size[1]}"

    def open(self, frame: np.ndarray, device: torch.device) -> None:
        """Open the engine and run two frames, which allocate, compile and choose kernels.

        Raises:
            UserError: the engine cannot run this model, or the frame does not fit into the memory that is free.
        """
        needed = 0 if self.cost is None else self.cost.memory(*self.size, DTYPES[self.precision].itemsize)
        free = free_memory(device)
        if free is not None and needed > free:
            raise UserError(f"needs at least {needed / 1e9:.1f} GB for its widest layer, {free / 1e9:.1f} GB are free")
        meter = MemoryMeter(device)
        self.engine = open_engine(self.model.source, self.engine_name, self.precision, device)
        for _ in range(2):
            self.engine(frame)
        self.peak_bytes, self.description = meter.peak(), self.engine.describe()
        self.precision, self.pixels = self.engine.precision, prod(self.engine.info.bordered(*frame.shape[:2]))

    def run(self, frames: Sequence[np.ndarray], seconds: float, clock: Callable[[], float] = time.perf_counter) -> None:
        """Time frames one by one until `seconds` are full, one at least.

        Bytes in memory to bytes in memory, so with border, conversion, and transfer to a device and back. Frames of a
        quarter of the time do not count; of a slow network that is none, it is warm from opening.
        """
        assert self.engine is not None
        out = np.empty_like(frames[0])
        typical = min(self.latencies, default=0.0)
        end, index = clock() + seconds / 4, 0
        while typical < seconds / 4 and clock() < end:
            self.engine(frames[index % len(frames)], out=out)
            index += 1
        spent, first = 0.0, True
        while first or spent < seconds:
            begin = clock()
            self.engine(frames[index % len(frames)], out=out)
            self.latencies.append(clock() - begin)
            spent, first, index = spent + self.latencies[-1], False, index + 1


def read_sizes(names: Sequence[str]) -> list[tuple[int, int]]:
    """`720p` or `1280x720` -> (1280, 720), without repetitions."""
    known = {name.lower(): size for name, size in SIZES.items()}
    sizes = []
    for name in map(str, names):
        if name.lower() not in known and not re.fullmatch(r"\d+x\d+", name):
            raise UserError(f"sizes: {name!r}{suggest(name, SIZES)}; write {', '.join(SIZES)} or WIDTHxHEIGHT")
        sizes.append(known.get(name.lower()) or parse_size(name))
    return list(dict.fromkeys(sizes))


def check_engines(engines: Sequence[str] | None, precisions: Sequence[str]) -> None:
    """Raise UserError for a name that no machine could run."""
    for key, names, known in (("engines", engines, ENGINES), ("precisions", precisions, tuple(DTYPES))):
        if names is None:
            continue
        if not names:
            raise UserError(f"{key}: none given; choose of {', '.join(known)}")
        for name in names:
            if name not in known:
                raise UserError(f"{key}: {name!r} is unknown{suggest(str(name), known)}; allowed: {', '.join(known)}")


class MemoryMeter:
    """How much memory is taken at most from now on: on a CUDA device of its allocator, else of this process (Linux)."""

    def __init__(self, device: torch.device) -> None:
        self._device = device
        if device.type == "cuda":
            torch.cuda.synchronize(device)
            self._before = torch.cuda.memory_allocated(device)
            torch.cuda.reset_peak_memory_stats(device)
            return
        # What was freed before must not be at hand, or an entry that uses it again would seem to need nothing.
        if (trim := _trim()) is not None:
            trim(0)
        try:
            Path("/proc/self/clear_refs").write_text("5")
        except OSError:
            self._before = None
        else:
            self._before = _status("VmRSS")

    def peak(self) -> int | None:
        """Bytes above what there was, None where it cannot be known."""
        if self._device.type == "cuda":
            return torch.cuda.max_memory_allocated(self._device) - self._before
        highest = _status("VmHWM")
        return None if self._before is None or highest is None else max(0, highest - self._before)


def free_memory(device: torch.device) -> int | None:
    """Bytes that are free for an entry, None where it cannot be known."""
    if device.type == "cuda":
        return torch.cuda.mem_get_info(device)[0]
    return _kilobytes(Path("/proc/meminfo"), "MemAvailable")


def _status(name: str) -> int | None:
    return _kilobytes(Path("/proc/self/status"), name)


def _kilobytes(path: Path, name: str) -> int | None:
    found = re.search(rf"^{name}:\s+(\d+) kB", path.read_text(), re.MULTILINE) if path.is_file() else None
    return int(found[1]) * 1024 if found else None


def _trim() -> Callable[[int], int] | None:
    try:
        return ctypes.CDLL(None).malloc_trim
    except (AttributeError, OSError, TypeError):
        return None
