"""All measurements that need a GPU, in less than ten minutes.

    python -m benchmarks.gpu [--output outputs/gpu.md] [--minutes 9]

Clips a second of training; then presets of random weights at 720p, 1080p and 4K on torch eager, CUDA graphs and
torch.compile in float32, bfloat16 and float16. A time is that of one frame whose bytes lie on the device already, by
CUDA events; `host_fps` is from main memory to main memory. What the minutes do not suffice for is listed as such.
Writes a Markdown file with date, commit, driver and GPU.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import torch

from vst.benchmark.entries import SIZES, Model
from vst.benchmark.limits import DTYPES, Machine
from vst.benchmark.report import to_markdown
from vst.benchmark.results import Benchmark, Value
from vst.commands.benchmark import benchmark_model, measure_training
from vst.errors import UserError
from vst.evaluate.circumstances import circumstances
from vst.runtime import open_engine
from vst.runtime.graph import add_border
from vst.runtime.parity import moving_frames

MODELS = ("convgru_hd", "convgru", "convgru_tiny", "johnson")
ENGINES = ("cuda_graph", "torch", "torch_compile")  # the slowest to start comes last
SECONDS = 1.0
WARMUP = 20
COMPILED = ("convgru_hd",)  # each takes most of a minute for each size and precision
TRAINING = (
    ["trainer=gpu", "data.batch_size=16", "data.num_workers=8"],
    ["trainer=gpu", "data.batch_size=16", "data.num_workers=8", "data.crop=256", "model/generator=base"],
)
STEPS = 60


def combinations() -> list[tuple[str, str, str, str]]:
    """(model, engine, precision, size), the most wanted first."""
    names = [(e, m, p, s) for e in ENGINES for s in ("1080p", "4K", "720p") for m in MODELS for p in reversed(DTYPES)]
    return [(m, e, p, s) for e, m, p, s in names if e != "torch_compile" or (m in COMPILED and p == "float16")]


@torch.inference_mode()
def measure(model: Model, engine_name: str, precision: str, size: str, machine: Machine) -> dict[str, Value]:
    """A row of the table."""
    device, (width, height) = machine.device, SIZES[size]
    engine = open_engine(model.source, engine_name, precision, device)
    frames = list(moving_frames(2, height, width))
    for frame in frames:
        engine(frame)
    bordered = [torch.from_numpy(add_border(frame, engine.info)).to(device) for frame in frames]
    start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
    times: list[float] = []
    begin = time.perf_counter()
    while len(times) < 2 * WARMUP or time.perf_counter() - begin < SECONDS:
        start.record()
        engine.step(bordered[len(times) % 2], False)
        end.record()
        end.synchronize()
        times.append(start.elapsed_time(end))
    out, count, begin = np.empty_like(frames[0]), 0, time.perf_counter()
    while time.perf_counter() - begin < SECONDS / 2:
        engine(frames[count % 2], out=out)
        count += 1
    host_fps = count / (time.perf_counter() - begin)
    p50, p99 = np.percentile(times[WARMUP:], [50, 99]).tolist()
    rows, columns = engine.info.bordered(height, width)
    limit = machine.limit(model.cost, rows * columns, precision)
    return {
        "model": model.name, "engine": engine_name, "precision": precision, "size": f"{width}x{height}",
        "fps": 1e3 * len(times[WARMUP:]) / sum(times[WARMUP:]), "p50_ms": p50, "p99_ms": p99, "p99/p50": p99 / p50,
        "host_fps": host_fps, "peak_mb": torch.cuda.max_memory_allocated(device) / 1e6,
        "limit_ms": 1e3 * limit.seconds, "bound": limit.bound, "of_limit": 1e3 * limit.seconds / p50,
    }  # fmt: skip


def measure_models(settings: dict, device: torch.device, deadline: float) -> Benchmark:
    machine = Machine(device)
    machine.measure(tuple(DTYPES))
    result = Benchmark("models", settings | {"machine": machine.describe()})
    models = {name: benchmark_model(name) for name in MODELS}
    for name, engine, precision, size in combinations():
        title = f"{name} {engine} {precision} {size}"
        if time.perf_counter() > deadline:
            result.skipped[title] = "no time left"
            continue
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats(device)
        try:
            result.rows.append(measure(models[name], engine, precision, size, machine))
        except (UserError, RuntimeError) as error:
            result.skipped[title] = str(error).strip().splitlines()[0]
        else:
            print(f"{title}: {result.rows[-1]['fps']:.0f} fps", flush=True)
    return result


def measure_trainings(settings: dict, deadline: float) -> Benchmark:
    result = Benchmark("training", settings)
    for overrides in TRAINING:
        title = " ".join(overrides)
        if time.perf_counter() > deadline:
            result.skipped[title] = "no time left"
            continue
        with tempfile.TemporaryDirectory() as folder:
            found = measure_training(overrides, STEPS, folder, settings)
        result.rows += [{"train": title, **row} for row in found.rows]
        print(f"{title}: {result.rows[-1]['clips_per_s']:.0f} clips/s", flush=True)
    return result


def driver() -> str:
    query = ["nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader"]
    try:
        return subprocess.run(query, capture_output=True, text=True, timeout=20, check=True).stdout.split()[0]
    except (OSError, subprocess.SubprocessError, IndexError):
        return "unknown"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--output", type=Path, default=Path("outputs/gpu.md"))
    parser.add_argument("--minutes", type=float, default=9.0)
    given = parser.parse_args()
    if not torch.cuda.is_available():
        sys.exit("no CUDA device here: nothing was measured")
    begin, device = time.perf_counter(), torch.device("cuda")
    settings = circumstances(device) | {"driver": driver(), "cuda": torch.version.cuda}
    try:
        # Training first: the table of models takes what is left.
        training = measure_trainings(settings, begin + 20 * given.minutes)
        models = measure_models(settings, device, begin + 60 * given.minutes - 60)
    except UserError as error:
        sys.exit(f"error: {error}")
    given.output.parent.mkdir(parents=True, exist_ok=True)
    given.output.write_text(to_markdown(models) + "\n" + to_markdown(training), encoding="utf-8")
    print(f"{given.output}, {time.perf_counter() - begin:.0f} s")


if __name__ == "__main__":
    main()
