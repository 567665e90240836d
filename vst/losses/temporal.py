"""Terms that keep the film calm."""

from torch import Tensor

from vst.batch import ClipBatch
from vst.flow import warp
from vst.losses.base import LossTerm, Outputs


class WarpConsistency(LossTerm):
    """Each stylised frame against its predecessor, warped along the motion of the input: mean(valid (|e| + 4 e^2)).

    Short-term output loss (Ruder et al. 2016, Eq. 6; Huang et al. 2017, Eq. 4) with a robust penalty: linear for small
    errors, which are most of flicker, quadratic for large ones. Needs the clip's flow; occluded pixels do not count.
    """

    def forward(self, batch: ClipBatch, outputs: Outputs) -> Tensor:
        assert batch.flow is not None and batch.valid is not None, "the temporal term needs clips with flow"
        clip = outputs.clip.float()
        before, after = clip[:, :-1].flatten(0, 1), clip[:, 1:].flatten(0, 1)
        warped, inside = warp(before, batch.flow.flatten(0, 1).float())
        valid = inside * batch.valid.flatten(0, 1)
        error = (warped - after).abs()
        return (valid * (error + 4 * error.square())).sum() / (3 * valid.sum()).clamp_min(1)
