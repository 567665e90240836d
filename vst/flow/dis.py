"""Dense inverse search, by OpenCV on the CPU."""

from __future__ import annotations

import cv2
import numpy as np
import torch
from torch import Tensor

from vst.errors import UserError, suggest

PRESETS = {
    "ultrafast": cv2.DISOPTICAL_FLOW_PRESET_ULTRAFAST,
    "fast": cv2.DISOPTICAL_FLOW_PRESET_FAST,
    "medium": cv2.DISOPTICAL_FLOW_PRESET_MEDIUM,
}

_LEAST = 32  # pixels along each side


def dis_flow(a: Tensor, b: Tensor, preset: str = "medium") -> Tensor:
    """Estimate the flow from `a` to `b` by dense inverse search (Kroeger et al., ECCV 2016).

    Args:
        a, b: (3, H, W) RGB or (1, H, W) grey in [0, 1], H and W at least 16.
        preset: one of OpenCV's: "ultrafast", "fast" or "medium".

    Returns:
        (2, H, W) float32 on the grid of `a`, pointing into `b`, on the device of `a`; computed on the CPU.
    """
    assert a.shape == b.shape and a.ndim == 3 and min(a.shape[-2:]) >= 16, (a.shape, b.shape)
    height, width = a.shape[-2:]
    # OpenCV's process dies of frames that are low and wide.
    pad = 0, max(0, _LEAST - height), 0, max(0, _LEAST - width)
    frames = (cv2.copyMakeBorder(_grey(x), *pad, cv2.BORDER_REPLICATE) for x in (a, b))
    flow = cv2.DISOpticalFlow_create(PRESETS[preset]).calc(*frames, None)[:height, :width]
    return torch.from_numpy(np.ascontiguousarray(flow.transpose(2, 0, 1))).to(a.device)


class DIS:
    """`dis_flow` for batches.

    Raises:
        UserError: there is no such preset.
    """

    def __init__(self, preset: str = "medium") -> None:
        if preset not in PRESETS:
            raise UserError(f"preset={preset} of DIS is not one of {', '.join(PRESETS)}{suggest(preset, PRESETS)}")
        self.preset = preset
        self.key = f"dis-{preset}-opencv{cv2.__version__}"

    def __call__(self, a: Tensor, b: Tensor) -> Tensor:
        flows = [dis_flow(one, other, self.preset) for one, other in zip(a, b, strict=True)]
        return torch.stack(flows) if flows else a.new_zeros(0, 2, *a.shape[-2:])


def _grey(image: Tensor) -> np.ndarray:
    pixels = (image.detach().float().clamp(0, 1) * 255).round().to(torch.uint8)
    pixels = np.ascontiguousarray(pixels.cpu().numpy().transpose(1, 2, 0))
    return pixels[..., 0] if pixels.shape[-1] == 1 else cv2.cvtColor(pixels, cv2.COLOR_RGB2GRAY)
