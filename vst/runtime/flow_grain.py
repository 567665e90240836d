"""The grain that moves with the film (`vst.networks.FlowGrain`) by OpenCV, before the graph: noise as bytes."""

from __future__ import annotations

import cv2
import numpy as np
import torch
from torch import Tensor

from vst.networks import flow_grain as definition
from vst.networks.flow_grain import FlowGrain
from vst.networks.grain import PERIOD, STEPS
from vst.runtime.grain import NONE
from vst.runtime.motion import ByteMotionState, grid

_FOUR = 4  # channels: what OpenCV interpolates fastest, so two and three are filled up


class ByteFlowGrain:
    """`vst.networks.FlowGrain` on the motion of frames; its state lies within. Arguments: of the grain.

    Attributes:
        strength: factor on the noise, 0 to 1.
    """

    def __init__(self, channels: int, cell: int, streak: int) -> None:
        self._grain = FlowGrain(channels, cell, streak)
        self.strength = 1.0
        self._planes = [_pixels(plane) for plane in self._grain.plane.split(_FOUR, dim=1)]
        self._swirls = _pixels(self._grain.swirls)
        self._apart: np.ndarray | None = None  # coordinates (h, w, 4), relative to a plane that stands still
        self._tensors: np.ndarray | None = None  # (rows, columns, 4)

    @property
    def state(self) -> tuple[Tensor, Tensor] | None:
        """Coordinates (1, 4, h, w), relative to those of a plane that stands still, and structure tensors
        (1, 4, rows, columns), each filled up with zeros; None before the first frame.

        Copied, also when it is set.
        """
        if self._apart is None:
            return None
        return tuple(torch.from_numpy(x.transpose(2, 0, 1)[None].copy()) for x in (self._apart, self._tensors))

    @state.setter
    def state(self, state: tuple[Tensor, ...]) -> None:
        self._apart, self._tensors = (_pixels(x) for x in state) if state else (None, None)

    def __call__(
        self, motion: ByteMotionState, view_cell: int, first: bool, border: int, places: tuple[int, int]
    ) -> np.ndarray:
        """Noise (1, rows, columns, C) uint8 of a frame with its border, in `places`. `first`: a scene begins."""
        view, flow, confidence = motion
        self._apart = self._carried(flow, confidence, view_cell / self._grain.cell, first)
        self._tensors = self._directed(view, flow, confidence, view_cell, first)
        noise = self._drawn(view_cell, border, places)
        return cv2.addWeighted(noise, self.strength * STEPS, noise, 0, NONE, dtype=cv2.CV_8U)[None]

    def _carried(self, flow: np.ndarray, confidence: np.ndarray, scale: float, first: bool) -> np.ndarray:
        height, width = flow.shape[:2]
        if first or self._apart is None:
            return np.zeros((height, width, _FOUR), np.float32)
        apart = _moved(self._apart, grid(height, width) + flow)
        apart[..., :2] += flow * np.float32(scale)
        lost = (confidence < definition.TRUSTED) | _stretched(apart, 1 / scale)
        apart[lost] = cv2.mean(apart)
        periods = np.rint(np.array(cv2.mean(apart), np.float32) / PERIOD)
        return apart - PERIOD * periods if periods.any() else apart

    def _directed(
        self, view: np.ndarray, flow: np.ndarray, confidence: np.ndarray, view_cell: int, first: bool
    ) -> np.ndarray:
        pooled = self._grain.pooled(view_cell)
        view, flow, confidence = (_reduced(x, pooled) for x in (view, flow / pooled, confidence))
        now = _structure_tensors(view, self._grain.cell / (view_cell * pooled))
        if first or self._tensors is None:
            return now
        before = _moved(self._tensors, grid(*view.shape) + flow)
        share = (definition.KEPT * confidence)[..., None]
        return now + share * (before - now)

    def _drawn(self, view_cell: int, border: int, places: tuple[int, int]) -> np.ndarray:
        grain, own = self._grain, grid(*places)
        apart = _bordered(self._apart, view_cell, grain.cell, border, places)
        on = own + (apart[..., :2] + (0.5 - border / grain.cell))
        noise = [cv2.remap(plane, on, None, cv2.INTER_CUBIC, borderMode=cv2.BORDER_WRAP) for plane in self._planes]
        if not grain.steps:
            return np.concatenate(noise, -1)[..., : grain.channels]
        tensors = _bordered(self._tensors, view_cell * grain.pooled(view_cell), grain.cell, border, places)
        swirls = cv2.remap(self._swirls, on, None, cv2.INTER_LINEAR, borderMode=cv2.BORDER_WRAP)
        along = _tangents(cv2.scaleAdd(swirls, definition.SWIRL, tensors))
        for step in grain.steps:
            noise = [_step(part, own, along, step) for part in noise]
        longer = [_step(part, own, along, 2 * grain.steps[-1]) for part in noise]
        noise, longer = (parts[0] if len(parts) == 1 else np.concatenate(parts, -1) for parts in (noise, longer))
        half = grain.channels // 2
        noise[..., half:] = longer[..., half:]
        noise = noise[..., : grain.channels]
        noise *= grain.gains[0, :, 0, 0].numpy()
        return np.ascontiguousarray(noise)


def _pixels(x: Tensor) -> np.ndarray:
    """(1, C, h, w) -> (h, w, 4), filled up with zeros."""
    return np.pad(x[0].permute(1, 2, 0).numpy(), ((0, 0), (0, 0), (0, -x.shape[1] % _FOUR)))


def _moved(x: np.ndarray, to: np.ndarray, border: int = cv2.BORDER_REPLICATE) -> np.ndarray:
    return cv2.remap(x, to, None, cv2.INTER_LINEAR, borderMode=border)


def _bordered(x: np.ndarray, side: int, cell: int, border: int, places: tuple[int, int]) -> np.ndarray:
    """What lies on samples of `side` pixels at places of `cell` pixels, which begin `border` pixels before them."""
    if side == cell and border % cell == 0:
        before, (rows, columns) = border // cell, x.shape[:2]
        after = places[0] - rows - before, places[1] - columns - before
        if min(after) >= 0:
            return cv2.copyMakeBorder(x, before, after[0], before, after[1], cv2.BORDER_REPLICATE)
    return _moved(x, (grid(*places) + (0.5 - border / cell)) * np.float32(cell / side) - np.float32(0.5))


def _step(noise: np.ndarray, own: np.ndarray, along: np.ndarray, step: int) -> np.ndarray:
    there, back = (_moved(noise, cv2.scaleAdd(along, sign * step, own)) for sign in (1, -1))
    cv2.add(there, back, dst=there)
    return cv2.addWeighted(there, 0.25, noise, 0.5, 0, dst=there)


def _reduced(x: np.ndarray, side: int) -> np.ndarray:
    """Means of whole squares of so many samples."""
    if side == 1:
        return x
    rows, columns = (length // side for length in x.shape[:2])
    return cv2.resize(x[: rows * side, : columns * side], (columns, rows), interpolation=cv2.INTER_AREA)


def _stretched(apart: np.ndarray, scale: float) -> np.ndarray:
    """(h, w) of bool, as `FlowGrain` has it."""
    across, down = (
        cv2.Sobel(apart, cv2.CV_32F, 1 - axis, axis, ksize=1, scale=scale / 2)[1:-1, 1:-1] for axis in (0, 1)
    )
    area = (1 + across[..., 0]) * (1 + down[..., 1]) - across[..., 1] * down[..., 0]
    least, most = definition.STRETCHED
    return np.pad((area < least) | (area > most), 1)


def _structure_tensors(view: np.ndarray, samples: float) -> np.ndarray:
    """(h, w) -> (h, w, 4), as `vst.networks.flow_grain.structure_tensors`."""
    sobel = {"ddepth": cv2.CV_32F, "scale": samples / 8, "borderType": cv2.BORDER_REPLICATE}
    east, south = (cv2.Sobel(view, dx=1 - axis, dy=axis, **sobel) for axis in (0, 1))
    weight = 1 / (cv2.magnitude(east, south) + definition.SOFT)
    east_weighted = east * weight
    mixed, down = east_weighted * south, south * south * weight
    products = cv2.merge([east_weighted * east, mixed, down, np.zeros_like(down)])
    side = definition.odd(definition.NEAR * samples)
    near = _mean(products, side)
    height, width = view.shape
    far = definition.FAR
    padded = cv2.copyMakeBorder(near, 0, -height % far, 0, -width % far, cv2.BORDER_REPLICATE)
    around = _mean(_reduced(padded, far), side)
    around = cv2.resize(around, padded.shape[1::-1], interpolation=cv2.INTER_LINEAR)
    return cv2.addWeighted(near, 1, np.ascontiguousarray(around[:height, :width]), definition.AROUND, 0)


def _mean(x: np.ndarray, side: int) -> np.ndarray:
    for _ in range(2):
        x = cv2.blur(x, (side, side), borderType=cv2.BORDER_REPLICATE)
    return x


def _tangents(tensors: np.ndarray) -> np.ndarray:
    """(h, w, 4) -> (h, w, 2), as `vst.networks.flow_grain.tangents`."""
    across, mixed, down, _ = cv2.split(tensors)
    apart, mixed = across - down, 2 * mixed
    share = apart / np.maximum(cv2.magnitude(apart, mixed), 1e-12)
    cosine, sine = (np.sqrt(np.clip((1 + sign * share) / 2, 0, 1)) for sign in (1, -1))
    return cv2.merge([-np.copysign(sine, mixed), cosine])
