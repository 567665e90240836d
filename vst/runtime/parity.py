"""Whether two ways to run a stylizer give the same frames, with the memory carried from frame to frame."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import cv2
import numpy as np
import torch

from vst.networks.stylizer import Stylizer
from vst.runtime.engine import Engine
from vst.runtime.graph import FrameGraph
from vst.runtime.torch_engine import TorchEngine

FRAMES = 30
SIZES = ((96, 128), (75, 101))  # height and width; the second one is of odd sides
CUT = 20  # frame of the check where the film is cut

# Largest difference of a byte, and least PSNR in dB, by what an engine computes in. A float32 engine may round another
# way, also the view of the film in which it follows the camera; half precision was measured at 52 to 57 dB, int8 is
# held against real frames where it is made.
TOLERANCE = {
    "float32": (4, 55.0),
    "bfloat16": (64, 40.0),
    "float16": (32, 45.0),
    "int8": (255, 30.0),
}


@dataclass(frozen=True)
class Parity:
    """How far a candidate's frames are from the reference's: `frames` of them, the largest difference of a byte, and
    the mean and the least PSNR of a frame in dB (100 for equal frames).
    """

    frames: int
    largest: int
    mean_psnr: float
    least_psnr: float

    def within(self, precision: str) -> bool:
        """Whether that is near enough for an engine that computes in `precision`."""
        largest, psnr = TOLERANCE[precision]
        return self.largest <= largest and self.least_psnr >= psnr

    def __str__(self) -> str:
        return (
            f"{self.frames} frames with memory: largest difference {self.largest} of 255, "
            f"PSNR {self.mean_psnr:.1f} dB, at least {self.least_psnr:.1f}"
        )


def compare(
    reference: Callable[[np.ndarray], np.ndarray],
    candidate: Callable[[np.ndarray], np.ndarray],
    frames: Iterable[np.ndarray],
    cut: int | None = None,
) -> Parity:
    """Run both over `frames` (H, W, 3) uint8 and reset them before the frame `cut`."""
    largest, scores = 0, []
    for index, frame in enumerate(frames):
        if index == cut:
            reference.reset()
            candidate.reset()
        expected, given = reference(frame).astype(np.int16), candidate(frame).astype(np.int16)
        difference = np.abs(expected - given)
        largest = max(largest, int(difference.max()))
        scores.append(psnr(difference))
    return Parity(len(scores), largest, float(np.mean(scores)), min(scores))


def check(stylizer: Stylizer, engine: Engine) -> Parity:
    """Hold `engine` against the stylizer on moving pictures of both `SIZES`, over a cut; the worst of all.

    What every engine does on bytes around its graph, the motion, is no part of what is compared: there torch's engine
    takes the place of the stylizer, whose warp is not OpenCV's.
    """
    results = []
    for height, width in SIZES:
        engine.reset()
        reference = Reference(stylizer) if stylizer.motion is None else _torch_engine(stylizer)
        results.append(compare(reference, engine, moving_frames(FRAMES, height, width), CUT))
    engine.reset()
    return Parity(
        FRAMES * len(SIZES),
        max(result.largest for result in results),
        min(result.mean_psnr for result in results),
        min(result.least_psnr for result in results),
    )


def _torch_engine(stylizer: Stylizer) -> TorchEngine:
    return TorchEngine(FrameGraph(stylizer), "float32", torch.device("cpu"))


class Reference:
    """A stylizer on frames of bytes, by its own `forward` on its own device: what engines must equal."""

    def __init__(self, stylizer: Stylizer) -> None:
        self._stylizer = stylizer.eval()
        self.reset()

    def reset(self) -> None:
        """Forget the frames so far."""
        self._state = None

    @torch.inference_mode()
    def __call__(self, frame: np.ndarray) -> np.ndarray:
        device = next(self._stylizer.parameters()).device
        pixels = torch.from_numpy(frame).to(device).permute(2, 0, 1)[None] / 255
        styled, self._state = self._stylizer(pixels, None, self._state)
        return (styled[0] * 255).round().to(torch.uint8).permute(1, 2, 0).cpu().numpy()


def moving_frames(count: int, height: int, width: int, seed: int = 0) -> Iterable[np.ndarray]:
    """A window that moves over a picture of soft shapes and fine grain, (height, width, 3) uint8 each."""
    rng = np.random.default_rng(seed)
    shape = (height + 2 * count, width + 2 * count)
    soft = cv2.resize(rng.uniform(-40, 295, (8, 12, 3)), shape[::-1], interpolation=cv2.INTER_CUBIC)
    fine = cv2.resize(rng.normal(0, 30, (shape[0] // 3, shape[1] // 3, 3)), shape[::-1])
    picture = (soft + fine).clip(0, 255).astype(np.uint8)
    for index in range(count):
        yield np.ascontiguousarray(picture[index : index + height, 2 * index : 2 * index + width])


def psnr(difference: np.ndarray) -> float:
    """Peak signal-to-noise ratio in dB of a difference of bytes, 100 at most."""
    return min(100.0, float(10 * np.log10(255**2 / max(np.mean(np.square(difference, dtype=np.float64)), 1e-12))))
