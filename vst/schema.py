"""The keys that each command's configuration has, and the rules on what they mean together.

Plain Python: `vst.config` holds a composed configuration against this. A rule takes the resolved
configuration as plain dicts and returns one line or None; add it to `RULES`. Keys may be absent or of a wrong
type there, which is reported on its own, so a rule reads them with `_at` and `_number`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from math import inf
from typing import Any, Literal

from vst.errors import suggest


class Part:
    """Annotation of a key whose value is a `_target_` node."""


@dataclass
class ModelConfig:
    """`conf/model`."""

    generator: Part
    temporal: Part
    discriminator: Part


@dataclass
class OptimizerConfig:
    """`conf/optimizer`: partials, which the task completes with the parameters."""

    generator: Part
    discriminator: Part


@dataclass
class TrainConfig:
    """`conf/train.yaml`."""

    model: ModelConfig
    loss: Part
    data: Part
    style: Part
    optimizer: OptimizerConfig
    scheduler: Part
    trainer: Part
    logger: dict[str, Part]
    callbacks: dict[str, Part]
    seed: int
    resume: str | None
    output_dir: str
    ema_decay: float
    clip_norm: float
    image_share: float
    clip_length: int
    margin: int
    optimized_metric: str


@dataclass
class StylizeConfig:
    """`conf/stylize.yaml`."""

    checkpoint: str
    input: str
    output: str
    overwrite: bool
    device: str
    codec: Literal["libx264", "libx265"]
    crf: int
    preset: Literal[
        "ultrafast",
        "superfast",
        "veryfast",
        "faster",
        "fast",
        "medium",
        "slow",
        "slower",
        "veryslow",
        "placebo",
    ]


@dataclass
class WeightsConfig:
    """Weights of networks that measure."""

    vgg: str | None
    vgg_width: float


@dataclass
class EvaluateConfig:
    """`conf/evaluate.yaml`."""

    clips: str | list
    checkpoint: str | list | None
    videos: str | list | None
    styles: str | list | None
    width: int
    frames: int
    drift_frames: int
    attack_steps: int
    weights: WeightsConfig
    device: str
    output: str
    overwrite: bool
    output_dir: str
    logger: dict[str, Part]


PASSED_IN_CODE = {"data": {"style"}}
"""Arguments that the commands add themselves when they build the node of that path."""

RANGES: dict[str, tuple[float, float]] = {
    "seed": (0, 2**32 - 1),
    "ema_decay": (0, 1),
    "clip_norm": (0, inf),
    "image_share": (0, 1),
    "clip_length": (1, inf),
    "margin": (0, inf),
    "data.crop": (16, inf),
    "data.batch_size": (1, inf),
    "data.steps_per_epoch": (1, inf),
    "data.num_workers": (0, inf),
    "crf": (0, 51),
    "width": (16, inf),
    "frames": (2, inf),
    "drift_frames": (0, inf),
    "attack_steps": (0, inf),
}


LEAST_FRAMES = {
    **dict.fromkeys(("WarpConsistency", "RelaxedLuminance", "FeatureWarp", "FrameDifference"), 2),
    **dict.fromkeys(("FeatureFrameDifference", "PingPong"), 2),
    "LongTerm": 3,
}
"""Loss terms that compare frames: how many a clip must have."""

FEATURE_TERMS = ("FeatureReconstruction", "FeatureGram", "AdaINStatistics", "FeatureFrameDifference")


def needs_clips(cfg: dict) -> str | None:
    """Recurrence and temporal terms learn nothing from clips that are too short."""
    length, temporal = _number(cfg, "data.clip_length"), _at(cfg, "model.temporal")
    if length is None or length < 1:
        return None
    if length == 1 and _present(temporal) and _class_name(temporal) != "Stateless":
        return "clip_length=1: a recurrent model needs at least 2 frames; or choose model/temporal=none"
    for kind, least in LEAST_FRAMES.items():
        for name in _terms(cfg, kind):
            if length < least and _number(cfg, f"loss.terms.{name}.weight") != 0:
                term = f"loss.terms.{name}"
                return f"clip_length={length}: {term} needs at least {least} frames; or drop ~{term}"
    return None


def features_are_there(cfg: dict) -> str | None:
    """Perceptual terms share the frozen network of the whole loss."""
    terms = [name for kind in FEATURE_TERMS for name in _terms(cfg, kind)]
    if not terms or _present(_at(cfg, "loss.features")):
        return None
    return (
        f"loss.terms.{terms[0]} needs a feature network: choose loss=perceptual, or add "
        "'+loss.features={_target_: vst.networks.features.VGG19Features, weights: vgg19.pth}'"
    )


def game_is_complete(cfg: dict) -> str | None:
    """An adversarial term and a discriminator come together; terms on the discriminator's features need both."""
    terms, discriminator = _terms(cfg, "Adversarial"), _at(cfg, "model.discriminator")
    needy = [f"loss.terms.{name}" for name in [*terms, *_terms(cfg, "DiscriminatorGram")]]
    if needy and isinstance(discriminator, dict) and not _present(discriminator):
        drop = " ".join(f"~{term}" for term in needy)
        return f"{needy[0]} needs a discriminator: choose model/discriminator=patch, or drop {drop}"
    if _present(discriminator) and isinstance(_at(cfg, "loss.terms"), dict) and not terms:
        return (
            "model.discriminator has no adversarial loss term to play for: choose model/discriminator=none, "
            "or keep loss.terms.adversarial"
        )
    return None


def critic_is_bounded(cfg: dict) -> str | None:
    """The Wasserstein game diverges where nothing bounds the slope of its critic."""
    for name in _terms(cfg, "Adversarial"):
        term = _at(cfg, f"loss.terms.{name}")
        penalties = term["penalties"].values() if isinstance(term.get("penalties"), dict) else ()
        bounded = any(isinstance(p, dict) and p.get("weight") != 0 for p in penalties)
        if term.get("objective") == "wgan" and not bounded and not _at(cfg, "model.discriminator.spectral_norm"):
            return (
                f"loss.terms.{name}.objective: wgan needs a bounded discriminator; choose loss=wgan with its gradient "
                "penalty, or model.discriminator.spectral_norm=true"
            )
    return None


def terms_have_targets(cfg: dict) -> str | None:
    """A mistyped name of a term makes a term that is nothing."""
    terms = _at(cfg, "loss.terms")
    for name, node in terms.items() if isinstance(terms, dict) else ():
        if node is None:
            return f"loss.terms.{name}: null is not a term; drop it with ~loss.terms.{name}"
        if isinstance(node, dict) and "_target_" not in node:
            others = sorted(terms.keys() - {name})
            hint = suggest(name, others)
            return f"loss.terms.{name}: no _target_; is the name right{hint}? (terms: {', '.join(others)})"
    return None


def memory_fits(cfg: dict) -> str | None:
    """The temporal module works on the generator's features, and ConvGRU on half of them."""
    channels, width = _number(cfg, "model.temporal.channels"), _number(cfg, "model.generator.width")
    if channels is None or width is None:
        return None
    if channels != width:
        return f"model.temporal.channels: {channels} differs from model.generator.width, which is {width}"
    if width % 2:
        return f"model.generator.width: {width} is odd; the recurrent model needs an even width"
    return None


def manual_optimisation(cfg: dict) -> str | None:
    """Lightning refuses these late, or does the wrong thing, when a task steps its own optimizers."""
    if _at(cfg, "trainer.precision") in ("16-mixed", 16, "16"):
        return "trainer.precision: 16-mixed would clip scaled gradients; use bf16-mixed or 32-true"
    if _at(cfg, "trainer.gradient_clip_val") is not None:
        return "trainer.gradient_clip_val does not work with two optimizers; use clip_norm"
    if _at(cfg, "trainer.accumulate_grad_batches") not in (None, 1):
        return "trainer.accumulate_grad_batches does not work with two optimizers; use data.batch_size"
    return None


RULES: list[Callable[[dict], str | None]] = [
    needs_clips,
    features_are_there,
    game_is_complete,
    critic_is_bounded,
    terms_have_targets,
    memory_fits,
    manual_optimisation,
]


def _at(cfg: Any, path: str) -> Any:
    for key in path.split("."):
        cfg = cfg.get(key) if isinstance(cfg, dict) else None
    return cfg


def _number(cfg: dict, path: str) -> float | None:
    value = _at(cfg, path)
    return value if isinstance(value, int | float) and not isinstance(value, bool) else None


def _present(node: Any) -> bool:
    return isinstance(node, dict) and node.get("_target_", "types.NoneType") != "types.NoneType"


def _class_name(node: dict) -> str:
    return str(node["_target_"]).rpartition(".")[2]


def _terms(cfg: dict, class_name: str) -> list[str]:
    terms = _at(cfg, "loss.terms")
    items = terms.items() if isinstance(terms, dict) else ()
    return [name for name, node in items if _present(node) and _class_name(node) == class_name]


def broken_rules(cfg: dict) -> Iterator[str]:
    """One line for each number out of its range and each broken rule."""
    for path, (low, high) in RANGES.items():
        value = _number(cfg, path)
        if value is not None and not low <= value <= high:
            yield f"{path}: {value} is not {low} or more" + ("" if high == inf else f" and {high} or less")
    yield from (line for rule in RULES if (line := rule(cfg)))
