"""Batches and results of a generator made by hand."""

import torch
import torch.nn.functional as F

from vst.batch import ClipBatch
from vst.losses import Outputs


def make(still, photo=None, style=None, clip=None, frames=None, flow=None, valid=None, **outputs):
    """(batch, outputs): `still` and `clip` are the generator's, `photo` and `frames` its input. Input and style are the
    results where they are not given, the encoder is a 4x4 mean, and `stylise` changes nothing."""
    clip = still[:, None] if clip is None else clip
    photo = still if photo is None else photo
    frames = clip if frames is None else frames
    batch = ClipBatch(frames, still if style is None else style, ["test"] * len(clip), flow, valid)
    given = {"encode": lambda x: F.avg_pool2d(x, 4), "frames": frames, "stylise": lambda frames: frames, **outputs}
    return batch, Outputs(clip=clip, still=still, photo=photo, **given)


def smooth(*shape):
    """Random blobs in [0, 1]."""
    return F.interpolate(torch.rand(*shape[:-2], 8, 8), size=shape[-2:], mode="bicubic").clamp(0, 1)


def moving(shift=3, length=3, size=48):
    """A clip whose picture moves `shift` pixels to the right every frame, with its exact backward flow."""
    wide = smooth(1, 3, size, size + shift * length)
    starts = [shift * (length - 1 - t) for t in range(length)]
    clip = torch.stack([wide[..., s : s + size] for s in starts], 1)
    flow = torch.zeros(1, length - 1, 2, size, size)
    flow[:, :, 0] = -shift
    return clip, flow, torch.ones(1, length - 1, 1, size, size)


def descend(term, batch_of, start, rate, steps=30):
    """Follow the term's gradient from the picture `start`, `batch_of(picture) -> (batch, outputs)`."""
    picture = start.clone().requires_grad_(True)
    for _ in range(steps):
        (gradient,) = torch.autograd.grad(term(*batch_of(picture)), picture)
        picture = (picture - rate * gradient / gradient.abs().amax().clamp_min(1e-12)).detach().requires_grad_(True)
    return picture.detach()
