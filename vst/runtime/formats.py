"""Writes a frame graph as ONNX, as an OpenVINO IR, and as packages of torch.export and AOTInductor.

Height and width stay free. Every file carries `GraphInfo.to_metadata`.
"""

from __future__ import annotations

import contextlib
import io
import json
import logging
import shutil
import warnings
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.export import Dim, ExportedProgram

from vst.errors import UserError
from vst.runtime.engine import MIN_SIDE, Engine, require
from vst.runtime.grain import noise_text
from vst.runtime.graph import FrameGraph, GraphInfo
from vst.runtime.openvino_engine import read_metadata, shared_core

OPSET = 20
OPSETS = range(18, 24)
EXAMPLE = (64, 96)  # height and width of the frame that the graph is traced with
METADATA_FILE = "vst.json"
NOISE = "vst_noise"  # of ONNX files, for programs that have none of their own


def trace(graph: FrameGraph) -> ExportedProgram:
    """The graph by `torch.export`, on the CPU, with free height and width."""
    info = graph.info
    frame = torch.zeros(info.frame_shape(*info.bordered(*EXAMPLE)), dtype=torch.uint8)
    memory = graph.blank_memory(*EXAMPLE)
    least = info.bordered(MIN_SIDE, MIN_SIDE)[0] // info.stride
    h, w = Dim("h", min=least), Dim("w", min=least)
    shapes = {"frame": _places(h, w, info.stride // (info.cell or 1))}
    if memory:
        first, tone = [None] * bool(info.states), [None] * info.toned
        grain = [_places(h, w, info.stride // info.grain_cell)] if info.grain else []
        shapes["memory"] = (*first, *({2: h, 3: w} for _ in info.states), *grain, *tone)
    with _quiet():
        return torch.export.export(_Packed(graph), (frame, *memory), dynamic_shapes=shapes)


def _places(h: Dim, w: Dim, fine: int) -> dict[int, Dim]:
    """Free sides of (1, rows, columns, C) with so many places for each of the features; 1 * h is not h to torch."""
    return {1: fine * h, 2: fine * w} if fine > 1 else {1: h, 2: w}


class _Packed(nn.Module):
    """The graph with results that are contiguous: AOTInductor takes every input for contiguous, also a state that it
    returned itself in another layout.
    """

    def __init__(self, graph: FrameGraph) -> None:
        super().__init__()
        self.frame_graph = graph  # `graph` is torch.fx's own name

    def forward(self, frame: Tensor, *memory: Tensor) -> tuple[Tensor, ...]:
        return tuple(result.contiguous() for result in self.frame_graph(frame, *memory))


def write_onnx(graph: FrameGraph, path: Path, opset: int = OPSET) -> None:
    """One .onnx file with float32 weights inside. Raises UserError for an opset that is not supported."""
    if opset not in OPSETS:
        raise UserError(f"opset={opset}: not supported; allowed: {OPSETS[0]} to {OPSETS[-1]}")
    onnx = require("onnx", "format=onnx")
    require("onnxscript", "format=onnx")
    info = graph.info
    with _quiet():
        program = torch.onnx.export(
            trace(graph), input_names=info.inputs, output_names=info.outputs, opset_version=opset, verbose=False
        )
        program.save(str(path), external_data=False)
    model = onnx.load(str(path))
    noise = {NOISE: noise_text(info.grain, info.grain_streak, info.grain_flows)} if info.grain else {}
    onnx.helper.set_model_props(model, info.to_metadata() | noise)
    onnx.checker.check_model(model)
    onnx.save(model, str(path))


def write_openvino(onnx_file: Path, path: Path) -> None:
    """An OpenVINO IR, .xml and .bin, from an ONNX file of `write_onnx`, quantised or not, in the same precision."""
    ov = require("openvino", "format=openvino")
    model = shared_core().read_model(onnx_file)
    for key, value in read_metadata(model).items():
        if key != NOISE:
            model.set_rt_info(value, ["vst", key])
    ov.save_model(model, path, compress_to_fp16=False)


def write_torch_export(graph: FrameGraph, path: Path) -> None:
    """A package of `torch.export`, .pt2: any machine's torch of the same or a later version compiles or runs it."""

    torch.export.save(trace(graph), path, extra_files={METADATA_FILE: json.dumps(graph.info.to_metadata())})


def write_aotinductor(graph: FrameGraph, path: Path) -> None:
    """A package of AOTInductor, .pt2: machine code for this kind of CPU, for Python and C++."""
    if not any(map(shutil.which, ("g++", "clang++", "cl"))):
        raise UserError("format=aotinductor needs a C++ compiler (g++ or clang++); or choose format=torch_export")
    settings = {"aot_inductor.metadata": graph.info.to_metadata()}
    with _quiet():
        torch._inductor.aoti_compile_and_package(trace(graph), package_path=str(path), inductor_configs=settings)


class PackageEngine(Engine):
    """A .pt2 package run as it is, to check it. Its machine code is trusted: load only what you have compiled.

    Args:
        path: of `write_torch_export` or `write_aotinductor`.
        compiled: whether it is of the latter.
    """

    def __init__(self, path: Path, compiled: bool) -> None:

        if compiled:
            self._call = torch._inductor.aoti_load_package(str(path))
            metadata = self._call.get_metadata()
        else:
            extra = {METADATA_FILE: ""}
            self._call = torch.export.load(path, extra_files=extra).module()
            metadata = json.loads(extra[METADATA_FILE])
        self.name = "aotinductor" if compiled else "torch_export"
        info = GraphInfo.from_metadata(metadata, path)
        super().__init__(info, info.precision)

    def describe(self) -> str:
        return f"{self.name}, {self.precision}, cpu, {torch.get_num_threads()} threads"

    def _prepare(self, height: int, width: int) -> None:
        dtype = getattr(torch, self.precision)
        self._state = [torch.zeros(shape, dtype=dtype) for shape in self.info.state_shapes(height, width)]

    @torch.inference_mode()
    def _run(self, bordered: np.ndarray, first: bool) -> np.ndarray:
        flag: list[Tensor] = [torch.tensor([first])] if self.info.states else []
        grain = [torch.from_numpy(self._grained)] if self.info.grain else []
        image, *self._state = self._call(torch.from_numpy(bordered), *flag, *self._state, *grain)
        return image.numpy()


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Keep the exporters' running commentary off the terminal; what fails raises."""
    loggers = [logging.getLogger(name) for name in ("torch.onnx", "onnxscript", "onnx_ir", "torch.export")]
    before = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        for logger, level in zip(loggers, before, strict=True):
            logger.setLevel(level)
