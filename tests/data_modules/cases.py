"""A style and a folder of videos for tests that look at clips."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from tests import media


class Grey:
    """A style of one grey."""

    name = "grey"

    def sample(self, rng: np.random.Generator) -> torch.Tensor:
        return torch.full((3, 8, 8), 0.5)

    def describe(self) -> str:
        return "grey"

    def reference(self) -> torch.Tensor:
        return torch.full((3, 8, 8), 0.5)


def make_videos(root: Path, count: int, n: int = 12) -> Path:
    """Write `clip0.mp4`, `clip1.mp4`, ... of `n` frames, each another scene; returns `root`."""
    for seed in range(count):
        media.make_video(root / f"clip{seed}.mp4", frames=media.pattern_frames(n, seed=seed))
    return root
