"""The motion of a stylizer on bytes: estimated before the graph, and pictures accumulated along it behind."""

from __future__ import annotations

import cv2
import numpy as np
import torch
from torch import Tensor

from vst.networks.motion import DenseMotion, MotionState, resized_flow


class ByteMotion:
    """`vst.networks.DenseMotion` of frames (H, W, 3) uint8 RGB; its state lies within.

    Args:
        estimator, rows, history: of the motion.
    """

    def __init__(self, estimator: str, rows: int, history: float) -> None:
        self._motion = DenseMotion(estimator, rows, history)
        self.state: MotionState | None = None
        self._picture: np.ndarray | None = None  # accumulated, (H, W, 3) float32

    def cell(self, frame: np.ndarray) -> int:
        """Pixels along each side of a sample of the view."""
        return self._motion.cell(min(frame.shape[:2]))

    @torch.inference_mode()
    def follow(self, frame: np.ndarray, first: bool) -> MotionState:
        """The motion of the next frame. `first`: a scene begins."""
        grey, cell = cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY), self.cell(frame)
        rows, columns = (side // cell for side in grey.shape)
        small = cv2.resize(grey[: rows * cell, : columns * cell], (columns, rows), interpolation=cv2.INTER_AREA)
        view = torch.from_numpy(small)[None, None].float() / 255
        self.state = self._motion.follow_view(view, None if first else self.state)
        if first:
            self._picture = None
        return self.state

    @torch.inference_mode()
    def accumulate(self, picture: np.ndarray, out: np.ndarray) -> None:
        """A painted picture (H, W, 3) uint8 -> the accumulated one, into `out` of its shape."""
        now, history = picture.astype(np.float32), self._motion.history
        if self._picture is not None and history > 0:
            size = picture.shape[:2]
            _, flow, confidence = self.state
            x, y = resized_flow(flow, size, self.cell(picture))[0].numpy()
            columns, rows = np.arange(size[1], dtype=np.float32), np.arange(size[0], dtype=np.float32)[:, None]
            along = cv2.remap(self._picture, x + columns, y + rows, cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE)
            share = history * cv2.resize(confidence[0, 0].numpy(), size[::-1], interpolation=cv2.INTER_LINEAR)
            now = np.clip(cv2.blendLinear(along, now, share, 1 - share), 0, 255)
        self._picture = now
        np.copyto(out, np.rint(now), casting="unsafe")

    @property
    def film(self) -> list[Tensor]:
        """What it knows of the film so far: its state, and the picture (1, H, W, 3). Set it to go on; it is copied."""
        return [] if self.state is None else [*self.state, torch.from_numpy(self._picture)[None]]

    @film.setter
    def film(self, film: list[Tensor]) -> None:
        *state, picture = (tensor.clone() for tensor in film)
        self.state, self._picture = tuple(state), picture[0].numpy()
