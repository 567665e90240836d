"""Terms on the features of a pretrained network, which LossSet holds for all of them (`loss.features`).

All are relative to the features that they are compared with, since files of VGG-19 differ in scale; factors between
layers and between papers' weights are lost with that. Each is a mean over its taps.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from vst.batch import ClipBatch
from vst.losses.base import LossTerm, Outputs
from vst.losses.style import gram, relative_distance

STYLE_TAPS = ("relu1_1", "relu2_1", "relu3_1", "relu4_1")


class FeatureTerm(LossTerm):
    """A term on features of pictures.

    Args:
        weight, schedule: see LossTerm.
        taps: layers to look at, such as relu4_1.
    """

    def __init__(
        self,
        weight: float,
        taps: Sequence[str] = STYLE_TAPS,
        schedule: Callable[[float], float] | None = None,
    ) -> None:
        super().__init__(weight, schedule)
        if not taps:
            raise ValueError(f"{type(self).__name__}: taps must name one layer at least")
        self.taps = tuple(taps)

    def seen(self, outputs: Outputs, pictures: Tensor) -> list[Tensor]:
        """The features of pictures (N, 3, H, W) at each tap."""
        assert outputs.perceive is not None, "this term needs a LossSet with a feature network"
        return _at(outputs.perceive(pictures), self.taps)

    def mean_over_taps(self, distance: Callable[[Tensor, Tensor], Tensor], a: list[Tensor], b: list[Tensor]) -> Tensor:
        return torch.stack([distance(x, y) for x, y in zip(a, b, strict=True)]).mean()


class FeatureReconstruction(FeatureTerm):
    """|F(result) - F(photo)|^2 / |F(photo)|^2: the content (feature reconstruction) loss of Johnson et al. 2016, Eq. 2,
    relative. Gatys et al. 2016, Eq. 1, use relu4_2. The photo is in the colours of the style where the stylizer has a
    tone: otherwise the term would ask for those of the film."""

    def __init__(
        self,
        weight: float,
        taps: Sequence[str] = ("relu4_1",),
        schedule: Callable[[float], float] | None = None,
    ) -> None:
        super().__init__(weight, taps, schedule)

    def forward(self, batch: ClipBatch, outputs: Outputs) -> Tensor:
        return self.mean_over_taps(
            relative_distance, self.seen(outputs, outputs.still), self.seen(outputs, outputs.subject)
        )


class FeatureGram(FeatureTerm):
    """|G(result) - G(style)|^2 / |G(style)|^2, G the Gram matrix of features: Gatys et al. 2016, Eqs. 3-5; Johnson et
    al. 2016, Eq. 4. The style's are those of its whole pictures.

    The share `each` compares every result with the picture that it is nearest to: the mean of a painter's works is none
    of them. The rest compares the mean Gram matrix of the batch with that of all pictures, which leaves a batch its
    variety: a dark photograph need not have the light tones.

    Args:
        weight, taps, schedule: see FeatureTerm.
        each: in [0, 1].
    """

    def __init__(
        self,
        weight: float,
        taps: Sequence[str] = STYLE_TAPS,
        each: float = 0.0,
        schedule: Callable[[float], float] | None = None,
    ) -> None:
        super().__init__(weight, taps, schedule)
        if not 0 <= each <= 1:
            raise ValueError(f"each: {each} does not lie between 0 and 1")
        self.each = each
        self._grams: list[Tensor] = []

    def set_style(self, pictures: Sequence[Tensor], perceive: Callable[[Tensor], dict[str, Tensor]] | None) -> None:
        assert perceive is not None, "this term needs a LossSet with a feature network"
        seen = [[gram(features) for features in _at(perceive(picture[None]), self.taps)] for picture in pictures]
        self._grams = [torch.stack(grams) for grams in zip(*seen, strict=True)]

    def forward(self, batch: ClipBatch, outputs: Outputs) -> Tensor:
        results = self.seen(outputs, outputs.still)
        if not self._grams:
            styles = [gram(features)[None] for features in self.seen(outputs, batch.style)]
        else:
            styles = [grams.to(batch.style.device) for grams in self._grams]
        together = torch.stack([relative_distance(gram(f), g.mean(0)) for f, g in zip(results, styles, strict=True)])
        if self.each == 0:
            return together.mean()
        each = torch.stack([_distances(f, g) for f, g in zip(results, styles, strict=True)]).mean(0)
        return (1 - self.each) * together.mean() + self.each * each.min(dim=1).values.mean()


class AdaINStatistics(FeatureTerm):
    """|mu(result) - mu(style)|^2 + |sigma(result) - sigma(style)|^2 of each channel, relative to the style's: the style
    loss of Huang & Belongie 2017, Eq. 13. mu and sigma are taken over places and then averaged over the batch."""

    def forward(self, batch: ClipBatch, outputs: Outputs) -> Tensor:
        def distance(a: Tensor, b: Tensor) -> Tensor:
            return relative_distance(_mean_and_deviation(a), _mean_and_deviation(b))

        return self.mean_over_taps(distance, self.seen(outputs, outputs.still), self.seen(outputs, batch.style))


class FeatureFrameDifference(FeatureTerm):
    """|(F(o_t) - F(o_t-1)) - (F(x_t) - F(x_t-1))|^2 / |F(x)|^2 for stylised frames o and input x: the feature
    frame-difference loss (F-FDB) of Xu et al. 2021, relative. No flow is needed; a part that stands still in the input
    has to stand still in the result as the network sees it."""

    least_frames = 2

    def __init__(
        self,
        weight: float,
        taps: Sequence[str] = ("relu3_1",),
        schedule: Callable[[float], float] | None = None,
    ) -> None:
        super().__init__(weight, taps, schedule)

    def forward(self, batch: ClipBatch, outputs: Outputs) -> Tensor:
        size = batch.frames.shape[:2]

        def distance(a: Tensor, b: Tensor) -> Tensor:
            change = (a - b).unflatten(0, size).diff(dim=1)  # the difference of the differences
            return batch.within_scenes(change.square()) / b.square().mean().clamp_min(1e-12)

        result, photo = (self.seen(outputs, x.flatten(0, 1)) for x in (outputs.clip, batch.frames))
        return self.mean_over_taps(distance, result, photo)


def _distances(results: Tensor, grams: Tensor) -> Tensor:
    """Features (B, C, h, w) and Gram matrices (N, C, C) -> relative distances (B, N)."""
    own = torch.stack([gram(one[None]) for one in results])
    apart = (own[:, None] - grams[None]).square().sum((2, 3))
    return apart / grams.square().sum((1, 2)).clamp_min(1e-12)


def _at(features: dict[str, Tensor], taps: Sequence[str]) -> list[Tensor]:
    return [features[tap] for tap in taps]


def _mean_and_deviation(features: Tensor) -> Tensor:
    """(B, C, h, w) -> (2, C)."""
    deviation = (features.var(dim=(2, 3), correction=0) + 1e-8).sqrt()
    return torch.stack([features.mean(dim=(2, 3)).mean(dim=0), deviation.mean(dim=0)])
