"""The folder of a training run: whether it holds one, and how a run goes on in it.

One run, one folder, one curve. A run that broke off goes on where it was; one that broke off before its first
checkpoint has left nothing to keep, and the folder is free again.
"""

from __future__ import annotations

import csv
import os
from pathlib import Path

from vst.claims import claim, claim_new
from vst.errors import UserError
from vst.shell import relative

CONFIG = "config.yaml"
UNFINISHED = ".unfinished"
TABLES = {"metrics.csv": "step", "benchmark.csv": "epoch"}
"""Tables that grow with a run, and the column that says where it was."""


def claim_run_folder(folder: str | Path, *, is_default: bool = False, resume: str | None = None) -> Path:
    """Claim the folder that a run begins in, or goes on in: that of the checkpoint `resume`.

    Args:
        is_default: nobody chose `folder`. A run that goes on does so in its own then, and a new one takes the first
            free name.

    Raises:
        UserError: the folder cannot be made, another process writes there, or it holds another run.
    """
    if is_default:
        home = None if resume is None else run_of(resume)
        return claim_new(folder, "output_dir") if home is None else claim(home, "output_dir")
    folder = claim(folder, "output_dir")
    if holds_run(folder) and not goes_on(folder, resume):
        raise UserError(f"output_dir={folder}: holds a run already, which would be overwritten; give another folder")
    foreign = [] if (folder / UNFINISHED).exists() or (folder / CONFIG).exists() else _written(folder)
    if foreign:
        raise UserError(f"output_dir={folder}: {foreign[0]} would be overwritten; give another folder")
    return folder


def run_of(checkpoint: str | Path) -> Path | None:
    """The folder of the run that a checkpoint is of, None where it lies elsewhere."""
    parents = Path(os.path.abspath(checkpoint)).parents
    home = next((folder for folder in parents[:2] if (folder / CONFIG).is_file()), None)
    return None if home is None else Path(relative(home))


def goes_on(folder: Path, resume: str | None) -> bool:
    """Whether a run that resumes from the checkpoint `resume` goes on in `folder`."""
    home = None if resume is None else run_of(resume)
    return home is not None and home.resolve() == folder.resolve()


def holds_run(folder: Path) -> bool:
    """Whether there is something to lose: a run that has ended, or the checkpoint of one that broke off."""
    ended = not (folder / UNFINISHED).exists()
    return (folder / CONFIG).exists() and (ended or latest_checkpoint(folder) is not None)


def latest_checkpoint(folder: Path) -> Path | None:
    """The checkpoint to go on from, None where there is none yet."""
    found = sorted(folder.rglob("*.ckpt"), key=lambda path: (path.name == "last.ckpt", path.stat().st_mtime))
    return found[-1] if found else None


def _written(folder: Path) -> list[str]:
    """What a run writes before its first checkpoint, as far as it is there."""
    return [name for name in (*TABLES, "batch.png") if (folder / name).exists()]


def begin(folder: Path) -> None:
    """Say that a run begins in `folder`, which has no end yet, and remove what one without a checkpoint left there."""
    if (folder / UNFINISHED).exists() and not holds_run(folder):
        for name in _written(folder):
            (folder / name).unlink()
    (folder / UNFINISHED).touch()


def finish(folder: Path) -> None:
    """Say that the run in `folder` has ended."""
    (folder / UNFINISHED).unlink(missing_ok=True)


def rewind(folder: Path, batches: int, epochs: int) -> None:
    """Take off the tables in `folder` what a run wrote after `batches` batches and `epochs` whole epochs.

    A run that goes on from a checkpoint writes it again.
    """
    last = {"step": batches - 1, "epoch": epochs}
    for name, column in TABLES.items():
        path = folder / name
        if not path.is_file():
            continue
        with path.open(newline="") as file:
            reader = csv.DictReader(file)
            rows = [row for row in reader if (row.get(column) or "").isdigit() and int(row[column]) <= last[column]]
        part = folder / f".{name}.part"
        with part.open("w", newline="") as file:
            writer = csv.DictWriter(file, reader.fieldnames or [column], extrasaction="ignore")
            writer.writeheader()
            writer.writerows(rows)
        os.replace(part, path)
