"""How far the result moves when the input moves a little: attack, noise, compression, exposure.

Every number is a gain: the root mean square change of the result over that of the input. The identity has gain 1.
"""

from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np
import torch
from torch import Tensor

Network = Callable[[Tensor], Tensor]

EPSILONS = (2, 4, 8)  # in grey steps of 1/255
JPEG_QUALITY = 50
EXPOSURE = 1.2


def gain(network: Network, frame: Tensor, disturbed: Tensor) -> float | None:
    """RMS change of `network(frame)` over the RMS change from `frame` to `disturbed`, both (1, 3, H, W) in [0, 1].

    None where the disturbance changes nothing, as exposure does with black.
    """
    with torch.no_grad():
        moved = (network(disturbed) - network(frame)).square().mean().sqrt()
    given = (disturbed - frame).square().mean().sqrt()
    return float(moved / given) if given > 0 else None


def pgd_attack(network: Network, frame: Tensor, epsilon: float, steps: int = 10, seed: int = 0) -> Tensor:
    """The frame within `epsilon` (largest change of a value) whose result is farthest from that of `frame`.

    Projected gradient descent of Madry et al. 2018, Eq. (2)-(3), ascending the mean squared change of the result, by
    steps of 2.5 * epsilon / steps from a random start (at the frame itself the gradient is zero).

    Args:
        network: (1, 3, H, W) -> (1, 3, H, W), differentiable.
        frame: (1, 3, H, W) in [0, 1]; the result too.
    """
    generator = torch.Generator().manual_seed(seed)
    start = (torch.rand(frame.shape, generator=generator).to(frame.device) * 2 - 1) * epsilon
    with torch.no_grad():
        target = network(frame)
    attacked = (frame + start).clamp(0, 1)
    for _ in range(steps):
        attacked.requires_grad_(True)
        with torch.enable_grad():
            (slope,) = torch.autograd.grad((network(attacked) - target).square().mean(), attacked)
        moved = attacked.detach() + 2.5 * epsilon / steps * slope.sign()
        attacked = torch.clamp(moved, frame - epsilon, frame + epsilon).clamp(0, 1)
    return attacked


def add_noise(frame: Tensor, sigma: float, seed: int = 0) -> Tensor:
    """Gaussian noise, clipped to [0, 1]."""
    noise = torch.randn(frame.shape, generator=torch.Generator().manual_seed(seed)).to(frame.device)
    return (frame + sigma * noise).clamp(0, 1)


def compress(frame: Tensor, quality: int = JPEG_QUALITY) -> Tensor:
    """(1, 3, H, W) in [0, 1] through JPEG and back."""
    pixels = (frame[0].permute(1, 2, 0).cpu() * 255).round().to(torch.uint8).numpy()
    _, data = cv2.imencode(".jpg", np.ascontiguousarray(pixels[..., ::-1]), [cv2.IMWRITE_JPEG_QUALITY, quality])
    decoded = np.ascontiguousarray(cv2.imdecode(data, cv2.IMREAD_COLOR)[..., ::-1])
    return (torch.from_numpy(decoded).permute(2, 0, 1).float() / 255)[None].to(frame.device)


def robustness_scores(network: Network, frame: Tensor, steps: int) -> dict[str, float | None]:
    """The gains by name: `pgd@2`, `pgd@4`, `pgd@8`, `noise@...` at the same amplitudes, `jpeg@50`, `exposure@1.2`."""
    scores: dict[str, float | None] = {}
    for epsilon in EPSILONS:
        scores[f"pgd@{epsilon}"] = gain(network, frame, pgd_attack(network, frame, epsilon / 255, steps))
        scores[f"noise@{epsilon}"] = gain(network, frame, add_noise(frame, epsilon / 255))
    scores[f"jpeg@{JPEG_QUALITY}"] = gain(network, frame, compress(frame))
    scores[f"exposure@{EXPOSURE}"] = gain(network, frame, (EXPOSURE * frame).clamp(0, 1))
    return scores
