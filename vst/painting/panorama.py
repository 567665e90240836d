"""Frames whose left and right borders are neighbours: painted without a seam, and resized without one."""

from __future__ import annotations

import cv2
import numpy as np
import torch

from vst.errors import UserError
from vst.runtime.engine import Engine, overlap
from vst.runtime.footprint import WHOLE_FRAME

_CUBIC_REACH = 2  # pixels that cubic interpolation looks at to each side


def resized(image: np.ndarray, width: int, height: int, wrap: bool = False) -> np.ndarray:
    """(H, W, C) uint8 at another size: areas are averaged where it shrinks, else the interpolation is cubic."""
    if image.shape[:2] == (height, width):
        return image
    if width * height < image.shape[0] * image.shape[1]:
        return cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA)
    if not wrap:
        return cv2.resize(image, (width, height), interpolation=cv2.INTER_CUBIC)
    padded = cv2.copyMakeBorder(image, 0, 0, _CUBIC_REACH, _CUBIC_REACH, cv2.BORDER_WRAP)
    across, down = image.shape[1] / width, image.shape[0] / height
    places = np.array([[across, 0, across / 2 - 0.5 + _CUBIC_REACH], [0, down, down / 2 - 0.5]])
    how = cv2.INTER_CUBIC | cv2.WARP_INVERSE_MAP
    return cv2.warpAffine(padded, places, (width, height), flags=how, borderMode=cv2.BORDER_REPLICATE)


class Wrapped:
    """An engine of `vst.runtime` for frames whose sides meet. Their width is a multiple of its stride.

    The frame is continued on each side with what lies on the other one, as far as the network looks. So is the memory
    after each frame: one that saw an end there would carry it further inwards with every frame.

    Raises:
        UserError: the network looks at the whole frame for each pixel, or it is not known what it looks at.
    """

    def __init__(self, engine: Engine) -> None:
        if not isinstance(engine, Engine) or engine.info.reach == WHOLE_FRAME:
            raise UserError(
                "a panorama needs a network that is known to look only around each pixel; this one may look at the "
                "whole frame (instance normalisation does), so the seam would show"
            )
        self._engine, self.stride = engine, engine.info.stride
        around = overlap(engine.info)
        self.margin = around + -(around + engine.info.border) % self.stride

    def reset(self) -> None:
        self._engine.reset()

    def __call__(self, frame: np.ndarray, out: np.ndarray) -> np.ndarray:
        width = frame.shape[1]
        padded = cv2.copyMakeBorder(frame, 0, 0, self.margin, self.margin, cv2.BORDER_WRAP)
        np.copyto(out, self._without_grain(padded)[:, self.margin : self.margin + width])
        self._continue_memory(width)
        return out

    def read_state(self) -> list[torch.Tensor]:
        return self._engine.read_state()

    def load_state(self, state: list[torch.Tensor]) -> None:
        self._engine.load_state(state)

    @property
    def film(self) -> list[torch.Tensor]:
        """What the engine's tone and grain know of the film."""
        return self._engine.film

    @film.setter
    def film(self, film: list[torch.Tensor]) -> None:
        self._engine.film = film

    def _without_grain(self, padded: np.ndarray) -> np.ndarray:
        """Painted without noise, whose plane has no period that fits."""
        before, self._engine.grain_strength = self._engine.grain_strength, 0.0
        try:
            return self._engine(padded)
        finally:
            self._engine.grain_strength = before

    def _continue_memory(self, width: int) -> None:
        info, state = self._engine.info, self._engine.read_state()
        if len(state) < len(info.states):
            raise UserError("the memory of this engine cannot be read, so a panorama would have a seam; try tile=0")
        if not info.states:
            return
        maps = len(info.states)
        first, period = (self.margin + info.border) // self.stride, width // self.stride
        places = (torch.arange(state[0].shape[3]) - first) % period + first
        continued = [memory[..., places.to(memory.device)] for memory in state[:maps]]
        self._engine.load_state([*continued, *state[maps:]])
