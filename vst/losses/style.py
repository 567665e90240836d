"""Style terms that need no pretrained network."""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

from vst.batch import ClipBatch
from vst.losses.base import LossTerm, Outputs


class SlicedWasserstein(LossTerm):
    """Distance of patch distributions: sliced Wasserstein-1 between responses to random filters, over a pyramid.

    Each random filter projects every patch to a number; in one dimension the Wasserstein distance is the mean
    difference of the sorted samples (Rabin et al. 2011; for texture: Heitz et al. 2021, Eq. 3, there on VGG features,
    here on pixels). At every step and level one bank of filters is drawn. A filter's responses are divided by their
    standard deviation on the style, so that faint texture counts as much as strong colour.

    Args:
        weight, schedule: see LossTerm.
        levels: pyramid levels, each of half the resolution of the one before.
        banks: banks of filters made at the start.
        filters: filters in a bank, a third each of 3, 5 and 7 pixels.
        zero_mean: share of the filters with zero mean, which see texture and not colour.
        samples: patches drawn from each side for a comparison, about.
    """

    SIZES = (3, 5, 7)

    def __init__(
        self,
        weight: float,
        levels: int = 4,
        banks: int = 24,
        filters: int = 48,
        zero_mean: float = 0.6,
        samples: int = 1024,
        schedule: Callable[[float], float] | None = None,
    ) -> None:
        super().__init__(weight, schedule)
        self.levels, self.samples = levels, samples
        generator = torch.Generator().manual_seed(0)
        for size in self.SIZES:
            bank = torch.randn(banks, filters // 3, 3, size, size, generator=generator)
            flat = torch.rand(banks, filters // 3, generator=generator) < zero_mean
            mean = bank.mean(dim=(-1, -2), keepdim=True)
            bank = torch.where(flat[..., None, None, None], bank - mean, bank)
            bank = bank / bank.flatten(2).norm(dim=2)[..., None, None, None]
            self.register_buffer(f"bank_{size}", bank, persistent=False)

    def forward(self, batch: ClipBatch, outputs: Outputs) -> Tensor:
        picture, style = outputs.still.float(), batch.style.float()
        distances = []
        for level in range(self.levels):
            if level:
                picture, style = F.avg_pool2d(picture, 2), F.avg_pool2d(style, 2)
            distances.append(self._distance(picture, style))
        return torch.stack(distances).mean()

    def _distance(self, picture: Tensor, style: Tensor) -> Tensor:
        distances = []
        for size in self.SIZES:
            banks = getattr(self, f"bank_{size}")
            if min(*picture.shape[-2:], *style.shape[-2:]) < size:
                continue
            bank = banks[torch.randint(len(banks), ()).item()]
            a, b = (self._responses(x, bank) for x in (picture, style))
            count = min(a.shape[1], b.shape[1])
            scale = b.std(dim=1, keepdim=True).clamp_min(1e-3)
            a, b = (_draw(x, count).sort(dim=1).values for x in (a, b))
            distances.append(((a - b).abs() / scale).mean())
        return torch.stack(distances).mean()

    def _responses(self, pictures: Tensor, bank: Tensor) -> Tensor:
        """Pictures (B, 3, H, W) and filters (F, 3, k, k) -> about `samples` responses of each filter (F, n).

        Places lie on a grid with a random offset, so that only the responses that count are computed.
        """
        batch, _, height, width = pictures.shape
        stride = max(1, int((batch * height * width / self.samples) ** 0.5))
        spare = min(stride, height - bank.shape[-1] + 1, width - bank.shape[-1] + 1)
        top, left = torch.randint(spare, (2,)).tolist()
        return F.conv2d(pictures[..., top:, left:], bank, stride=stride).transpose(0, 1).flatten(1)


def _draw(x: Tensor, count: int) -> Tensor:
    """(F, n) -> (F, count), columns drawn at random where there are more."""
    return x if x.shape[1] == count else x[:, torch.randperm(x.shape[1], device=x.device)[:count]]


class DiscriminatorGram(LossTerm):
    """Relative distance of Gram matrices of the discriminator's features, batch against batch.

    The Gram loss of Gatys et al. 2016, Eqs. (3)-(5), where the features come from the discriminator of the running game
    instead of a pretrained network: what it has learned to see of the painter's hand is what the picture must show.
    Matching statistics of its features is also the feature matching of Salimans et al. 2016, section 3.1, which goes on
    teaching when the discriminator wins. Each layer's distance is |A - B|^2 / (|A|^2 + |B|^2), which stays below 1: the
    plain relative distance exploded when features of the picture outgrew those of the style.
    """

    def forward(self, batch: ClipBatch, outputs: Outputs) -> Tensor:
        assert outputs.discriminator is not None, "this term needs a discriminator"
        with torch.no_grad():
            style = [gram(f.float()) for f in outputs.discriminator.features(batch.style)]
        picture = [gram(f.float()) for f in outputs.discriminator.features(outputs.still)]
        relative = [(a - b).square().sum() / (a.square().sum() + b.square().sum()) for a, b in zip(picture, style, strict=True)]
        return torch.stack(relative).mean()


def gram(features: Tensor) -> Tensor:
    """(B, C, h, w) -> (C, C): the mean over batch and places of the products of channels."""
    flat = features.transpose(0, 1).flatten(1)
    return flat @ flat.T / flat.shape[1]
