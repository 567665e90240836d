"""What an evaluation found: rows of metrics, their means, and what one has to know to read them."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from vst.evaluate.pictures import ClipPictures


@dataclass(frozen=True)
class Row:
    """The metrics of one entry on one clip. `kind` is `input`, `model`, `video` or `control`; None: not measurable.

    `frames` is how many were compared. In a mean, `clip` says over how many clips.
    """

    entry: str
    kind: str
    clip: str
    frames: int
    values: dict[str, float | None]


@dataclass
class Evaluation:
    """Rows in the order of the table, and their circumstances.

    `settings` are what was asked and by what rules it was measured; `skipped`: metric or control -> why it is not
    there; `notes`: what was found about the media; `pictures`: of each clip, for the report.
    """

    settings: dict[str, Any]
    rows: list[Row] = field(default_factory=list)
    skipped: dict[str, str] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    pictures: list[ClipPictures] = field(default_factory=list)

    def means(self) -> list[Row]:
        """A row for each entry: the mean of each metric over the clips on which it could be measured."""
        entries = dict.fromkeys((row.entry, row.kind) for row in self.rows)
        return [self._mean(entry, kind) for entry, kind in entries]

    def metrics(self) -> list[str]:
        """The names of all metrics, in the order of the table."""
        return list(dict.fromkeys(name for row in self.rows for name in row.values))

    def _mean(self, entry: str, kind: str) -> Row:
        rows = [row for row in self.rows if row.entry == entry]
        values: dict[str, float | None] = {}
        for name in self.metrics():
            if any(name in row.values for row in rows):
                known = [value for row in rows if (value := row.values.get(name)) is not None]
                values[name] = float(np.mean(known)) if known else None
        return Row(entry, kind, f"{len(rows)} clips", sum(row.frames for row in rows), values)
