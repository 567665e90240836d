"""The motion of a stylizer on bytes: estimated before the graph, and pictures accumulated along it behind."""

from __future__ import annotations

import cv2
import numpy as np
import torch
from torch import Tensor

from vst.networks.motion import DenseMotion, MotionState


class ByteMotion:
    """`vst.networks.DenseMotion` of frames (H, W, 3) uint8 RGB; its state lies within.

    Args:
        estimator, rows, history: of the motion.
    """

    def __init__(self, estimator: str, rows: int, history: float) -> None:
        self._motion = DenseMotion(estimator, rows, history)
        self.state: MotionState | None = None
        self._picture: np.ndarray | None = None  # accumulated, (H, W, 3) float32
        self._now: np.ndarray | None = None  # for the next one
        self._along: np.ndarray | None = None
        self._own: np.ndarray | None = None  # the place of each pixel, (H, W, 2): x, y

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
        size, history, before = picture.shape[:2], self._motion.history, self._picture
        if self._along is None or self._along.shape != picture.shape:
            # Fresh memory for each frame would cost as much as all that is computed in it.
            self._along, self._now = (np.empty(picture.shape, np.float32) for _ in range(2))
            self._own = np.stack(np.meshgrid(*map(np.arange, size[::-1])), -1).astype(np.float32)
        now = self._now
        np.copyto(now, picture)
        if before is not None and history > 0:
            _, flow, confidence = self.state
            places = self._places(flow[0].permute(1, 2, 0).numpy(), self.cell(picture))
            along = cv2.remap(before, places, None, cv2.INTER_CUBIC, dst=self._along, borderMode=cv2.BORDER_REPLICATE)
            share = cv2.resize(history * confidence[0, 0].numpy(), size[::-1], interpolation=cv2.INTER_LINEAR)
            cv2.blendLinear(along, now, share, 1 - share, dst=now)
            np.clip(now, 0, 255, out=now)
        self._picture, self._now = now, np.empty_like(now) if before is None else before
        np.rint(now, out=self._along)
        np.copyto(out, self._along, casting="unsafe")

    def _places(self, flow: np.ndarray, cell: int) -> np.ndarray:
        """Where each pixel was, (H, W, 2), by a flow (h, w, 2): as `vst.networks.motion.resized_flow` says."""
        rows, columns = (side * cell for side in flow.shape[:2])
        large = cv2.resize(np.ascontiguousarray(flow), (columns, rows), interpolation=cv2.INTER_LINEAR)
        below, right = (side - have for side, have in zip(self._own.shape, (rows, columns), strict=False))
        if below or right:
            large = cv2.copyMakeBorder(large, 0, below, 0, right, cv2.BORDER_REPLICATE)
        return cv2.scaleAdd(large, cell, self._own, dst=large)

    @property
    def film(self) -> list[Tensor]:
        """What it knows of the film so far: its state, and the picture (1, H, W, 3). Copied, also when set to go on."""
        return [] if self.state is None else [*self.state, torch.from_numpy(self._picture.copy())[None]]

    @film.setter
    def film(self, film: list[Tensor]) -> None:
        *state, picture = (tensor.clone() for tensor in film)
        self.state, self._picture = tuple(state), picture[0].numpy()
