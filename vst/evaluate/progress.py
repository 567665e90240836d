"""Progress of an evaluation on stderr: a bar with the time left on a terminal, else a line every ten seconds."""

from __future__ import annotations

import sys
import time

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
from rich.progress import Progress as Bar

LINE_SECONDS = 10.0


class Progress:
    """A context manager; `step(text)` says what was begun and that the step before it has ended."""

    def __init__(self, total: int, enabled: bool = True) -> None:
        console = Console(stderr=True)
        self._total, self._done, self._enabled = total, -1, enabled
        self._begin = self._last = time.perf_counter()
        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
        self._bar = Bar(*columns, console=console) if enabled and console.is_terminal else None

    def __enter__(self) -> Progress:
        if self._bar is not None:
            self._bar.start()
            self._task = self._bar.add_task("", total=self._total)
        return self

    def __exit__(self, *_: object) -> None:
        if self._bar is not None:
            self._bar.stop()

    def step(self, text: str) -> None:
        self._done += 1
        now = time.perf_counter()
        if self._bar is not None:
            self._bar.update(self._task, completed=self._done, description=text)
        elif self._enabled and (self._done == 0 or now - self._last > LINE_SECONDS):
            self._last = now
            left = (now - self._begin) / max(self._done, 1) * (self._total - self._done)
            eta = f", about {left:.0f} s left" if self._done else ""
            print(f"{self._done}/{self._total} {text}{eta}", file=sys.stderr, flush=True)
