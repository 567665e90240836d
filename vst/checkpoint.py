"""Stylizer checkpoints: plain weights and a plain config, never code.

A file is what `torch.save` makes of {"stylizer": {"format", "model", "weights", "style"}}. A Lightning checkpoint of a
run holds the same entry beside the state of training, so both can be given wherever a checkpoint is asked for.
"""

import io
import os
import pickle
import zipfile
from pathlib import Path
from typing import Any

import torch
from torch import nn

from vst.errors import UserError
from vst.networks import Stylizer, build_stylizer
from vst.pruning import prune

FORMAT = 1
GRAINS = ("vst.networks.CameraGrain", "vst.networks.FlowGrain")
PARTS = ("generator", "temporal", "tone", "grain", "motion", "grade")
_ENGINES_RUN = "an exported file, which only engines run (stylize, live, studio, benchmark)"
_NO_CHECKPOINT = {
    ".onnx": _ENGINES_RUN,
    ".xml": _ENGINES_RUN,
    ".pt2": "a package for other programs, which no command here runs",
}
"""Ending of what `vst.export` makes -> what it is instead of a checkpoint."""


def stylizer_content(stylizer: Stylizer, model_config: dict[str, Any], style: str) -> dict[str, Any]:
    """The entry "stylizer" of a checkpoint: weights on the CPU and what `build_stylizer` needs to hold them."""
    weights = {name: value.detach().cpu().clone() for name, value in stylizer.state_dict().items()}
    model = {key: model_config[key] for key in (*PARTS, "short_side") if key in model_config}
    return {"format": FORMAT, "model": model, "weights": weights, "style": style}


def save_stylizer(path: Path | str, content: dict[str, Any]) -> None:
    """Write a stylizer checkpoint, whole or not at all."""
    save_whole(path, {"stylizer": content})


def save_whole(path: Path | str, checkpoint: dict[str, Any]) -> None:
    """`torch.save` under a temporary name, then renamed: a full disk leaves no torso, and what was there stays.

    Raises:
        OSError: the file cannot be written.
    """
    path, buffer = Path(path), io.BytesIO()
    torch.save(checkpoint, buffer)  # into memory: writing to a file itself, torch hides why that failed
    part = path.with_name(f".{path.name}.part")
    try:
        part.write_bytes(buffer.getbuffer())
        os.replace(part, path)
    except BaseException:
        part.unlink(missing_ok=True)
        raise


def read_stylizer(path: Path | str) -> dict[str, Any]:
    """The entry "stylizer" of a stylizer checkpoint or a Lightning checkpoint, read as `load_stylizer` reads it.

    Raises:
        UserError: the file is missing, is no checkpoint, holds code, is of another kind or of a newer format, or its
            weights are not finite.
    """
    return _content_of(_read(Path(path)), path)


def load_stylizer(path: Path | str, device: torch.device | str = "cpu") -> Stylizer:
    """Load a stylizer in eval mode from a stylizer checkpoint or a Lightning checkpoint.

    Nothing in the file is executed: it is read with `weights_only=True` and only classes of `vst.networks` are built.

    Raises:
        UserError: the file is missing, is no checkpoint, holds code, is of another kind or of a newer format, or its
            weights do not fit its model or are not finite.
    """
    content = read_stylizer(path)
    stylizer = build_stylizer(content["model"])
    try:
        stylizer.load_state_dict(content["weights"])
    except RuntimeError as error:
        raise UserError(f"{path}: its weights do not fit its model ({str(error).splitlines()[0]})") from error
    return stylizer.eval().requires_grad_(False).to(device)


def initialise(stylizer: Stylizer, discriminator: nn.Module | None, path: Path | str, smaller: float = 0.0) -> str:
    """Start networks from the weights of a stylizer checkpoint or a Lightning checkpoint.

    The generator's are all taken, the memory's where both have them by name and shape (so a model without memory can
    start one with it), and the discriminator's if the file has just these. Inputs for a grain that only one of them has
    are left out, or begin at zero. Returns one line on what was taken.

    Args:
        smaller: share of the file's channels that are taken out first (`vst.pruning.prune`).

    Raises:
        UserError: as `load_stylizer`; or the generator is of another architecture.
    """
    checkpoint = _read(Path(path))
    content = _content_of(checkpoint, path)
    if smaller:
        content = prune(content, smaller)
    given = {part: _under(f"{part}.", content["weights"]) for part in ("generator", "temporal")}
    given["generator"] = _with_grain_of(stylizer.generator, given["generator"], content["model"]["generator"])
    differing = _differing(given["generator"], stylizer.generator.state_dict())
    if differing:
        raise UserError(
            f"init_from={path}: another architecture: {len(differing)} tensors of the generator differ, such as "
            f"{differing[0]}; choose the model of its run, or start without init_from"
        )
    said = ["generator taken", f"memory {_take(stylizer.temporal, given['temporal'])}"]
    stylizer.generator.load_state_dict(given["generator"])
    if discriminator is not None:
        opponent = _checked(_under("discriminator.", checkpoint.get("state_dict", {})), path)
        fits = not _differing(opponent, discriminator.state_dict())
        said.append(f"discriminator {_take(discriminator, opponent if fits else {})}")
    ours, theirs = getattr(stylizer.grain, "streak", None), streak_of(content["model"])
    if None not in (ours, theirs) and ours != theirs:
        said.append(f"its grain had other streaks: model.grain.streak={theirs} keeps them")
    return f"{path} (style {content.get('style')}): {', '.join(said)}"


def streak_of(model_config: dict[str, Any]) -> int | None:
    """How far the grain of a model is drawn out (`vst.networks.grain.Grain`), None for a model without grain."""
    grain = model_config.get("grain") or {}
    return grain.get("streak", 0) if grain.get("_target_") in GRAINS else None


def _with_grain_of(
    generator: nn.Module, weights: dict[str, torch.Tensor], config: dict[str, Any]
) -> dict[str, torch.Tensor]:
    """The weights of a generator that takes another grain, with inputs for that of `generator`, which begin at zero."""
    ours, theirs = getattr(generator, "grain", 0), config.get("grain", 0)
    if ours == theirs or "stem.weight" not in weights:
        return weights
    stem = weights["stem.weight"]
    seen = stem[:, : stem.shape[1] - theirs]
    return weights | {"stem.weight": torch.cat([seen, seen.new_zeros(len(seen), ours, *seen.shape[2:])], 1)}


def _take(module: nn.Module, given: dict[str, torch.Tensor]) -> str:
    ours = module.state_dict()
    common = {name: value for name, value in given.items() if name in ours and value.shape == ours[name].shape}
    module.load_state_dict(common, strict=False)
    if not ours:
        return "left out" if given else "none"
    return {0: "new", len(ours): "taken"}.get(len(common), f"taken in {len(common)} of {len(ours)} tensors, else new")


def read_training(path: Path | str) -> dict[str, Any]:
    """The configuration of the run that wrote a Lightning checkpoint, with its interpolations.

    Raises:
        UserError: the file is missing or unreadable, or holds only a stylizer.
    """
    checkpoint = _read(Path(path))
    if not {"state_dict", "optimizer_states", "progress", "config"} <= checkpoint.keys():
        raise UserError(f"resume={path}: not the state of a training; give the checkpoints/last.ckpt of a run")
    return checkpoint["config"]


def read_progress(path: Path | str) -> dict[str, int]:
    """How far the run was that wrote a Lightning checkpoint: its `clips_seen`, `batches_seen` and `epochs_done`."""
    return _read(Path(path))["progress"]


def check_resumable(path: Path | str, state: dict[str, torch.Tensor], max_epochs: int) -> None:
    """Refuse a checkpoint that the training of a task with the state dictionary `state` cannot continue from.

    Raises:
        UserError: it belongs to another model, or the run has its `max_epochs` already.
    """
    checkpoint = _read(Path(path))
    differing = _differing(checkpoint["state_dict"], state)
    if differing:
        raise UserError(
            f"resume={path}: belongs to another model: {len(differing)} tensors differ, such as {differing[0]}; "
            "it was written by another version of vst"
        )
    if checkpoint["epoch"] + 1 >= max_epochs:
        raise UserError(
            f"resume={path}: the run has finished its {max_epochs} epochs; to go on, give a larger trainer.max_epochs"
        )


def _content_of(checkpoint: dict[str, Any], path: Path | str) -> dict[str, Any]:
    content = checkpoint.get("stylizer")
    if not isinstance(content, dict) or not {"format", "model", "weights"} <= content.keys():
        raise UserError(f"{path}: a checkpoint, but of another kind: it has no vst stylizer; give a run's stylizer.pt")
    if content["format"] != FORMAT:
        raise UserError(f"{path}: checkpoint format {content['format']}, this vst reads {FORMAT}; update vst")
    return {**content, "weights": _checked(content["weights"], path)}


def _checked(weights: Any, path: Path | str) -> dict[str, torch.Tensor]:
    """`weights` if they are named tensors of finite numbers, else a UserError."""
    if not isinstance(weights, dict) or not all(isinstance(value, torch.Tensor) for value in weights.values()):
        raise UserError(f"{path}: its weights do not fit its model (they are not tensors); give another checkpoint")
    broken = next((name for name, value in weights.items() if not value.isfinite().all()), None)
    if broken is not None:
        raise UserError(f"{path}: its training diverged: {broken} holds NaN or infinity; give another checkpoint")
    return weights


def _under(prefix: str, weights: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """The weights whose names begin with `prefix`, by the rest of their names."""
    return {name.removeprefix(prefix): value for name, value in weights.items() if name.startswith(prefix)}


def _differing(theirs: dict[str, torch.Tensor], ours: dict[str, torch.Tensor]) -> list[str]:
    """Names of tensors that only one has, or that differ in shape."""
    theirs, ours = ({name: tuple(value.shape) for name, value in x.items()} for x in (theirs, ours))
    return sorted(name for name in theirs.keys() | ours.keys() if theirs.get(name) != ours.get(name))


def _read(path: Path) -> dict[str, Any]:
    if not path.is_file():
        what = "a folder" if path.is_dir() else "not found"
        raise UserError(f"checkpoint '{path}': {what}; give the stylizer.pt that train.py wrote into its run folder")
    if path.suffix in _NO_CHECKPOINT:
        what = _NO_CHECKPOINT[path.suffix]
        raise UserError(f"checkpoint '{path}': {what}; give the stylizer.pt that it was made from")
    try:
        checkpoint = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch raises many kinds for files that are not its own
        refused = zipfile.is_zipfile(path) and isinstance(error, pickle.UnpicklingError)
        why = "it holds code or foreign objects, which are never loaded" if refused else "not a readable checkpoint"
        raise UserError(f"checkpoint '{path}': {why}; give the stylizer.pt of a run") from error
    return checkpoint if isinstance(checkpoint, dict) else {}
