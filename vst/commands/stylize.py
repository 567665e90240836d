"""`vst stylize`: paint a video."""

from __future__ import annotations

import hashlib
import logging
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from omegaconf import DictConfig

from vst.checkpoint import load_stylizer
from vst.commands.common import EXPORTED, open_device
from vst.config import command, plain
from vst.errors import UserError
from vst.names import named_files
from vst.networks import Stylizer
from vst.painting import Painter
from vst.painting.camera import Camera
from vst.painting.compare import Comparison
from vst.painting.framing import Framed, read_crop, read_size, seen_size
from vst.painting.layouts import Stereo, check_eyes
from vst.painting.look import check_palette
from vst.painting.masks import ChromaKey, FileMask, Masked
from vst.painting.stage import Paints
from vst.painting.timeline import KEYED, read_look
from vst.runtime import TILES, Engine, choose_engine, open_engine
from vst.runtime.engine import MIN_SIDE
from vst.schema import StylizeConfig
from vst.stream import stylize_video
from vst.video.pictures import PICTURES, is_picture
from vst.video.probe import is_stream
from vst.video.sink import STDOUT, open_sink
from vst.video.source import DEFAULT_FPS, find_inputs, open_source

log = logging.getLogger("vst")

USUAL_SIZE = (1280, 720)  # that engine=auto measures at where the input can be read only once
LOOK_KEYS = (*KEYED, "use", "palette", "scale")
SOURCE_KEYS = ("start", "end", "fps", "crossfade", "hwaccel")
SINK_KEYS = ("codec", "crf", "preset", "bitrate", "pix_fmt", "format", "overwrite")
JOB_KEYS = (
    *LOOK_KEYS, "mask", "compare", "camera", "duration", "stereo", "panorama", "crop", "size", "engine", "precision",
)  # fmt: skip
"""What decides the pictures besides input and weights, for `resume`."""


@command("stylize", StylizeConfig)
def stylize(cfg: DictConfig) -> None:
    """Stylise a video."""
    asked = plain(cfg)
    if asked["output"] == STDOUT:
        _log_to_stderr()
    files = named_files(asked["checkpoint"], "checkpoint")
    look, timeline = read_look({key: asked[key] for key in LOOK_KEYS}, files)
    mask = _mask(**asked["mask"])
    # In this order the mistakes come before engines are opened, which takes a while.
    models = {name: file if file.suffix in EXPORTED else load_stylizer(file) for name, file in files.items()}
    crop, frame_size = read_crop(asked["crop"]), read_size(asked["size"])
    source, size = _source(asked)
    if size is not None:
        size = seen_size(size, crop, frame_size)
    if size is not None and asked["stereo"] != "none":
        check_eyes(*size, asked["stereo"])
    if size is not None and mask is not None:
        mask.check(*size)
    seen = _seen_at_once(size or USUAL_SIZE, asked["stereo"], look.scale)
    openings = {name: _Opening(model, asked, seen) for name, model in models.items()}

    def painter() -> Painter:
        return Painter({name: opened() for name, opened in openings.items()}, look, timeline, asked["panorama"])

    stage: Paints = painter() if asked["stereo"] == "none" else Stereo(painter(), painter(), asked["stereo"])
    if mask is not None:
        stage = Masked(stage, mask, asked["mask"]["invert"], asked["mask"]["feather"])
    if asked["compare"] != "none":
        stage = Comparison(stage, asked["compare"])
    if crop is not None or frame_size is not None:
        stage = Framed(stage, crop, frame_size)
    keys = SINK_KEYS if isinstance(source, Camera) else (*SOURCE_KEYS, *SINK_KEYS)
    options = {key: asked[key] for key in (*keys, "resume", "audio")}
    report = stylize_video(stage, source, asked["output"], job=_job(asked, files), **options)
    cuts = f", {report.cuts} cut{'' if report.cuts == 1 else 's'}" if report.cuts else ""
    said = f"{report.frames} frames in {report.seconds:.1f} s ({report.fps:.1f} fps){cuts}\n{report.output}"
    print(said, file=sys.stderr if asked["output"] == STDOUT else sys.stdout)


def _source(asked: Mapping[str, Any]) -> tuple[Any, tuple[int, int] | None]:
    """What `stylize_video` takes as its input, and its upright size, None where it can be read only once.

    Raises UserError for an input or an output that cannot be.
    """
    given = asked["input"]
    if asked["camera"] != "none":
        if not is_picture(given):
            raise UserError(
                f"camera={asked['camera']} moves over a picture, and {given} is none ({', '.join(PICTURES)})"
            )
        source = given = Camera(given, asked["camera"], asked["duration"], asked["fps"] or DEFAULT_FPS)
    elif any(is_stream(location) for location in find_inputs(given)):
        return given, None
    else:
        source = open_source(given, **{key: asked[key] for key in SOURCE_KEYS})
    with source:
        open_sink(asked["output"], source.info, **{key: asked[key] for key in SINK_KEYS})  # tells what is wrong with it
        return given, source.info.upright_size


def _log_to_stderr() -> None:
    """Standard output is for frames."""
    for handler in logging.getLogger().handlers:
        if isinstance(handler, logging.StreamHandler) and handler.stream is sys.stdout:
            handler.setStream(sys.stderr)


def _mask(
    file: str | None, color: list | None, tolerance: float, softness: float, **_: object
) -> FileMask | ChromaKey | None:
    if color is not None:
        check_palette([color], "mask.color")
        return ChromaKey(tuple(color), tolerance, softness)
    return None if file is None else FileMask(file)


def _seen_at_once(size: tuple[int, int], stereo: str, scale: float) -> tuple[int, int]:
    """(width, height) of what the network paints in one go, near enough to choose an engine for."""
    width, height = size
    eyes = {"side_by_side": (width // 2, height), "top_bottom": (width, height // 2)}.get(stereo, size)
    return tuple(max(MIN_SIDE, min(round(side * scale), TILES[0])) for side in eyes)


class _Opening:
    """Opens engines of one style; what cannot be opened is told at the first one."""

    def __init__(self, model: Path | Stylizer, asked: Mapping[str, Any], size: tuple[int, int]) -> None:
        names = [asked["device"]] if isinstance(asked["device"], str) else asked["device"]
        self._devices, self._tile = [open_device(name) for name in names], asked["tile"]
        self._source = model
        self._kind = asked["engine"], asked["precision"]
        if asked["engine"] == "auto":
            choice = choose_engine(self._source, size, asked["precision"], self._devices[0])
            log.info("engine    %s %s, %s", choice.engine, choice.precision, choice.reason)
            self._kind = choice.engine, choice.precision
        elif asked["precision"] == "auto":
            raise UserError("precision=auto is for engine=auto; choose float32, bfloat16 or float16")

    def __call__(self) -> Engine:
        return open_engine(self._source, *self._kind, self._devices, self._tile)


def _job(asked: Mapping[str, Any], files: Mapping[str, Path]) -> dict[str, Any]:
    """What tells this job from another one, for `resume`."""
    weights = {name: hashlib.sha256(file.read_bytes()).hexdigest() for name, file in files.items()}
    return {key: asked[key] for key in JOB_KEYS} | {"checkpoints": weights}
