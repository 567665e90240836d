"""What a network does over time where no optical flow is needed: still scenes, cuts, and hours.

`stylizer(frame (1, 3, H, W), None, state) -> (frame, state)` as in `vst.networks.Stylizer`, in eval mode.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

NOISE = 2 / 255  # standard deviation of the noise on a still, about that of a camera in good light
INVISIBLE = 1 / 255  # a difference below one grey step cannot be seen


@torch.inference_mode()
def static_flicker(stylise: Callable[[Tensor], Tensor], still: Tensor, length: int = 16, seed: int = 0) -> float:
    """Mean standard deviation over time of the result of a still picture under fresh noise in every frame.

    `stylise` takes one frame (1, 3, H, W) after the other, with its memory if it has one; `still` is (3, H, W). The
    noise is Gaussian, sigma 2/255, clipped to [0, 1]; its own value is that of the identity, `stylise=lambda x: x`.
    """
    generator = torch.Generator().manual_seed(seed)
    frames = []
    for _ in range(length):
        noise = torch.randn(still.shape, generator=generator).to(still.device) * NOISE
        frames.append(stylise((still + noise).clamp(0, 1)[None]))
    return float(torch.cat(frames).std(dim=0, correction=0).mean())


@torch.inference_mode()
def cut_recovery(stylizer: nn.Module, before: Tensor, after: Tensor) -> tuple[int, float]:
    """How long a scene shows through a cut where nobody resets the memory.

    Args:
        before, after: (T, 3, H, W) each, the two scenes.

    Returns:
        The number of frames of `after` until the difference to a run that starts at the cut stays below 1.1 times its
        steady value (the mean of the last quarter; at least one grey step, 1/255, which nobody sees), and that steady
        value in [0, 1]: what of the old scene never goes away.
    """
    state = None
    for frame in before:
        _, state = stylizer(frame[None], None, state)
    fresh, differences = None, []
    for frame in after:
        carried, state = stylizer(frame[None], None, state)
        begun, fresh = stylizer(frame[None], None, fresh)
        differences.append(float((carried - begun).abs().mean()))
    steady = sum(differences[-max(1, len(differences) // 4) :]) / max(1, len(differences) // 4)
    limit = 1.1 * max(steady, INVISIBLE)
    above = [index for index, difference in enumerate(differences) if difference >= limit]
    return (above[-1] + 1 if above else 0), steady


@torch.inference_mode()
def drift(stylizer: nn.Module, frames: Tensor, length: int, report: Callable[[int], None] = lambda done: None) -> float:
    """Mean absolute difference between the results of equal frames at the begin and at the end of a long run.

    The clip `frames` (T, 3, H, W) plays forwards and backwards without a jump for about `length` frames, four passes at
    least. The second round (the memory has settled) is compared with the last: 0 for a network without drift.
    `report(done)` is called after every frame.
    """
    count = len(frames)
    loop = [*range(count), *range(count - 2, 0, -1)]
    rounds = max(3, -(-length // len(loop)))
    state, early, total = None, [], 0.0
    for turn in range(rounds):
        for place, index in enumerate(loop):
            styled, state = stylizer(frames[index][None], None, state)
            if turn == 1:
                early.append(styled)
            elif turn == rounds - 1:
                total += float((styled - early[place]).abs().mean())
            report(turn * len(loop) + place + 1)
    return total / len(loop)
