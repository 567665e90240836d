"""Latency of a stylizer as it is deployed: in eval mode, one frame at a time, with the state carried."""

import math
import platform
import re
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from vst.errors import UserError

MIN_WARMUP_FRAMES = 3
NUM_PICTURES = 4


@dataclass(frozen=True)
class LatencyReport:
    """Measured latency of one resolution on one device.

    `num_frames` frames were timed one by one after the warm-up. `fps` is their number divided by the sum of
    their latencies; `p50_ms`, `p95_ms` and `p99_ms` are percentiles of the latency of one frame in
    milliseconds, linearly interpolated between neighbouring samples.
    """

    width: int
    height: int
    device: str
    precision: str
    num_frames: int
    fps: float
    p50_ms: float
    p95_ms: float
    p99_ms: float

    @property
    def resolution(self) -> str:
        """`WIDTHxHEIGHT`, as `parse_size` reads it."""
        return f"{self.width}x{self.height}"


def parse_size(text: str) -> tuple[int, int]:
    """Read `"1280x720"` as `(1280, 720)`, (width, height) in pixels; both must be 16 or more."""
    match = re.fullmatch(r"(\d+)x(\d+)", str(text))
    if match is None or min(int(match[1]), int(match[2])) < 16:
        raise UserError(f"size {text!r}: write WIDTHxHEIGHT with both at least 16, for example 1280x720")
    return int(match[1]), int(match[2])


def device_name(device: torch.device) -> str:
    """The name of the hardware, for a CPU with the number of threads that torch uses."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    if device.type == "cpu":
        threads = torch.get_num_threads()
        return f"{_cpu_model()}, {threads} thread{'' if threads == 1 else 's'}"
    return f"{device.type} on {platform.machine()}"


@torch.inference_mode()
def measure_latency(
    stylizer: nn.Module,
    size: tuple[int, int],
    device: torch.device | str = "cpu",
    *,
    seconds: float = 2.0,
    min_frames: int = 10,
    clock: Callable[[], float] = time.perf_counter,
) -> LatencyReport:
    """Time `stylizer` on frames of `size` = (width, height) in pixels that already lie on `device`.

    Reading, writing and copying video to the device are not part of the number. The frames have the data type
    of the stylizer's weights. A warm-up of `seconds` / 4, three frames at least, comes first; then frames are
    timed until their latencies add up to `seconds` and there are at least `min_frames` of them. CUDA is timed
    by device events around each frame with a synchronisation after it, anything else by `clock` (seconds).
    The stylizer's training mode and torch's random state are left as they were.
    """
    device = torch.device(device)
    weights = next((p for p in stylizer.parameters() if p.is_floating_point()), None)
    dtype = torch.float32 if weights is None else weights.dtype
    pictures = _pictures(size, device, dtype)
    was_training = stylizer.training
    stylizer.eval()
    state = None

    def run(index: int) -> float:
        nonlocal state
        picture = pictures[index % NUM_PICTURES]
        (_, state), latency = _timed(lambda: stylizer(picture, state=state), device, clock)
        return latency

    try:
        num_warmup, spent_ms = 0, 0.0
        while num_warmup < MIN_WARMUP_FRAMES or spent_ms < 1e3 * seconds / 4:
            spent_ms += run(num_warmup)
            num_warmup += 1
        latencies, spent_ms = [], 0.0
        while len(latencies) < max(min_frames, 1) or spent_ms < 1e3 * seconds:
            latencies.append(run(num_warmup + len(latencies)))
            spent_ms += latencies[-1]
    finally:
        stylizer.train(was_training)
    return _report(latencies, size, device_name(device), _precision(dtype, device))


def _report(latencies: list[float], size: tuple[int, int], device: str, precision: str) -> LatencyReport:
    points = torch.tensor([0.5, 0.95, 0.99], dtype=torch.float64)
    p50, p95, p99 = torch.quantile(torch.tensor(latencies, dtype=torch.float64), points).tolist()
    fps = 1e3 * len(latencies) / math.fsum(latencies)
    return LatencyReport(size[0], size[1], device, precision, len(latencies), fps, p50, p95, p99)


def _pictures(size: tuple[int, int], device: torch.device, dtype: torch.dtype) -> list[Tensor]:
    """A few different noise pictures, so that no layer ever sees the same frame twice in a row."""
    width, height = size
    generator = torch.Generator().manual_seed(0)
    noise = torch.rand(NUM_PICTURES, 1, 3, height, width, generator=generator)
    return list(noise.to(device, dtype))


def _timed(call: Callable[[], Any], device: torch.device, clock: Callable[[], float]) -> tuple[Any, float]:
    """Run `call` and return its result and its latency in milliseconds."""
    if device.type == "cuda":
        start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        stream = torch.cuda.current_stream(device)
        start.record(stream)
        result = call()
        end.record(stream)
        end.synchronize()
        return result, start.elapsed_time(end)
    begin = clock()
    result = call()
    if device.type != "cpu":
        torch.accelerator.synchronize(device)
    return result, 1e3 * (clock() - begin)


def _precision(dtype: torch.dtype, device: torch.device) -> str:
    name = str(dtype).removeprefix("torch.")
    if dtype == torch.float32 and device.type == "cuda" and torch.backends.cudnn.allow_tf32:
        return f"{name} (TF32 convolutions)"
    return name


def _cpu_model() -> str:
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.is_file():
        match = re.search(r"^model name\s*:\s*(.+)$", cpuinfo.read_text(), re.MULTILINE)
        if match:
            return match[1].strip()
    return platform.processor() or platform.machine()
