"""How near pictures are to a style, and to their content: distances that need no weights, and those of features.

Pictures and styles are lists of (3, H, W) float RGB in [0, 1] of any sizes. Every place of every picture counts the
same, and nothing is drawn at random: a call gives the same number again.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
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


@dataclass(frozen=True)
class Look:
    """What the distances need to know of a set of pictures, gathered once (`look`).

    `patches`: for each level and size of filter the quantiles (FILTERS, QUANTILES) of the responses and their standard
    deviations (FILTERS,), None where a picture is smaller than the filter; `colours` (DIRECTIONS, QUANTILES). Of every
    layer of a feature network, if there is one: `grams` (C, C), `moments` (2, C) mean and deviation; `deepest`: the
    last layer of each picture.
    """

    patches: list[tuple[Tensor, Tensor] | None]
    colours: Tensor
    grams: list[Tensor]
    moments: list[Tensor]
    deepest: list[Tensor]


@torch.no_grad()
def look(pictures: Sequence[Tensor], features: Features | None = None) -> Look:
    """Gather what the distances below compare."""
    patches: list[tuple[Tensor, Tensor] | None] = []
    for level in range(LEVELS):
        shrunk = _shrunk(pictures, level)
        for size in SIZES:
            fits = all(min(picture.shape[-2:]) >= size for picture in shrunk)
            responses = _responses(shrunk, size) if fits else None
            patches.append(None if responses is None else (_quantiles(responses), responses.std(dim=1, correction=0)))
    colours = _quantiles(_directions() @ torch.cat([_lab(picture, len(pictures)) for picture in pictures], 1))
    grams, moments, deepest = [], [], []
    for picture in pictures if features else ():
        maps = [feature[0].flatten(1) for feature in features(picture[None])]
        grams.append([f @ f.T / f.shape[1] for f in maps])
        moments.append([torch.stack([f.mean(1), f.std(1, correction=0)]) for f in maps])
        deepest.append(maps[-1])
    return Look(patches, colours, _means(grams), _means(moments), deepest)


def patch_distance(a: Look, b: Look) -> float:
    """Multi-scale sliced Wasserstein-1 distance between the distributions of patches, in standard deviations of `b`.

    Random filters of a fixed seed project patches of 3, 5 and 7 pixels to numbers; a projection's distance is the mean
    difference of the quantiles (Rabin et al. 2011), over the deviation of the style's. The mean over filters and over
    four levels of a pyramid. No pretrained network. 0 for a style against itself; about the size of 1 for strangers.
    """
    both = [(x, y) for x, y in zip(a.patches, b.patches, strict=True) if x is not None and y is not None]
    assert both, "pictures are smaller than the smallest filter"
    distances = [((x[0] - y[0]).abs().mean(1) / y[1].clamp_min(1e-3)).mean() for x, y in both]
    return float(torch.stack(distances).mean())


def colour_distance(a: Look, b: Look) -> float:
    """Sliced Wasserstein-1 distance between the colour distributions in CIELAB, in its units (1 is just visible).

    The mean over 64 fixed directions, evenly spread by the golden spiral; places as in `patch_distance`.
    """
    return float((a.colours - b.colours).abs().mean())


def gram_distance(a: Look, b: Look) -> float:
    """Squared distance of mean Gram matrices, averaged over layers (Gatys et al. 2016, Eqs. 3-5).

    Relative, |A - B|^2 / |B|^2, since networks scale their layers differently.
    """
    layers = zip(a.grams, b.grams, strict=True)
    return float(torch.stack([(x - y).square().sum() / y.square().sum() for x, y in layers]).mean())


def adain_distance(a: Look, b: Look) -> float:
    """Relative squared distance of channel means plus that of channel deviations, averaged over layers.

    Huang and Belongie 2017, Eq. (13), there without the division by the style's own square.
    """
    layers = zip(a.moments, b.moments, strict=True)
    values = [((x - y).square().sum(1) / y.square().sum(1)).sum() for x, y in layers]
    return float(torch.stack(values).mean())


def feature_distance(pictures: Look, contents: Look) -> float:
    """Relative squared distance of the last layer, picture by picture (content loss of Gatys et al. 2016, Eq. 1)."""
    pairs = zip(pictures.deepest, contents.deepest, strict=True)
    return float(torch.stack([(a - b).square().sum() / b.square().sum() for a, b in pairs]).mean())


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


@lru_cache(maxsize=1)
def _directions() -> Tensor:
    """(DIRECTIONS, 3) of length 1."""
    turn = torch.arange(DIRECTIONS, dtype=torch.float32)
    z = 1 - (2 * turn + 1) / DIRECTIONS
    angle, radius = turn * torch.pi * (3 - 5**0.5), (1 - z * z).sqrt()
    return torch.stack([radius * angle.cos(), radius * angle.sin(), z], 1)


def _means(per_picture: list[list[Tensor]]) -> list[Tensor]:
    return [torch.stack(layer).mean(0) for layer in zip(*per_picture, strict=True)]


def _quantiles(x: Tensor) -> Tensor:
    ordered = torch.from_numpy(np.sort(x.numpy(), axis=1))  # on a CPU faster than torch's sort
    place = ((torch.arange(QUANTILES) + 0.5) / QUANTILES * x.shape[1] - 0.5).clamp(0, x.shape[1] - 1)
    low = place.long()
    high = (low + 1).clamp_max(x.shape[1] - 1)
    return torch.lerp(ordered[:, low], ordered[:, high], (place - low)[None])
