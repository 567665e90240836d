"""The grain of a stylizer on bytes, before the graph: follows frames, or their motion, and gives noise as bytes."""

from __future__ import annotations

import zlib
from base64 import b64encode

import cv2
import numpy as np
import torch
from torch import Tensor

from vst.networks.flow_grain import stroke_noise
from vst.networks.grain import STEPS, CameraGrain, noise_plane, view_cell
from vst.planes import PlaneFormat, planes_of

NONE = 128  # the byte of no noise


def noise_text(channels: int, streak: int, flows: bool = False) -> str:
    """The noise of `CameraGrain`, or of `FlowGrain`, for programs without it: bytes (PERIOD, PERIOD, C) as an exported
    graph takes them, compressed by zlib, in Base64.
    """
    noise = stroke_noise(channels) if flows else noise_plane(channels, streak)
    plane = noise[0].permute(1, 2, 0)
    levels = (plane * STEPS + NONE).round().clamp(0, 255).to(torch.uint8)
    return b64encode(zlib.compress(levels.contiguous().numpy().tobytes(), 9)).decode()


class ByteGrain:
    """`vst.networks.CameraGrain` of frames (H, W, 3) uint8 RGB, or of frames of planes; its state lies within.

    It looks at whole frames before they are cut into tiles, so that all of them share one plane of noise.

    Args:
        channels, cell, streak: of the grain.
        planes: of the frames; None for RGB.
    """

    def __init__(self, channels: int, cell: int, streak: int, planes: PlaneFormat | None = None) -> None:
        self._grain, self._planes = CameraGrain(channels, cell, streak).eval(), planes
        self.state: tuple[Tensor, ...] | None = None

    @torch.inference_mode()
    def __call__(self, frame: np.ndarray, first: bool, border: int, places: tuple[int, int]) -> np.ndarray:
        """Noise (1, rows, columns, C) uint8 of a frame with its border, in `places`. `first`: a scene begins."""
        grey = self._brightness(frame)
        size = grey.shape
        side = view_cell(min(size))
        rows, columns = (length // side for length in size)
        small = cv2.resize(grey[: rows * side, : columns * side], (columns, rows), interpolation=cv2.INTER_AREA)
        view = torch.from_numpy(small)[None, None].float()
        view = (view - self._black) / (self._white - self._black)
        self.state = self._grain.follow_view(view, min(size), None if first else self.state)
        noise = self._grain(self.state, size, places, border)
        return (noise * STEPS + NONE).to(torch.uint8).permute(0, 2, 3, 1).contiguous().numpy()

    @property
    def strength(self) -> float:
        """Factor on the noise, 0 to 1."""
        return self._grain.strength

    @strength.setter
    def strength(self, strength: float) -> None:
        self._grain.strength = strength

    def _brightness(self, frame: np.ndarray) -> np.ndarray:
        return cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY) if self._planes is None else planes_of(frame)[0]

    @property
    def _black(self) -> float:
        return 0.0 if self._planes is None else float(self._planes.black[0])

    @property
    def _white(self) -> float:
        return 255.0 if self._planes is None or self._planes.full else 235.0
