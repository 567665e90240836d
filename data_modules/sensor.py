"""What a camera does to every frame of a clip: noise, a lens out of focus, and an exposure that wavers.

It moves nothing, so flow and validity of the clip stay what they are.
"""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np

from vst.errors import UserError

MAX_NOISE = 0.5
MAX_WAVER = 0.5
MAX_BLUR = 16.0
COARSE_CELLS = (2, 4, 8, 16)  # pixels; blocks of video codecs have 4 to 16


class Sensor:
    """Exposure that wavers over a clip, a blur that stays, and noise that is new in each frame.

    White noise alone teaches little: a generator that averages over a few pixels is rid of it. What makes texture boil
    in compressed films is noise that whole blocks share, and `coarse` noise has that shape: normal numbers on a grid of
    2 to 16 pixels, interpolated, grey or coloured.

    Photographs are sharper than most films, and a generator that never saw a soft one paints it softly.

    A value v becomes gain_t * v ** gamma_t + noise, cut to [0, 1]; gain_t and gamma_t follow a sine wave about 1.
    By default nothing changes.

    Args:
        noise: smallest and largest standard deviation of the noise, one being drawn for each clip; white is 1.
        coarse: largest standard deviation of the coarse noise, drawn for each clip from 0 on.
        gain: largest relative change of brightness.
        gamma: largest relative change of the tone curve's exponent.
        blur: largest standard deviation of a Gaussian blur, pixels; one clip in three or more stays sharp.

    Raises:
        UserError: a number is out of range.
    """

    def __init__(
        self,
        noise: Sequence[float] = (0.0, 0.0),
        coarse: float = 0.0,
        gain: float = 0.0,
        gamma: float = 0.0,
        blur: float = 0.0,
    ) -> None:
        numbers = tuple(noise)
        if len(numbers) != 2 or not 0 <= numbers[0] <= numbers[1] <= MAX_NOISE:
            raise UserError(
                f"data.noise is {list(numbers)}, it has to be the smallest and the largest standard deviation, "
                f"such as [0, 0.016], between 0 and {MAX_NOISE}"
            )
        for name, value in (("coarse", coarse), ("gain", gain), ("gamma", gamma)):
            if not 0 <= value <= MAX_WAVER:
                raise UserError(f"data.{name} is {value}, it has to lie between 0 and {MAX_WAVER}")
        if not 0 <= blur <= MAX_BLUR:
            raise UserError(f"data.blur is {blur}, it has to lie between 0 and {MAX_BLUR:g} pixels")
        self.noise, self.coarse, self.gain, self.gamma, self.blur = numbers, coarse, gain, gamma, blur

    def __call__(self, frames: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """A new array of `frames` (T, 3, H, W), float32 RGB in [0, 1], as the camera would give them."""
        if self.blur > 0:
            frames = _blurred(frames, rng.uniform(-self.blur / 2, self.blur))
        gains = _waver(len(frames), self.gain, rng)
        noise = None
        if self.noise[1] > 0:
            noise = rng.standard_normal(frames.shape, dtype=np.float32)
            noise *= np.float32(rng.uniform(*self.noise))
        if self.coarse > 0:
            blotches = _coarse_noise(frames.shape, rng) * np.float32(rng.uniform(0, self.coarse))
            noise = blotches if noise is None else noise + blotches
        if self.gamma > 0:
            frames = _toned(frames, _waver(len(frames), self.gamma, rng))
        exposed = np.multiply(frames, gains[:, None, None, None], order="C")
        if noise is not None:
            exposed += noise
        return np.clip(exposed, 0, 1, out=exposed)


CAMERA = Sensor(noise=(0.0, 0.008), coarse=0.016, gain=0.02, blur=2.5)
"""The camera that looks at photographs in synthetic motion, unless another is asked for."""

IN_FOCUS = Sensor(CAMERA.noise, CAMERA.coarse, CAMERA.gain)
"""The same for people to look at."""


def _blurred(frames: np.ndarray, deviation: float) -> np.ndarray:
    """`frames` (T, 3, H, W) by a Gaussian; as they are where its deviation is below what pixels can show."""
    if deviation < 0.3:
        return frames
    planes = np.ascontiguousarray(frames).reshape(-1, *frames.shape[2:])
    return np.stack([cv2.GaussianBlur(plane, (0, 0), deviation) for plane in planes]).reshape(frames.shape)


def _coarse_noise(shape: tuple[int, ...], rng: np.random.Generator) -> np.ndarray:
    """(T, 3, H, W) of standard deviation 1, smooth over one of COARSE_CELLS, grey every other time."""
    length, channels, height, width = shape
    cell = int(rng.choice(COARSE_CELLS))
    channels = 1 if rng.random() < 0.5 else channels
    grids = rng.standard_normal((length, height // cell + 2, width // cell + 2, channels), dtype=np.float32)
    size = (cell * grids.shape[2], cell * grids.shape[1])
    smooth = np.stack([cv2.resize(grid, size).reshape(size[1], size[0], channels) for grid in grids])
    # Bilinear interpolation between independent numbers leaves two thirds of the variance on each axis.
    return 1.5 * np.broadcast_to(smooth[:, :height, :width].transpose(0, 3, 1, 2), shape)


def _waver(length: int, most: float, rng: np.random.Generator) -> np.ndarray:
    """Factors (length,) about 1, within `most` of it, on a slow sine wave of random size."""
    if most == 0:
        return np.ones(length, np.float32)
    wave = np.sin(rng.uniform(0, 2 * np.pi) + rng.uniform(0.1, 0.8) * np.arange(length))
    return (1 + rng.uniform(0, most) * wave).astype(np.float32)


def _toned(frames: np.ndarray, exponents: np.ndarray) -> np.ndarray:
    # OpenCV's power is several times as quick as NumPy's; it wants matrices.
    width = frames.shape[-1]
    matrices = (np.ascontiguousarray(frame.clip(0, 1)).reshape(-1, width) for frame in frames)
    powers = [cv2.pow(matrix, float(g)) for matrix, g in zip(matrices, exponents, strict=True)]
    return np.stack(powers).reshape(frames.shape)
