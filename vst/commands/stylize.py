"""`vst stylize`: paint a video."""

from __future__ import annotations

import logging
from pathlib import Path

from omegaconf import DictConfig

from vst.checkpoint import load_stylizer
from vst.commands.common import EXPORTED, open_device
from vst.config import command
from vst.errors import UserError
from vst.runtime import TILES, Engine, choose_engine, open_engine
from vst.schema import StylizeConfig
from vst.stream import stylize_video
from vst.video import probe

log = logging.getLogger("vst")


@command("stylize", StylizeConfig)
def stylize(cfg: DictConfig) -> None:
    """Stylise a video file."""
    report = stylize_video(
        _engine(cfg),
        cfg.input,
        cfg.output,
        codec=cfg.codec,
        crf=cfg.crf,
        preset=cfg.preset,
        overwrite=cfg.overwrite,
    )
    cuts = f", {report.cuts} cut{'' if report.cuts == 1 else 's'}" if report.cuts else ""
    print(f"{report.frames} frames in {report.seconds:.1f} s ({report.fps:.1f} fps){cuts}")
    print(report.output)


def _engine(cfg: DictConfig) -> Engine:
    """The engine of `stylize`, which `engine=auto` chooses for the size of its input."""
    names = [cfg.device] if isinstance(cfg.device, str) else list(cfg.device)
    devices, exported = [open_device(name) for name in names], Path(cfg.checkpoint).suffix in EXPORTED
    source = Path(cfg.checkpoint) if exported else load_stylizer(cfg.checkpoint)
    video = probe(cfg.input)  # before an engine is built, which may take a while
    engine, precision = cfg.engine, cfg.precision
    size = (video.width, video.height) if round(video.rotation / 90) % 2 == 0 else (video.height, video.width)
    if engine == "auto":
        measured = tuple(min(side, TILES[0]) for side in size)  # what is fastest there is so for what may not fit
        choice = choose_engine(source, measured, precision, devices[0])
        log.info("engine    %s %s, %s", choice.engine, choice.precision, choice.reason)
        engine, precision = choice.engine, choice.precision
    elif precision == "auto":
        raise UserError("precision=auto is for engine=auto; choose float32, bfloat16 or float16")
    opened = open_engine(source, engine, precision, devices, cfg.tile)
    opened.fit(size[1], size[0])  # before the output is begun
    return opened
