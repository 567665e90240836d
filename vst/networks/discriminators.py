"""Discriminators. `forward(pictures (B, 3, H, W) in [0, 1]) -> list of logit maps (B, 1, h, w)`, one for each scale.

Without normalisation layers: the gradient penalty is a constraint on each sample by itself (Gulrajani et al. 2017,
section 4).
"""

import torch.nn.functional as F
from torch import Tensor, nn


class PatchDiscriminator(nn.Module):
    """Patch discriminator (Isola et al. 2017, section 3.2.2): judges overlapping patches, not the composition.

    Args:
        width: channels of the first layer, doubled with every further one.
        num_layers: convolutions of stride 2; three give a receptive field of 46 pixels.
    """

    def __init__(self, width: int, num_layers: int) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        channels = 3
        for i in range(num_layers):
            layers += [nn.Conv2d(channels, width * 2**i, 4, stride=2, padding=1), nn.LeakyReLU(0.2)]
            channels = width * 2**i
        self.layers = nn.Sequential(*layers, nn.Conv2d(channels, 1, 4, padding=1))

    def forward(self, pictures: Tensor) -> list[Tensor]:
        return [self.layers(2 * pictures - 1)]


class MultiScaleDiscriminator(nn.Module):
    """Patch discriminators on the picture at full, half, quarter ... resolution (Wang et al. 2018, section 3.2)."""

    def __init__(self, width: int, num_layers: int, num_scales: int) -> None:
        super().__init__()
        self.scales = nn.ModuleList(PatchDiscriminator(width, num_layers) for _ in range(num_scales))

    def forward(self, pictures: Tensor) -> list[Tensor]:
        logits = []
        for scale, discriminator in enumerate(self.scales):
            logits += discriminator(F.avg_pool2d(pictures, 2**scale) if scale else pictures)
        return logits
