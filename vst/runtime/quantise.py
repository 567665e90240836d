"""Post-training quantisation to int8 of an ONNX graph, calibrated on frames with the memory that they leave.

Only the convolutions of the network are quantised. Its fixed filters and sums, which split a frame into a smooth part
and detail and measure its contrast, stay in float32: quantising them too costs 8 dB and saves no time. OpenVINO runs
and converts the result as well; its own quantiser, NNCF, was tried with the same frames and layers and lost 5 dB on the
film it was calibrated for, 20 dB on others.
"""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from vst.runtime.cells import FILTERS, PAINTERS
from vst.runtime.engine import require
from vst.runtime.graph import FrameGraph
from vst.runtime.torch_engine import TorchEngine

Inputs = dict[str, np.ndarray]
# Nothing after those that paint the pixels evens out their error: it costs 5 dB.
EXACT = tuple(f"{name}.weight" for name in (*PAINTERS, *FILTERS))


def calibration_inputs(graph: FrameGraph, frames: Sequence[np.ndarray], every: int = 3) -> list[Inputs]:
    """The graph's inputs at every n-th of `frames` (H, W, 3) uint8 of a film, from the first on.

    They are those of a film as engines paint it: with its tone and grain, and the memory carried.
    """
    recorder = _Recorder(graph)
    for index, frame in enumerate(frames):
        recorder.listening = index % every == 0
        recorder(frame)
    return recorder.found


class _Recorder(TorchEngine):
    """Keeps what its graph was given for the frames that it was listening to."""

    def __init__(self, graph: FrameGraph) -> None:
        super().__init__(graph, graph.info.precision, torch.device("cpu"))
        self.listening, self.found = True, list[Inputs]()
        self._call = self._heard

    def _heard(self, *given: torch.Tensor) -> tuple[torch.Tensor, ...]:
        if self.listening:
            self.found.append({n: x.numpy().copy() for n, x in zip(self.info.inputs, given, strict=True)})
        return self._graph(*given)


def quantise(source: Path, target: Path, inputs: Sequence[Inputs]) -> None:
    """QDQ with uint8 activations and int8 weights by channel: what x86 multiplies fastest."""
    onnx = require("onnx", "compress=int8")
    require("onnxruntime", "compress=int8")
    from onnxruntime.quantization import CalibrationMethod, QuantFormat, QuantType, quantize_static

    model = onnx.load(str(source))
    convolutions = [node for node in model.graph.node if node.op_type == "Conv"]
    exact = [node.name for node in convolutions if _groups(node) > 1 or node.input[1].endswith(EXACT)]
    with _quiet():
        quantize_static(
            str(source),
            str(target),
            _Reader(inputs),
            quant_format=QuantFormat.QDQ,
            op_types_to_quantize=["Conv"],
            nodes_to_exclude=exact,
            per_channel=True,
            activation_type=QuantType.QUInt8,
            weight_type=QuantType.QInt8,
            calibrate_method=CalibrationMethod.MinMax,
        )
    quantised = onnx.load(str(target))
    metadata = {entry.key: entry.value for entry in model.metadata_props}
    onnx.helper.set_model_props(quantised, metadata | {"vst_precision": "int8"})
    onnx.save(quantised, str(target))


class _Reader:
    """A `CalibrationDataReader` of ONNX Runtime."""

    def __init__(self, inputs: Sequence[Inputs]) -> None:
        self._inputs = iter(inputs)

    def get_next(self) -> Inputs | None:
        return next(self._inputs, None)


def _groups(node: Any) -> int:
    return next((attribute.i for attribute in node.attribute if attribute.name == "group"), 1)


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Keep the quantiser's advice off the terminal."""
    logger = logging.getLogger()
    before = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(before)
