"""Rules on what fits the generator of a training configuration; see `vst.rules`.

A generator says itself how many pixels a place of its features stands for, and which grain it takes; so it is built
here once, and asked. One that cannot be built is reported when the model is.
"""

from __future__ import annotations

import json
from functools import lru_cache
from math import gcd
from types import SimpleNamespace

import torch
from torch import nn

from vst.lookup import at, is_integer, is_part, number
from vst.networks.build import build_network
from vst.networks.stylizer import check_grain

LEAST_CROP = 32
"""Pixels; the discriminator's receptive field and patches of the style need as many."""

FRACTIONS = {1: "the full", 2: "a half of the", 4: "a quarter of the", 8: "an eighth of the", 16: "a sixteenth of the"}


def memory_fits(cfg: dict) -> str | None:
    """The temporal module works on the generator's features, and ConvGRU on half of them."""
    channels, width = number(cfg, "model.temporal.channels"), number(cfg, "model.generator.width")
    if channels is None or width is None:
        return None
    if channels != width:
        return f"model.temporal.channels: {channels} differs from model.generator.width, which is {width}"
    if width % 2:
        return f"model.generator.width: {width} is odd; the recurrent model needs an even width"
    return None


def grain_fits(cfg: dict) -> str | None:
    """The generator takes the noise that the grain makes."""
    generator, grain = _generator_of(cfg), at(cfg, "model.grain")
    if generator is None or not isinstance(grain, dict):
        return None
    channels, cell = number(cfg, "model.grain.channels"), number(cfg, "model.grain.cell")
    if is_part(grain) and (channels is None or cell is None):
        return None
    if at(cfg, "model.grain._target_") == "vst.networks.FlowGrain" and not is_part(at(cfg, "model.motion")):
        return "model.grain: flow moves with the motion, and model/motion is none; add model/motion=dis"
    try:
        check_grain(generator, SimpleNamespace(channels=channels, cell=cell) if is_part(grain) else None)
    except ValueError as error:
        return f"model.grain: {error}"
    return None


def crop_fits(cfg: dict) -> str | None:
    """Squares whose sides are no multiples of the generator's stride would be padded on one side only."""
    crop, stride = at(cfg, "data.crop"), _stride_of(cfg)
    least = max(LEAST_CROP, stride)
    if not is_integer(crop) or (crop >= least and crop % stride == 0):
        return None
    if stride == 1:
        return f"data.crop: {crop} is less than {least} pixels"
    return f"data.crop: {crop} is not a multiple of {stride} and at least {least}; {_works_at(stride)}"


def margin_fits(cfg: dict) -> str | None:
    """The same for the square with its margins."""
    margin, stride = at(cfg, "margin"), _stride_of(cfg)
    unit = stride // gcd(stride, 2)
    if not is_integer(margin) or margin < 0 or margin % unit == 0:
        return None
    wrong = "odd" if unit == 2 else f"not a multiple of {unit}"
    return (
        f"margin: {margin} is {wrong}; data.crop + 2 * margin has to be a multiple of {stride}, as {_works_at(stride)}"
    )


def _works_at(stride: int) -> str:
    return f"the generator works at {FRACTIONS.get(stride, f'1/{stride} of the')} resolution"


def _stride_of(cfg: dict) -> int:
    """Pixels along each side of a place of the features; 1, to which everything fits, where it is not known."""
    stride = getattr(_generator_of(cfg), "stride", 1)
    return stride if is_integer(stride) and stride > 0 else 1


def _generator_of(cfg: dict) -> nn.Module | None:
    """The generator that the configuration describes, with any weights; None where there is none."""
    try:
        return _built(json.dumps(at(cfg, "model.generator"), sort_keys=True))
    except Exception:  # whatever its constructor raises is told when the model is built
        return None


@lru_cache(maxsize=16)
def _built(description: str) -> nn.Module:
    with torch.random.fork_rng(devices=[]):
        return build_network(json.loads(description))
