"""The motion of a stylizer on bytes (`vst.networks.DenseMotion`) by OpenCV: before the graph, and behind it."""

from __future__ import annotations

from functools import cache

import cv2
import numpy as np
import torch
from torch import Tensor

from vst.networks import motion as definition
from vst.networks.motion import DenseMotion

ByteMotionState = tuple[np.ndarray, np.ndarray, np.ndarray]
"""View (h, w) in [0, 1], flow to the view before (h, w, 2) in samples, and confidence (h, w); float32."""


class ByteMotion:
    """`vst.networks.DenseMotion` of frames (H, W, 3) uint8 RGB; its state lies within.

    Args:
        estimator, rows, history: of the motion.
    """

    def __init__(self, estimator: str, rows: int, history: float) -> None:
        self._motion = DenseMotion(estimator, rows, history)
        self._state: ByteMotionState | None = None
        self._picture: np.ndarray | None = None  # accumulated, (H, W, 3) float32
        self._now: np.ndarray | None = None  # for the next one
        self._along: np.ndarray | None = None

    def cell(self, frame: np.ndarray) -> int:
        """Pixels along each side of a sample of the view."""
        return self._motion.cell(min(frame.shape[:2]))

    def follow(self, frame: np.ndarray, first: bool) -> ByteMotionState:
        """The motion of the next frame. `first`: a scene begins."""
        grey, cell = cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY), self.cell(frame)
        rows, columns = (side // cell for side in grey.shape)
        small = cv2.resize(grey[: rows * cell, : columns * cell], (columns, rows), interpolation=cv2.INTER_AREA)
        view = cv2.multiply(small, 1 / 255, dtype=cv2.CV_32F)
        if first or self._state is None:
            self._picture = None
            self._state = view, np.zeros((*view.shape, 2), np.float32), np.zeros_like(view)
            return self._state
        before = self._state[0]
        flow = _settled(self._estimated(view, before), view, before)
        change, inside = _unexplained(view, before, flow)
        self._state = view, flow, cv2.exp(-cv2.multiply(change, change, scale=definition.UNEXPLAINED**-2)) * inside
        return self._state

    @torch.inference_mode()
    def _estimated(self, view: np.ndarray, before: np.ndarray) -> np.ndarray:
        flow = self._motion.estimated(*(torch.from_numpy(x)[None, None] for x in (view, before)))
        return np.ascontiguousarray(flow[0].permute(1, 2, 0).numpy())

    def accumulate(self, picture: np.ndarray, out: np.ndarray) -> None:
        """A painted picture (H, W, 3) uint8 -> the accumulated one, into `out` of its shape."""
        size, history, before = picture.shape[:2], self._motion.history, self._picture
        if self._along is None or self._along.shape != picture.shape:
            # Fresh memory for each frame would cost as much as all that is computed in it.
            self._along, self._now = (np.empty(picture.shape, np.float32) for _ in range(2))
        now = self._now
        np.copyto(now, picture)
        if before is not None and history > 0:
            _, flow, confidence = self._state
            to = _resized_flow(flow, size, self.cell(picture)) + grid(*size)
            along = cv2.remap(before, to, None, cv2.INTER_CUBIC, dst=self._along, borderMode=cv2.BORDER_REPLICATE)
            share = cv2.resize(history * confidence, size[::-1], interpolation=cv2.INTER_LINEAR)
            cv2.blendLinear(along, now, share, 1 - share, dst=now)
            np.clip(now, 0, 255, out=now)
        self._picture, self._now = now, np.empty_like(now) if before is None else before
        cv2.addWeighted(now, 1, now, 0, 0, dst=out, dtype=cv2.CV_8U)

    @property
    def film(self) -> list[Tensor]:
        """What it knows of the film so far: its state, (1, h, w) and (1, h, w, 2), and the picture (1, H, W, 3).

        Copied, also when set to go on.
        """
        known = [] if self._state is None else [*self._state, self._picture]
        return [torch.from_numpy(x.copy())[None] for x in known]

    @film.setter
    def film(self, film: list[Tensor]) -> None:
        *state, picture = (tensor[0].numpy().copy() for tensor in film)
        self._state, self._picture = tuple(state), picture


@cache
def grid(height: int, width: int) -> np.ndarray:
    """Where samples lie, (height, width, 2), x first. Nobody may write to it."""
    y, x = np.mgrid[:height, :width].astype(np.float32)
    return np.stack([x, y], -1)


def _settled(flow: np.ndarray, view: np.ndarray, before: np.ndarray) -> np.ndarray:
    """As `vst.networks.motion` has it: without short motions that explain nothing."""
    moving, resting = (_unexplained(view, before, x)[0] for x in (flow, np.zeros_like(flow)))
    better = _between(resting - moving, *definition.BETTER)
    side = tuple(min(definition.AROUND, (length - 1) // 2 * 2 + 1) for length in view.shape)
    side = (min(side),) * 2
    around = cv2.boxFilter(better, -1, side, borderType=cv2.BORDER_CONSTANT) / _shares(*view.shape, side[0])
    speed = cv2.magnitude(flow[..., 0], flow[..., 1])
    return flow * np.maximum(_between(speed, *definition.SMALL), np.minimum(4 * around, 1))[..., None]


@cache
def _shares(height: int, width: int, side: int) -> np.ndarray:
    """Of each window, the share within the picture."""
    ones = np.ones((height, width), np.float32)
    return cv2.boxFilter(ones, -1, (side, side), borderType=cv2.BORDER_CONSTANT)


def _unexplained(view: np.ndarray, before: np.ndarray, flow: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    height, width = view.shape
    to = grid(height, width) + flow
    seen = cv2.remap(before, to, None, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    window = (definition.WINDOW,) * 2
    change = cv2.blur(cv2.absdiff(view, seen), window, borderType=cv2.BORDER_REPLICATE)
    x, y = to[..., 0], to[..., 1]
    return change, (x >= 0) & (x <= width - 1) & (y >= 0) & (y <= height - 1)


def _between(x: np.ndarray, least: float, most: float) -> np.ndarray:
    return np.clip((x - least) * (1 / (most - least)), 0, 1)


def _resized_flow(flow: np.ndarray, size: tuple[int, int], cell: int) -> np.ndarray:
    """As `vst.networks.motion.resized_flow`."""
    rows, columns = flow.shape[:2]
    large = cell * cv2.resize(flow, (columns * cell, rows * cell), interpolation=cv2.INTER_LINEAR)
    beyond = [max(0, side - have) for side, have in zip(size, large.shape[:2], strict=True)]
    if any(beyond):
        large = cv2.copyMakeBorder(large, 0, beyond[0], 0, beyond[1], cv2.BORDER_REPLICATE)
    return large[: size[0], : size[1]]
