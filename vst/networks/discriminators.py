"""Discriminators. `forward(pictures (B, 3, H, W) in [0, 1]) -> list of logit maps (B, 1, h, w)`, one for each scale;
`features(pictures) -> list of feature maps`, what its layers see on the way there.

Without normalisation layers: the gradient penalty is a constraint on each sample by itself (Gulrajani et al. 2017,
section 4). With `spectral_norm` every convolution's weight, as a matrix of output channels by all else, is divided by
its largest singular value, which one power iteration a forward pass in training follows (Miyato et al. 2018, Eq. 8 and
Algorithm 1): that bounds the slope without a gradient of a gradient.
"""

from itertools import pairwise

import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.parametrizations import spectral_norm as normalised


class PatchDiscriminator(nn.Module):
    """Patch discriminator (Isola et al. 2017, section 3.2.2): judges overlapping patches, not the composition.

    Args:
        width: channels of the first layer, doubled with every further one.
        num_layers: convolutions of stride 2; three give a receptive field of 46 pixels.
        spectral_norm: see the module.
    """

    def __init__(self, width: int, num_layers: int, spectral_norm: bool = False) -> None:
        super().__init__()
        channels = [3] + [width * 2**i for i in range(num_layers)]
        self.layers = nn.ModuleList(nn.Conv2d(i, o, 4, stride=2, padding=1) for i, o in pairwise(channels))
        self.head = nn.Conv2d(channels[-1], 1, 4, padding=1)
        if spectral_norm:
            for convolution in (*self.layers, self.head):
                normalised(convolution)

    def features(self, pictures: Tensor) -> list[Tensor]:
        features, x = [], 2 * pictures - 1
        for layer in self.layers:
            x = F.leaky_relu(layer(x), 0.2)
            features.append(x)
        return features

    def forward(self, pictures: Tensor) -> list[Tensor]:
        return [self.head(self.features(pictures)[-1])]


class MultiScaleDiscriminator(nn.Module):
    """Patch discriminators on the picture at full, half, quarter ... resolution (Wang et al. 2018, section 3.2)."""

    def __init__(self, width: int, num_layers: int, num_scales: int, spectral_norm: bool = False) -> None:
        super().__init__()
        self.scales = nn.ModuleList(PatchDiscriminator(width, num_layers, spectral_norm) for _ in range(num_scales))

    def features(self, pictures: Tensor) -> list[Tensor]:
        return [f for net, x in zip(self.scales, self._pyramid(pictures), strict=True) for f in net.features(x)]

    def forward(self, pictures: Tensor) -> list[Tensor]:
        return [logit for net, x in zip(self.scales, self._pyramid(pictures), strict=True) for logit in net(x)]

    def _pyramid(self, pictures: Tensor) -> list[Tensor]:
        return [F.avg_pool2d(pictures, 2**scale) if scale else pictures for scale in range(len(self.scales))]
