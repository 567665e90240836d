"""What a network costs for each pixel of a frame, counted from what it runs."""

from __future__ import annotations

import copy
from dataclasses import dataclass
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode

from vst.networks import FlowGrain, Stylizer

SIDE = 256
_ATEN = torch.ops.aten


@dataclass(frozen=True)
class Cost:
    """Of one frame with its memory carried, for each pixel of the frame.

    `macs` are the multiply-adds of convolutions and matrix products, `activations` the numbers that those put out,
    `largest` the most that one of them takes in and puts out. `parameters` is of the whole network.
    """

    parameters: int
    macs: float
    activations: float
    largest: float

    def memory(self, width: int, height: int, itemsize: int) -> float:
        """Bytes that a frame of this size needs at least while it is computed: input and output of the widest layer."""
        return width * height * self.largest * itemsize


def count_cost(stylizer: Stylizer) -> Cost:
    """Count on torch's meta device, which computes shapes only: it takes milliseconds, and any network.

    Counted at the dispatcher, so functional convolutions count as well as modules. A transposed convolution counts once
    for each place of its input, a convolution once for each place of its output.
    """
    # In training mode the stylizer adds no border: the count is the network's own.
    network = copy.deepcopy(stylizer)
    # They look at pixels, of which there are none here, and are no part of the network.
    network.tone = network.motion = network.grade = None
    if isinstance(network.grain, FlowGrain):
        network.grain = None
    network = network.to("meta").train()
    frame = torch.empty(1, 3, SIDE, SIDE, device="meta")
    with torch.no_grad():
        _, state = network(frame, None, None)
        with _Counter() as counter:
            network(frame, None, state)
    pixels = SIDE**2
    parameters = sum(parameter.numel() for parameter in stylizer.parameters())
    return Cost(parameters, counter.macs / pixels, counter.activations / pixels, counter.largest / pixels)


class _Counter(TorchDispatchMode):
    def __init__(self) -> None:
        super().__init__()
        self.macs = self.activations = self.largest = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: tuple = (), kwargs: dict | None = None) -> Any:
        out = func(*args, **(kwargs or {}))
        if func is _ATEN.convolution.default:
            x, weight, transposed = args[0], args[1], args[6]
            places = x if transposed else out
            self._add(weight.numel() * places.shape[0] * places.shape[2:].numel(), x.numel(), out.numel())
        elif func in (_ATEN.mm.default, _ATEN.bmm.default, _ATEN.addmm.default):
            left = args[-2]
            self._add(out.numel() * left.shape[-1], left.numel(), out.numel())
        return out

    def _add(self, macs: int, taken: int, given: int) -> None:
        self.macs += macs
        self.activations += given
        self.largest = max(self.largest, taken + given)
