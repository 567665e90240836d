"""A term on the direction of strokes."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor

from vst.batch import ClipBatch
from vst.losses.base import LossTerm, Outputs
from vst.losses.content import luminance


class StrokeDirection(LossTerm):
    """Share of the strokes' change that lies along the contours, in [0, 1]: sum (t . grad s)^2 / sum |grad s|^2.

    s is the luma of what was painted less that of the frame in the colours of the style, and t the unit tangents of the
    contours that the noise was drawn out along. Strokes that run along t change across it only; strokes without a
    direction give 1/2. Gram matrices are as content with a weave at 45 degrees whatever it lies on, and content at a
    deep layer does not see it. Tangents of this kind steer strokes in Litwinowicz 1997 and Hertzmann 1998.

    0 for models whose noise has no direction (all but `vst.networks.FlowGrain`).
    """

    def forward(self, batch: ClipBatch, outputs: Outputs) -> Tensor:
        along = outputs.along
        if along is None:
            return outputs.still.new_zeros(())
        strokes = luminance(outputs.still.float()) - luminance(outputs.subject.float())
        cell = strokes.shape[-1] // along.shape[-1]
        strokes = F.avg_pool2d(strokes, cell)
        along = along[..., : strokes.shape[-2], : strokes.shape[-1]][..., 1:-1, 1:-1]
        east = strokes[..., 1:-1, 2:] - strokes[..., 1:-1, :-2]
        south = strokes[..., 2:, 1:-1] - strokes[..., :-2, 1:-1]
        lengthwise = (along[:, :1] * east + along[:, 1:] * south).square().sum((1, 2, 3))
        return (lengthwise / (east.square() + south.square()).sum((1, 2, 3)).clamp_min(1e-6)).mean()
