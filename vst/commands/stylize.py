"""`vst stylize`: paint a video, or a folder of them."""

from __future__ import annotations

import hashlib
import logging
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

from omegaconf import DictConfig

from vst.checkpoint import load_stylizer
from vst.commands.common import open_device
from vst.config import command, plain
from vst.errors import UserError
from vst.items import Task, paint_items, plan_items
from vst.names import named_files
from vst.networks import Stylizer
from vst.painting import Painter
from vst.painting.camera import Camera
from vst.painting.compare import Comparison
from vst.painting.framing import Framed, read_crop, read_size, seen_size
from vst.painting.layouts import Layout, Stereo, check_eyes, one_eye
from vst.painting.look import Look, check_palette, painted_size
from vst.painting.masks import ChromaKey, FileMask, Masked, begin_of
from vst.painting.painter import learned_side
from vst.painting.stage import Paints
from vst.painting.timeline import KEYED, Timeline, read_look
from vst.progress import Place
from vst.runtime import FILE_ENGINES, TILES, Engine, open_engine, settle_engine
from vst.runtime.engine import MIN_SIDE
from vst.schema import StylizeConfig
from vst.stream import StreamReport, stylize_video
from vst.video.encoders import FORMATS, choose_encoding
from vst.video.formats import COMMON_PICTURES
from vst.video.pictures import is_picture
from vst.video.probe import is_stream
from vst.video.sink import STDOUT, ground_of, open_sink
from vst.video.source import DEFAULT_FPS, Source, find_inputs, open_source, parse_seconds
from vst.video.writer import new_video

log = logging.getLogger("vst")

USUAL_SIZE = (1280, 720)  # that engine=auto measures at where the input can be read only once
TOLD_SECONDS = 2.0  # of preparation, from which on they explain why frames and seconds do not make the fps
LOOK_KEYS = (*KEYED, "use", "palette", "stroke")
SOURCE_KEYS = ("start", "end", "fps", "crossfade", "hwaccel", "deinterlace")
ENCODER_KEYS = ("codec", "crf", "preset", "bitrate", "pix_fmt")
SINK_KEYS = (*ENCODER_KEYS, "hdr", "format", "overwrite")
GROUND_KEYS = ("transparency", "background", "codec", "pix_fmt")
NAMING_KEYS = ("codec", "pix_fmt", "audio", "transparency")
JOB_KEYS = (
    *LOOK_KEYS, "mask", "compare", "camera", "duration", "stereo", "panorama", "crop", "size", "engine", "precision",
    "planes", "grain",
)  # fmt: skip
"""What decides the pictures besides input and weights, for `resume`."""


@command("stylize", StylizeConfig)
def stylize(cfg: DictConfig) -> None:
    """Stylise a video, or each of many."""
    asked = plain(cfg)
    if asked["output"] == STDOUT:
        _log_to_stderr()
    painting = _Painting(asked)
    naming = {key: asked[key] for key in NAMING_KEYS}
    plan = plan_items(asked["input"], asked["output"], asked["items"], camera=asked["camera"] != "none", **naming)
    for note in plan.notes:
        log.info("input     %s", note)
    if plan.tasks:
        return _paint_each(plan.tasks, painting, asked)
    report = painting.paint({**asked, "input": plan.input})
    cuts = f", {report.cuts} cut{'' if report.cuts == 1 else 's'}" if report.cuts else ""
    pace = "" if report.fps is None else f" ({report.fps:.1f} fps)"
    prepared = f", {report.preparing:.1f} s of it until the first" if report.preparing > TOLD_SECONDS else ""
    said = f"{report.frames} frames in {report.seconds:.1f} s{prepared}{pace}{cuts}\n{report.output}"
    print(said, file=sys.stderr if asked["output"] == STDOUT else sys.stdout)


def _paint_each(tasks: Sequence[Task], painting: _Painting, asked: Mapping[str, Any]) -> None:
    """Raises UserError that lists what failed."""
    _check_for_all(tasks, asked)

    def paint(task: Task, place: Place, replace: bool) -> None:
        painting.paint({**_asked_of(task, asked), "overwrite": replace}, place)

    outcome = paint_items(tasks, paint, asked["overwrite"])
    present = f", {outcome.present} there already (overwrite=true paints them again)" if outcome.present else ""
    failed = f", {len(outcome.failed)} failed" if outcome.failed else ""
    print(f"{outcome.painted} of {len(tasks)} painted{present}{failed}\n{asked['output']}")
    if outcome.failed:
        lines = [reason if name in reason else f"{name}: {reason}" for name, reason in outcome.failed.items()]
        raise UserError("\n  ".join([f"{len(lines)} of {len(tasks)} could not be painted", *lines]))


def _check_for_all(tasks: Sequence[Task], asked: Mapping[str, Any]) -> None:
    """What is wrong for each of them is told once, before any."""
    for key in ("start", "end"):
        parse_seconds(asked[key], key)
    ground_of("x.png", asked["transparency"], asked["background"])
    _check_encoding(tasks, asked)
    _mask(asked["mask"], _Film(None, None, None, Fraction(0)), None)
    if parse_seconds(asked["crossfade"], "crossfade"):
        raise UserError(f"crossfade={asked['crossfade']} joins films, and each is painted by itself; leave it out")
    if asked["format"] is not None:
        raise UserError(f"format={asked['format']} is for output=-, and {asked['output']} is a folder; leave it out")
    if asked["camera"] != "none" and all(task.item.kind == "film" for task in tasks):
        raise UserError(f"camera={asked['camera']} moves over pictures, and {asked['input']} holds films; leave it out")


def _check_encoding(tasks: Sequence[Task], asked: Mapping[str, Any]) -> None:
    """What fits only some of the containers is told of the others, one by one."""
    films = {suffix: task.output for task in tasks if (suffix := task.output.suffix.lower()) in FORMATS}
    wrong = []
    for film in films.values():
        try:
            choose_encoding(film, new_video(64, 64, 25), **{key: asked[key] for key in ENCODER_KEYS})
        except UserError as error:
            wrong.append(error)
    if films and len(wrong) == len(films):
        raise wrong[0]


def _asked_of(task: Task, asked: Mapping[str, Any]) -> dict[str, Any]:
    """The settings for one of many: those of films are none of pictures, and what it has not need not be kept."""
    given = list(map(str, task.item.files)) or str(task.item.source)
    own = {**asked, "input": given, "output": str(task.output)}
    is_film = task.item.kind == "film" or asked["camera"] != "none"
    if not is_film or task.output.suffix.lower() not in FORMATS:
        own |= dict.fromkeys(ENCODER_KEYS) | {"resume": False, "audio": "copy", "planes": False, "hdr": "auto"}
    if task.item.kind == "picture":
        own |= {"start": None, "end": None, "hwaccel": None} | ({} if is_film else {"fps": None})
    if task.item.kind == "film":
        own |= {"camera": "none"}
    if asked["transparency"] == "keep" and not task.alpha:
        own |= {"transparency": "auto"}
    return own


class _Painting:
    """What the configuration asks for, for any number of films: read once, with engines that stay open."""

    def __init__(self, asked: Mapping[str, Any]) -> None:
        self._files = named_files(asked["checkpoint"], "checkpoint")
        self._look, self._timeline = read_look({key: asked[key] for key in LOOK_KEYS}, self._files)
        # In this order the mistakes come before engines are opened, which takes a while.
        self._models = {
            name: file if file.suffix in FILE_ENGINES else load_stylizer(file) for name, file in self._files.items()
        }
        self._crop, self._size = read_crop(asked["crop"]), read_size(asked["size"])
        self._openings: dict[str, _Opening] = {}

    def paint(self, asked: Mapping[str, Any], place: Place | None = None) -> StreamReport:
        """Paint the `input` of a configuration that differs from the first in what is painted alone."""
        film = _film(asked)
        layout = None if asked["stereo"] == "none" else asked["stereo"]
        masks = [_mask(asked["mask"], film, eye) for eye in ([None] if layout is None else [(0, layout), (1, layout)])]
        size = None if film.size is None else _eye_size(seen_size(film.size, self._crop, self._size), layout)
        for mask in masks:
            if size is not None and mask is not None:
                mask.check(*size)
        if not self._openings:
            seen = size or USUAL_SIZE
            self._openings = {name: _Opening(model, asked, seen) for name, model in self._models.items()}
        engine = self._openings[self._look.style or next(iter(self._openings))](0)
        own_size = not learned_side(engine) or (size is not None and learned_side(engine) == min(size))
        if own_size and _stays_in_planes(asked, self._look, self._timeline):
            stage = engine
        elif layout is None:
            stage = self._view(asked, masks[0], 0)
        else:
            stage = Stereo(self._view(asked, masks[0], 0), self._view(asked, masks[1], 1), layout)
        if self._crop is not None or self._size is not None:
            stage = Framed(stage, self._crop, self._size)
        keys = SINK_KEYS if isinstance(film.given, Camera) else (*SOURCE_KEYS, *SINK_KEYS)
        options = {key: asked[key] for key in (*keys, "transparency", "background", "resume", "audio", "planes")}
        job = _job(asked, self._files)
        return stylize_video(stage, film.given, asked["output"], job=job, place=place, **options)

    def _view(self, asked: Mapping[str, Any], mask: FileMask | ChromaKey | None, eye: int) -> Paints:
        engines = {name: opened(eye) for name, opened in self._openings.items()}
        stage: Paints = Painter(engines, self._look, self._timeline, asked["panorama"])
        if mask is not None:
            stage = Masked(stage, mask, asked["mask"]["invert"], asked["mask"]["feather"], asked["panorama"])
        return stage if asked["compare"] == "none" else Comparison(stage, asked["compare"])


@dataclass(frozen=True)
class _Film:
    """What is painted: what `stylize_video` takes for it, its upright size and rate, None where it can be read only
    once, and the seconds of the whole film at which it begins.
    """

    given: Any
    size: tuple[int, int] | None
    fps: Fraction | None
    begin: Fraction


def _film(asked: Mapping[str, Any]) -> _Film:
    """Raises UserError for an input or an output that cannot be."""
    given = asked["input"]
    ground = ground_of(asked["output"], **{key: asked[key] for key in GROUND_KEYS})
    if asked["camera"] != "none":
        if not is_picture(given):
            raise UserError(f"camera={asked['camera']} moves over a picture, and {given} is none ({COMMON_PICTURES})")
        source = given = Camera(given, asked["camera"], asked["duration"], asked["fps"] or DEFAULT_FPS, ground)
    elif any(is_stream(location) for location in find_inputs(given)):
        return _Film(given, None, None, parse_seconds(asked["start"], "start") or Fraction(0))
    else:
        source = open_source(given, **{key: asked[key] for key in SOURCE_KEYS}, background=ground)
    with source:
        open_sink(asked["output"], source.info, **{key: asked[key] for key in SINK_KEYS})  # tells what is wrong with it
        return _Film(given, source.info.upright_size, source.info.fps, _begin(asked, source))


def _begin(asked: Mapping[str, Any], source: Source) -> Fraction:
    if asked["mask"]["file"] is None:
        return Fraction(0)
    begin = begin_of(source, parse_seconds(asked["start"], "start"))
    if asked["fps"] is not None:
        begin += 1 / (2 * source.info.fps)  # a frame of a constant rate is the one shown in the middle of its time
    return begin


def _stays_in_planes(asked: Mapping[str, Any], look: Look, timeline: Timeline | None) -> bool:
    """Whether that was asked for, and a frame becomes what the engine makes of it and nothing else."""
    around = timeline, asked["crop"], asked["size"], asked["mask"]["file"], asked["mask"]["color"]
    if any(effect is not None for effect in around) or asked["stereo"] != "none" or asked["compare"] != "none":
        return False
    if asked["panorama"] or asked["resume"] or not asked["planes"]:
        return False
    return look.plain and look.stroke == 1


def _log_to_stderr() -> None:
    """Standard output is for frames."""
    for handler in logging.getLogger().handlers:
        if isinstance(handler, logging.StreamHandler) and handler.stream is sys.stdout:
            handler.setStream(sys.stderr)


def _mask(given: Mapping[str, Any], film: _Film, eye: tuple[int, Layout] | None) -> FileMask | ChromaKey | None:
    if given["color"] is not None:
        check_palette([given["color"]], "mask.color")
        return ChromaKey(tuple(given["color"]), given["tolerance"], given["softness"])
    return None if given["file"] is None else FileMask(given["file"], film.begin, film.fps, eye)


def _eye_size(size: tuple[int, int], layout: Layout | None) -> tuple[int, int]:
    if layout is None:
        return size
    check_eyes(*size, layout)
    return one_eye(*size, layout)


def _seen_at_once(size: tuple[int, int], stroke: float, short_side: int) -> tuple[int, int]:
    """(width, height) of what the network paints in one go, near enough to choose an engine for."""
    return tuple(max(MIN_SIDE, min(round(side), TILES[0])) for side in painted_size(size, stroke, short_side))


class _Opening:
    """Opens engines of one style, one for each eye; what cannot be opened is told at the first one."""

    def __init__(self, model: Path | Stylizer, asked: Mapping[str, Any], size: tuple[int, int]) -> None:
        seen = _seen_at_once(size, asked["stroke"], learned_side(model))
        names = [asked["device"]] if isinstance(asked["device"], str) else asked["device"]
        self._devices, self._tile = [open_device(name) for name in names], asked["tile"]
        self._source = model
        self._opened: dict[int, Engine] = {}
        self._kind = settle_engine(model, asked["engine"], asked["precision"], self._devices[0], seen)
        # Each eye would follow its own camera, and after a while see other strokes.
        self._grain = asked["grain"] if asked["stereo"] == "none" else 0.0

    def __call__(self, eye: int) -> Engine:
        if eye not in self._opened:
            engine = open_engine(self._source, *self._kind, self._devices, self._tile)
            engine.grain_strength = self._grain
            self._opened[eye] = engine
        return self._opened[eye]


def _job(asked: Mapping[str, Any], files: Mapping[str, Path]) -> dict[str, Any]:
    """What tells this job from another one, for `resume`."""
    weights = {name: hashlib.sha256(file.read_bytes()).hexdigest() for name, file in files.items()}
    mask = asked["mask"]["file"]
    masks = [] if mask is None else [Path(found) for found in find_inputs(mask) if not is_stream(found)]
    facts = [[str(file), file.stat().st_size, file.stat().st_mtime_ns] for file in masks]
    return {key: asked[key] for key in JOB_KEYS} | {"checkpoints": weights, "mask_files": facts}
