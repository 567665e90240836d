"""The camera's motion between two frames, as one similarity of the plane. It is no optical flow: four numbers a frame.

A similarity z -> s z + t of the plane of complex numbers is a tensor (B, 4): the parts of s, then those of t. Zero is
the middle of the picture, and a unit is a sample of it.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

_LEVELS = 4  # of the pyramid ...
_LEAST = 12  # ... whose pictures have so many samples along each side
_STILL = 1.02  # a motion has to explain the picture better than none by this factor,
_MOVING = 0.2  # and by so much more for each sample that it moves it,
_FAR = 2.0  # up to so many
_STEPS = 2  # at each level
_FLAT = 1e-5  # variance of brightness below which there is nothing to be seen
_LARGEST = 1.25  # enlargement from frame to frame
_DAMPING = 1e-4


def camera_motion(now: Tensor, before: Tensor) -> Tensor:
    """The similarity (B, 4) that leads from points of `now` to those of `before`, brightness (B, 1, h, w) in [0, 1].

    Gauss-Newton on brightness from coarse to fine (Lucas and Kanade 1981; Bergen et al. 1992), with weights that leave
    out what moves by itself (Black and Anandan 1996), and with gain and constant for changes of light: without them a
    light that fades is taken for a zoom. It is exactly no motion where none explains the picture as well, so that a
    camera on a tripod does not tremble, and where what was found is no camera's.
    """
    pyramid = [(now, before)]
    while len(pyramid) < _LEVELS and min(pyramid[-1][0].shape[-2:]) >= 2 * _LEAST:
        pyramid.append(tuple(F.avg_pool2d(picture, 2) for picture in pyramid[-1]))
    none = still(len(now), now)
    motion, scale = none, 1.0
    for level, pictures in reversed(list(enumerate(pyramid))):
        motion = zoomed(motion, 2.0**-level / scale)
        scale = 2.0**-level
        slope = _slope(pictures[0])
        for _ in range(_STEPS):
            motion = _refined(motion, *pictures, slope)
    cost, spread = _cost(motion, now, before)
    at_rest, _ = _cost(none, now, before, spread)
    enlargement = motion[:, :2].norm(dim=1)
    # A camera that moves far changes the whole picture; where it is explained only little better, half of it moved.
    way = motion[:, 2:].norm(dim=1) + (motion[:, :2] - none[:, :2]).norm(dim=1) * now.shape[-2] / 2
    found = at_rest > (_STILL + _MOVING * way.clamp(max=_FAR)) * cost  # false for NaN
    found &= (enlargement > 1 / _LARGEST) & (enlargement < _LARGEST)
    found &= torch.minimum(*(picture.flatten(1).var(1) for picture in (now, before))) > _FLAT
    return torch.where(found[:, None], motion, none)


def still(batch: int, like: Tensor) -> Tensor:
    """No motion, (batch, 4)."""
    return like.new_tensor([1.0, 0, 0, 0]).repeat(batch, 1)


def zoomed(motion: Tensor, factor: float) -> Tensor:
    """The same motion where a unit of length is divided by `factor`."""
    return torch.cat([motion[:, :2], motion[:, 2:] * factor], 1)


def after(first: Tensor, second: Tensor) -> Tensor:
    """The similarity that leads through `first` and then through `second`."""
    s, t = parts(second)
    ds, dt = parts(first)
    return joined(s * ds, s * dt + t)


def parts(motion: Tensor) -> tuple[Tensor, Tensor]:
    """(B, 4) -> s and t, complex (B,)."""
    return torch.complex(motion[:, 0], motion[:, 1]), torch.complex(motion[:, 2], motion[:, 3])


def joined(s: Tensor, t: Tensor) -> Tensor:
    """The inverse of `parts`."""
    return torch.stack([s.real, s.imag, t.real, t.imag], 1)


def moved(picture: Tensor, motion: Tensor) -> tuple[Tensor, Tensor]:
    """`picture` (B, 1, h, w) as seen at the points to which a motion leads, and 1 where they lie inside, else 0."""
    height, width = picture.shape[-2:]
    x, y = _places(picture)
    s_x, s_y, t_x, t_y = motion[:, :, None, None].unbind(1)
    grid = torch.stack([(s_x * x - s_y * y + t_x) * (2 / width), (s_y * x + s_x * y + t_y) * (2 / height)], -1)
    inside = (grid.abs().amax(-1) < 1).to(picture.dtype)[:, None]
    return F.grid_sample(picture, grid, padding_mode="border", align_corners=False), inside


def _refined(motion: Tensor, now: Tensor, before: Tensor, slope: tuple[Tensor, Tensor]) -> Tensor:
    """One step of Gauss and Newton; `slope` is that of `now`. The mean of both pictures' slopes converges quadratically
    (Malis 2004)."""
    seen, inside = moved(before, motion)
    x, y = _places(now)
    across, down = ((a + b) / 2 for a, b in zip(slope, _slope(seen), strict=True))
    # Of brightness by the parts of a small similarity, and by gain and constant of the light.
    columns = [across * x + down * y, down * x - across * y, across, down, seen[:, 0], torch.ones_like(across)]
    columns = torch.stack(columns, 1).flatten(2)
    residual = (now - seen).flatten(1)
    weighted = columns * (inside.flatten(1) / (1 + (residual / _spread(residual)).square()))[:, None]
    normal = weighted @ columns.transpose(1, 2)
    normal = normal + torch.diag_embed(normal.diagonal(dim1=1, dim2=2) * _DAMPING + 1e-6)
    step = torch.linalg.solve(normal, (weighted @ residual[:, :, None])[..., 0])
    return after(torch.cat([1 + step[:, :1], step[:, 1:4]], 1), motion)


def _slope(picture: Tensor) -> tuple[Tensor, Tensor]:
    """Central differences of (B, 1, h, w) along x and y, (B, h, w) each."""
    padded = F.pad(picture, (1, 1, 1, 1), mode="replicate")[:, 0]
    return (padded[:, 1:-1, 2:] - padded[:, 1:-1, :-2]) / 2, (padded[:, 2:, 1:-1] - padded[:, :-2, 1:-1]) / 2


def relit(picture: Tensor, like: Tensor) -> Tensor:
    """`picture` (B, 1, h, w) in the light of another one: with the gain and the constant that bring it nearest."""
    mean, wanted = picture.mean((2, 3), keepdim=True), like.mean((2, 3), keepdim=True)
    shape, other = picture - mean, like - wanted
    gain = ((shape * other).mean((2, 3), keepdim=True) + _FLAT) / (shape.square().mean((2, 3), keepdim=True) + _FLAT)
    return gain * shape + wanted


def _cost(motion: Tensor, now: Tensor, before: Tensor, spread: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """How badly a motion explains a picture, (B,), by a robust norm of the given spread (B, 1), or its own."""
    seen, inside = moved(before, motion)
    residual, inside = (now - relit(seen, now)).flatten(1), inside.flatten(1)
    spread = _spread(residual) if spread is None else spread
    share = residual.square() / (residual.square() + spread.square())
    return (share * inside).sum(1) / inside.sum(1).clamp_min(1), spread


def _spread(residual: Tensor) -> Tensor:
    """Where errors (B, N) begin to count less, (B, 1): one level of 256 at least.

    Of their mean: the median would leave out all edges of a picture that is mostly flat.
    """
    return (2 * residual.abs().mean(1, keepdim=True)).clamp_min(1 / 256)


def _places(picture: Tensor) -> tuple[Tensor, Tensor]:
    """x (w,) and y (h, 1) of samples from the middle."""
    height, width = picture.shape[-2:]
    y = torch.arange(height, device=picture.device, dtype=picture.dtype) - (height - 1) / 2
    x = torch.arange(width, device=picture.device, dtype=picture.dtype) - (width - 1) / 2
    return x, y[:, None]
