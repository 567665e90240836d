"""OpenVINO on the CPU, from an OpenVINO IR or an ONNX file."""

from __future__ import annotations

import threading
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import torch
from torch import Tensor

from vst.errors import UserError
from vst.planes import PlaneFormat
from vst.runtime.engine import Engine, require
from vst.runtime.graph import GraphInfo, blank_cells, pack

HINTS = {"float32": "f32", "bfloat16": "bf16"}

_making = threading.Lock()
_cores: list[Any] = []


def shared_core() -> Any:
    """The `openvino.Core` of this process, which is never freed.

    Its CPU plugin gives the thread that loads it a stack for signal handlers, and unmaps that stack when the plugin is
    freed. Freed by another thread, or before a plugin that was loaded after it, it leaves the first thread with a stack
    that is gone, and the next signal that is handled there (Ctrl-C, the end of a child) kills the process without a
    word.
    """
    with _making:
        if not _cores:
            _cores.append(require("openvino", "engine=openvino").Core())
        return _cores[0]


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
        core = shared_core()
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
            "ENABLE_CPU_PINNING": False,  # else its threads wait for the core that a decoder or an encoder is on
        }
        model = _with_states_by_place(ov, model, info)
        self._ov, self._core, self._model, self._options = ov, core, model, options

    def describe(self) -> str:
        version = self._ov.__version__.partition("-")[0]
        return f"openvino {version}, {self.precision}, cpu, {torch.get_num_threads()} threads"

    def read_state(self) -> list[Tensor]:
        return [self._view(tensor) for tensor in self._sets[self._turn]]

    def _prepare(self, height: int, width: int) -> None:
        states = [(1, *s[2:], s[1]) for s in self.info.state_shapes(height, width)]
        sides = self.info.bordered(height, width)
        # For one size: with free sides it was 1.7 times as slow.
        shapes = dict(zip(self.info.state_inputs, states, strict=True))
        grain = {"grain": self.info.grain_shape(*sides)} if self.info.grain else {}
        self._model.reshape({"frame": self.info.frame_shape(*sides), **shapes, **grain})
        compiled = self._core.compile_model(self._model, "CPU", self._options)
        # Two sets of the memory: what one frame writes, the next one reads. Everything is bound once, to two requests
        # that take turns, because OpenVINO gets ready again for every other tensor.
        self._given = {name: self._tensor(compiled.input(name)) for name in self.info.inputs if name not in shapes}
        if self.info.cell:
            np.copyto(self._given["frame"].data, blank_cells(self.info, *sides))
        self._sets = [[self._tensor(compiled.input(name)) for name in shapes] for _ in range(2)]
        self._requests = [self._bound(compiled, *sets) for sets in (self._sets, self._sets[::-1])]
        self._turn = 0

    def _tensor(self, port: Any) -> Any:
        tensor = self._ov.Tensor(port.element_type, port.shape)
        tensor.data[:] = 0
        return tensor

    def _view(self, tensor: Any) -> Tensor:
        """A state in the order of torch; numpy has no bfloat16."""
        half = tensor.element_type == self._ov.Type.bf16
        places = torch.from_numpy(tensor.data.view(np.int16)).view(torch.bfloat16) if half else tensor.data
        return torch.as_tensor(places).permute(0, 3, 1, 2)

    def _bound(self, compiled: Any, before: list[Any], after: list[Any]) -> Any:
        request = compiled.create_infer_request()
        given = {**self._given, **dict(zip(self.info.state_inputs, before, strict=True))}
        for name, tensor in {**given, **dict(zip(self.info.outputs[1:], after, strict=True))}.items():
            request.set_tensor(name, tensor)
        return request

    def _run(self, bordered: np.ndarray, first: bool) -> np.ndarray:
        frame = self._given["frame"].data
        if self.info.cell:
            pack(bordered, frame, self.info)
        else:
            np.copyto(frame, bordered)
        if self.info.states:
            self._given["first"].data[0] = first
        if self.info.grain:
            np.copyto(self._given["grain"].data, self._grained)
        if self.info.toned:
            np.copyto(self._given["tone"].data, self._toned)
        request = self._requests[self._turn]
        request.infer()
        self._turn = 1 - self._turn
        return self._unpacked(request.get_tensor("image").data)


def _with_states_by_place(ov: ModuleType, model: Any, info: GraphInfo) -> Any:
    """The model with a memory (1, h, w, C), as its convolutions keep it, at its ends."""
    made, inside, outside = ov.preprocess.PrePostProcessor(model), ov.Layout("NCHW"), ov.Layout("NHWC")
    for end in [*map(made.input, info.state_inputs), *map(made.output, info.outputs[1:])]:
        end.model().set_layout(inside)
        end.tensor().set_layout(outside)
    return made.build()


def read_metadata(model: Any) -> dict[str, str]:
    """What vst wrote into an `openvino.Model`: the metadata of an ONNX file, or the section `vst` of an IR."""
    for section in (section for section in ("vst", "framework") if section in model.rt_info):
        found = model.rt_info[section]
        entries = found if isinstance(found, dict) else found.value
        return {key: str(getattr(value, "value", value)) for key, value in entries.items()}
    return {}
