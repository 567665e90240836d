"""A small painted picture for each style: a photograph that scikit-image brings, painted once and kept."""

from __future__ import annotations

import io
from contextlib import suppress
from importlib.resources import files
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps

from vst.cache import replacing
from vst.studio.styles import Style

PHOTOGRAPH = "chelsea.png"
SIZE = (360, 270)  # width and height in pixels
SETTLING_FRAMES = 3  # a memory starts empty; what a film looks like shows after a few frames
QUALITY = 88


def photograph() -> np.ndarray:
    """(270, 360, 3) uint8 RGB: the middle of the photograph."""
    with Image.open(files("skimage") / "data" / PHOTOGRAPH) as picture:
        return np.array(ImageOps.fit(picture.convert("RGB"), SIZE, Image.Resampling.LANCZOS))


def thumbnail(style: Style, folder: Path | None = None) -> bytes:
    """The JPEG of a style, from `folder` if it was kept there, and kept there otherwise."""
    path = folder / f"{style.key}.jpg" if folder is not None and style.key is not None else None
    if path is not None and path.is_file():
        return path.read_bytes()
    frame, engine = photograph(), style.open()
    engine.reset()
    painted = np.empty_like(frame)
    for _ in range(SETTLING_FRAMES):
        engine(frame, painted)
    data = jpeg(painted)
    if path is not None:
        _keep(path, data)
    return data


def jpeg(image: np.ndarray) -> bytes:
    """(H, W, 3) uint8 RGB as a JPEG file."""
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, "JPEG", quality=QUALITY)
    return buffer.getvalue()


def _keep(path: Path, data: bytes) -> None:
    # A cache that cannot be written costs a second at the next start.
    with suppress(OSError), replacing(path) as part:
        part.write_bytes(data)
