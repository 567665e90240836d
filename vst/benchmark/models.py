"""The table of models, sizes, engines and precisions."""

from __future__ import annotations

import contextlib
import logging
import time
from collections.abc import Callable, Collection, Iterator, Sequence
from typing import Any

import numpy as np
import torch

from vst.benchmark.entries import NUM_FRAMES, Entry, Model
from vst.benchmark.limits import DTYPES, Machine
from vst.benchmark.results import Benchmark, Value
from vst.errors import UserError, reason_of
from vst.runtime.build import check_choice
from vst.runtime.parity import moving_frames

_log = logging.getLogger(__name__)

NOTES = [
    "latency: one frame of bytes in main memory to bytes in main memory, state carried; fps = 1 / its mean",
    "kMAC/px, act/px: multiply-adds and results of convolutions for each pixel, without the border of the frame",
    "limit: the larger of arithmetic at the measured peak and each convolution's result written and read once at the "
    "measured speed of a copy; small frames can stay in caches and so be faster than its memory side",
    "memory: growth while the engine was opened and ran its first frames",
]
MAX_COMPILED = 64


def run_models(
    models: Sequence[Model],
    sizes: Sequence[tuple[int, int]],
    engines: Sequence[str] | None,
    precisions: Sequence[str],
    device: torch.device,
    settings: dict[str, Any],
    *,
    rounds: int = 3,
    seconds: float = 1.0,
    machine: Machine | None = None,
    clock: Callable[[], float] = time.perf_counter,
) -> Benchmark:
    """Time every combination that can run; the others are listed with the reason.

    All entries of a size are open together and take turns, `rounds` times `seconds` each, so that whatever else the
    machine does meets them all: ratios within a size are fair even where the numbers are not. The machine's peaks are
    measured again in every round.

    Args:
        engines: None for the usual ones of each model.

    Raises:
        UserError: not one combination can run.
    """
    machine = machine or Machine(device)
    result = Benchmark("models", settings, notes=list(NOTES))
    pairs = {
        model: list(_possible(model.engines if engines is None else engines, precisions, device, result.skipped))
        for model in models
    }
    asked = {pair for possible in pairs.values() for pair in possible}
    peaks = tuple(precision for precision in DTYPES if precision in {precision for _, precision in asked})
    costs = {model: model.cost for model in models}
    measured: list[Entry] = []
    for number, size in enumerate(sizes):
        frames = [np.ascontiguousarray(frame) for frame in moving_frames(NUM_FRAMES, size[1], size[0])]
        entries = [Entry(model, *pair, size, costs[model]) for model in models for pair in pairs[model]]
        with _many_graphs({engine for engine, _ in asked}):
            open_entries = list(_opened(entries, frames, device, result.skipped))
            for turn in range(rounds):
                _log.info(
                    "%dx%d (%d of %d sizes), round %d of %d, %d entries",
                    *size, number + 1, len(sizes), turn + 1, rounds, len(open_entries),
                )  # fmt: skip
                machine.measure(peaks)
                open_entries = [entry for entry in open_entries if _ran(entry, frames, seconds, clock, result.skipped)]
        measured += open_entries
        for entry in open_entries:
            entry.engine = None  # its memory is needed for the next size
    # Not before: the peaks may rise until the last round.
    result.rows = [_row(entry, machine) for entry in measured]
    if not result.rows:
        reasons = "; ".join(f"{what}: {why}" for what, why in result.skipped.items())
        raise UserError(f"benchmark: no combination can run here ({reasons})")
    result.settings |= {"machine": machine.describe(), "rounds": rounds, "seconds": seconds}
    result.settings["engines"] = sorted({entry.description for entry in measured})
    return result


def _possible(
    engines: Sequence[str], precisions: Sequence[str], device: torch.device, skipped: dict[str, str]
) -> Iterator[tuple[str, str]]:
    for engine in engines:
        for precision in precisions:
            try:
                check_choice(engine, precision, device)
            except UserError as error:
                skipped[f"{engine} {precision}"] = str(error)
            else:
                yield engine, precision


def _opened(
    entries: Sequence[Entry], frames: Sequence[np.ndarray], device: torch.device, skipped: dict[str, str]
) -> Iterator[Entry]:
    seen: set[tuple[Model, str, str]] = set()
    for entry in entries:
        _log.info("preparing %s", entry.title)
        try:
            entry.open(frames[0], device)
        except (UserError, RuntimeError, MemoryError) as error:
            entry.engine = None
            skipped[entry.title] = reason_of(error)
            continue
        # A file of int8 opens as the same engine whatever precision is asked.
        key = (entry.model, entry.engine_name, entry.precision)
        if key not in seen:
            seen.add(key)
            yield entry


def _ran(
    entry: Entry, frames: Sequence[np.ndarray], seconds: float, clock: Callable[[], float], skipped: dict[str, str]
) -> bool:
    try:
        entry.run(frames, seconds, clock)
    except (RuntimeError, MemoryError) as error:
        entry.engine = None
        skipped[entry.title] = reason_of(error)
        return False
    return True


def _row(entry: Entry, machine: Machine) -> dict[str, Value]:
    latencies = np.array(entry.latencies)
    p50, p95, p99 = np.percentile(1e3 * latencies, [50, 95, 99]).tolist()
    cost, (width, height) = entry.cost, entry.size
    return {
        "model": entry.model.name,
        "kind": entry.model.kind,
        "engine": entry.engine_name,
        "precision": entry.precision,
        "size": f"{width}x{height}",
        "frames": len(latencies),
        "fps": float(1 / latencies.mean()),
        "p50_ms": p50,
        "p95_ms": p95,
        "p99_ms": p99,
        "peak_mb": None if entry.peak_bytes is None else entry.peak_bytes / 1e6,
        "parameters": cost and cost.parameters,
        "kmac_per_px": cost and cost.macs / 1e3,
        "act_per_px": cost and cost.activations,
        "limit_ms": None,
        "bound": None,
        "of_limit": None,
        **_against_limit(entry, machine, p50),
    }


def _against_limit(entry: Entry, machine: Machine, p50: float) -> dict[str, Value]:
    if entry.cost is None:
        return {}
    limit = machine.limit(entry.cost, entry.pixels, entry.precision)
    if limit is None:
        return {}
    return {"limit_ms": 1e3 * limit.seconds, "bound": limit.bound, "of_limit": 1e3 * limit.seconds / p50}


@contextlib.contextmanager
def _many_graphs(engines: Collection[str]) -> Iterator[None]:
    """Let torch.compile keep a graph for each entry; beyond its limit it would run uncompiled and not say so."""
    if "torch_compile" not in engines:
        yield
        return
    import torch._dynamo as dynamo

    with dynamo.config.patch(recompile_limit=MAX_COMPILED, fail_on_recompile_limit_hit=True):
        yield
    dynamo.reset()
