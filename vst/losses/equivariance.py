"""Terms that run the generator again on a changed input and compare: none needs flow, some not even a film.

Each costs about one more pass of the generator over the clip, forward and backward; ping-pong two.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from vst.batch import ClipBatch
from vst.losses.base import LossTerm, Outputs


class ShiftEquivariance(LossTerm):
    """mean |G(crop(x)) - crop(G(x))|^2 for a crop that shifts the clip by whole pixels.

    Flicker suppression of Yang et al. 2022 (VToonify), where the crop imitates a moving camera. Nothing is interpolated
    and the motion is exact, so any difference is the generator's own: aliasing, a lattice of pixel shuffle, borders.

    Args:
        weight, schedule: see LossTerm.
        reach: largest shift, pixels on each axis.
    """

    def __init__(self, weight: float, reach: int = 7, schedule: Callable[[float], float] | None = None) -> None:
        super().__init__(weight, schedule)
        if reach < 1:
            raise ValueError(f"reach: {reach} is not 1 or more")
        self.reach = reach

    def forward(self, batch: ClipBatch, outputs: Outputs) -> Tensor:
        reach = min(self.reach, min(outputs.clip.shape[-2:]) // 2)
        drawn = torch.randint(1, (reach + 1) ** 2, ()).item()  # 0, no shift, is left out
        top, left = divmod(drawn, reach + 1)
        shifted = outputs.stylise(outputs.frames[..., top:, left:], (left / 2, top / 2))
        return (shifted.float() - outputs.clip[..., top:, left:].float()).square().mean()


class NoiseConsistency(LossTerm):
    """mean |G(x + n) - G(x)|^2, n normal noise: the illumination loss of Deng et al. 2021 (MCCNet, weight 3000 there).

    Args:
        weight, schedule: see LossTerm.
        sigma: range from which the standard deviation is drawn for each clip, in units of [0, 1]. The paper's range is
            the default.
    """

    def __init__(
        self,
        weight: float,
        sigma: Sequence[float] = (0.01, 0.02),
        schedule: Callable[[float], float] | None = None,
    ) -> None:
        super().__init__(weight, schedule)
        if len(sigma) != 2 or not 0 < sigma[0] <= sigma[1]:
            raise ValueError(f"sigma: needs two numbers, 0 < low <= high, got {list(sigma)}")
        self.sigma = tuple(sigma)

    def forward(self, batch: ClipBatch, outputs: Outputs) -> Tensor:
        frames, (low, high) = outputs.frames, self.sigma
        sigma = low + (high - low) * torch.rand(frames.shape[0], 1, 1, 1, 1, device=frames.device)
        noisy = outputs.stylise(frames + sigma * torch.randn_like(frames))
        return (noisy.float() - outputs.clip.float()).square().mean()


class PingPong(LossTerm):
    """mean |o_t - o'_t|, o' from running the clip forwards and then back with the state carried: x_1 ... x_T ... x_1.

    Ping-pong loss of Chu et al. 2020 (TecoGAN; their code's L1, weight 0.5): the same input has to give the same
    picture whatever was seen between, so errors cannot build up in the memory. Ignoring the memory wins it too: combine
    it with a term that rewards memory. The state of the last forward frame belongs to both directions.
    """

    least_frames = 2

    def forward(self, batch: ClipBatch, outputs: Outputs) -> Tensor:
        length = outputs.frames.shape[1]
        there_and_back = torch.cat([outputs.frames, outputs.frames[:, :-1].flip(1)], dim=1)
        result = outputs.stylise(there_and_back).float()
        return (result[:, : length - 1] - result[:, length:].flip(1)).abs().mean()


class Identity(LossTerm):
    """mean |G(s) - s| for crops s of the style: what is painted already is to stay as it is.

    Identity loss of Zhu et al. 2017 (CycleGAN), section 5.2. It keeps the palette, and keeps a generator from
    exaggerating.
    """

    def forward(self, batch: ClipBatch, outputs: Outputs) -> Tensor:
        with_margin = F.pad(batch.style, (outputs.margin,) * 4, mode="replicate")
        result = outputs.stylise(with_margin[:, None])[:, 0]
        return (result.float() - batch.style.float()).abs().mean()
