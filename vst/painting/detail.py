"""The detail of a frame that was painted smaller: guided upsampling (He et al. 2013; He and Sun 2015)."""

from __future__ import annotations

import cv2
import numpy as np

from vst.painting.panorama import resized

_HALF = 2  # the slope is that of squares of so many pixels of the small frame, a quarter as many values
_WINDOW = 3  # squares along each side of the windows that are compared
_NOISE = 64.0  # grey levels squared: a frame that varies by less within a window has no edge there
_STRIP = 64  # rows at once, whose intermediate results stay in the cache


class GuidedUpsampling:
    """Enlarges a painting of a smaller frame, guided by the frame.

    The luma that the small frame lacks is added by the share in which the painting follows the frame there: the slope
    of the line that fits the painting's luma as a function of the frame's in each window, between 0 and 1. An edge that
    was painted becomes as sharp as in the frame; where strokes lie over a texture, or in place of noise, none of it
    shows through.

    Args:
        wrap: left and right border are neighbours.
    """

    def __init__(self, wrap: bool = False) -> None:
        self._wrap = wrap
        self._wide = np.empty((2, 0, 0), np.uint8)
        self._strips = np.empty((3, 0, 0), np.uint8)
        self._colour = np.empty((0, 0, 3), np.uint8)

    def __call__(self, painted: np.ndarray, small: np.ndarray, frame: np.ndarray) -> np.ndarray:
        """`painted` and `small` (h, w, 3), what it was painted from, and the `frame` (H, W, 3), larger, all uint8 RGB
        -> (H, W, 3) uint8. Or the lumas of all, (h, w) and (H, W)."""
        height, width = frame.shape[:2]
        self._make_room(height, width)
        luma = _luma(small)
        share = self._enlarged(self._slope(luma, _luma(painted)), 0, cv2.INTER_LINEAR)
        smooth = self._enlarged(luma, 1, cv2.INTER_CUBIC)
        result = resized(painted, width, height, self._wrap)
        for top in range(0, height, _STRIP):
            rows = slice(top, min(top + _STRIP, height))
            own, detail, shared, colour = (*self._strips[:, : rows.stop - top], self._colour[: rows.stop - top])
            own = _luma(frame[rows], own)
            for change, more, less in ((cv2.add, own, smooth[rows]), (cv2.subtract, smooth[rows], own)):
                cv2.subtract(more, less, dst=detail)
                added = cv2.multiply(detail, share[rows], dst=shared, scale=1 / 255)
                if frame.ndim == 3:
                    added = cv2.cvtColor(added, cv2.COLOR_GRAY2RGB, dst=colour)
                change(result[rows], added, dst=result[rows])
        return result

    def _slope(self, frame: np.ndarray, painted: np.ndarray) -> np.ndarray:
        """Lumas (h, w) -> (h / 2, w / 2) uint8, 255 for a slope of 1 and more, 0 for none and for a falling line."""
        x, y = frame.astype(np.float32), painted.astype(np.float32)
        x, y, squares, products = (self._mean(_halved(a)) for a in (x, y, x * x, x * y))
        slope = np.maximum(products - x * y, 0) / (squares - x * x + _NOISE)
        return self._mean(cv2.convertScaleAbs(slope, alpha=255))

    def _mean(self, values: np.ndarray) -> np.ndarray:
        """Of the window around each value."""
        margin = _WINDOW // 2 if self._wrap else 0
        continued = cv2.copyMakeBorder(values, 0, 0, margin, margin, cv2.BORDER_WRAP) if margin else values
        means = cv2.blur(continued, (_WINDOW,) * 2)
        return np.ascontiguousarray(means[:, margin : margin + values.shape[1]])

    def _enlarged(self, image: np.ndarray, place: int, interpolation: int) -> np.ndarray:
        height, width = self._wide.shape[1:]
        if self._wrap:
            return resized(image, width, height, wrap=True)
        return cv2.resize(image, (width, height), dst=self._wide[place], interpolation=interpolation)

    def _make_room(self, height: int, width: int) -> None:
        """Fresh memory of this size would come from the system page by page, for every frame."""
        if self._wide.shape[1:] != (height, width):
            self._wide = np.empty((2, height, width), np.uint8)
            self._strips = np.empty((3, _STRIP, width), np.uint8)
            self._colour = np.empty((_STRIP, width, 3), np.uint8)


def _luma(image: np.ndarray, out: np.ndarray | None = None) -> np.ndarray:
    return image if image.ndim == 2 else cv2.cvtColor(image, cv2.COLOR_RGB2GRAY, dst=out)


def _halved(values: np.ndarray) -> np.ndarray:
    height, width = (-(-side // _HALF) for side in values.shape)
    return cv2.resize(values, (width, height), interpolation=cv2.INTER_AREA)
