"""Losses: one small class for each term, named after its paper's term, and LossSet, their weighted sum."""

from vst.losses.adversarial import Adversarial, SuccessGate
from vst.losses.augment import DiffAugment
from vst.losses.base import LossSet, LossTerm, Outputs, Perception
from vst.losses.colour import ColourHistogram, Palette
from vst.losses.content import (
    LocalStructure,
    PatchNCE,
    PixelL1,
    StyleAwareContent,
    TransformedImage,
    luminance,
)
from vst.losses.cycle import Cycle
from vst.losses.distillation import Distillation
from vst.losses.equivariance import Identity, NoiseConsistency, PingPong, ShiftEquivariance
from vst.losses.penalties import R1, GradientPenalty, JacobianPenalty, Penalty
from vst.losses.perceptual import AdaINStatistics, FeatureFrameDifference, FeatureGram, FeatureReconstruction
from vst.losses.regularity import RangePenalty, TotalVariation
from vst.losses.strokes import StrokeDirection
from vst.losses.style import DiscriminatorGram, RandomFilterGram, SlicedWasserstein
from vst.losses.temporal import FeatureWarp, FrameDifference, LongTerm, RelativeWarp, RelaxedLuminance, WarpConsistency

__all__ = [
    "R1",
    "AdaINStatistics",
    "Adversarial",
    "ColourHistogram",
    "Cycle",
    "DiffAugment",
    "DiscriminatorGram",
    "Distillation",
    "FeatureFrameDifference",
    "FeatureGram",
    "FeatureReconstruction",
    "FeatureWarp",
    "FrameDifference",
    "GradientPenalty",
    "Identity",
    "JacobianPenalty",
    "LocalStructure",
    "LongTerm",
    "LossSet",
    "LossTerm",
    "NoiseConsistency",
    "Outputs",
    "Palette",
    "PatchNCE",
    "Penalty",
    "Perception",
    "PingPong",
    "PixelL1",
    "RandomFilterGram",
    "RangePenalty",
    "RelativeWarp",
    "RelaxedLuminance",
    "ShiftEquivariance",
    "SlicedWasserstein",
    "StrokeDirection",
    "StyleAwareContent",
    "SuccessGate",
    "TotalVariation",
    "TransformedImage",
    "WarpConsistency",
    "luminance",
]
