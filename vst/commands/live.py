"""`vst live`: paint a camera, a stream or the screen as it comes."""

from __future__ import annotations

import logging
import os
from typing import Any

from omegaconf import DictConfig

from vst.checkpoint import load_stylizer
from vst.commands.common import open_device
from vst.commands.studio import serve_studio
from vst.config import command, compose_or_explain, plain
from vst.errors import UserError
from vst.live.controls import HELP, Controls
from vst.live.loop import LiveLoop, LiveReport
from vst.live.sinks import open_sink
from vst.live.sources import open_source
from vst.names import named_files
from vst.painting import Look, Painter
from vst.painting.framing import read_size, seen_size
from vst.runtime import FILE_ENGINES, Engine, open_engine, settle_engine
from vst.schema import LiveConfig, StudioConfig

log = logging.getLogger("vst")

USUAL_SIZE = (1280, 720)  # that engine=auto chooses for where none is given
LOOK_KEYS = ("strength", "calm", "preserve_color", "stroke")
ENGINE_KEYS = ("engine", "precision", "device")


@command("live", LiveConfig)
def live(cfg: DictConfig) -> None:
    """Paint a live picture until its end, q, or Ctrl-C."""
    asked = plain(cfg)
    if asked["ui"] == "web":
        return _serve(asked)
    size = read_size(asked["size"], both=True)
    if size is not None:
        seen_size(size, None, None)
    files = named_files(asked["checkpoint"], "checkpoint")
    look = Look(style=asked["first"] or "", **{key: float(asked[key]) for key in LOOK_KEYS})
    controls = Controls(list(files), look, overlay=asked["overlay"] != "none")
    waiting = {"timeout": asked["timeout"]}
    # In this order the mistakes come before the models are opened, which takes a while.
    reading = {key: asked[key] for key in ("loop", "fps", "deinterlace")} | waiting
    source = open_source(asked["source"], size=size, **reading)
    sinks = _sinks(asked, controls, waiting)
    engines = {name: _engine(file, asked, size or USUAL_SIZE) for name, file in files.items()}
    # The key o shows numbers in the window also where overlay=none hides them at first.
    numbers = "all" if asked["overlay"] == "all" else "window"
    limits = {key: asked[key] for key in ("fps", "min_scale", "reconnect")} | waiting
    loop = LiveLoop(source, Painter(engines, look), sinks, controls, size=size, numbers=numbers, **limits)
    log.info("live      %s to %s; %s", source.name, ", ".join(sink.name for sink in sinks), HELP)
    if source.has_sound:
        log.info("sound     live outputs have none, and that of %s is left out; stylize.py keeps it", source.name)
    if _is_in_foreground():
        controls.listen()
    _tell(loop.run())


def read_names(given: str | list) -> list[str]:
    """One or several; also `[a,b?c=d]`, which Hydra's grammar takes for one text because of the signs of its URLs."""
    if isinstance(given, str):
        given = given[1:-1].split(",") if given.startswith("[") and given.endswith("]") else [given]
    return [str(name).strip() for name in given]


def _sinks(asked: dict[str, Any], controls: Controls, waiting: dict[str, float]) -> list:
    names = read_names(asked["sink"])
    if not names or len(set(names)) < len(names):
        raise UserError(f"sink={asked['sink']}: give one, or several that differ, as [window,out.mp4]")
    options = {key: asked[key] for key in ("overwrite", "crf", "bitrate")} | waiting
    return [open_sink(name, press=controls.press, quit=controls.stop.set, **options) for name in names]


def _engine(file: Any, asked: dict[str, Any], size: tuple[int, int]) -> Engine:
    device = open_device(asked["device"])
    source = file if file.suffix in FILE_ENGINES else load_stylizer(file)
    return open_engine(source, *settle_engine(source, asked["engine"], asked["precision"], device, size), device)


def _serve(asked: dict[str, Any]) -> None:
    """The studio with this command's styles and engine, otherwise by its own defaults."""
    settings = plain(compose_or_explain("studio", ["styles=[]"], StudioConfig))
    settings |= {key: asked[key] for key in ENGINE_KEYS} | {"styles": asked["checkpoint"]}
    serve_studio(**settings)


def _is_in_foreground() -> bool:
    """A process in the background is stopped by the system when it reads from its terminal."""
    return not os.isatty(0) or not hasattr(os, "tcgetpgrp") or os.tcgetpgrp(0) == os.getpgrp()


def _tell(report: LiveReport) -> None:
    r = report
    print(
        f"{r.seconds:.1f} s: received {r.received}, painted {r.painted}, dropped {r.dropped}, repeated {r.repeated}; "
        f"{r.cuts} cuts, {r.reconnects} reconnects, scale {r.scale:.2f} after {r.scale_changes} changes"
    )
    for sink in r.sinks:
        if not sink.delivered:
            print(f"{sink.name}: no frame came that far, so nothing was written")
            continue
        pace = f"{sink.pace.fps:.1f} FPS, latency p50 {sink.pace.p50 * 1000:.0f} ms, p95 {sink.pace.p95 * 1000:.0f} ms"
        print(f"{sink.name}: {sink.delivered} frames, {sink.skipped} skipped, {pace}")
    for sink in r.sinks:
        if sink.delivered:
            print(sink.name)
