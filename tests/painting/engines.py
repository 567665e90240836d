"""Engines for the tests: small ones of the product, and simple ones whose result is known."""

from __future__ import annotations

import numpy as np
import torch

from vst.networks import AlignedConvGRU, ConvGRU, ResidualGenerator, Stateless, Stylizer
from vst.runtime import Engine, open_engine

MEMORIES = {"gru": lambda: ConvGRU(8), "aligned": lambda: AlignedConvGRU(8), "none": Stateless}


def network(memory: str = "gru", seed: int = 0) -> Stylizer:
    """As after training: weights off their special starting point, so that the memory matters."""
    torch.manual_seed(seed)
    made = Stylizer(ResidualGenerator(8, 1), MEMORIES[memory]()).eval()
    with torch.no_grad():
        for parameter in made.parameters():
            parameter.add_(0.05 * torch.randn_like(parameter))
    return made


def engine(memory: str = "gru", seed: int = 0) -> Engine:
    return open_engine(network(memory, seed))


class Invert:
    """The negative, which is known without a network; counts what is asked of it."""

    def __init__(self) -> None:
        self.sizes: list[tuple[int, int]] = []
        self.resets = 0

    def reset(self) -> None:
        self.resets += 1

    def __call__(self, frame: np.ndarray, out: np.ndarray) -> np.ndarray:
        self.sizes.append(frame.shape[:2])
        return np.subtract(255, frame, out=out)


class Flat(Invert):
    """One colour."""

    def __init__(self, *color: int) -> None:
        super().__init__()
        self.color = color

    def __call__(self, frame: np.ndarray, out: np.ndarray) -> np.ndarray:
        super().__call__(frame, out)
        out[:] = self.color
        return out


def film(frames: int = 6, height: int = 48, width: int = 64, seed: int = 0) -> list[np.ndarray]:
    """A smooth coloured texture that drifts, (H, W, 3) uint8 each; periodic in both directions."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[0:height, 0:width]
    picture = np.zeros((height, width, 3))
    for _ in range(10):
        down, across = rng.integers(-4, 5, 2)
        phase = 2 * np.pi * (down * y / height + across * x / width)
        picture += np.sin(phase[..., None] + rng.uniform(0, 6.28, 3)) * rng.uniform(0.3, 1, 3)
    picture = (128 + 100 * picture / np.abs(picture).max()).astype(np.uint8)
    return [np.roll(picture, (i, 2 * i), (0, 1)) for i in range(frames)]
