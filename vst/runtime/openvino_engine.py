"""OpenVINO on the CPU, from an OpenVINO IR or an ONNX file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from vst.errors import UserError
from vst.runtime.engine import Engine, require
from vst.runtime.graph import GraphInfo

HINTS = {"float32": "f32", "bfloat16": "bf16"}


class OpenVinoEngine(Engine):
    """A file of `vst.runtime.export`, .xml or .onnx, run by OpenVINO.

    Args:
        path: of the file; its .bin lies beside an .xml.
        precision: `float32` or `bfloat16`, of what is not quantised in the file.
    """

    name = "openvino"
    memory_factor = 2.0

    def __init__(self, path: Path, precision: str = "float32") -> None:
        ov = require("openvino", "engine=openvino")
        core = ov.Core()
        if precision == "bfloat16" and "BF16" not in core.get_property("CPU", "OPTIMIZATION_CAPABILITIES"):
            raise UserError("engine=openvino precision=bfloat16: this CPU has no bfloat16; choose precision=float32")
        try:
            model = core.read_model(path)
        except RuntimeError as error:
            raise UserError(f"{path}: OpenVINO cannot load it ({str(error).strip().splitlines()[-1]})") from error
        info = GraphInfo.from_metadata(read_metadata(model), path)
        super().__init__(info, precision if info.precision == "float32" else info.precision)
        options = {
            "PERFORMANCE_HINT": "LATENCY",
            "INFERENCE_PRECISION_HINT": HINTS[precision],
            "INFERENCE_NUM_THREADS": torch.get_num_threads(),
        }
        self._request = core.compile_model(model, "CPU", options).create_infer_request()
        self._ov = ov

    def describe(self) -> str:
        version = self._ov.__version__.partition("-")[0]
        return f"openvino {version}, {self.precision}, cpu, {torch.get_num_threads()} threads"

    def read_state(self) -> list[Tensor]:
        return [torch.from_numpy(tensor.data) for tensor in self._sets[0]]

    def load_state(self, state: list[Tensor]) -> None:
        for kept, given in zip(self._sets[0], state, strict=True):
            np.copyto(kept.data, given.numpy())

    def _prepare(self, height: int, width: int) -> None:
        # Two sets in turn: what one frame writes, the next one reads, and nothing is copied.
        shapes = self.info.state_shapes(height, width)
        self._sets = [
            [self._ov.Tensor(np.zeros(shape, np.float32), shared_memory=False) for shape in shapes] for _ in range(2)
        ]

    def _run(self, bordered: np.ndarray, first: bool) -> np.ndarray:
        request, (before, after) = self._request, self._sets
        request.set_tensor("frame", self._ov.Tensor(bordered, shared_memory=True))
        if self.info.states:
            request.set_tensor("first", self._ov.Tensor(np.array([first])))
        for name, tensor in zip(self.info.inputs[2:], before, strict=True):
            request.set_tensor(name, tensor)
        for name, tensor in zip(self.info.outputs[1:], after, strict=True):
            request.set_tensor(name, tensor)
        request.infer()
        self._sets = [after, before]
        return request.get_tensor("image").data


def read_metadata(model: Any) -> dict[str, str]:
    """What vst wrote into an `openvino.Model`: the metadata of an ONNX file, or the section `vst` of an IR."""
    for section in (section for section in ("vst", "framework") if section in model.rt_info):
        found = model.rt_info[section]
        entries = found if isinstance(found, dict) else found.value
        return {key: str(getattr(value, "value", value)) for key, value in entries.items()}
    return {}
