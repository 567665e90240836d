"""Losses: one small class for each term, named after its paper's term, and LossSet, their weighted sum."""

from vst.losses.adversarial import Adversarial, GradientPenalty
from vst.losses.base import LossSet, LossTerm, Outputs
from vst.losses.content import LocalStructure, StyleAwareContent, luminance
from vst.losses.regularity import RangePenalty, TotalVariation
from vst.losses.style import DiscriminatorGram, SlicedWasserstein
from vst.losses.temporal import WarpConsistency

__all__ = [
    "Adversarial",
    "DiscriminatorGram",
    "GradientPenalty",
    "LocalStructure",
    "LossSet",
    "LossTerm",
    "Outputs",
    "RangePenalty",
    "SlicedWasserstein",
    "StyleAwareContent",
    "TotalVariation",
    "WarpConsistency",
    "luminance",
]
