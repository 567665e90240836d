"""Terms that keep the picture a picture."""

import kornia
import torch.nn.functional as F
from torch import Tensor

from vst.batch import ClipBatch
from vst.losses.base import LossTerm, Outputs


class TotalVariation(LossTerm):
    """Mean absolute difference of neighbouring pixels (Johnson et al. 2016, section 3.2), in units of [0, 1]."""

    def forward(self, batch: ClipBatch, outputs: Outputs) -> Tensor:
        return kornia.losses.total_variation(outputs.still.float(), reduction="mean").mean()


class RangePenalty(LossTerm):
    """Mean distance of pixels to [0, 1]. What is shown is clamped, and a clamp has no gradient to learn by."""

    def forward(self, batch: ClipBatch, outputs: Outputs) -> Tensor:
        clip = outputs.clip.float()
        return (F.relu(clip - 1) + F.relu(-clip)).mean()
