"""What can be done with a flow: pull an image along it, scale it to another resolution, chain two."""

from __future__ import annotations

import torch
import torch.nn.functional as F
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
    from kornia.geometry.transform import remap  # takes a second to import, and what only paints does not need it

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


def resize_flow(flow: Tensor, size: tuple[int, int]) -> Tensor:
    """Bring a flow to another resolution: the field is interpolated, its vectors are scaled along each axis.

    Args:
        flow: (B, 2, H, W), pixels of an H x W frame.
        size: (height, width) of the result.

    Returns:
        (B, 2, height, width), pixels of a `height` x `width` frame. Bilinear, averaging where it shrinks.
    """
    height, width = flow.shape[-2:]
    resized = F.interpolate(flow, size, mode="bilinear", align_corners=False, antialias=True)
    return resized * flow.new_tensor([size[1] / width, size[0] / height]).view(1, 2, 1, 1)


def compose_flow(ab: Tensor, bc: Tensor) -> Tensor:
    """Chain two flows: ac(p) = ab(p) + bc(p + ab(p)).

    Args:
        ab: (B, 2, H, W) on the grid of frame a, pointing into b, pixels.
        bc: (B, 2, H, W) on the grid of frame b, pointing into c.

    Returns:
        (B, 2, H, W) on the grid of a, pointing into c. Where `ab` leaves the frame (`warp(bc, ab)[1]` is 0), the
        nearest border pixel of `bc` is added.
    """
    return ab + warp(bc, ab)[0]
