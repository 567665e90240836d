"""Holds still what stands still: a recursive filter over time that gives way where the input changes."""

from __future__ import annotations

import cv2
import numpy as np

LEAST_NEW = 0.06  # share of the new frame at calm=1, which averages about 30 frames

# In pixels of half the resolution, at which changes are looked for: it is faster and the noise is less.
_WINDOW = 3  # over which a change is averaged, so that noise is not taken for one
_SPREAD = 5  # by which it is widened: strokes reach beyond what has moved
_NOISE = (0.4, 3.0)  # grey levels: what the noise of the input is taken to be, at least and at most
_STILL, _MOVED = 2.0, 4.5  # times the noise: up to here nothing has changed, from there on everything
_TO_DEVIATION = 1.57  # median distance of a normal variable to the mean of 9 -> its standard deviation


class StillnessFilter:
    """Follows the input of a film and says of each pixel how much of a new frame counts.

    The input is filtered with these shares itself and compared with the result, not with the frame before: a change
    that is too slow to be seen from frame to frame adds up there until it counts.

    Args:
        wrap: left and right border are neighbours.

    Attributes:
        kept: the filtered input at half the resolution, (H / 2, W / 2, 3) float32; None at the begin of a scene.
    """

    def __init__(self, wrap: bool = False) -> None:
        self._border = cv2.BORDER_WRAP if wrap else cv2.BORDER_REFLECT_101
        self.kept: np.ndarray | None = None

    def reset(self) -> None:
        self.kept = None

    def __call__(self, frame: np.ndarray, calm: float) -> np.ndarray:
        """(H, W, 3) uint8 -> share of the new frame, (H, W) float32: 1 where it changes, least where it does not."""
        height, width = frame.shape[:2]
        small = cv2.resize(frame, (width // 2, height // 2), interpolation=cv2.INTER_AREA)
        if self.kept is None:
            self.kept = small.astype(np.float32)
            return np.ones((height, width), np.float32)
        share = self._share_of_new(small - self.kept, calm)
        self.kept = follow(self.kept, small, share)
        return cv2.resize(share, (width, height), interpolation=cv2.INTER_NEAREST)

    def _share_of_new(self, difference: np.ndarray, calm: float) -> np.ndarray:
        red, green, blue = cv2.split(difference)
        # A change of the light is smooth, and is no noise.
        rough = np.abs(green - cv2.blur(green, (_WINDOW, _WINDOW)))[::2, ::2]
        noise = float(np.clip(_TO_DEVIATION * np.median(rough), *_NOISE))
        largest = cv2.max(cv2.max(np.abs(red), np.abs(green)), np.abs(blue))
        margin = _WINDOW + _SPREAD
        padded = cv2.copyMakeBorder(largest, 0, 0, margin, margin, self._border)
        mean = cv2.blur(padded, (_WINDOW, _WINDOW))
        changed = cv2.dilate(mean, np.ones((_SPREAD, _SPREAD), np.uint8))[:, margin:-margin]
        moved = np.clip((changed / noise - _STILL) / (_MOVED - _STILL), 0, 1)
        least = 1 - calm * (1 - LEAST_NEW)
        return least + (1 - least) * moved


def follow(kept: np.ndarray, new: np.ndarray, share: np.ndarray) -> np.ndarray:
    """`kept` (H, W, 3) float32 moved towards `new` (H, W, 3) uint8 by `share` (H, W) float32."""
    return cv2.blendLinear(new.astype(np.float32), kept, share, 1 - share)
