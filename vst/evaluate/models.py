"""Networks under evaluation: loaded, named, and run as `stylize_video` runs them."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from vst.checkpoint import load_stylizer, read_stylizer
from vst.cuts import CutDetector
from vst.metrics import cut_recovery, drift, robustness_scores, static_flicker, to_tensor

SCENE = 24  # frames of each scene around the cut, at most
DRIFT_SIDE = 128  # longest side of the drift's frames
DRIFT_CLIP = 60  # frames of the clip that loops, at most
ATTACKED = 256  # longest side of the crop that is attacked


@dataclass(frozen=True)
class Model:
    """A stylizer in eval mode; `style` is what its checkpoint says, `fingerprint` the begin of its SHA-256, `remembers`
    whether it hands on a state.
    """

    name: str
    style: str
    fingerprint: str
    stylizer: nn.Module
    device: torch.device
    remembers: bool

    @torch.inference_mode()
    def stylise(self, source: np.ndarray, remember: bool = True) -> np.ndarray:
        """A clip (T, H, W, 3) uint8, the memory reset at cuts as in `stylize_video`; or before every frame."""
        is_cut, state, result = CutDetector(), None, np.empty_like(source)
        for index, image in enumerate(source):
            if is_cut(image) or not remember:
                state = None
            styled, state = self.stylizer(self._tensor(image)[None], None, state)
            result[index] = (styled[0] * 255).round().clamp(0, 255).byte().permute(1, 2, 0).cpu().numpy()
        return result

    def static_flicker(self, source: np.ndarray, remember: bool = True) -> float:
        """`vst.metrics.static_flicker` on the clip's first frame."""
        return static_flicker(self._step(remember), self._tensor(source[0]))

    def scores(self, source: np.ndarray, drift_frames: int, attack_steps: int) -> dict[str, float | None]:
        """The metrics that need the network itself; drift and robustness only if asked for."""
        values: dict[str, float | None] = {"flicker_static": self.static_flicker(source)}
        scene = torch.stack([self._tensor(image) for image in source[:SCENE]])
        # The harshest scene before: the same one upside down and in negative.
        recovery, residual = cut_recovery(self.stylizer, 1 - scene.flip(2), scene)
        values |= {"cut_recovery_frames": float(recovery), "cut_residual": residual}
        if drift_frames:
            clip = torch.stack([_shrunk(self._tensor(image), DRIFT_SIDE) for image in source[:DRIFT_CLIP]])
            values[f"drift_{drift_frames}"] = drift(self.stylizer, clip, drift_frames)
        if attack_steps:
            crop = _centre(self._tensor(source[len(source) // 2]), ATTACKED)[None]
            values |= robustness_scores(lambda image: self.stylizer(image, None, None)[0], crop, attack_steps)
        return values

    def _tensor(self, image: np.ndarray) -> Tensor:
        return to_tensor(image).to(self.device)

    def _step(self, remember: bool) -> Callable[[Tensor], Tensor]:
        state: Any = None

        def step(image: Tensor) -> Tensor:
            nonlocal state
            styled, state = self.stylizer(image, None, state if remember else None)
            return styled

        return step


def load_models(paths: Mapping[str, Path], device: torch.device) -> list[Model]:
    """Load the checkpoints of these names (`vst.load_stylizer`)."""
    models: list[Model] = []
    for name, path in paths.items():
        stylizer = load_stylizer(path, device)
        with torch.inference_mode():
            _, state = stylizer(torch.zeros(1, 3, 32, 32, device=device), None, None)
        fingerprint = hashlib.sha256(path.read_bytes()).hexdigest()[:12]
        models.append(
            Model(name, str(read_stylizer(path).get("style") or ""), fingerprint, stylizer, device, bool(state))
        )
    return models


def _shrunk(image: Tensor, longest: int) -> Tensor:
    """(3, H, W) scaled down by area to at most `longest` pixels, no side below 16."""
    scale = min(1.0, longest / max(image.shape[-2:]))
    size = [max(16, round(side * scale)) for side in image.shape[-2:]]
    return torch.nn.functional.interpolate(image[None], size, mode="area")[0]


def _centre(image: Tensor, longest: int) -> Tensor:
    height, width = (min(side, longest) for side in image.shape[-2:])
    top, left = (image.shape[-2] - height) // 2, (image.shape[-1] - width) // 2
    return image[:, top : top + height, left : left + width]
