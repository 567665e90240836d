"""Schedules as plain callables: progress of the run in [0, 1] -> a factor. They serve learning rates and loss weights.

Progress instead of a step count keeps a schedule true when the length of the run or the batch size changes.
"""

import math
from dataclasses import dataclass


@dataclass
class Constant:
    """Always 1."""

    def __call__(self, progress: float) -> float:
        return 1.0


@dataclass
class Ramp:
    """0 until `start`, then linearly up to 1 at `end`."""

    start: float = 0.0
    end: float = 0.3

    def __post_init__(self) -> None:
        if not 0 <= self.start < self.end <= 1:
            raise ValueError(f"Ramp: needs 0 <= start < end <= 1, got start={self.start}, end={self.end}")

    def __call__(self, progress: float) -> float:
        return min(max((progress - self.start) / (self.end - self.start), 0.0), 1.0)


@dataclass
class FlatLinear:
    """1 until `flat`, then linearly down to `final` at the end."""

    flat: float = 0.4
    final: float = 0.05

    def __call__(self, progress: float) -> float:
        if progress <= self.flat:
            return 1.0
        return 1.0 + (self.final - 1.0) * (progress - self.flat) / (1.0 - self.flat)


@dataclass
class Cosine:
    """From 1 down to `final` along half a cosine (Loshchilov & Hutter 2017, Eq. 5, without restarts)."""

    final: float = 0.05

    def __call__(self, progress: float) -> float:
        return self.final + (1.0 - self.final) * 0.5 * (1.0 + math.cos(math.pi * progress))
