"""The user's cache folder, under which everything lies that can be made again: one place, seen and cleared as one.

Nothing is written beside the user's files, which may lie on a disk that cannot be written. Files appear under their
names only when they are whole, so that several runs can use the cache at once.
"""

from __future__ import annotations

import errno
import os
import secrets
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from platformdirs import user_cache_path

from vst.errors import UserError, reason_of

PARTS = {
    "videos": "copies of training videos, and their motion",
    "engines": "networks in the form that engines want, and which engine is fastest",
    "painted": "painted style collections",
    "studio": "thumbnails of styles",
}
"""Folder below the root -> what it holds."""

PART_SUFFIX = ".part"
STALE_SECONDS = 3600


def cache_root() -> Path:
    """`$XDG_CACHE_HOME/vst` or `~/.cache/vst`; on macOS `~/Library/Caches/vst`, on Windows below `%LOCALAPPDATA%`."""
    return user_cache_path("vst", appauthor=False)


def cache_folder(part: str) -> Path:
    """Where one of the `PARTS` lies; it need not exist."""
    assert part in PARTS, part
    return cache_root() / part


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A name beside `path` to write a file under, which becomes `path` at the end, or is removed if anything is raised.

    The folder is made. Of two processes that write the same file at once, the later one wins, whole. Where nothing was
    written, or it was removed again, `path` stays as it was. Raises OSError.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    # The ending stays, by which some libraries choose a format.
    part = path.with_name(f".{path.stem}.{os.getpid()}-{secrets.token_hex(4)}{PART_SUFFIX}{path.suffix}")
    try:
        yield part
        if part.exists():
            os.replace(part, path)
    finally:
        part.unlink(missing_ok=True)


def remove_leftovers(folder: Path) -> None:
    """Delete what killed processes left half done in a folder; a younger part may still be in the making."""
    for part in folder.glob(f".*{PART_SUFFIX}.*"):
        if _age(part) > STALE_SECONDS:
            part.unlink(missing_ok=True)


def size_of(folder: Path) -> int:
    """Bytes of all files below a folder; 0 where there is none. What disappears meanwhile does not count."""
    total = 0
    for place, _, names in os.walk(folder):
        for name in names:
            try:
                total += os.lstat(os.path.join(place, name)).st_size
            except OSError:
                continue
    return total


def clear(part: str) -> int:
    """Remove one of the `PARTS` with all that it holds; returns the bytes that were freed.

    Raises UserError where something cannot be removed.
    """
    folder = cache_folder(part)
    freed = size_of(folder)
    if folder.exists():
        try:
            shutil.rmtree(folder)
        except OSError as error:
            raise UserError(f"{folder} cannot be removed ({reason(error)}); remove it yourself") from error
    return freed


def in_words(size: int) -> str:
    """Bytes for people: `1.2 GB`."""
    number, unit = float(size), "B"
    for larger in ("kB", "MB", "GB", "TB"):
        if number < 1000:
            break
        number, unit = number / 1000, larger
    return f"{number:.0f} {unit}" if unit == "B" or number >= 100 else f"{number:.1f} {unit}"


def reason(error: BaseException) -> str:
    """Why a cache cannot be written, and what helps where the disk is full."""
    text = reason_of(error)
    full = getattr(error, "errno", None) in (errno.ENOSPC, errno.EDQUOT)
    return f"{text}; free some space, `vst cache` shows what can be cleared" if full else text


def _age(path: Path) -> float:
    try:
        return time.time() - path.stat().st_mtime
    except OSError:
        return 0.0
