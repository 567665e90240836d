"""How near pictures are to a style, and to their content: distances that need no weights, and those of features.

Pictures and styles are lists of (3, H, W) float RGB in [0, 1] of any sizes. Every place of every picture counts the
same, and nothing is drawn at random: a call gives the same number again.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import lru_cache

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor
from torchmetrics.functional.image import peak_signal_noise_ratio, structural_similarity_index_measure

Features = Callable[[Tensor], list[Tensor]]  # (1, 3, H, W) -> a feature map (1, C, h, w) of each layer

LEVELS = 4
SIZES = (3, 5, 7)
FILTERS = 32  # of each size, half of them with zero mean: these see texture and no colour
PLACES = 16384  # of a level, over all pictures of a side, about
QUANTILES = 512
DIRECTIONS = 64


def patch_distance(pictures: Sequence[Tensor], styles: Sequence[Tensor]) -> float:
    """Multi-scale sliced Wasserstein-1 distance between the distributions of patches, in standard deviations of style.

    Random filters of a fixed seed project patches of 3, 5 and 7 pixels to numbers; a projection's distance is the mean
    difference of the quantiles (Rabin et al. 2011), over the deviation of the style's. The mean over filters and over
    four levels of a pyramid. No pretrained network. 0 for a style against itself; about the size of 1 for strangers.
    """
    distances = []
    for level in range(LEVELS):
        sides = [_shrunk(side, level) for side in (pictures, styles)]
        for size in SIZES:
            if all(min(p.shape[-2:]) >= size for side in sides for p in side):
                a, b = (_responses(side, size) for side in sides)
                scale = b.std(dim=1, correction=0).clamp_min(1e-3)
                distances.append((_wasserstein(a, b) / scale).mean())
    assert distances, "pictures are smaller than the smallest filter"
    return float(torch.stack(distances).mean())


def colour_distance(pictures: Sequence[Tensor], styles: Sequence[Tensor]) -> float:
    """Sliced Wasserstein-1 distance between the colour distributions in CIELAB, in its units (1 is just visible).

    The mean over 64 fixed directions, evenly spread by the golden spiral; places as in `patch_distance`.
    """
    turn = torch.arange(DIRECTIONS, dtype=torch.float32)
    z = 1 - (2 * turn + 1) / DIRECTIONS
    angle, radius = turn * torch.pi * (3 - 5**0.5), (1 - z * z).sqrt()
    directions = torch.stack([radius * angle.cos(), radius * angle.sin(), z], 1)
    a, b = (directions @ torch.cat([_lab(p, len(side)) for p in side], 1) for side in (pictures, styles))
    return float(_wasserstein(a, b).mean())


def gram_distance(pictures: Sequence[Tensor], styles: Sequence[Tensor], features: Features) -> float:
    """Relative squared distance of mean Gram matrices, averaged over layers (Gatys et al. 2016, Eqs. 3-5).

    Relative, |A - B|^2 / |B|^2, since networks scale their
    layers differently.
    """

    def grams(side: Sequence[Tensor]) -> list[Tensor]:
        per_picture = []
        for picture in side:
            flat = [f[0].flatten(1) for f in features(picture[None])]
            per_picture.append([f @ f.T / f.shape[1] for f in flat])
        return [torch.stack(layer).mean(0) for layer in zip(*per_picture, strict=True)]

    layers = zip(grams(pictures), grams(styles), strict=True)
    return float(torch.stack([(a - b).square().sum() / b.square().sum() for a, b in layers]).mean())


def adain_distance(pictures: Sequence[Tensor], styles: Sequence[Tensor], features: Features) -> float:
    """Relative squared distance of channel means plus that of channel deviations, averaged over layers.

    Huang and Belongie 2017, Eq. (13), there without the division by the style's own square.
    """

    def statistics(side: Sequence[Tensor]) -> list[tuple[Tensor, Tensor]]:
        per_picture = []
        for picture in side:
            flat = [f[0].flatten(1) for f in features(picture[None])]
            per_picture.append([torch.stack([f.mean(1), f.std(1, correction=0)]) for f in flat])
        return [torch.stack(layer).mean(0).unbind(0) for layer in zip(*per_picture, strict=True)]

    layers = zip(statistics(pictures), statistics(styles), strict=True)
    values = [sum((x - y).square().sum() / y.square().sum() for x, y in zip(a, b, strict=True)) for a, b in layers]
    return float(torch.stack(values).mean())


def feature_distance(pictures: Sequence[Tensor], contents: Sequence[Tensor], features: Features) -> float:
    """Relative squared distance of the last layer, picture by picture (content loss of Gatys et al. 2016, Eq. 1)."""
    values = []
    for picture, content in zip(pictures, contents, strict=True):
        a, b = (features(p[None])[-1] for p in (picture, content))
        values.append((a - b).square().sum() / b.square().sum())
    return float(torch.stack(values).mean())


def content_scores(pictures: Sequence[Tensor], contents: Sequence[Tensor]) -> dict[str, float]:
    """`ssim` and `psnr` (dB) of pictures against their contents, all of one size; psnr is at most 100."""
    a, b = torch.stack(list(pictures)), torch.stack(list(contents))
    ssim = structural_similarity_index_measure(a, b, data_range=1.0)
    psnr = peak_signal_noise_ratio(a, b, data_range=1.0)
    return {"ssim": float(ssim), "psnr": min(float(psnr), 100.0)}


@lru_cache(maxsize=len(SIZES))
def _bank(size: int) -> Tensor:
    """(FILTERS, 3, size, size) of norm 1."""
    bank = torch.randn(FILTERS, 3, size, size, generator=torch.Generator().manual_seed(size))
    bank[::2] -= bank[::2].mean(dim=(-1, -2), keepdim=True)
    return bank / bank.flatten(1).norm(dim=1)[:, None, None, None]


def _shrunk(pictures: Sequence[Tensor], level: int) -> list[Tensor]:
    return [F.avg_pool2d(p[None].float(), 2**level)[0] if level else p.float() for p in pictures]


def _responses(pictures: Sequence[Tensor], size: int) -> Tensor:
    """(FILTERS, n) on a regular grid of about PLACES / len(pictures) places in each picture."""
    found = [F.conv2d(p[None].cpu(), _bank(size), stride=_stride(p, len(pictures)))[0].flatten(1) for p in pictures]
    return _equal(found)


def _lab(picture: Tensor, count: int) -> Tensor:
    stride = _stride(picture, count)
    pixels = picture.detach().float().cpu()[:, ::stride, ::stride].permute(1, 2, 0).contiguous().numpy()
    return torch.from_numpy(np.ascontiguousarray(cv2.cvtColor(pixels, cv2.COLOR_RGB2Lab).reshape(-1, 3).T))


def _stride(picture: Tensor, count: int) -> int:
    """Odd: an even one would see one phase only of the lattice that pixel shuffle can leave."""
    height, width = picture.shape[-2:]
    stride = max(1, int((height * width * count / PLACES) ** 0.5))
    return stride - 1 + stride % 2


def _equal(groups: list[Tensor]) -> Tensor:
    """Join (F, n_i) to (F, n) with the same number of places from each, taken at even distances."""
    count = min(g.shape[1] for g in groups)
    return torch.cat([g[:, torch.linspace(0, g.shape[1] - 1, count).round().long()] for g in groups], 1)


def _wasserstein(a: Tensor, b: Tensor) -> Tensor:
    """(F, n) and (F, m) -> (F,): mean difference of QUANTILES quantiles."""
    return (_quantiles(a) - _quantiles(b)).abs().mean(1)


def _quantiles(x: Tensor) -> Tensor:
    ordered = torch.from_numpy(np.sort(x.numpy(), axis=1))  # on a CPU faster than torch's sort
    place = ((torch.arange(QUANTILES) + 0.5) / QUANTILES * x.shape[1] - 0.5).clamp(0, x.shape[1] - 1)
    low = place.long()
    high = (low + 1).clamp_max(x.shape[1] - 1)
    return torch.lerp(ordered[:, low], ordered[:, high], (place - low)[None])
