"""Which files are films and which are pictures, by their names: the one list of each for every door, and what is said
of files that are passed over.
"""

from __future__ import annotations

import mimetypes
from collections.abc import Iterable
from importlib.util import find_spec
from pathlib import Path

FILMS = (
    ".mp4", ".m4v", ".mov", ".qt", ".mkv", ".webm", ".avi", ".divx", ".ts", ".m2ts", ".mts", ".m2t", ".vob", ".mpg",
    ".mpeg", ".m2v", ".wmv", ".asf", ".flv", ".f4v", ".3gp", ".3g2", ".ogv", ".ogm", ".mxf", ".dv", ".nut", ".y4m",
    ".ivf", ".rm", ".rmvb", ".mjpeg", ".mjpg", ".h264", ".264", ".h265", ".265", ".hevc",
)  # fmt: skip
"""What FFmpeg, as bundled with PyAV, reads as a film. Pictures of several frames are films too."""

PLUGINS = {
    "pillow_heif": (".heic", ".heif", ".hif"),
    "pillow_jxl": (".jxl",),
}
"""Module of a Pillow plugin, which is optional -> what it reads."""

_PACKAGES = {"pillow_heif": "pillow-heif", "pillow_jxl": "pillow-jxl-plugin"}
_MISSING = {suffix: module for module, kinds in PLUGINS.items() if find_spec(module) is None for suffix in kinds}

PICTURES = (
    ".jpg", ".jpeg", ".jpe", ".jfif", ".mpo", ".png", ".apng", ".webp", ".avif", ".avifs", ".gif", ".bmp", ".dib",
    ".tif", ".tiff", ".jp2", ".j2k", ".j2c", ".jpf", ".jpx", ".ppm", ".pgm", ".pbm", ".pnm", ".tga", ".psd", ".qoi",
    ".pcx", ".sgi",
    *(suffix for kinds in PLUGINS.values() for suffix in kinds if suffix not in _MISSING),
)  # fmt: skip
"""What Pillow reads as a picture."""

COMMON_FILMS = ".mp4, .mov, .mkv, .webm, .avi, .ts or other video"
COMMON_PICTURES = ".jpg, .png, .webp, .tif, .avif or other picture"

_RAW = (".cr2", ".cr3", ".nef", ".arw", ".dng", ".raf", ".orf", ".rw2", ".pef", ".srw", ".braw", ".r3d")
_OTHER = (".exr", ".hdr", ".dpx", ".pfm", ".xcf", ".kra", ".ora", ".svg", ".eps", ".ai", ".insv", ".jxr")
_TYPES = mimetypes.MimeTypes(filenames=())  # without the system's lists, so that every machine says the same
_NAMED = 5


def has_suffix(path: str | Path, kinds: tuple[str, ...]) -> bool:
    return Path(path).suffix.lower() in kinds


def is_hidden(path: str | Path) -> bool:
    return Path(path).name.startswith(".")


def passed_over(rejected: Iterable[str | Path]) -> str | None:
    """One line that counts and names the pictures and films among `rejected`, which a folder's reader does not take;
    None for none. Notes, tables and hidden files are not worth a word.
    """
    told = [(Path(path).name, _reason(path)) for path in sorted(map(Path, rejected)) if not is_hidden(path)]
    told = [f"{name} ({reason})" for name, reason in told if reason is not None]
    if not told:
        return None
    rest = f" and {len(told) - _NAMED} more" if len(told) > _NAMED else ""
    verb = "1 file was" if len(told) == 1 else f"{len(told)} files were"
    return f"{verb} passed over: {', '.join(told[:_NAMED])}{rest}"


def _reason(path: str | Path) -> str | None:
    """Why a picture or film is not taken; None for a file that is neither."""
    suffix = Path(path).suffix.lower()
    if suffix in _MISSING:
        return f"needs pip install {_PACKAGES[_MISSING[suffix]]}"
    if suffix in FILMS:
        return "a film"
    if suffix in PICTURES:
        return "a picture"
    if suffix in _RAW:
        return "a camera's raw file; develop it to TIFF or JPEG"
    kind = _TYPES.guess_type(f"x{suffix}")[0] or ""
    if suffix in _OTHER or kind.startswith(("image/", "video/")):
        return "of a kind that is not read; convert it"
    return None
