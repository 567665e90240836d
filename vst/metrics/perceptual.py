"""LPIPS, the learned distance of pictures, and what is measured with it along a video."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
import torchmetrics
from torch import Tensor, nn

from vst.errors import UserError
from vst.metrics.temporal import MIN_VALID, Pair, to_tensor
from vst.weights import read_state_dict

SHIFT, SCALE = (-0.030, -0.088, -0.188), (0.458, 0.448, 0.450)  # of pictures in [-1, 1], by the authors' scaling layer
# AlexNet of torchvision (Krizhevsky 2014): place in `features` -> channels in and out, kernel, stride, padding; a
# pooling stands before the second and the third.
CONVOLUTIONS = {
    0: (3, 64, 11, 4, 2),
    3: (64, 192, 5, 1, 2),
    6: (192, 384, 3, 1, 1),
    8: (384, 256, 3, 1, 1),
    10: (256, 256, 3, 1, 1),
}
POOLED = (3, 6)


class LPIPS(nn.Module):
    """LPIPS, version 0.1, on AlexNet (Zhang et al., CVPR 2018, Eq. 1): `forward(a, b)`, (1, 3, H, W) in [0, 1] each.

    Args:
        alexnet: file with torchvision's AlexNet weights (`features.0.weight`, ...).
        linear: file with the weights of the channels (`lin0.model.1.weight`, ...); None: those within torchmetrics.

    Raises:
        UserError: a file is missing or holds something else.
    """

    def __init__(self, alexnet: str, linear: str | None = None) -> None:
        super().__init__()
        self.convolutions = nn.ModuleList(
            nn.Conv2d(a, b, size, stride, padding) for a, b, size, stride, padding in CONVOLUTIONS.values()
        )
        shapes = {"weight": lambda c: c.weight, "bias": lambda c: c.bias}
        wanted = {
            f"features.{place}.{kind}": get(convolution)
            for place, convolution in zip(CONVOLUTIONS, self.convolutions, strict=True)
            for kind, get in shapes.items()
        }
        _fill(wanted, read_state_dict(alexnet, f"weights.alexnet={alexnet}"), "weights.alexnet", alexnet)
        linear = linear or str(
            Path(torchmetrics.__file__).parent / "functional" / "image" / "lpips_models" / "alex.pth"
        )
        self.channels = nn.ParameterList(torch.zeros(1, channels, 1, 1) for _, channels, *_ in CONVOLUTIONS.values())
        wanted = {f"lin{layer}.model.1.weight": weights for layer, weights in enumerate(self.channels)}
        _fill(wanted, read_state_dict(linear, f"weights.lpips={linear}"), "weights.lpips", linear)
        self.register_buffer("shift", torch.tensor(SHIFT).view(3, 1, 1))
        self.register_buffer("scale", torch.tensor(SCALE).view(3, 1, 1))
        self.requires_grad_(False).eval()

    @torch.no_grad()
    def forward(self, a: Tensor, b: Tensor) -> float:
        """The distance, 0 for equal pictures; both at least 32x32."""
        one, other = self._features(a), self._features(b)
        layers = [
            (weights * (x - y).square()).sum(1).mean() for x, y, weights in zip(one, other, self.channels, strict=True)
        ]
        return float(torch.stack(layers).sum())

    def _features(self, picture: Tensor) -> list[Tensor]:
        """After each ReLU, scaled to length 1 at every place."""
        x, found = (2 * picture.to(self.shift.device) - 1 - self.shift) / self.scale, []
        for place, convolution in zip(CONVOLUTIONS, self.convolutions, strict=True):
            if place in POOLED:
                x = F.max_pool2d(x, 3, 2)
            x = F.relu(convolution(x))
            found.append(x / (1e-8 + x.square().sum(1, keepdim=True)).sqrt())
        return found


def warp_lpips(video: np.ndarray, pairs: list[Pair], lpips: LPIPS) -> float | None:
    """Mean of LPIPS(M V_t, M W(V_t+k)) over the pairs with enough trusted pixels; None where there is none.

    M is 0 on pixels whose motion cannot be trusted, W warps back onto frame t. Frames are given to LPIPS in its own
    range: masked pixels are black.
    """
    values = []
    for pair in pairs:
        if pair.valid.float().mean() >= MIN_VALID:
            first, second = to_tensor(video[pair.first]), pair.warped(to_tensor(video[pair.second]))
            values.append(lpips((first * pair.valid)[None], (second * pair.valid)[None]))
    return float(np.mean(values)) if values else None


def neighbour_lpips(video: np.ndarray, lpips: LPIPS) -> np.ndarray:
    """LPIPS between each frame and the next."""
    return np.array([lpips(to_tensor(a)[None], to_tensor(b)[None]) for a, b in pairwise(video)])


def tlp(video: np.ndarray, own: np.ndarray, lpips: LPIPS) -> float:
    """100 times the mean difference of `neighbour_lpips` from the input's, `own` (tLP of Chu et al., TecoGAN 2020)."""
    return float(100 * np.abs(neighbour_lpips(video, lpips) - own).mean())


def _fill(wanted: dict[str, Tensor], state: dict[str, Tensor], key: str, path: str) -> None:
    for name, target in wanted.items():
        if name not in state or state[name].shape != target.shape:
            found = "x".join(map(str, state[name].shape)) if name in state else "missing"
            raise UserError(
                f"{key}={path}: other weights: {name} is {found} instead of {'x'.join(map(str, target.shape))}"
            )
        with torch.no_grad():
            target.copy_(state[name])
