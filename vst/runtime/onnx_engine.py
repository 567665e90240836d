"""ONNX Runtime: on the CPU, and with its CUDA and TensorRT providers where they are installed."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from vst.errors import UserError
from vst.runtime.engine import Engine, require
from vst.runtime.graph import GraphInfo

PROVIDERS = {"cpu": "CPUExecutionProvider", "cuda": "CUDAExecutionProvider", "tensorrt": "TensorrtExecutionProvider"}


class OnnxEngine(Engine):
    """An ONNX file of `vst.runtime.export`, run by ONNX Runtime.

    Args:
        path: of the file.
        provider: `cpu`, `cuda` or `tensorrt`.
        half: whether TensorRT may compute in float16.
    """

    name = "onnxruntime"
    memory_factor = 2.5  # its arena rounds up and keeps

    def __init__(self, path: Path, provider: str = "cpu", half: bool = False) -> None:
        ort = require("onnxruntime", "engine=onnxruntime")
        wanted, available = PROVIDERS[provider], ort.get_available_providers()
        if wanted not in available:
            raise UserError(
                f"engine=onnxruntime: its {wanted} is not installed (there are: {', '.join(available)}); "
                "pip install onnxruntime-gpu, or choose device=cpu"
            )
        options = ort.SessionOptions()
        options.intra_op_num_threads = torch.get_num_threads()
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")  # as vst.threads asks of the others
        options.log_severity_level = 3
        chain = [(wanted, {"trt_fp16_enable": half} if provider == "tensorrt" else {})]
        chain += [PROVIDERS["cuda"]] * (provider == "tensorrt") + [PROVIDERS["cpu"]] * (provider != "cpu")
        try:
            self._session = ort.InferenceSession(str(path), options, providers=chain)
        except Exception as error:  # ONNX Runtime has a class for each kind of failure, and no common one
            raise UserError(f"{path}: ONNX Runtime cannot load it ({str(error).splitlines()[0]})") from error
        info = GraphInfo.from_metadata(self._session.get_modelmeta().custom_metadata_map, path)
        self._ort, self._provider = ort, provider
        self._device = "cpu" if provider == "cpu" else "cuda"
        super().__init__(info, "float16" if half else info.precision, self._device)

    def describe(self) -> str:
        where = f"cpu, {torch.get_num_threads()} threads" if self._provider == "cpu" else self._provider
        return f"onnxruntime {self._ort.__version__}, {self.precision}, {where}"

    def read_state(self) -> list[Tensor]:
        return [torch.from_numpy(state.numpy()) for state in self._kept]

    def load_state(self, state: list[Tensor]) -> None:
        self._kept = [
            self._ort.OrtValue.ortvalue_from_numpy(given.contiguous().numpy(), self._device) for given in state
        ]

    def _prepare(self, height: int, width: int) -> None:
        zeros = (np.zeros(shape, np.float32) for shape in self.info.state_shapes(height, width))
        self._kept = [self._ort.OrtValue.ortvalue_from_numpy(zero, self._device) for zero in zeros]

    def _run(self, bordered: np.ndarray, first: bool) -> np.ndarray:
        binding = self._session.io_binding()
        binding.bind_cpu_input("frame", bordered)
        names = self.info.state_inputs
        if names:
            binding.bind_cpu_input("first", np.array([first]))
        if self.info.grain:
            binding.bind_cpu_input("grain", self._grained)
        for name, state in zip(names, self._kept, strict=True):
            binding.bind_ortvalue_input(name, state)
        binding.bind_output("image")
        for name in self.info.outputs[1:]:
            binding.bind_output(name, self._device)  # the memory stays on the device
        self._session.run_with_iobinding(binding)
        image, *self._kept = binding.get_outputs()
        return image.numpy()
