"""Metrics: functions of videos (`temporal`), of networks (`memory`, `robustness`) and of pictures (`style`)."""

from vst.metrics.memory import cut_recovery, drift, static_flicker
from vst.metrics.robustness import add_noise, compress, gain, pgd_attack, robustness_scores
from vst.metrics.style import (
    Features,
    adain_distance,
    colour_distance,
    content_scores,
    feature_distance,
    gram_distance,
    patch_distance,
)
from vst.metrics.temporal import Pair, Reference, pair_ewarp, temporal_scores, to_tensor, warp_errors

__all__ = [
    "Features",
    "Pair",
    "Reference",
    "adain_distance",
    "add_noise",
    "colour_distance",
    "compress",
    "content_scores",
    "cut_recovery",
    "drift",
    "feature_distance",
    "gain",
    "gram_distance",
    "pair_ewarp",
    "patch_distance",
    "pgd_attack",
    "robustness_scores",
    "static_flicker",
    "temporal_scores",
    "to_tensor",
    "warp_errors",
]
