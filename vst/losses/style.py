"""Style terms that need no pretrained network."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import torch
import torch.nn.functional as F
from torch import Tensor

from vst.batch import ClipBatch
from vst.losses.base import LossTerm, Outputs

SMALLEST_QUARTER = 32  # pixels along each side, below which a quarter of a picture has too few patches


class _RandomFilterTerm(LossTerm):
    """What compares responses to random filters over a pyramid: `banks` banks, of `filters` filters of all sizes."""

    SIZES = (3, 5, 7)  # pixels

    def __init__(
        self,
        weight: float,
        schedule: Callable[[float], float] | None,
        levels: int,
        banks: int,
        filters: int,
        zero_mean: float,
    ) -> None:
        super().__init__(weight, schedule)
        for name, value, least in (("levels", levels, 1), ("banks", banks, 1), ("filters", filters, len(self.SIZES))):
            if value < least:
                raise ValueError(f"{name}: {value} is not {least} or more")
        if not 0 <= zero_mean <= 1:
            raise ValueError(f"zero_mean: {zero_mean} does not lie between 0 and 1")
        self.levels = levels
        self.zero_mean = zero_mean
        for size, bank in _random_filters(self.SIZES, banks, filters // len(self.SIZES), zero_mean).items():
            self.register_buffer(f"bank_{size}", bank, persistent=False)

    def banks(self, size: int) -> Tensor:
        """(banks, filters, 3, size, size)."""
        return getattr(self, f"bank_{size}")

    def pyramid(self, picture: Tensor, style: Tensor) -> Iterator[tuple[Tensor, Tensor, list[int]]]:
        """Both at every level, each of half the resolution of the one before, and the sizes of filters that fit both.

        It ends early where none fits.
        """
        for level in range(self.levels):
            if level:
                picture, style = F.avg_pool2d(picture, 2), F.avg_pool2d(style, 2)
            sizes = [size for size in self.SIZES if min(*picture.shape[-2:], *style.shape[-2:]) >= size]
            if not sizes:
                return
            yield picture, style, sizes


class SlicedWasserstein(_RandomFilterTerm):
    """Distance of patch distributions: sliced Wasserstein-1 between responses to random filters, over a pyramid.

    Each random filter projects every patch to a number; in one dimension the Wasserstein distance is the mean
    difference of the sorted samples (Rabin et al. 2011; for texture: Heitz et al. 2021, Eq. 3, there on VGG features,
    here on pixels). At every step and level one bank of filters is drawn. A filter's responses are divided by their
    standard deviation on the style, so that faint texture counts as much as strong colour.

    The style's side is all crops of the batch. Few crops of a collection have few of its tones each, and the picture
    that is nearest to all such draws on average lacks contrast: the barycentre of distributions, not their mixture.

    Filters with zero mean see texture and no colour. They compare each quarter of each picture by itself: a blurred
    picture and a bare sky have to be painted as much as a sharp face, which the batch as a whole would leave to the
    face. The colours of all pictures are compared together, since a dark one need not have the light tones.

    Args:
        weight, schedule: see LossTerm.
        levels: pyramid levels, each of half the resolution of the one before.
        banks: banks of filters made at the start.
        filters: filters in a bank, a third each of 3, 5 and 7 pixels.
        zero_mean: share of the filters with zero mean.
        samples: patches drawn from each side for a comparison, about; of the quarters of each picture half as many.
    """

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
        super().__init__(weight, schedule, levels, banks, filters, zero_mean)
        if samples < 2:
            raise ValueError(f"samples: {samples} is not 2 or more")
        self.samples = samples

    def forward(self, batch: ClipBatch, outputs: Outputs) -> Tensor:
        levels = self.pyramid(outputs.still.float(), batch.all_style.float())
        with torch.autocast(outputs.still.device.type, enabled=False):  # faint texture needs the digits
            return torch.stack([self._distance(*level) for level in levels]).mean()

    def _distance(self, picture: Tensor, style: Tensor, sizes: list[int]) -> Tensor:
        distances = []
        for size in sizes:
            banks = self.banks(size)
            bank = banks[torch.randint(len(banks), ()).item()]
            texture = round(self.zero_mean * len(bank))
            b = _responses(style, bank, self.samples).flatten(1)
            scale = b.std(dim=1, keepdim=True, correction=0).clamp_min(1e-3)  # one response has a deviation of 0
            b = b / scale
            # Not fewer from each where there are more: few samples of a wide distribution look narrow.
            parts = _responses(_quarters(picture), bank, self.samples * len(picture) // 2) / scale[:, None]
            whole = _responses(picture, bank, self.samples).flatten(1) / scale
            each = _wasserstein(parts[:texture], b[:texture, None]).mean(1)
            distances.append(torch.cat([each, _wasserstein(whole[texture:], b[texture:])]).mean())
        return torch.stack(distances).mean()


class RandomFilterGram(_RandomFilterTerm):
    """Relative distance of Gram matrices of rectified responses to fixed random filters, over a pyramid.

    One layer of random filters of several sizes and a ReLU hold enough statistics to synthesise textures (Ustyuzhaninov
    et al. 2017, section 3). For each level and size: |A - B|^2 / |B|^2, with A and B the Gram matrices (Gatys et al.
    2016, Eqs. 3-5) of picture and style, batch against batch. A filter's responses are divided by their standard
    deviation on the style first, since random filters answer mostly to colour and would leave the strokes uncounted.

    Args:
        weight, schedule: see LossTerm.
        levels: pyramid levels, each of half the resolution of the one before.
        filters: filters on a level, a third each of 3, 5 and 7 pixels.
        zero_mean: share of the filters with zero mean, which see texture and not colour.
    """

    def __init__(
        self,
        weight: float,
        levels: int = 4,
        filters: int = 96,
        zero_mean: float = 0.6,
        schedule: Callable[[float], float] | None = None,
    ) -> None:
        super().__init__(weight, schedule, levels, levels, filters, zero_mean)  # a bank for each level

    def forward(self, batch: ClipBatch, outputs: Outputs) -> Tensor:
        distances = []
        for level, (picture, style, sizes) in enumerate(self.pyramid(outputs.still.float(), batch.style.float())):
            distances += [self._distance(picture, style, self.banks(size)[level]) for size in sizes]
        return torch.stack(distances).mean()

    def _distance(self, picture: Tensor, style: Tensor, filters: Tensor) -> Tensor:
        with torch.autocast(picture.device.type, enabled=False):
            a, b = F.conv2d(picture, filters), F.conv2d(style, filters)
        scale = b.std(dim=(0, 2, 3), keepdim=True).clamp_min(1e-3)
        return relative_distance(gram(F.relu(a / scale)), gram(F.relu(b / scale)))


def _random_filters(sizes: tuple[int, ...], banks: int, filters: int, zero_mean: float) -> dict[int, Tensor]:
    """{size: filters (banks, filters, 3, size, size) of norm 1}, of which the first, the share `zero_mean`, have no
    mean in any channel. The same at every call."""
    generator = torch.Generator().manual_seed(0)
    made = {}
    for size in sizes:
        bank = torch.randn(banks, filters, 3, size, size, generator=generator)
        flat = bank[:, : round(zero_mean * filters)]
        flat -= flat.mean(dim=(-1, -2), keepdim=True)
        made[size] = bank / bank.flatten(2).norm(dim=2)[..., None, None, None]
    return made


def _responses(pictures: Tensor, bank: Tensor, samples: int) -> Tensor:
    """Pictures (B, 3, H, W) and filters (F, 3, k, k) -> about `samples` responses of each filter (F, B, n).

    Places lie on a grid with a random offset, so that only the responses that count are computed.
    """
    batch, _, height, width = pictures.shape
    stride = max(1, int((batch * height * width / samples) ** 0.5))
    spare = min(stride, height - bank.shape[-1] + 1, width - bank.shape[-1] + 1)
    top, left = torch.randint(spare, (2,)).tolist()
    return F.conv2d(pictures[..., top:, left:], bank, stride=stride).transpose(0, 1).flatten(2)


def _quarters(pictures: Tensor) -> Tensor:
    """(B, C, H, W) -> (4 B, C, H / 2, W / 2), or the pictures as they are where quarters would be too small."""
    height, width = (side // 2 for side in pictures.shape[-2:])
    if min(height, width) < SMALLEST_QUARTER:
        return pictures
    return torch.cat([pictures[..., y : y + height, x : x + width] for y in (0, height) for x in (0, width)])


def _wasserstein(a: Tensor, b: Tensor) -> Tensor:
    """Wasserstein-1 distance (...) of samples (..., n) and (..., m); of the larger set, as many quantiles as the
    smaller one has samples."""
    a, b = (x.sort(dim=-1).values for x in (a, b))
    count = min(a.shape[-1], b.shape[-1])
    a, b = (x[..., _evenly(x.shape[-1], count).to(x.device)] for x in (a, b))
    return (a - b).abs().mean(-1)


def _evenly(size: int, count: int) -> Tensor:
    """`count` of the numbers below `size`, in the middle of as many equal parts."""
    return ((torch.arange(count) + 0.5) * (size / count)).long()


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
        relative = [
            (a - b).square().sum() / (a.square().sum() + b.square().sum()) for a, b in zip(picture, style, strict=True)
        ]
        return torch.stack(relative).mean()


def gram(features: Tensor) -> Tensor:
    """(B, C, h, w) -> (C, C): the mean over batch and places of the products of channels."""
    flat = features.float().transpose(0, 1).flatten(1)
    with torch.autocast(features.device.type, enabled=False):
        return flat @ flat.T / flat.shape[1]


def relative_distance(a: Tensor, b: Tensor) -> Tensor:
    """|a - b|^2 / |b|^2 over all elements: a scalar that does not depend on the scale of what is compared."""
    return (a - b).square().sum() / b.square().sum().clamp_min(1e-12)
