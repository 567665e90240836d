"""The way back: a second network turns pictures into photographs again."""

from __future__ import annotations

from collections.abc import Callable

import torch.nn.functional as F
from torch import Tensor, nn

from vst.batch import ClipBatch
from vst.losses.base import LossTerm, Outputs


class Cycle(LossTerm):
    """mean |F(G(x)) - x| + mean |G(F(y)) - y| for photographs x and crops y of the style, F the way back.

    Cycle consistency of Zhu et al. 2017 (CycleGAN), Eq. 2, whose weight is 10 beside an adversarial term of 1. What F
    is to find again, G cannot leave out. G sees F(y) as the first frame of a film. Deviation: F plays no game of its
    own, so nothing but G asks that F(y) looks like a photograph.

    F is trained with the generator, by its optimizer. It belongs to the training alone: a checkpoint to resume from has
    it, a stylizer checkpoint has not.

    Args:
        weight, schedule: see LossTerm.
        network: F, a `vst.networks.Stylizer`; without memory, since it sees single frames.
    """

    def __init__(self, weight: float, network: nn.Module, schedule: Callable[[float], float] | None = None) -> None:
        super().__init__(weight, schedule)
        if not all(isinstance(getattr(network, part, None), nn.Module) for part in ("generator", "temporal")):
            what = "null" if network is None else f"a {type(network).__name__}"
            raise ValueError(f"network: {what} is no way back; give a whole vst.networks.Stylizer, as loss=cycle does")
        self.network = network

    def forward(self, batch: ClipBatch, outputs: Outputs) -> Tensor:
        margin, height, width = outputs.margin, *outputs.photo.shape[-2:]
        photo = self._back(outputs.still, margin)[..., margin : margin + height, margin : margin + width]
        style = outputs.stylise(self._back(batch.style, margin)[:, None])[:, 0]
        return (photo.float() - outputs.photo).abs().mean() + (style.float() - batch.style).abs().mean()

    def _back(self, pictures: Tensor, margin: int) -> Tensor:
        """F of pictures that are continued by `margin` pixels on each side, which the result still has."""
        return self.network(F.pad(pictures.float(), (margin,) * 4, mode="replicate"))[0]
