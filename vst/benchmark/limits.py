"""What the machine could do at best: measured peaks, and the time that a frame takes at least by them."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from vst.benchmark.cost import Cost

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}
REPEATS = 3
BYTES_OF_PIXEL = 6  # three read, three written
FULL_SIZE = {"cpu": (1024, 64, 256, 2**26), "cuda": (8192, 256, 256, 2**29)}
"""Device -> side of the matrices; channels and side of the convolution; bytes of the copy."""


@dataclass(frozen=True)
class Limit:
    """Least seconds for a frame by arithmetic and by memory traffic."""

    arithmetic: float
    memory: float

    @property
    def seconds(self) -> float:
        return max(self.arithmetic, self.memory)

    @property
    def bound(self) -> str:
        """`arithmetic` or `memory`, whichever takes longer."""
        return "arithmetic" if self.arithmetic >= self.memory else "memory"


class Machine:
    """Peaks of a device, the best of all `measure` calls: on a busy machine a single one is too low.

    Args:
        device: what is measured.
        size: see `FULL_SIZE`; None for the device's own.
        clock: seconds.
    """

    def __init__(
        self,
        device: torch.device,
        size: tuple[int, int, int, int] | None = None,
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        self.device, self._clock = device, clock
        self._size = size or FULL_SIZE["cuda" if device.type == "cuda" else "cpu"]
        self.flops: dict[str, float] = {}
        self.bandwidth = 0.0

    @torch.inference_mode()
    def measure(self, precisions: tuple[str, ...]) -> None:
        """Update `flops` (floating-point operations a second, of a matrix product or a 3x3 convolution, whichever is
        faster) and `bandwidth` (bytes a second that a copy reads and writes).
        """
        side, channels, picture, size = self._size
        for precision in precisions:
            options = {"device": self.device, "dtype": DTYPES[precision]}
            a, b = torch.rand(side, side, **options), torch.rand(side, side, **options)
            x = torch.rand(1, channels, picture, picture, **options).to(memory_format=torch.channels_last)
            weight = torch.rand(channels, channels, 3, 3, **options).to(memory_format=torch.channels_last)
            product = 2 * side**3 / self._fastest(lambda a=a, b=b: a @ b)
            work = 2 * channels**2 * 9 * picture**2
            convolution = work / self._fastest(lambda x=x, weight=weight: F.conv2d(x, weight, padding=1))
            self.flops[precision] = max(self.flops.get(precision, 0.0), product, convolution)
        source = torch.ones(size // 4, device=self.device)
        target = torch.empty_like(source)
        self.bandwidth = max(self.bandwidth, 2 * size / self._fastest(lambda: target.copy_(source)))

    def limit(self, cost: Cost, pixels: int, precision: str) -> Limit | None:
        """Of a frame of `pixels` (with its border): all arithmetic at the peak; or the output of each convolution
        written and read once, and the picture. None for a precision without a measured peak.

        Pointwise work between convolutions is taken for fused, and traffic goes to main memory: where activations stay
        in a cache, the true limit by memory is lower.
        """
        if precision not in self.flops:
            return None
        traffic = 2 * DTYPES[precision].itemsize * cost.activations + BYTES_OF_PIXEL
        return Limit(2 * cost.macs * pixels / self.flops[precision], traffic * pixels / self.bandwidth)

    def describe(self) -> dict[str, float]:
        """Peaks in GFLOP/s and GB/s."""
        rates = {f"peak_{precision}_gflops": rate / 1e9 for precision, rate in self.flops.items()}
        return rates | {"copy_gb_per_s": self.bandwidth / 1e9}

    def _fastest(self, call: Callable[[], Tensor]) -> float:
        call()
        times = []
        for _ in range(REPEATS):
            self._wait()
            begin = self._clock()
            call()
            self._wait()
            times.append(self._clock() - begin)
        return min(times)

    def _wait(self) -> None:
        if self.device.type != "cpu":
            torch.accelerator.synchronize(self.device)
