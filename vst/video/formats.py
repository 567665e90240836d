"""Which files are films and which are pictures, by their names: the one list of each for every door, and what is said
of files that are passed over.
"""

from __future__ import annotations

import mimetypes
from collections.abc import Iterable, Sequence
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


def passed_over(rejected: Iterable[str | Path], base: Path | None = None) -> str | None:
    """One line that counts and names the pictures and films among `rejected`, which a folder's reader does not take,
    below `base` or by their bare names; None for none. Notes, tables and hidden files are not worth a word.
    """
    reasons = [(path, reason_against(path)) for path in sorted(map(Path, rejected)) if not is_hidden(path)]
    told = [f"{path.name if base is None else path.relative_to(base)} ({reason})" for path, reason in reasons if reason]
    if not told:
        return None
    verb = "1 file was" if len(told) == 1 else f"{len(told)} files were"
    return f"{verb} passed over: {some(told)}"


def some(names: Sequence[str]) -> str:
    """The first names, and how many more there are."""
    return ", ".join(names[:_NAMED]) + (f" and {len(names) - _NAMED} more" if len(names) > _NAMED else "")


def reason_against(path: str | Path) -> str | None:
    """Why a picture or film is not taken; None for a file that is neither."""
    suffix = Path(path).suffix.lower()
    if suffix in FILMS:
        return "a film"
    if suffix in PICTURES:
        return "a picture"
    if reason := reason_unread(path):
        return reason
    kind = _TYPES.guess_type(f"x{suffix}")[0] or ""
    if suffix in _OTHER or kind.startswith(("image/", "video/")):
        return "of a kind that is not read; convert it"
    return None


def reason_unread(path: str | Path) -> str | None:
    """Why a picture of that name cannot be opened here, whatever is in it, and the remedy; None where it may be."""
    suffix = Path(path).suffix.lower()
    if suffix in _MISSING:
        return f"needs pip install {_PACKAGES[_MISSING[suffix]]}"
    return "a camera's raw file; develop it to TIFF or JPEG" if suffix in _RAW else None
