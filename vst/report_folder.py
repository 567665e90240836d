"""Where a report goes."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from vst.errors import UserError


def report_folder(folder: str | Path, kind: str, files: Iterable[str], overwrite: bool) -> Path:
    """Make the folder of a report that is `kind`, such as "an evaluation", and consists of `files`.

    Raises UserError where it cannot be, or holds such a report that must not be replaced.
    """
    folder = Path(folder)
    if not overwrite and any((folder / name).exists() for name in files):
        raise UserError(f"output={folder}: it holds {kind} already; give another folder, or overwrite=true")
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"output={folder}: cannot be written ({error.strerror}); give another folder") from error
    return folder
