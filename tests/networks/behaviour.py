"""What every stylizer must do, whatever its parts."""

import torch
import torch.nn.functional as F

from vst.networks import Stylizer


def assert_far_pixels_do_not_matter(stylizer: Stylizer) -> None:
    """Per-frame statistics would make a change in one corner show in the opposite one: video would pulse."""
    frame = torch.rand(1, 3, 320, 320)
    changed = frame.clone()
    changed[..., :32, :32] = 1.0
    a, b = stylizer(frame)[0], stylizer(changed)[0]
    assert (a - b)[..., :32, :32].abs().max() > 1e-2
    assert torch.equal(a[..., -64:, -64:], b[..., -64:, -64:])


def frame_by_frame(stylizer: Stylizer, clip: torch.Tensor) -> tuple[torch.Tensor, tuple[torch.Tensor, ...]]:
    """A clip (B, T, 3, H, W) as video is stylised, the state handed on."""
    state, frames = None, []
    for frame in clip.unbind(1):
        out, state = stylizer(frame, None, state)
        frames.append(out)
    return torch.stack(frames, 1), state


def texture(height: int, width: int, channels: int = 1, seed: int = 0) -> torch.Tensor:
    """Spots of several sizes, (1, channels, height, width), about [0, 1]."""
    generator = torch.Generator().manual_seed(seed)
    shapes = [(1, channels, height // n, width // n) for n in (5, 12, 30)]
    layers = [torch.rand(shape, generator=generator) for shape in shapes]
    return sum(F.interpolate(layer, (height, width), mode="bicubic") for layer in layers) / 3
