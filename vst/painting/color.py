"""Colours of a painted picture: the input's chroma, and palettes."""

from __future__ import annotations

from functools import lru_cache

import cv2
import numpy as np
from PIL import Image, ImageFilter

from vst.painting.look import Color

LUMA = np.array([0.299, 0.587, 0.114], np.float32)  # ITU-R BT.601, as in JPEG
_TO_CHROMA = np.eye(3, dtype=np.float32) - LUMA  # RGB minus its own luma

_CELLS = 33  # of a palette's table along each side of the RGB cube; between them it is interpolated
_SOFTNESS = 0.4  # width of the assignment over the distance between neighbours in the palette


def with_chroma_of(painted: np.ndarray, frame: np.ndarray, share: float) -> np.ndarray:
    """(H, W, 3) uint8 with the luma of `painted`, and its chroma by `share` replaced by that of `frame`.

    Where no colour of that luma has that chroma, the luma gives way, not the chroma: clipping would change the hue.
    """
    pixels = painted.astype(np.float32)
    luma = cv2.transform(pixels, LUMA[None])
    own = cv2.transform(frame.astype(np.float32), _TO_CHROMA)
    red, green, blue = cv2.split(cv2.addWeighted(own, share, cv2.transform(pixels, _TO_CHROMA), 1 - share, 0))
    least, most = cv2.min(cv2.min(red, green), blue), cv2.max(cv2.max(red, green), blue)
    luma = cv2.max(cv2.min(luma, 255 - most), -least)
    return cv2.convertScaleAbs(cv2.merge([channel + luma for channel in (red, green, blue)]))


def pulled_to_palette(painted: np.ndarray, palette: tuple[Color, ...], strength: float) -> np.ndarray:
    """(H, W, 3) uint8 moved by `strength` towards the colours of `palette`."""
    target = np.asarray(Image.fromarray(painted).filter(_table(palette)))
    return cv2.addWeighted(target, strength, painted, 1 - strength, 0)


@lru_cache(maxsize=4)
def _table(palette: tuple[Color, ...]) -> ImageFilter.Color3DLUT:
    """What each colour becomes: the colours of the palette, weighted by their nearness in CIELAB.

    The weights are soft, so that neighbouring colours stay neighbours and no bands appear. A single colour has no
    light and dark to offer: it tints.
    """
    steps = np.linspace(0, 1, _CELLS, dtype=np.float32)
    blue, green, red = np.meshgrid(steps, steps, steps, indexing="ij")  # red runs fastest in Pillow's tables
    grid = _to_lab(np.stack([red, green, blue], -1).reshape(1, -1, 3))[0]
    colors = _to_lab(np.array([palette], np.float32) / 255)[0]
    squared = np.square(grid[:, None] - colors).sum(2)
    nearness = (squared.min(1, keepdims=True) - squared) / (2 * (_SOFTNESS * _spacing(colors)) ** 2)
    weights = np.exp(nearness)
    target = (weights / weights.sum(1, keepdims=True)) @ colors
    if len(palette) == 1:
        target[:, 0] = grid[:, 0]
    rgb = cv2.cvtColor(target[None].astype(np.float32), cv2.COLOR_Lab2RGB)[0].clip(0, 1)
    return ImageFilter.Color3DLUT(_CELLS, rgb.ravel().tolist())


def _spacing(colors: np.ndarray) -> float:
    """Mean distance of a colour to its nearest neighbour; that of black to white for a single one."""
    if len(colors) == 1:
        return 100.0
    distances = np.linalg.norm(colors[:, None] - colors, axis=2)
    np.fill_diagonal(distances, np.inf)
    return max(float(distances.min(1).mean()), 1.0)


def _to_lab(rgb: np.ndarray) -> np.ndarray:
    return cv2.cvtColor(rgb, cv2.COLOR_RGB2Lab)
