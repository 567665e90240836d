"""Optical flow: warping, occlusion, and an estimator for clips whose motion is not known.

Convention, everywhere in this project: channel 0 is x to the right, channel 1 is y down, in pixels of the
tensor the flow is stored with. A flow lies on the grid of one frame and points into another one.
"""

from __future__ import annotations

import cv2
import numpy as np
import torch
from kornia.geometry.transform import remap
from torch import Tensor


def warp(image: Tensor, flow: Tensor) -> tuple[Tensor, Tensor]:
    """Sample `image` bilinearly at `p + flow(p)` for every pixel `p`.

    Args:
        image: (B, C, H, W), any floating type.
        flow: (B, 2, H, W), pixels.

    Returns:
        The warped image (B, C, H, W) in the type of `image`, border pixels repeated outside of the frame, and
        `inside` (B, 1, H, W) in float32: 1 where the sampled point lies within the frame, else 0.
    """
    assert flow.shape == (image.shape[0], 2, *image.shape[2:]), (image.shape, flow.shape)
    height, width = image.shape[-2:]
    # Coordinates pass through [-1, 1] and back: in float32 that alone changes white noise by 3e-5 at 256
    # pixels, in bfloat16 it moves by whole pixels. Apple's GPUs know no float64.
    dtype = torch.float32 if image.device.type == "mps" else torch.float64
    with torch.autocast(device_type=image.device.type, enabled=False):
        displacement = flow.to(dtype)
        rows = torch.arange(height, device=image.device, dtype=dtype)[:, None]
        columns = torch.arange(width, device=image.device, dtype=dtype)
        map_x, map_y = displacement[:, 0] + columns, displacement[:, 1] + rows
        warped = remap(image.to(dtype), map_x, map_y, padding_mode="border", align_corners=True)
        within = (map_x >= 0) & (map_x <= width - 1) & (map_y >= 0) & (map_y <= height - 1)
    return warped.to(image.dtype), within[:, None].float()


def occlusion_mask(flow: Tensor, reverse_flow: Tensor) -> Tensor:
    """Pixels whose flow can be trusted, after Sundaram, Brox and Keutzer, ECCV 2010, section 3.

    With b the reverse flow warped here, a pixel is rejected where it is not seen in both frames, |f + b|^2 >
    0.01 (|f|^2 + |b|^2) + 0.5, on a motion edge, |grad u|^2 + |grad v|^2 > 0.01 |f|^2 + 0.002 (central
    differences), or where the flow leaves the frame. All terms are squared pixels, so the flow has to be in
    pixels of the resolution at which the mask is used.

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


def dis_flow(a: Tensor, b: Tensor) -> Tensor:
    """Estimate the flow from `a` to `b` by dense inverse search (Kroeger et al., ECCV 2016).

    OpenCV's implementation with its medium preset.

    Args:
        a, b: (3, H, W) RGB in [0, 1], H and W at least 16.

    Returns:
        (2, H, W) float32 on the grid of `a`, pointing into `b`, on the device of `a`; computed on the CPU.
    """
    assert a.shape == b.shape and a.ndim == 3 and min(a.shape[-2:]) >= 16, (a.shape, b.shape)
    estimator = cv2.DISOpticalFlow_create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)
    flow = estimator.calc(_grey(a), _grey(b), None)
    return torch.from_numpy(np.ascontiguousarray(flow.transpose(2, 0, 1))).to(a.device)


def _grey(image: Tensor) -> np.ndarray:
    pixels = (image.detach().float().clamp(0, 1) * 255).round().to(torch.uint8)
    return cv2.cvtColor(np.ascontiguousarray(pixels.cpu().numpy().transpose(1, 2, 0)), cv2.COLOR_RGB2GRAY)


def _squared_norm(vectors: Tensor) -> Tensor:
    return vectors.square().sum(dim=1, keepdim=True)


def _squared_gradient(flow: Tensor) -> Tensor:
    padded = torch.nn.functional.pad(flow, (1, 1, 1, 1), mode="replicate")
    dx = (padded[..., 1:-1, 2:] - padded[..., 1:-1, :-2]) / 2
    dy = (padded[..., 2:, 1:-1] - padded[..., :-2, 1:-1]) / 2
    return _squared_norm(dx) + _squared_norm(dy)
