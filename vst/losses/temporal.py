"""Terms that keep the film calm: stylised frames of a clip against each other.

Notation: o_t are stylised frames, x_t the input, W warps a frame along the clip's flow into another one, and M is 1
where that flow can be trusted. Means are over the pixels that count.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
import torch.nn.functional as F
from torch import Tensor

from vst.batch import ClipBatch
from vst.flow import compose_flow, resize_flow, warp
from vst.losses.base import LossTerm, Outputs
from vst.losses.content import luminance


class WarpConsistency(LossTerm):
    """Each stylised frame against its predecessor, warped along the motion of the input: mean(valid (|e| + 4 e^2)).

    Short-term output loss (Ruder et al. 2016, Eq. 6; Huang et al. 2017, Eq. 4) with a robust penalty: linear for small
    errors, which are most of flicker, quadratic for large ones. Needs the clip's flow; occluded pixels do not count.
    """

    least_frames = 2

    def forward(self, batch: ClipBatch, outputs: Outputs) -> Tensor:
        error, valid = warp_error(outputs.clip, batch)
        return masked_mean(error.abs() + 4 * error.square(), valid)


class RelativeWarp(LossTerm):
    """mean M |o_t - W(o_t-1)|^2 / mean |grad o|^2, the denominator without gradient.

    A plain warping error is won by painting less: half of the contrast is a quarter of the error. Relative to the
    energy of the picture's own gradients, which is what a displacement by a pixel would change, contrast is neither
    punished nor rewarded. Needs the clip's flow.
    """

    least_frames = 2

    def forward(self, batch: ClipBatch, outputs: Outputs) -> Tensor:
        error, valid = warp_error(outputs.clip, batch)
        clip = outputs.clip.detach().float()
        detail = sum(clip.diff(dim=axis).square().mean() for axis in (-1, -2))
        return masked_mean(error.square(), valid) / detail.clamp_min(1e-6)


class RelaxedLuminance(LossTerm):
    """mean M |(o_t - W(o_t-1)) - Y(x_t - W(x_t-1))|^2, Y the luminance, the same for each channel.

    Output-level temporal loss of Gao et al. 2018 (ReCoNet): where the light on a surface changes in the input, the
    result may change as much; a plain warp error would hold shadows and flashes back.
    """

    least_frames = 2

    def forward(self, batch: ClipBatch, outputs: Outputs) -> Tensor:
        change, valid = warp_error(outputs.clip, batch)
        light, _ = warp_error(batch.frames, batch)
        return masked_mean((change - luminance(light)).square(), valid)


class FeatureWarp(LossTerm):
    """mean M |F_t - W(F_t-1)|^2 / mean |F|^2, F the features that the generator's encoder finds in the input.

    Feature-level temporal loss of Gao et al. 2018 (ReCoNet), with the flow brought to the grid and the units of the
    features; a feature counts where all of its pixels do. Relative, since the plain distance is won by shrinking the
    features.
    """

    least_frames = 2

    def forward(self, batch: ClipBatch, outputs: Outputs) -> Tensor:
        flow, valid = known_flow(batch)
        size = batch.frames.shape[:2]
        features = outputs.encode(batch.frames.flatten(0, 1)).float().unflatten(0, size)
        features = features / features.square().mean().sqrt().clamp_min(1e-6)
        grid = features.shape[-2:]
        warped, inside = warp(features[:, :-1].flatten(0, 1), resize_flow(flow.flatten(0, 1), grid))
        whole = -F.adaptive_max_pool2d(-valid.flatten(0, 1), grid)
        return masked_mean((features[:, 1:].flatten(0, 1) - warped).square(), whole * inside)


class LongTerm(LossTerm):
    """mean M |o_t - W(o_1)|, t = 3, 4, ...: later frames against the first one.

    Long-term temporal loss of Lai et al. 2018; neighbours are the short-term terms' matter. Small changes of one sign
    from frame to frame, which those let pass, add up here. The flow over the distance is that between neighbours,
    composed; a pixel counts as long as it was seen in every frame on the way.
    """

    least_frames = 3

    def forward(self, batch: ClipBatch, outputs: Outputs) -> Tensor:
        clip = outputs.clip.float()
        errors, masks = [], []
        for t, (flow, valid) in enumerate(flows_to_first(*known_flow(batch)), 1):
            if t >= 2:
                warped, inside = warp(clip[:, 0], flow)
                errors.append((clip[:, t] - warped).abs())
                masks.append(valid * inside)
        return masked_mean(torch.cat(errors), torch.cat(masks))


class FrameDifference(LossTerm):
    """mean |(o_t - o_t-1) - (x_t - x_t-1)|^2: the pixel frame-difference loss (P-FDB) of Xu et al. 2021.

    No flow is needed, so any clip will do. What stands still in the input has to stand still in the result; what moves
    is asked to change by what the input changes by, which also holds the style's contrast down.
    """

    least_frames = 2

    def forward(self, batch: ClipBatch, outputs: Outputs) -> Tensor:
        return batch.within_scenes((outputs.clip.float() - batch.frames.float()).diff(dim=1).square())


def known_flow(batch: ClipBatch) -> tuple[Tensor, Tensor]:
    assert batch.flow is not None and batch.valid is not None, "this term needs clips with flow"
    return batch.flow.float(), batch.valid.float()


def warp_error(clip: Tensor, batch: ClipBatch) -> tuple[Tensor, Tensor]:
    """Each frame of `clip` (B, T, 3, H, W) minus its warped predecessor, (B (T-1), 3, H, W), and where that counts."""
    flow, valid = known_flow(batch)
    clip = clip.float()
    warped, inside = warp(clip[:, :-1].flatten(0, 1), flow.flatten(0, 1))
    return clip[:, 1:].flatten(0, 1) - warped, inside * valid.flatten(0, 1)


def masked_mean(values: Tensor, mask: Tensor) -> Tensor:
    """Mean of `values` (N, C, H, W) where `mask` (N, 1, H, W) is 1; 0 where it is 0 everywhere."""
    return (values * mask).sum() / (values.shape[1] * mask.sum()).clamp_min(1)


def flows_to_first(flow: Tensor, valid: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
    """For frames 2, 3, ... of a clip: flow (B, 2, H, W) on the frame's grid that points into frame 1, and its mask.

    Flows between neighbours are chained, exact where they are linear between pixels. Valid where the last step is, and
    all the pixels are that it lands between.

    Args:
        flow, valid: of a ClipBatch, (B, T-1, 2, H, W) and (B, T-1, 1, H, W).
    """
    total, seen = flow[:, 0], valid[:, 0]
    yield total, seen
    for t in range(1, flow.shape[1]):
        before, inside = warp(seen, flow[:, t])
        seen = valid[:, t] * inside * (before > 0.999).float()
        total = compose_flow(flow[:, t], total)
        yield total, seen
