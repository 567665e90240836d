"""OpenVINO on the CPU, from an OpenVINO IR or an ONNX file."""

from __future__ import annotations

from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import torch
from torch import Tensor

from vst.errors import UserError
from vst.planes import PlaneFormat
from vst.runtime.engine import Engine, require
from vst.runtime.graph import GraphInfo, pack

HINTS = {"float32": "f32", "bfloat16": "bf16"}


class OpenVinoEngine(Engine):
    """A file of `vst.runtime.export`, .xml or .onnx, run by OpenVINO.

    Args:
        path: of the file; its .bin lies beside an .xml.
        precision: `float32` or `bfloat16`, of what is not quantised in the file.
        planes: what the frames of the graph are, if they are no RGB.
    """

    name = "openvino"
    memory_factor = 2.0

    def __init__(self, path: Path, precision: str = "float32", planes: PlaneFormat | None = None) -> None:
        ov = require("openvino", "engine=openvino")
        core = ov.Core()
        if precision == "bfloat16" and "BF16" not in core.get_property("CPU", "OPTIMIZATION_CAPABILITIES"):
            raise UserError("engine=openvino precision=bfloat16: this CPU has no bfloat16; choose precision=float32")
        try:
            model = core.read_model(path)
        except RuntimeError as error:
            raise UserError(f"{path}: OpenVINO cannot load it ({str(error).strip().splitlines()[-1]})") from error
        info = GraphInfo.from_metadata(read_metadata(model), path)
        super().__init__(info, precision if info.precision == "float32" else info.precision, planes=planes)
        # A graph that is in bfloat16 itself knows best what has to stay in float32.
        hint = "f32" if info.precision == "bfloat16" else HINTS[precision]
        options = {
            "PERFORMANCE_HINT": "LATENCY",
            "INFERENCE_PRECISION_HINT": hint,
            "INFERENCE_NUM_THREADS": torch.get_num_threads(),
            "CPU_DENORMALS_OPTIMIZATION": True,
        }
        if info.precision == "bfloat16":
            model = _with_float_states(ov, model, info)
        self._ov, self._core, self._model, self._options = ov, core, model, options

    def describe(self) -> str:
        version = self._ov.__version__.partition("-")[0]
        return f"openvino {version}, {self.precision}, cpu, {torch.get_num_threads()} threads"

    def read_state(self) -> list[Tensor]:
        return [torch.from_numpy(tensor.data) for tensor in self._sets[self._turn]]

    def load_state(self, state: list[Tensor]) -> None:
        for kept, given in zip(self._sets[self._turn], state, strict=True):
            np.copyto(kept.data, given.numpy())

    def _prepare(self, height: int, width: int) -> None:
        states = self.info.state_shapes(height, width)
        frame = self.info.frame_shape(*self.info.bordered(height, width))
        # For one size: with free sides it was 1.7 times as slow.
        self._model.reshape({"frame": frame, **dict(zip(self.info.inputs[2:], states, strict=True))})
        compiled = self._core.compile_model(self._model, "CPU", self._options)
        # Two sets of the memory: what one frame writes, the next one reads. Everything is bound once, to two requests
        # that take turns, because OpenVINO gets ready again for every other tensor.
        self._frame, self._first_flag = self._tensor(frame, np.uint8), self._tensor((1,), np.bool_)
        self._sets = [[self._tensor(shape, np.float32) for shape in states] for _ in range(2)]
        self._requests = [self._bound(compiled, *sets) for sets in (self._sets, self._sets[::-1])]
        self._turn = 0

    def _tensor(self, shape: tuple[int, ...], dtype: type) -> Any:
        return self._ov.Tensor(np.zeros(shape, dtype), shared_memory=False)

    def _bound(self, compiled: Any, before: list[Any], after: list[Any]) -> Any:
        request = compiled.create_infer_request()
        request.set_tensor("frame", self._frame)
        if self.info.states:
            request.set_tensor("first", self._first_flag)
        for name, tensor in zip(self.info.inputs[2:], before, strict=True):
            request.set_tensor(name, tensor)
        for name, tensor in zip(self.info.outputs[1:], after, strict=True):
            request.set_tensor(name, tensor)
        return request

    def _run(self, bordered: np.ndarray, first: bool) -> np.ndarray:
        if self.info.cell:
            pack(bordered, self._frame.data, self.info)
        else:
            np.copyto(self._frame.data, bordered)
        self._first_flag.data[0] = first
        request = self._requests[self._turn]
        request.infer()
        self._turn = 1 - self._turn
        return self._unpacked(request.get_tensor("image").data)


def _with_float_states(ov: ModuleType, model: Any, info: GraphInfo) -> Any:
    """The model with a memory of float32, which numpy knows, at its ends."""
    made = ov.preprocess.PrePostProcessor(model)
    for name in info.inputs[2:]:
        made.input(name).tensor().set_element_type(ov.Type.f32)
    for name in info.outputs[1:]:
        made.output(name).tensor().set_element_type(ov.Type.f32)
    return made.build()


def read_metadata(model: Any) -> dict[str, str]:
    """What vst wrote into an `openvino.Model`: the metadata of an ONNX file, or the section `vst` of an IR."""
    for section in (section for section in ("vst", "framework") if section in model.rt_info):
        found = model.rt_info[section]
        entries = found if isinstance(found, dict) else found.value
        return {key: str(getattr(value, "value", value)) for key, value in entries.items()}
    return {}
