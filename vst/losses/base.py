"""What a loss term is, and the weighted sum of named terms."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from vst.batch import ClipBatch


@dataclass
class Outputs:
    """What the generator made of a batch, cropped to the interior that counts.

    `clip` (B, T, 3, H, W): the stylised frames, about [0, 1]. `still` (B, 3, H, W): one of them for each clip, drawn at
    random, for the terms that look at single pictures; `photo` (B, 3, H, W): its input. `encode`: frames
    (N, 3, H, W) -> features of the generator's encoder. `frames` (B, T, 3, H + 2m, W + 2m): the whole input, with the
    margin m; `stylise`: such a clip -> its result (B, T, 3, H, W) from a fresh state, for terms that compare runs.
    `discriminator` is None without an adversarial game.
    """

    clip: Tensor
    still: Tensor
    photo: Tensor
    encode: Callable[[Tensor], Tensor]
    frames: Tensor
    stylise: Callable[[Tensor], Tensor]
    discriminator: nn.Module | None = None


class LossTerm(nn.Module):
    """A term of the generator's loss: `forward(batch, outputs) -> scalar`.

    Args:
        weight: factor in the sum.
        schedule: progress of the run in [0, 1] -> factor on the weight (`vst.schedules`), None for always 1.
    """

    def __init__(self, weight: float, schedule: Callable[[float], float] | None = None) -> None:
        super().__init__()
        self.weight = weight
        self.schedule = schedule

    def weight_at(self, progress: float) -> float:
        return self.weight * (self.schedule(progress) if self.schedule else 1.0)

    def forward(self, batch: ClipBatch, outputs: Outputs) -> Tensor:
        raise NotImplementedError


class LossSet(nn.Module):
    """Named terms and their weighted sum. `forward(batch, outputs, progress) -> (total, {name: unweighted value})`.

    A term whose weight is 0 at this point of the run is not computed. Values are computed in float32 whatever the
    precision of the networks.
    """

    def __init__(self, terms: dict[str, LossTerm]) -> None:
        super().__init__()
        self.terms = nn.ModuleDict(terms)

    def forward(self, batch: ClipBatch, outputs: Outputs, progress: float) -> tuple[Tensor, dict[str, Tensor]]:
        values: dict[str, Tensor] = {}
        total = torch.zeros((), device=outputs.clip.device)
        for name, term in self.terms.items():
            weight = term.weight_at(progress)
            if weight == 0:
                continue
            values[name] = term(batch, outputs)
            total = total + weight * values[name]
        return total, values
