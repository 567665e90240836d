"""One frame of a film on its way."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction

import numpy as np


@dataclass(frozen=True)
class Frame:
    """One frame: `image` (H, W, 3) uint8 RGB, or planes (`vst.planes`), as stored, not rotated, owned by the
    receiver. The colours are those that an SDR screen shows.

    `pts` is its time since the input's picture or sound began, and `duration` (at least 1) the time it is shown, in
    units of `time_base` seconds; `pts` increases strictly from frame to frame: missing or repeated timestamps are
    replaced by the mean frame rate. `cut`: it begins another recording than the frame before. `border` (H, W) uint8
    says how much of a pixel is a black border that was added, of 255; None for no border. `alpha` (H, W) uint8 says how
    far it can be seen, of 255; None for all of it.
    """

    image: np.ndarray
    pts: int
    duration: int
    time_base: Fraction
    cut: bool = False
    border: np.ndarray | None = None
    alpha: np.ndarray | None = None
