"""Exports a stylizer for other programs, checks at once that the file gives the same frames, and compresses it.

What does not pass the check is not left behind.
"""

from __future__ import annotations

import logging
import shutil
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

import vst
from vst.checkpoint import load_stylizer, read_stylizer
from vst.errors import UserError
from vst.networks import Stylizer
from vst.quality import Candidate, QualityReport, film, judge
from vst.runtime import open_engine
from vst.runtime.engine import Engine, require
from vst.runtime.formats import (
    OPSETS,
    PackageEngine,
    write_aotinductor,
    write_onnx,
    write_openvino,
    write_torch_export,
)
from vst.runtime.graph import FrameGraph
from vst.runtime.parity import Parity, check
from vst.runtime.quantise import calibration_inputs, quantise

FORMATS = {"onnx": ".onnx", "openvino": ".xml", "torch_export": ".pt2", "aotinductor": ".pt2"}
NEEDED = {"onnx": ("onnx", "onnxscript", "onnxruntime"), "openvino": ("onnx", "onnxscript", "openvino")}
QUANTISER = "onnxruntime"
CALIBRATION_FRAMES = 20

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class ExportReport:
    """What `export_stylizer` wrote: `path`, how its frames compare, and a table before and after compression."""

    path: Path
    parity: Parity
    quality: QualityReport | None


def export_stylizer(
    checkpoint: Path | str,
    output: Path | str | None = None,
    format: str = "onnx",
    *,
    compress: str = "none",
    calibration: Path | str | None = None,
    reference: Path | str | None = None,
    opset: int = 20,
    overwrite: bool = False,
) -> ExportReport:
    """Write `checkpoint` as `format`: onnx, openvino, torch_export or aotinductor.

    Args:
        output: the file; None for the checkpoint's name with the format's ending.
        compress: `int8` quantises an onnx or openvino file after training.
        calibration: video whose frames set the ranges of int8, and judge the result; None for photographs in motion.
        reference: checkpoint that this one was distilled or pruned from; the table holds it against that one's frames.
        opset: of onnx.
        overwrite: replace an existing output.

    Raises:
        UserError: before anything is written, for what cannot be; or the file's frames differ from the checkpoint's.
    """
    output = _checked(Path(checkpoint), output, format, compress, opset, overwrite)
    stylizer = load_stylizer(checkpoint)
    graph = FrameGraph(stylizer, str(read_stylizer(checkpoint).get("style") or ""), vst.__version__)
    large = stylizer if reference is None else load_stylizer(reference)
    frames = film(calibration) if compress == "int8" or reference is not None else None
    output.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{output.stem}-", dir=output.parent) as folder:
        written = Path(folder) / f"float32{FORMATS[format]}"
        engine = _write(graph, written, format, opset)
        parity, candidates = _passed(stylizer, engine, format), []
        if reference is not None:
            path = Path(folder) / f"reference{FORMATS[format]}"
            candidates.append(Candidate("reference", path, _write(FrameGraph(large), path, format, opset), large))
        candidates.append(Candidate("float32", written, engine, stylizer))
        if compress == "int8":
            plain, written = written, Path(folder) / f"int8{FORMATS[format]}"
            small = _compress(graph, plain, written, format, frames)
            parity = _passed(stylizer, small, f"{format} int8")
            candidates.append(Candidate("int8", written, small, stylizer))
        quality = None if frames is None else judge(large, candidates, frames)
        _move(written, output)
    return ExportReport(output, parity, quality)


def _checked(
    checkpoint: Path, output: Path | str | None, format: str, compress: str, opset: int, overwrite: bool
) -> Path:
    for module in NEEDED.get(format, ()):
        require(module, f"format={format}")
    if compress != "none" and format not in ("onnx", "openvino"):
        raise UserError(f"compress={compress}: only format=onnx and format=openvino hold int8, not {format}")
    if compress == "int8":
        require(QUANTISER, "compress=int8")
    if opset not in OPSETS:
        raise UserError(f"opset={opset}: not supported; allowed: {OPSETS[0]} to {OPSETS[-1]}")
    ending = FORMATS[format]
    int8 = "_int8" if compress == "int8" else ""
    path = checkpoint.with_name(f"{checkpoint.stem}{int8}{ending}") if output is None else Path(output)
    if path.suffix != ending:
        raise UserError(f"output={path}: format={format} is written as {ending}; name it {path.with_suffix(ending)}")
    if path.exists() and not overwrite:
        raise UserError(f"output={path}: exists; choose another name, or overwrite=true")
    return path


def _write(graph: FrameGraph, path: Path, format: str, opset: int) -> Engine:
    writers: dict[str, Callable[[], None]] = {
        "onnx": lambda: write_onnx(graph, path, opset),
        "openvino": lambda: _write_openvino(graph, path, opset),
        "torch_export": lambda: write_torch_export(graph, path),
        "aotinductor": lambda: write_aotinductor(graph, path),
    }
    writers[format]()
    return _open(path, format)


def _write_openvino(graph: FrameGraph, path: Path, opset: int) -> None:
    write_onnx(graph, path.with_suffix(".onnx"), opset)
    write_openvino(path.with_suffix(".onnx"), path)


def _compress(graph: FrameGraph, plain: Path, path: Path, format: str, frames: list[np.ndarray]) -> Engine:
    share = len(frames) // CALIBRATION_FRAMES  # the film from end to end, not its first seconds
    inputs = calibration_inputs(graph, frames, every=max(1, share))
    quantise(plain.with_suffix(".onnx"), path.with_suffix(".onnx"), inputs)
    if format == "openvino":
        write_openvino(path.with_suffix(".onnx"), path)
    return _open(path, format)


def _open(path: Path, format: str) -> Engine:
    if format in ("torch_export", "aotinductor"):
        return PackageEngine(path, compiled=format == "aotinductor")
    return open_engine(path, {"onnx": "onnxruntime", "openvino": "openvino"}[format])


def _passed(stylizer: Stylizer, engine: Engine, what: str) -> Parity:
    parity = check(stylizer, engine)
    if not parity.within(engine.precision):
        raise UserError(f"the {what} file does not give the checkpoint's frames, and is not kept: {parity}")
    _log.info("parity    %s: %s", what, parity)
    return parity


def _move(written: Path, output: Path) -> None:
    if written.suffix == ".xml":
        shutil.move(written.with_suffix(".bin"), output.with_suffix(".bin"))
    shutil.move(written, output)
