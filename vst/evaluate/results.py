"""What an evaluation found: rows of metrics, their means, and what one has to know to read them."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from vst.evaluate.pictures import ClipPictures

FIRST = ("ratio", "detail", "per_detail", "change", "patch_style", "colour_style")


@dataclass(frozen=True)
class Row:
    """The metrics of one entry on one clip. `kind` is `input`, `model`, `video` or `control`; None: not measurable.

    `frames` is how many were compared. In a mean, `clip` says over how many clips. `style` is the name of the style
    that it is held against where there are several.
    """

    entry: str
    kind: str
    clip: str
    frames: int
    values: dict[str, float | None]
    style: str = ""


def finite(values: dict[str, float | None], where: str) -> tuple[dict[str, float | None], list[str]]:
    """`values` with None for every number that is not finite, and a note on each of these; `where` begins it."""
    broken = [name for name, value in values.items() if value is not None and not np.isfinite(value)]
    return values | dict.fromkeys(broken), [f"{where}: {name} is {values[name]}, left out" for name in broken]


@dataclass
class Evaluation:
    """Rows in the order of the table, and their circumstances.

    `settings` are what was asked and by what rules it was measured; `skipped`: metric or control -> why it is not
    there; `notes`: what was found about the media; `pictures`: of each clip, for the report; `pooled`: of an entry, the
    metrics that need the pictures of all clips together.
    """

    settings: dict[str, Any]
    rows: list[Row] = field(default_factory=list)
    skipped: dict[str, str] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    pictures: list[ClipPictures] = field(default_factory=list)
    pooled: dict[str, dict[str, float | None]] = field(default_factory=dict)

    def means(self) -> list[Row]:
        """A row for each entry: the mean of each metric over the clips that have it, and what is pooled.

        A mean of a quotient, such as `per_detail`, is the mean of the clips' quotients.
        """
        entries = dict.fromkeys((row.entry, row.kind, row.style) for row in self.rows)
        return [self._mean(*entry) for entry in entries]

    def metrics(self) -> list[str]:
        """The names of all metrics, in the order of the table: those first that one reads first."""
        values = [*(row.values for row in self.rows), *self.pooled.values()]
        names = dict.fromkeys(name for found in values for name in found)
        return [*(name for name in FIRST if name in names), *(name for name in names if name not in FIRST)]

    def _mean(self, entry: str, kind: str, style: str) -> Row:
        rows = [row for row in self.rows if row.entry == entry]
        values: dict[str, float | None] = {}
        for name in self.metrics():
            if any(name in row.values for row in rows):
                known = [value for row in rows if (value := row.values.get(name)) is not None]
                values[name] = float(np.mean(known)) if known else None
        clips = f"{len(rows)} clip{'' if len(rows) == 1 else 's'}"
        frames = sum(row.frames for row in rows)
        return Row(entry, kind, clips, frames, values | self.pooled.get(entry, {}), style)
