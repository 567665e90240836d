"""What a configuration's values may be, and the rules on what they mean together.

A rule takes the resolved configuration as plain dicts and returns one line or None; add
it to `RULES`. Keys may be absent or of a wrong type there, which is reported on its own, so a rule reads them with
`_at` and `_number`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from math import inf

from vst.curriculum import longest, mistake
from vst.errors import suggest
from vst.lookup import at as _at
from vst.lookup import class_name as _class_name
from vst.lookup import is_integer as _is_integer
from vst.lookup import is_part as _present
from vst.lookup import number as _number
from vst.lookup import terms_of as _terms
from vst.model_rules import crop_fits, grain_fits, margin_fits, memory_fits
from vst.ranges import RANGES

LEAST_FRAMES = {
    **dict.fromkeys(("WarpConsistency", "RelativeWarp", "RelaxedLuminance", "FeatureWarp", "FrameDifference"), 2),
    **dict.fromkeys(("FeatureFrameDifference", "PingPong"), 2),
    "LongTerm": 3,
}
"""Loss terms that compare frames: how many a clip must have."""

FLOW_TERMS = ("WarpConsistency", "RelativeWarp", "RelaxedLuminance", "FeatureWarp", "LongTerm")
"""Loss terms that follow the motion in the input."""

LARGEST_CRF = {
    **dict.fromkeys(("libsvtav1", "libaom-av1", "av1", "libvpx-vp9", "vp9"), 63),
    **dict.fromkeys(("h264_videotoolbox", "hevc_videotoolbox"), 100),
}
"""Of encoders that count quality further than 51."""

BUILT_FOR_A_SIZE = ("torch_compile", "tensorrt")
"""Engines whose start takes seconds for each size of the frame."""

LEAST_TOKEN = 16
"""Characters."""

FEATURE_TERMS = ("FeatureReconstruction", "FeatureGram", "AdaINStatistics", "FeatureFrameDifference")


SCHEDULES = "the schedules need to know the length of the run"


def needs_clips(cfg: dict) -> str | None:
    """Recurrence and temporal terms learn nothing from clips that are too short."""
    length, temporal = _number(cfg, "clip_length"), _at(cfg, "model.temporal")
    if length is None or length < 1:
        return None
    if _present(temporal) and _class_name(temporal) != "Stateless":
        where = "clip_length=1" if length == 1 else "curriculum"
        if length == 1 or longest(_at(cfg, "curriculum.phases")) == 1:
            return f"{where}: a recurrent model needs at least 2 frames; or choose model/temporal=none"
    phase = longest(_at(cfg, "curriculum.phases"))
    for kind, least in LEAST_FRAMES.items():
        for term in (f"loss.terms.{name}" for name in _terms(cfg, kind)):
            if _number(cfg, f"{term}.weight") == 0:
                continue
            if length < least:
                return f"clip_length={length}: {term} needs at least {least} frames; or drop ~{term}"
            if phase is not None and 1 < phase < least:  # phases of single frames alone are meant as they are
                return (
                    f"curriculum: {term} needs at least {least} frames, and the longest phase has {phase}; "
                    f"give it more, or drop ~{term}"
                )
    return None


def phases_fit(cfg: dict) -> str | None:
    """Phases are a whole run; the data make their frames and clips to splice, and the terms that join are there."""
    numbers = {name: _number(cfg, name) for name in ("clip_length", "data.batch_size")}
    return mistake(_at(cfg, "curriculum.phases"), *numbers.values(), _at(cfg, "loss.terms"))


def start_is_given(cfg: dict) -> str | None:
    """A configuration that has to start from a trained model leaves its place empty: `???` would not replace null."""
    given, pruned = _at(cfg, "init_from"), _number(cfg, "prune")
    missing = given == "" or (given is None and pruned is not None and pruned > 0)
    wanted = "init_from: missing; give it as init_from=..., the stylizer.pt or last.ckpt of a run"
    return wanted if missing and _at(cfg, "resume") is None else None


def teacher_is_given(cfg: dict) -> str | None:
    """A term that repeats a trained model, and the model, come together."""
    terms, given = _terms(cfg, "Distillation"), _at(cfg, "teacher")
    if terms and given in (None, "") and _at(cfg, "init_from") != "" and _at(cfg, "resume") is None:
        return "teacher: missing; give it as teacher=..., the stylizer.pt of a run"
    if isinstance(given, str) and given and isinstance(_at(cfg, "loss.terms"), dict) and not terms:
        return f"teacher: {given} has nothing to teach: no loss term repeats it; choose experiment=distill"
    return None


def motion_is_known(cfg: dict) -> str | None:
    """Terms that warp frames need the clips' flow."""
    kinds = [name for kind in FLOW_TERMS for name in _terms(cfg, kind)]
    needy = [f"loss.terms.{name}" for name in kinds if _number(cfg, f"loss.terms.{name}.weight") != 0]
    if needy and _at(cfg, "data.flow") == "none":
        drop = " ".join(f"~{term}" for term in needy)
        return f"data.flow=none: {needy[0]} needs the flow between frames; drop {drop}, or choose data.flow=dis"
    return None


def features_are_there(cfg: dict) -> str | None:
    """Perceptual terms share the frozen network of the whole loss."""
    terms = [name for kind in FEATURE_TERMS for name in _terms(cfg, kind)]
    if not terms or _present(_at(cfg, "loss.features")):
        return None
    return (
        f"loss.terms.{terms[0]} needs a feature network: choose loss/features=thin, or loss/features=vgg19 "
        "loss.features.weights=vgg19.pth"
    )


def game_is_complete(cfg: dict) -> str | None:
    """An adversarial term and a discriminator come together; terms on the discriminator's features need both."""
    terms, discriminator = _terms(cfg, "Adversarial"), _at(cfg, "model.discriminator")
    needy = [f"loss.terms.{name}" for name in [*terms, *_terms(cfg, "DiscriminatorGram")]]
    needy = [term for term in needy if _number(cfg, f"{term}.weight") != 0]
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
        if isinstance(node, str | int | float):
            return f"loss.terms.{name}: {node} is not a term; its weight is loss.terms.{name}.weight"
        if isinstance(node, dict) and "_target_" not in node:
            others = sorted(terms.keys() - {name})
            hint = suggest(name, others)
            return f"loss.terms.{name}: no _target_; is the name right{hint}? (terms: {', '.join(others)})"
    return None


def style_crop_is_interpolated(cfg: dict) -> str | None:
    """Style and result are compared at one size."""
    return _differs(cfg, "style.crop", "data.crop")


def margin_is_interpolated(cfg: dict) -> str | None:
    """The losses cut off what the data add."""
    return _differs(cfg, "data.margin", "margin")


def clip_length_is_interpolated(cfg: dict) -> str | None:
    """The rules on terms and the data agree on the length of a clip."""
    return _differs(cfg, "data.clip_length", "clip_length")


def epochs_are_counted(cfg: dict) -> str | None:
    """Schedules go by the share of the run that is done."""
    epochs = _at(cfg, "trainer.max_epochs")
    if not _present(_at(cfg, "trainer")) or not (epochs is None or _is_integer(epochs)) or (epochs or 0) >= 1:
        return None
    given = "null" if epochs is None else epochs
    return f"trainer.max_epochs: {given} is not an integer of 1 or more; {SCHEDULES}"


def only_epochs_end_a_run(cfg: dict) -> str | None:
    """A run that stops earlier never sees the end of its schedules."""
    steps, time = _at(cfg, "trainer.max_steps"), _at(cfg, "trainer.max_time")
    limits = {"max_steps": steps if _is_integer(steps) and steps != -1 else None, "max_time": time}
    for name, value in limits.items():
        if value is not None:
            return (
                f"trainer.{name}: {value} would end the run early; {SCHEDULES}, so leave it out and use "
                "trainer.max_epochs and data.steps_per_epoch"
            )
    return None


def one_device(cfg: dict) -> str | None:
    """On several, Lightning would put its own sampler in the place of `EpochSampler`, which knows epochs and phases."""
    devices, nodes, strategy = (_at(cfg, f"trainer.{name}") for name in ("devices", "num_nodes", "strategy"))
    if isinstance(devices, str):  # as Lightning reads it: "2" is two devices, "2," the third one
        numbers = [number for number in devices.split(",") if number.strip()]
        single = devices == "auto" or devices.strip() == "1" or ("," in devices and len(numbers) == 1)
    else:
        single = len(devices) == 1 if isinstance(devices, list) else devices in (None, 1)
    name = _class_name(strategy) if _present(strategy) else strategy
    # "auto" takes a strategy for one device where the trainer has one.
    alone = not isinstance(name, str) or name in ("auto", "single_device") or name.startswith("SingleDevice")
    wrong = {"devices": (devices, single), "num_nodes": (nodes, nodes in (None, 1)), "strategy": (name, alone)}
    for key, (given, fine) in wrong.items():
        if not fine:
            return (
                f"trainer.{key}: {given} will not do; training runs on one device: leave it out or give "
                f"trainer.{key}={'auto' if key == 'strategy' else 1}, and start further runs for further devices"
            )
    return None


def metric_is_measured(cfg: dict) -> str | None:
    """A sweep would learn only after training that there is nothing to minimise. A resumed run has its own terms."""
    metric, terms = _at(cfg, "optimized_metric"), _at(cfg, "loss.terms")
    if not isinstance(metric, str) or not isinstance(terms, dict) or _at(cfg, "resume") is not None:
        return None
    names = [name for name in terms if _number(cfg, f"loss.terms.{name}.weight") != 0]
    validated = [f"val/{name}" for name in [*names, "total", "ssim"]]
    trained = [f"loss/{name}" for name in [*names, "total", "gradient_norm", *_of_discriminator(cfg)]]
    if metric in validated or metric in trained:
        return None
    near = suggest(metric, [*validated, *(trained if metric.startswith("loss/") else ())])
    return (
        f"optimized_metric: {metric} is not measured in this run{near}; allowed: {', '.join(validated)}, "
        "and the terms in training as loss/<term>"
    )


def film_is_given(cfg: dict) -> str | None:
    """A pipeline is measured on a film."""
    if cfg.get("mode") == "pipeline" and cfg.get("input") is None:
        return "input: mode=pipeline measures a film; give input=film.mp4"
    return None


def size_is_kept(cfg: dict) -> str | None:
    """Engines that are built for one size would stand still whenever the resolution adapts."""
    engine, least = cfg.get("engine"), _number(cfg, "min_scale")
    if engine in BUILT_FOR_A_SIZE and least is not None and least < 1:
        return (
            f"min_scale: engine={engine} is built anew for every resolution, which stops the picture; add min_scale=1"
        )
    return None


def page_is_alone(cfg: dict) -> str | None:
    """The browser is source and sink."""
    usual = {"source": "webcam", "sink": "window"}
    for key, value in usual.items():
        if cfg.get("ui") == "web" and cfg.get(key) != value:
            return f"{key}: ui=web takes the browser's camera and shows its page; leave out {key}={cfg.get(key)}"
    return None


def token_is_long(cfg: dict) -> str | None:
    """A short token can be guessed."""
    token = _at(cfg, "token")
    if isinstance(token, str) and not (LEAST_TOKEN <= len(token) and token.isascii() and token.isalnum()):
        return f"token: give {LEAST_TOKEN} letters and digits or more, or leave it out: the studio then makes its own"
    return None


def quality_is_known(cfg: dict) -> str | None:
    """Encoders count it differently."""
    crf, codec, output = _number(cfg, "crf"), _at(cfg, "codec"), _at(cfg, "output")
    codec = "vp9" if codec is None and str(output).endswith(".webm") else str(codec)
    largest = LARGEST_CRF.get(codec, 51)
    if crf is not None and not 0 <= crf <= largest:
        return f"crf: {crf} is not 0 or more and {largest} or less"
    return None


def camera_makes_the_film(cfg: dict) -> str | None:
    """A picture has no times to cut at, and no neighbours to fade into."""
    camera, given = _at(cfg, "camera"), _at(cfg, "input")
    if camera in (None, "none"):
        return None
    if isinstance(given, list):
        return f"input: camera={camera} makes a film of one picture, and {len(given)} inputs are given"
    for key in ("start", "end", "crossfade", "hwaccel"):
        if _at(cfg, key) not in (None, 0):
            return f"{key}: camera={camera} makes the film, of duration={_at(cfg, 'duration')} seconds; leave {key} out"
    return None


def mask_is_one(cfg: dict) -> str | None:
    """A mask comes from a file or from a colour, and its options need one."""
    file, color = _at(cfg, "mask.file"), _at(cfg, "mask.color")
    if file is not None and color is not None:
        return "mask.color: mask.file is given as well; give one of them"
    for key in ("invert", "feather"):
        if file is None and color is None and _at(cfg, f"mask.{key}"):
            return f"mask.{key}: there is no mask; give mask.file=mask.png, or a colour as mask.color=[30,180,50]"
    return None


def _of_discriminator(cfg: dict) -> list[str]:
    """What `vst.losses.Adversarial.discriminator_loss` returns."""
    names = []
    for term in _terms(cfg, "Adversarial") if _present(_at(cfg, "model.discriminator")) else ():
        node = _at(cfg, f"loss.terms.{term}")
        names += ["discriminator", "success_real", "success_fake"]
        names += ["success_photo"] * bool(node.get("photos_as_fakes")) + ["success"] * _present(node.get("gate"))
        penalties = node["penalties"] if isinstance(node.get("penalties"), dict) else {}
        names += [f"penalty_{name}" for name, p in penalties.items() if isinstance(p, dict) and p.get("weight") != 0]
    return names


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
    phases_fit,
    start_is_given,
    teacher_is_given,
    motion_is_known,
    features_are_there,
    game_is_complete,
    critic_is_bounded,
    terms_have_targets,
    memory_fits,
    grain_fits,
    crop_fits,
    margin_fits,
    style_crop_is_interpolated,
    margin_is_interpolated,
    clip_length_is_interpolated,
    epochs_are_counted,
    only_epochs_end_a_run,
    one_device,
    metric_is_measured,
    manual_optimisation,
    film_is_given,
    quality_is_known,
    camera_makes_the_film,
    mask_is_one,
    token_is_long,
    size_is_kept,
    page_is_alone,
]


def _differs(cfg: dict, copy: str, source: str) -> str | None:
    given, expected = _at(cfg, copy), _at(cfg, source)
    if not _is_integer(given) or not _is_integer(expected) or given == expected:
        return None
    return f"{copy}: {given} differs from {source}, which is {expected}; set only {source}"


def broken_rules(cfg: dict) -> Iterator[str]:
    """One line for each number out of its range and each broken rule."""
    for path, (low, high) in RANGES.items():
        value = _number(cfg, path)
        if value is not None and not low <= value <= high:
            yield f"{path}: {value} is not {low} or more" + ("" if high == inf else f" and {high} or less")
    yield from (line for rule in RULES if (line := rule(cfg)))
