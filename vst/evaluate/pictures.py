"""What the report shows of a video: frames, the warp error as a picture, a strip through time."""

from __future__ import annotations

from dataclasses import dataclass, field

import cv2
import numpy as np

from vst.metrics import Pair, to_tensor

WIDTH = 320
AMPLIFIED = 8
STRIP_STEP = 4  # pixels that one frame is wide in a strip


@dataclass(frozen=True)
class Views:
    """Pictures (h, w, 3) uint8 of one entry: one to three `frames`; the `difference` of a frame near the middle to its
    warped successor, amplified; the `strip`: the middle column of every frame, side by side, where calm is straight
    lines. `curve` is `ewarp_mean` of each pair of frames.
    """

    entry: str
    frames: list[np.ndarray]
    difference: np.ndarray
    strip: np.ndarray
    curve: list[float | None]


@dataclass
class ClipPictures:
    """The views of every entry on one clip."""

    clip: str
    views: list[Views] = field(default_factory=list)


def make_views(
    entry: str, video: np.ndarray, near: list[Pair], curve: list[float | None], brief: bool = False
) -> Views:
    """The views of a video whose consecutive pairs of frames are `near`; a `brief` one has the middle frame alone."""
    count = len(video)
    known = [pair for pair, value in zip(near, curve, strict=True) if value is not None] or near
    pair = min(known, key=lambda pair: abs(pair.first - count // 2))
    return Views(
        entry,
        [_small(video[index]) for index in ([count // 2] if brief else sorted({0, count // 2, count - 1}))],
        _small(_difference(video, pair)),
        _strip(video),
        curve,
    )


def _difference(video: np.ndarray, pair: Pair) -> np.ndarray:
    """|V_t - W(V_t+1)| where the flow is trusted, amplified; grey where it is not."""
    error = (to_tensor(video[pair.first]) - pair.warped(to_tensor(video[pair.second]))).abs() * AMPLIFIED
    error[:, ~pair.valid] = 0.5
    return (error.clamp(0, 1) * 255).byte().permute(1, 2, 0).numpy()


def _strip(video: np.ndarray) -> np.ndarray:
    column = video[:, :, video.shape[2] // 2].transpose(1, 0, 2)
    return _small(np.repeat(column, STRIP_STEP, axis=1))


def _small(picture: np.ndarray) -> np.ndarray:
    height, width = picture.shape[:2]
    if width <= WIDTH:
        return picture
    return cv2.resize(picture, (WIDTH, max(1, round(height * WIDTH / width))), interpolation=cv2.INTER_AREA)
