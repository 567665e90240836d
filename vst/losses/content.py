"""Terms that keep what the photograph shows."""

from __future__ import annotations

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

    Blind to brightness and contrast of the surroundings, so colours and tones may change while edges stay.
    """

    WINDOW, SCALES = 9, 3

    def forward(self, batch: ClipBatch, outputs: Outputs) -> Tensor:
        a, b = luminance(outputs.still.float()), luminance(outputs.photo.float())
        scales = []
        for scale in range(self.SCALES):
            if scale:
                a, b = F.avg_pool2d(a, 2), F.avg_pool2d(b, 2)
            scales.append(1 - self._correlation(a, b).mean())
        return torch.stack(scales).mean()

    def _correlation(self, a: Tensor, b: Tensor) -> Tensor:
        def mean(x: Tensor) -> Tensor:
            return F.avg_pool2d(x, self.WINDOW, stride=2)

        mean_a, mean_b = mean(a), mean(b)
        variance_a = (mean(a * a) - mean_a**2).clamp_min(0)
        variance_b = (mean(b * b) - mean_b**2).clamp_min(0)
        # Noise floor: windows whose deviation lies below about 1/100 count little.
        return (mean(a * b) - mean_a * mean_b + 1e-4) / ((variance_a + 1e-4) * (variance_b + 1e-4)).sqrt()


def _unit(features: Tensor) -> Tensor:
    return features / features.square().mean(dim=(1, 2, 3), keepdim=True).sqrt().clamp_min(1e-6)
