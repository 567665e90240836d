"""An engine that keeps all of a model with motion on its device: frames go there as bytes, and pictures come back."""

from __future__ import annotations

from contextlib import nullcontext
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from vst.networks import Stylizer
from vst.runtime.engine import Engine
from vst.runtime.graph import GraphInfo
from vst.runtime.torch_engine import DTYPES, device_name


class DeviceEngine(Engine):
    """The stylizer itself, frame by frame: tone, motion, noise, network, accumulation and grade on one device.

    Other engines do all but the network on the host. With the estimator `lucas_kanade` nothing but frame and picture
    leaves the device; `dis` runs on the host, on a small grey view of the frame.

    Args:
        stylizer: with a motion.
        info: of its graph.
        precision: of the convolutions.
        device: where it runs.
    """

    name = "torch"
    memory_factor = 2.0

    def __init__(self, stylizer: Stylizer, info: GraphInfo, precision: str, device: torch.device) -> None:
        # What a graph leaves to those who run it the stylizer does itself, border included.
        own = {"tone": (), "grade": (), "motion": "", "grain": 0, "states": (), "border": 0, "stride": 1, "cell": 0}
        super().__init__(replace(info, **own), precision, device)
        self._stylizer = stylizer.to(device, memory_format=torch.channels_last).eval()
        self._noise_source = self._stylizer.grain
        self._whole: tuple[Tensor, ...] | None = None

    def describe(self) -> str:
        return f"{self.name} {torch.__version__}, {self.precision}, {device_name(self.device)}, with all of the motion"

    @property
    def film(self) -> list[Tensor]:
        """All of the state of the stylizer. Set it to go on; it is copied."""
        return list(self._whole or ())

    @film.setter
    def film(self, film: list[Tensor]) -> None:
        self._whole = tuple(tensor.to(self.device, copy=True) for tensor in film)

    def _prepare(self, height: int, width: int) -> None:
        self._whole = None

    @torch.inference_mode()
    def _run(self, bordered: np.ndarray, first: bool) -> np.ndarray:
        pixels = torch.from_numpy(bordered).to(self.device, non_blocking=True).permute(0, 3, 1, 2) / 255
        low = self.precision != "float32"
        with torch.autocast(self.device.type, DTYPES[self.precision]) if low else nullcontext():
            picture, self._whole = self._stylizer(pixels, None, None if first else self._whole)
        return (picture * 255).round().to(torch.uint8).permute(0, 2, 3, 1).contiguous().cpu().numpy()
