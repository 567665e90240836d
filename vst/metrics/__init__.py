"""Metrics: functions of videos (`temporal`), of networks (`memory`, `robustness`) and of pictures (`style`).

`perceptual` and `inception` need pretrained networks, whose weights the user gives.
"""

from vst.metrics.inception import Inception, frechet, kernel_distance, sifid
from vst.metrics.memory import cut_recovery, drift, static_flicker
from vst.metrics.perceptual import LPIPS, neighbour_lpips, tlp, warp_lpips
from vst.metrics.robustness import add_noise, compress, gain, pgd_attack, robustness_scores
from vst.metrics.style import (
    Features,
    Look,
    adain_distance,
    colour_distance,
    content_scores,
    feature_distance,
    gram_distance,
    look,
    patch_distance,
)
from vst.metrics.temporal import Pair, Reference, pair_ewarp, temporal_scores, to_tensor, warp_errors

__all__ = [
    "LPIPS",
    "Features",
    "Inception",
    "Look",
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
    "frechet",
    "gain",
    "gram_distance",
    "kernel_distance",
    "look",
    "neighbour_lpips",
    "pair_ewarp",
    "patch_distance",
    "pgd_attack",
    "robustness_scores",
    "sifid",
    "static_flicker",
    "temporal_scores",
    "tlp",
    "to_tensor",
    "warp_errors",
    "warp_lpips",
]
