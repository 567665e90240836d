"""`vst studio`: a web page on which videos and the camera are painted."""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

from omegaconf import DictConfig

from vst.cache import cache_folder
from vst.checkpoint import load_stylizer
from vst.commands.common import open_device
from vst.config import command, plain
from vst.names import named_files
from vst.runtime import FILE_ENGINES, open_engine, settle_engine
from vst.runtime.build import fingerprint
from vst.runtime.engine import require
from vst.schema import StudioConfig

ENGINE_KEYS = ("styles", "engine", "precision", "device")
PACKAGES = ("fastapi", "uvicorn", "aiortc")


@command("studio", StudioConfig)
def studio(cfg: DictConfig) -> None:
    """Serve the studio until Ctrl-C."""
    asked = plain(cfg)
    engines = {key: asked.pop(key) for key in ENGINE_KEYS}
    serve_studio(**engines, **asked)


def serve_studio(
    styles: str | list[str] | dict[str, str], engine: str | None, precision: str, device: str, **settings: Any
) -> None:
    """Open a studio of these styles; `settings` are those of `vst.studio.settings.Settings`.

    Raises:
        UserError: a package is missing, a style cannot be opened, or the address cannot be bound.
    """
    for package in PACKAGES:
        require(package, "the studio")
    from vst.studio.server import serve
    from vst.studio.settings import Settings

    settings["hosts"] = tuple(settings["hosts"])
    offered = open_styles(named_files(styles, "styles"), engine, precision, device, settings["live_side"])
    serve(Settings(**settings), offered, cache_folder("studio"))


def open_styles(
    files: Mapping[str, Path], engine: str | None, precision: str, device: str, side: int
) -> dict[str, Any]:
    """A `vst.studio.styles.Style` for each file; `engine=auto` chooses for frames of `side` pixels."""
    from vst.studio.styles import Style

    where, styles = open_device(device), {}
    for name, file in files.items():
        source = file if file.suffix in FILE_ENGINES else load_stylizer(file)
        chosen = settle_engine(source, engine, precision, where, (side, side * 9 // 16))
        opening = partial(open_engine, source, *chosen, where, "auto")
        opened = opening()  # what cannot be opened is told now, not to the first guest
        key = None if file.suffix in FILE_ENGINES else fingerprint(source)
        styles[name] = Style(title(name), opening, key, opened.info.short_side)
    return styles


def title(name: str) -> str:
    """`first/starry_night` -> `Starry night`."""
    words = re.sub(r"[_\-]+", " ", name.rpartition("/")[2]).strip() or name
    return words[:1].upper() + words[1:]
