"""Chooses an engine by measurement, once for each machine, model and size."""

from __future__ import annotations

import hashlib
import json
import logging
import platform
import time
from contextlib import suppress
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from statistics import median

import numpy as np
import torch

from vst.cache import replacing
from vst.errors import UserError
from vst.networks import Stylizer
from vst.runtime.build import PRECISIONS, cache_folder, check_choice, fingerprint, open_engine, usual_engine
from vst.runtime.engine import Engine
from vst.runtime.parity import compare, moving_frames
from vst.threads import cpus

# torch_compile is left out: it computes for most of a minute before the first frame, and its turn comes by name.
CANDIDATES = ("torch", "cuda_graph", "onnxruntime", "openvino")
ROUNDS = 3
ROUND_SECONDS = 0.3
HOPELESS = 2.0  # times the fastest so far: not measured again
CHECKED_FRAMES = 6
LEAST_PSNR = 45.0  # dB to torch in float32, where a difference is not seen

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Choice:
    """An engine, a precision, and one line on why."""

    engine: str
    precision: str
    reason: str


def choose_engine(
    source: Stylizer | Path,
    size: tuple[int, int],
    precision: str = "auto",
    device: torch.device | str = "cpu",
) -> Choice:
    """The fastest engine for frames of `size` (width, height) among those whose frames equal torch's to `LEAST_PSNR`.

    It is remembered in the user's cache folder for this machine, these versions, this model and this size.

    Args:
        source: a stylizer, or a .onnx or .xml file, of which the first engine that can run it is the yardstick.
        precision: `auto` for any, or the only one that is considered.
    """
    device = torch.device(device)
    key = _key(source, size, precision, device)
    known = _remembered(key)
    if known is not None:
        return known
    _log.info("engine    measuring which is fastest at %dx%d; once for this machine and model", *size)
    choice = _measure(source, size, precision, device)
    _remember(key, choice)
    return choice


def settle_engine(
    source: Stylizer | Path,
    engine: str | None,
    precision: str,
    device: torch.device | str,
    size: tuple[int, int],
) -> tuple[str, str]:
    """The engine and the precision that `source` is opened with, from what a person has chosen.

    Args:
        engine: a name, `auto` for the fastest for frames of `size` (width, height), or None: none was chosen.
        precision: a name, or `auto` beside engine=auto.

    Raises:
        UserError: precision=auto without engine=auto, or nothing can run the source.
    """
    if engine == "auto":
        choice = choose_engine(source, size, precision, device)
        _log.info("engine    %s %s, %s", choice.engine, choice.precision, choice.reason)
        return choice.engine, choice.precision
    if precision == "auto":
        raise UserError("precision=auto is for engine=auto; choose float32, bfloat16 or float16")
    return engine or usual_engine(source), precision


def _measure(source: Stylizer | Path, size: tuple[int, int], precision: str, device: torch.device) -> Choice:
    engines, refused = _opened(source, precision, device)
    if not engines:
        raise UserError(f"engine=auto precision={precision}: nothing here can run it ({'; '.join(refused)})")
    width, height = size
    frames = list(moving_frames(CHECKED_FRAMES, height, width))
    reference = engines[0] if engines[0].precision != "bfloat16" else open_engine(source, "torch", device=device)
    faithful = []
    for engine in engines:
        reference.reset()
        engine.reset()
        # The reference itself passes: it cannot run twice in step with itself.
        psnr = 100.0 if engine is reference else compare(reference, engine, frames).least_psnr
        if psnr >= LEAST_PSNR:
            faithful.append(engine)
        else:
            refused.append(f"{_title(engine)}: only {psnr:.0f} dB to {_title(reference)}")
    best: dict[str, float] = {}
    for _ in range(ROUNDS):  # in turns, so that whatever else the machine does meanwhile meets them all
        for engine in faithful:
            so_far = best.get(_title(engine), 0.0)
            if so_far <= HOPELESS * min(best.values(), default=0.0) or not so_far:
                taken = 1e3 * _seconds_per_frame(engine, frames)
                best[_title(engine)] = min(taken, so_far or taken)
    order = sorted(faithful, key=lambda engine: best[_title(engine)])
    measured = ", ".join(f"{_title(engine)} {best[_title(engine)]:.1f} ms" for engine in order)
    reason = f"fastest at {width}x{height}: {measured}" + (f" (not: {'; '.join(refused)})" if refused else "")
    return Choice(order[0].name, _asked(order[0]), reason)


def _opened(source: Stylizer | Path, precision: str, device: torch.device) -> tuple[list[Engine], list[str]]:
    """The engines that can be tried, torch in float32 first, and a word on each that cannot."""
    suffix = "" if isinstance(source, Stylizer) else Path(source).suffix
    engines, refused = [], []
    for name in CANDIDATES:
        for kind in PRECISIONS[name]:
            if precision not in ("auto", kind):
                continue
            try:
                check_choice(name, kind, device, suffix)
            except UserError:
                continue  # not meant for this device or file, which needs no word
            try:
                engines.append(open_engine(source, name, kind, device))
            except UserError as error:
                refused.append(f"{name} {kind}: {error}")
    return engines, refused


def _seconds_per_frame(engine: Engine, frames: list[np.ndarray]) -> float:
    """Median over at least two frames, after one that does not count."""
    engine.reset()
    engine(frames[0])
    times: list[float] = []
    while len(times) < 2 or sum(times) < ROUND_SECONDS:
        begin = time.perf_counter()
        engine(frames[(len(times) + 1) % len(frames)])
        times.append(time.perf_counter() - begin)
    return median(times)


def _title(engine: Engine) -> str:
    return f"{engine.name} {engine.precision}"


def _asked(engine: Engine) -> str:
    """The precision to open the engine with again; a file of int8 computes the rest in float32."""
    return "float32" if engine.precision == "int8" else engine.precision


def _key(source: Stylizer | Path, size: tuple[int, int], precision: str, device: torch.device) -> str:
    if isinstance(source, Stylizer):
        model = fingerprint(source)
    else:
        if not source.is_file():
            raise UserError(f"{source}: not found; give a file that export.py wrote")
        model = hashlib.sha256(source.read_bytes()).hexdigest()
    gpu = torch.cuda.get_device_name(device) if device.type == "cuda" else ""
    machine = (platform.node(), _cpu(), cpus(), torch.get_num_threads(), gpu, device.type)
    versions = [(name, _version(name)) for name in ("torch", "onnxruntime", "onnxruntime-gpu", "openvino")]
    return hashlib.sha256(repr((machine, versions, model, size, precision)).encode()).hexdigest()[:24]


def _cpu() -> str:
    found = [line for line in _lines(Path("/proc/cpuinfo")) if line.startswith("model name")]
    return found[0].partition(":")[2].strip() if found else platform.processor()


def _lines(path: Path) -> list[str]:
    return path.read_text().splitlines() if path.is_file() else []


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return ""


def _choices() -> Path:
    return cache_folder() / "choices.json"


def _read() -> dict[str, dict[str, str]]:
    try:
        content = json.loads(_choices().read_text())
    except (OSError, ValueError):  # none yet, or half of one: it is measured again
        return {}
    return content if isinstance(content, dict) else {}


def _remembered(key: str) -> Choice | None:
    entry = _read().get(key)
    try:
        choice = Choice(**entry)
    except TypeError:
        return None
    return choice if choice.precision in PRECISIONS.get(choice.engine, ()) else None


def _remember(key: str, choice: Choice) -> None:
    """Keep the choice; where nothing can be written, the next film measures again."""
    with suppress(OSError), replacing(_choices()) as part:
        part.write_text(json.dumps(_read() | {key: vars(choice)}, indent=1))
