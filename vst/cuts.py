"""Hard cuts between scenes, found frame by frame, so that no scene is carried into the next."""

from __future__ import annotations

from collections import deque

import numpy as np

_SHORT_SIDE = 64  # samples along the short side: enough for a histogram, and cheap at any resolution
_BLOCK = 8  # side of the thumbnail's cells, in samples
_WINDOW = 8  # frames of recent motion to compare with

# Over 23 clips of street, sport, animation and hand-held scenes the smallest product at the 7 hard cuts is
# 0.047 and the largest within a scene 0.030; of all 253 splices of two of these clips, the smallest is 0.067.
_MIN_PRODUCT = 0.035
_MIN_RATIO = 2.5


class CutDetector:
    """Says of each frame, in order, whether it begins a new scene. Causal, about 0.2 ms per frame at 720p.

    Two measures compare a frame with the one before it: the colour distance, half the L1 distance of their
    512-bin RGB histograms (motion within a scene keeps its colours), and the mean absolute difference of
    their grey thumbnails (a slight change of tint does not move the picture). A frame is a cut when their
    product is large and the thumbnails' difference stands out from the median of the last frames, which
    adapts the threshold to fast motion. The first frame is no cut. Fades and dissolves are not found.
    """

    def __init__(self) -> None:
        self._histogram: np.ndarray | None = None
        self._thumbnail: np.ndarray | None = None
        self._recent: deque[float] = deque(maxlen=_WINDOW)

    def __call__(self, image: np.ndarray) -> bool:
        """`image` is (H, W, 3) uint8 RGB of the same size at every call, at least 16 pixels on each side."""
        samples = _sample(image)
        before, histogram = self._histogram, _colour_histogram(samples)
        thumbnail_before, thumbnail = self._thumbnail, _grey_thumbnail(samples)
        self._histogram, self._thumbnail = histogram, thumbnail
        if before is None or thumbnail_before is None:
            return False
        colour = float(np.abs(histogram - before).sum()) / 2
        moved = float(np.abs(thumbnail - thumbnail_before).mean()) / 255
        usual = float(np.median(self._recent)) if self._recent else 0.0
        if colour * moved > _MIN_PRODUCT and moved > _MIN_RATIO * usual:
            return True
        self._recent.append(moved)
        return False

    def read_state(self) -> dict[str, np.ndarray]:
        """What the next answer depends on besides the next frame."""
        if self._histogram is None or self._thumbnail is None:
            return {}
        return {"histogram": self._histogram, "thumbnail": self._thumbnail, "recent": np.array(self._recent)}

    def load_state(self, state: dict[str, np.ndarray]) -> None:
        """Go on where `read_state` was called."""
        self._histogram, self._thumbnail = state.get("histogram"), state.get("thumbnail")
        self._recent = deque(state["recent"].tolist() if "recent" in state else (), maxlen=_WINDOW)


def _sample(image: np.ndarray) -> np.ndarray:
    step = max(1, min(image.shape[:2]) // _SHORT_SIDE)
    return image[::step, ::step]


def _colour_histogram(samples: np.ndarray) -> np.ndarray:
    """Shares, summing to 1, of the 8 x 8 x 8 cells of the RGB cube."""
    red, green, blue = np.moveaxis(samples >> 5, 2, 0).astype(np.int32)
    return np.bincount((red * 64 + green * 8 + blue).ravel(), minlength=512) / red.size


def _grey_thumbnail(samples: np.ndarray) -> np.ndarray:
    height, width = samples.shape[0] // _BLOCK, samples.shape[1] // _BLOCK
    grey = samples[: height * _BLOCK, : width * _BLOCK].mean(axis=2, dtype=np.float32)
    return grey.reshape(height, _BLOCK, width, _BLOCK).mean(axis=(1, 3))
