"""A file that appears when it is whole: whether it may, the part that it is until then, and what goes wrong."""

from __future__ import annotations

import contextlib
import errno
import os
import secrets
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import av

from vst.errors import UserError, reason_of
from vst.video.encoders import FORMATS


def check_output(path: Path, overwrite: bool, extensions: Sequence[str] = tuple(FORMATS)) -> None:
    """Raise UserError when `path` cannot become an output: by its extension, its folder, what is there."""
    if path.suffix.lower() not in extensions:
        raise UserError(f"{path}: the extension {path.suffix or '(none)'} is not one of {', '.join(extensions)}")
    if path.is_dir():
        raise UserError(f"{path} is a folder; give the name of a file")
    if not path.parent.is_dir():
        raise UserError(f"{path}: the folder {path.parent} does not exist; create it first")
    if path.exists() and not overwrite:
        raise UserError(f"{path} exists already; choose another name or set overwrite=true")


def part_of(path: Path, folder: Path | None = None) -> Path:
    """The hidden name, in `folder` or beside `path`, of what becomes `path` when it is whole."""
    return (folder or path.parent) / f".{path.name}.{secrets.token_hex(4)}.part"


class PartFile:
    """A container that is written under a temporary name; `finish` gives it its own. A context manager.

    What is not finished is removed at the end of the block.
    """

    def __init__(self, path: Path, format: str, folder: Path | None = None) -> None:
        self._path, self._format, self._part = path, format, part_of(path, folder)

    def __enter__(self) -> PartFile:
        with contextlib.ExitStack() as stack, told(self._path):
            stack.callback(self._part.unlink, missing_ok=True)
            self._part.open("xb").close()
            self.container = av.open(str(self._part), "w", format=self._format)
            stack.callback(self._close_quietly)
            self._cleanup = stack.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._cleanup.close()

    def finish(self, last: Callable[[Path], None] | None = None) -> None:
        """Write the end of the file, let `last` change what is whole then, and move it to its place."""
        self.container.close()
        if last is not None:
            last(self._part)
        os.replace(self._part, self._path)

    def _close_quietly(self) -> None:
        """After a failure its own error is the one to report."""
        with contextlib.suppress(av.error.FFmpegError, OSError):
            self.container.close()


@contextlib.contextmanager
def told(path: Path) -> Iterator[None]:
    """Turn what goes wrong in writing `path` into one line."""
    try:
        yield
    except (av.error.FFmpegError, OSError) as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
            raise UserError(f"{path}: the disk is full; free some space and start again") from error
        raise UserError(f"{path} cannot be written: {reason_of(error)}; check the folder {path.parent}") from error
