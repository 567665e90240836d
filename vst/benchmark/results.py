"""What a benchmark found, of whatever mode: rows with the same keys, and their circumstances."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

Value = str | int | float | None


@dataclass
class Benchmark:
    """Rows of a table.

    `mode` is models, pipeline or training; `settings` say when, where and how it was measured; `skipped`: what could
    not run -> why; `notes`: what one has to know to read the table.
    """

    mode: str
    settings: dict[str, Any]
    rows: list[dict[str, Value]] = field(default_factory=list)
    skipped: dict[str, str] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)

    @property
    def columns(self) -> list[str]:
        """Keys of the rows."""
        return list(self.rows[0]) if self.rows else []
