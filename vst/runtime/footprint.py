"""What painting one frame takes: how far a place looks around, how many bytes, and how many bytes are free."""

from __future__ import annotations

import weakref
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

WHOLE_FRAME = -1

_PROBED_CELLS = 64  # to each side; networks that look further are taken to look at the whole frame
_THICKNESS = 16  # pixels at least, the smallest frame that networks take
_CGROUP = Path("/sys/fs/cgroup")
_MEMINFO = Path("/proc/meminfo")


@torch.inference_mode()
def reach(generator: nn.Module, temporal: nn.Module, states: tuple[int, ...]) -> int:
    """Pixels, a multiple of the stride, that the result of one frame looks at to each side; `WHOLE_FRAME` for all.

    Also how far the memory after the frame looks into the frame and into the memory before it. It is found by putting
    NaN, which survives every operation, into one place of all inputs and seeing where it arrives. A place is as many
    pixels as the stride: networks are equivariant to whole places only.

    Args:
        generator, temporal: of a stylizer in eval mode.
        states: channels of the memory.
    """
    farthest = 0
    for vertical in (False, True):
        stride = generator.stride
        cells = (-(-_THICKNESS // stride), 2 * _PROBED_CELLS + 1)
        rows, columns = cells[::-1] if vertical else cells
        along = 2 if vertical else 3
        pixels = torch.full((1, 3, rows * stride, columns * stride), 0.5)
        pixels.narrow(along, _PROBED_CELLS * stride, stride).fill_(torch.nan)
        before = [torch.zeros(1, channels, rows, columns) for channels in states]
        for state in before:
            state.narrow(along, _PROBED_CELLS, 1).fill_(torch.nan)
        features, after = temporal(generator.encode(pixels), tuple(before) or None)
        spread = [_spread(generator.decode(features, pixels), along, stride)]
        spread += [_spread(state, along, 1) for state in after]
        farthest = max(farthest, *spread)
    return WHOLE_FRAME if farthest >= _PROBED_CELLS else farthest * generator.stride


def _spread(result: Tensor, along: int, stride: int) -> int:
    """Places between the middle one and the farthest NaN."""
    hit = result.isnan().any(1, keepdim=True).any(5 - along).flatten().nonzero().flatten() // stride
    return int((hit - _PROBED_CELLS).abs().max()) if len(hit) else 0


def peak_bytes(function: Callable[..., Any], *arguments: Tensor) -> int:
    """The most bytes of tensors, `arguments` among them, that live at any one time during a call.

    Nothing is computed where the arguments and the weights of `function` are on the device `meta`. What a library takes
    within an operation is not seen.
    """
    meter = _Meter()
    for argument in arguments:
        meter.count(argument)
    with torch.inference_mode(), meter:
        function(*arguments)
    return meter.peak


class _Meter(TorchDispatchMode):
    def __init__(self) -> None:
        super().__init__()
        self.peak = self._live = 0
        self._known: set[int] = set()

    def __torch_dispatch__(self, function: Any, types: Any, args: tuple = (), kwargs: dict | None = None) -> Any:
        result = function(*args, **(kwargs or {}))
        for value in tree_leaves(result):
            if isinstance(value, Tensor):
                self.count(value)
        return result

    def count(self, tensor: Tensor) -> None:
        storage = tensor.untyped_storage()
        key, size = storage._cdata, storage.nbytes()
        if key in self._known:
            return
        self._known.add(key)
        self._live += size
        self.peak = max(self.peak, self._live)
        weakref.finalize(storage, self._release, key, size)

    def _release(self, key: int, size: int) -> None:
        self._known.discard(key)
        self._live -= size


def free_bytes(device: torch.device | str = "cpu") -> int | None:
    """Bytes that can be had on `device` now; None where the system does not tell."""
    device = torch.device(device)
    if device.type == "cuda":
        unused = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
        return torch.cuda.mem_get_info(device)[0] + unused
    if device.type != "cpu" or not _MEMINFO.is_file():
        return None
    available = next(line for line in _MEMINFO.read_text().splitlines() if line.startswith("MemAvailable:"))
    free = int(available.split()[1]) * 1024
    limit = _CGROUP / "memory.max"  # of a container
    if limit.is_file() and (most := limit.read_text().strip()) != "max":
        counts = dict(line.split() for line in (_CGROUP / "memory.stat").read_text().splitlines())
        used = int((_CGROUP / "memory.current").read_text()) - int(counts["inactive_file"])
        free = min(free, max(0, int(most) - used))
    return free
