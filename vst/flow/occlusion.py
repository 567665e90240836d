"""Where a flow can be trusted."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor

from vst.flow.warping import warp


def occlusion_mask(flow: Tensor, reverse_flow: Tensor) -> Tensor:
    """Pixels whose flow can be trusted, after Sundaram, Brox and Keutzer, ECCV 2010, section 3.

    With b the reverse flow warped here, a pixel is rejected where it is not seen in both frames, |f + b|^2 >
    0.01 (|f|^2 + |b|^2) + 0.5, on a motion edge, |grad u|^2 + |grad v|^2 > 0.01 |f|^2 + 0.002 (central
    differences), or where the flow leaves the frame. All terms are squared pixels, so the flow has to be in
    pixels of the resolution at which the mask is used (`resize_flow`).

    Args:
        flow: (B, 2, H, W) on this frame's grid, pointing into the other frame.
        reverse_flow: (B, 2, H, W) on the other frame's grid, pointing here.

    Returns:
        `valid` (B, 1, H, W) float32 of 0 and 1.
    """
    flow, reverse_flow = flow.float(), reverse_flow.float()
    back, inside = warp(reverse_flow, flow)
    length = _squared_norm(flow)
    mismatch = _squared_norm(flow + back)
    occluded = mismatch > 0.01 * (length + _squared_norm(back)) + 0.5
    edge = _squared_gradient(flow) > 0.01 * length + 0.002
    return inside * (~(occluded | edge)).float()


def _squared_norm(vectors: Tensor) -> Tensor:
    return vectors.square().sum(dim=1, keepdim=True)


def _squared_gradient(flow: Tensor) -> Tensor:
    padded = F.pad(flow, (1, 1, 1, 1), mode="replicate")
    dx = (padded[..., 1:-1, 2:] - padded[..., 1:-1, :-2]) / 2
    dy = (padded[..., 2:, 1:-1] - padded[..., :-2, 1:-1]) / 2
    return _squared_norm(dx) + _squared_norm(dy)
