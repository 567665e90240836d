"""Terms that keep what the photograph shows."""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

from vst.batch import ClipBatch
from vst.losses.base import LossTerm, Outputs

LUMA = (0.2126, 0.7152, 0.0722)  # ITU-R BT.709


def luminance(pictures: Tensor) -> Tensor:
    """(..., 3, H, W) RGB -> (..., 1, H, W), BT.709 weights."""
    return (pictures * pictures.new_tensor(LUMA).view(3, 1, 1)).sum(dim=-3, keepdim=True)


class StyleAwareContent(LossTerm):
    """Distance of photograph and result as the generator's own encoder sees them.

    Sanakoyeu et al. 2018, Eq. 4: the encoder learns which content matters for the style. Deviations: features are
    divided by their root mean square, since a plain distance is won by shrinking them to zero; and the photograph's
    side carries no gradient, so the result moves towards the photograph and not the other way round.
    """

    def forward(self, batch: ClipBatch, outputs: Outputs) -> Tensor:
        with torch.no_grad():
            photo = _unit(outputs.encode(outputs.photo).float())
        return (_unit(outputs.encode(outputs.still).float()) - photo).square().mean()


class LocalStructure(LossTerm):
    """1 - local normalised cross-correlation of luminance, 9x9 windows, over three scales.

    Blind to brightness and contrast of the surroundings, so colours and tones may change while edges stay. Where the
    photograph is flat it has no structure to keep: a window of deviation s counts s^2 / (s^2 + flat^2), or every
    stroke in a sky would be a fault.

    Args:
        weight, schedule: see LossTerm.
        flat: the photograph's deviation at which a window counts a half; 0, and all count the same.
    """

    WINDOW, SCALES = 9, 3

    def __init__(self, weight: float, flat: float = 0.0, schedule: Callable[[float], float] | None = None) -> None:
        super().__init__(weight, schedule)
        if flat < 0:
            raise ValueError(f"flat: {flat} is not 0 or more")
        self.flat = flat

    def forward(self, batch: ClipBatch, outputs: Outputs) -> Tensor:
        a, b = luminance(outputs.still.float()), luminance(outputs.photo.float())
        scales = []
        for scale in range(self.SCALES):
            if scale:
                a, b = F.avg_pool2d(a, 2), F.avg_pool2d(b, 2)
            if min(a.shape[-2:]) < self.WINDOW:
                break
            scales.append(self._distance(a, b))
        return torch.stack(scales).mean()

    def _distance(self, a: Tensor, b: Tensor) -> Tensor:
        def mean(x: Tensor) -> Tensor:
            return F.avg_pool2d(x, self.WINDOW, stride=2)

        mean_a, mean_b = mean(a), mean(b)
        variance_a = (mean(a * a) - mean_a**2).clamp_min(0)
        variance_b = (mean(b * b) - mean_b**2).clamp_min(0)
        # Noise floor: windows whose deviation lies below about 1/100 count little.
        floor = 1e-4
        correlation = (mean(a * b) - mean_a * mean_b + floor) / ((variance_a + floor) * (variance_b + floor)).sqrt()
        counts = (variance_b + 1e-9) / (variance_b + 1e-9 + self.flat**2)
        return ((1 - correlation) * counts).mean()


class PixelL1(LossTerm):
    """Mean absolute difference of photograph and result: holds colours too, so it is a term to warm up with."""

    def forward(self, batch: ClipBatch, outputs: Outputs) -> Tensor:
        return (outputs.still.float() - outputs.photo.float()).abs().mean()


class TransformedImage(LossTerm):
    """mean |T(photo) - T(result)|^2, T the mean over squares of `size` pixels at stride 1.

    The transformed image loss of Sanakoyeu et al. 2018, whose transformer block T is such an average pool in the
    authors' release (size 10, there at 768 pixels): what is larger than the square has to stay where it is.

    Args:
        weight, schedule: see LossTerm.
        size: side of the square, pixels.
    """

    def __init__(self, weight: float, size: int = 10, schedule: Callable[[float], float] | None = None) -> None:
        super().__init__(weight, schedule)
        if size < 1:
            raise ValueError(f"size: {size} is not 1 or more")
        self.size = size

    def forward(self, batch: ClipBatch, outputs: Outputs) -> Tensor:
        difference = outputs.still.float() - outputs.photo.float()
        return F.avg_pool2d(difference, self.size, stride=1).square().mean()  # the pool is linear


class PatchNCE(LossTerm):
    """Each place of the result has to be told by its features from other places of the same photograph.

    Park et al. 2020, Eq. 3: the mean over places p of -log softmax_q(cos(z_p, v_q) / tau) at q = p, with z the features
    of the result and v those of the photograph, which carry no gradient. The features are those of the generator's own
    encoder at its last layer, without the paper's two-layer heads, which would need an optimizer of their own. Only
    directions of features count, so shrinking them wins nothing. Never zero: the value of a perfect match depends on
    how alike the photograph's own places are, and log(patches) is that of a blank picture.

    Args:
        weight, schedule: see LossTerm.
        patches: places drawn in each picture.
        tau: temperature.
    """

    def __init__(
        self,
        weight: float,
        patches: int = 256,
        tau: float = 0.07,
        schedule: Callable[[float], float] | None = None,
    ) -> None:
        super().__init__(weight, schedule)
        if patches < 2 or tau <= 0:
            raise ValueError(f"PatchNCE: needs patches >= 2 and tau > 0, got patches={patches}, tau={tau}")
        self.patches, self.tau = patches, tau

    def forward(self, batch: ClipBatch, outputs: Outputs) -> Tensor:
        query = outputs.encode(outputs.still).float().flatten(2)
        with torch.no_grad():
            key = outputs.encode(outputs.photo).float().flatten(2)
        drawn = torch.randperm(query.shape[-1])[: self.patches].to(query.device)
        query, key = (F.normalize(x[..., drawn].transpose(1, 2), dim=-1) for x in (query, key))
        with torch.autocast(query.device.type, enabled=False):
            likeness = query @ key.transpose(1, 2) / self.tau  # (B, places of the result, places of the photograph)
        own = torch.arange(likeness.shape[-1], device=likeness.device).expand(likeness.shape[:2])
        return F.cross_entropy(likeness.flatten(0, 1), own.flatten())


def _unit(features: Tensor) -> Tensor:
    return features / features.square().mean(dim=(1, 2, 3), keepdim=True).sqrt().clamp_min(1e-6)
