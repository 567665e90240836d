"""Paints frames of planes smaller than they are: only what the network sees ever becomes RGB."""

from __future__ import annotations

import cv2
import numpy as np
from torch import Tensor

from vst.painting.detail import GuidedUpsampling
from vst.painting.panorama import resized
from vst.pipeline import FrameEngine
from vst.planes import PlaneFormat, planes_of


class PlanePainter:
    """An engine of RGB for frames of planes (`vst.planes`). It is itself a `FrameEngine`.

    Chroma of a frame of twice the size is as large as the small frame, so a film of 4:2:0 loses nothing on the way
    there, and luma alone has detail to be put back.

    Args:
        engine: paints the small frames; one of `vst.runtime` where its memory is asked for.
        planes: of the frames.
        size: (width, height) of the small frames.
    """

    def __init__(self, engine: FrameEngine, planes: PlaneFormat, size: tuple[int, int]) -> None:
        self._engine, self._size = engine, size
        self._to_rgb = planes.conversion
        self._from_rgb = np.column_stack([planes.from_rgb, planes.black])
        self._enlarge = GuidedUpsampling()
        self._painted = np.empty((*size[::-1], 3), np.uint8)

    def reset(self) -> None:
        self._engine.reset()

    def __call__(self, frame: np.ndarray, out: np.ndarray, colours: np.ndarray | None = None) -> np.ndarray:
        """Paint the next frame of planes, (3 H / 2, W) uint8, into `out`. `colours` are not looked at."""
        given, painted = planes_of(frame), planes_of(out)
        small = cv2.merge([resized(plane, *self._size) for plane in given])
        picture = self._engine(cv2.transform(small, self._to_rgb), out=self._painted)
        luma, *chroma = cv2.split(cv2.transform(picture, self._from_rgb))
        np.copyto(painted[0], self._enlarge(luma, np.ascontiguousarray(small[..., 0]), given[0]))
        for target, plane in zip(painted[1:], chroma, strict=True):
            np.copyto(target, resized(plane, *target.shape[::-1]))
        return out

    def read_state(self) -> list[Tensor]:
        """The memory of the engine."""
        return self._engine.read_state()

    def load_state(self, state: list[Tensor]) -> None:
        self._engine.load_state(state)

    @property
    def film(self) -> list[Tensor]:
        """What the engine knows of the film besides."""
        return self._engine.film

    @film.setter
    def film(self, film: list[Tensor]) -> None:
        self._engine.film = film
