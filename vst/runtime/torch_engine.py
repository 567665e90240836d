"""Engines of torch itself: eager, compiled, and with the whole frame as one CUDA graph."""

from __future__ import annotations

import shutil
from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from vst.errors import UserError
from vst.planes import PlaneFormat
from vst.runtime.engine import Engine
from vst.runtime.grain import NONE
from vst.runtime.graph import FrameGraph, blank_cells, pack

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}
WARMUP_RUNS = 3


class TorchEngine(Engine):
    """The graph run by torch, operation by operation, on any device of torch.

    `step` is for those whose frames lie on the device already.
    """

    name = "torch"

    def __init__(
        self, graph: FrameGraph, precision: str, device: torch.device, planes: PlaneFormat | None = None
    ) -> None:
        super().__init__(graph.info, precision, device, planes)
        self._graph = graph.to(device, memory_format=torch.channels_last)
        self._flags = {first: torch.tensor([first], device=device) for first in (True, False)}
        self._call: Callable[..., tuple[Tensor, ...]] = self._graph

    def describe(self) -> str:
        return f"{self.name} {torch.__version__}, {self.precision}, {device_name(self.device)}"

    @torch.inference_mode()
    def step(self, bordered: Tensor, first: bool) -> Tensor:
        """One frame (1, H', W', 3) uint8 with its border, on the device -> (1, H' - 2 border, W' - 2 border, 3).

        On the CPU both are packed where the generator runs on cells (`GraphInfo.cell`).
        """
        flag = [self._flags[first]] if self.info.states else []
        grain = [torch.from_numpy(self._grained).to(self.device, non_blocking=True)] if self.info.grain else []
        tone = [torch.from_numpy(self._toned)] if self.info.toned else []
        image, *self._state = self._call(bordered, *flag, *self._state, *grain, *tone)
        return image

    def _prepare(self, height: int, width: int) -> None:
        self._state = list(self._graph.zeros(height, width, self.device))
        self._cells = blank_cells(self.info, *self.info.bordered(height, width))

    def _run(self, bordered: np.ndarray, first: bool) -> np.ndarray:
        if self.info.cell:
            pack(bordered, self._cells, self.info)
            bordered = self._cells
        frame = torch.from_numpy(bordered).to(self.device, non_blocking=True)
        return self._unpacked(self.step(frame, first).cpu().numpy())

    def _host_buffer(self, shape: tuple[int, ...]) -> np.ndarray:
        # Only from pinned memory does a copy to the device run beside the computation.
        return torch.empty(shape, dtype=torch.uint8, pin_memory=self.device.type == "cuda").numpy()


class CompiledEngine(TorchEngine):
    """The graph compiled by TorchInductor for one size, with its weights frozen in."""

    name = "torch_compile"

    def __init__(self, graph: FrameGraph, precision: str, device: torch.device) -> None:
        if device.type == "cpu" and not any(map(shutil.which, ("g++", "clang++", "cl"))):
            raise UserError("engine=torch_compile needs a C++ compiler (g++ or clang++); or choose engine=onnxruntime")
        super().__init__(graph, precision, device)

    @torch.inference_mode()
    def _prepare(self, height: int, width: int) -> None:
        super()._prepare(height, width)
        # As the graph will give them: for others it would be compiled a second time, at the second frame.
        self._state = [state.contiguous(memory_format=torch.channels_last).clone() for state in self._state]
        self._call = torch.compile(self._graph, dynamic=False, options={"freezing": True})


class CudaGraphEngine(TorchEngine):
    """The whole frame as one CUDA graph: a single launch, static shapes, the memory in place on the device.

    A small network's kernels are shorter than the time to launch them one by one.
    """

    name = "cuda_graph"

    def __init__(self, graph: FrameGraph, precision: str, device: torch.device) -> None:
        if device.type != "cuda":
            raise UserError(
                "engine=cuda_graph needs a CUDA device; choose engine=torch, or device=cuda where there is one"
            )
        super().__init__(graph, precision, device)

    @torch.inference_mode()
    def step(self, bordered: Tensor, first: bool) -> Tensor:
        self._frame.copy_(bordered, non_blocking=True)
        self._flag.copy_(self._flags[first], non_blocking=True)
        if self.info.grain:
            self._noise.copy_(torch.from_numpy(self._grained), non_blocking=True)
        self._captured.replay()
        return self._image

    @torch.inference_mode()
    def _prepare(self, height: int, width: int) -> None:
        super()._prepare(height, width)
        self._frame = torch.zeros(1, *self.info.bordered(height, width), 3, dtype=torch.uint8, device=self.device)
        self._flag = torch.ones(1, dtype=torch.bool, device=self.device)
        if self.info.grain:
            shape = self.info.grain_shape(*self.info.bordered(height, width))
            self._noise = torch.full(shape, NONE, dtype=torch.uint8, device=self.device)
        stream = torch.cuda.Stream(self.device)
        stream.wait_stream(torch.cuda.current_stream(self.device))
        with torch.cuda.stream(stream):  # cuDNN chooses its kernels and allocates before anything is recorded
            for _ in range(WARMUP_RUNS):
                self._advance()
        torch.cuda.current_stream(self.device).wait_stream(stream)
        self._captured = torch.cuda.CUDAGraph()
        with torch.cuda.graph(self._captured, stream=stream):
            self._image = self._advance()

    def _advance(self) -> Tensor:
        flag = [self._flag] if self.info.states else []
        grain = [self._noise] if self.info.grain else []
        image, *after = self._graph(self._frame, *flag, *self._state, *grain)
        for kept, new in zip(self._state, after, strict=True):
            kept.copy_(new)
        return image.contiguous()


def device_name(device: torch.device) -> str:
    """In words."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    return f"{device.type}, {torch.get_num_threads()} threads" if device.type == "cpu" else str(device)
