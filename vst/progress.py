"""How far a long work is: a bar on a terminal, lines elsewhere."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from types import TracebackType

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

_LINE_SECONDS = 10.0


@dataclass(frozen=True)
class Place:
    """A work's place among others: `number` of `total`, from 1 on. `left(share)` are the seconds that all of them still
    take when so much of this one is done, 0 to 1, or None where that cannot be said yet.
    """

    number: int
    total: int
    left: Callable[[float], float | None]


class Meter:
    """Progress on stderr: a bar with frames, FPS and time left on a terminal, else a line every ten seconds.

    A context manager; `seconds` is the wall time between entering and leaving. `total` and `done` are frames, of
    which `done` were there before. `place` is that among several works.
    """

    def __init__(self, total: int | None, name: str, enabled: bool, done: int = 0, place: Place | None = None) -> None:
        self.seconds = 0.0
        self._total, self._enabled, self._place = total, enabled, place
        self._name = name if place is None else f"{place.number}/{place.total} {name}"
        console = Console(stderr=True)
        self._bar = self._make_bar(console) if enabled and console.is_terminal else None
        self._frames = self._done = done

    def __enter__(self) -> Meter:
        self._start = self._last_line = time.perf_counter()
        if self._bar is not None:
            self._bar.start()
            self._task = self._bar.add_task(self._name, total=self._total, completed=self._done, fps=0.0, all="")
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        self.seconds = time.perf_counter() - self._start
        if self._bar is not None:
            self._bar.stop()
        elif kind is None:
            self._print_line()

    def update(self, frames: int) -> None:
        self._frames = frames
        now = time.perf_counter()
        if self._bar is not None:
            fps = (frames - self._done) / max(now - self._start, 1e-9)
            self._bar.update(self._task, completed=frames, fps=fps, all=self._left_for_all())
        elif now - self._last_line > _LINE_SECONDS:
            self._last_line = now
            self._print_line()

    def _print_line(self) -> None:
        if not self._enabled:
            return
        seconds = max(time.perf_counter() - self._start, 1e-9)
        fps = (self._frames - self._done) / seconds
        of = f"/{self._total}" if self._total else ""
        left = (
            f", {(self._total - self._frames) / fps:.0f} s left"
            if self._total and self._done < self._frames < self._total
            else ""
        )
        said = f"{self._name}: {self._frames}{of} frames, {fps:.1f} FPS{left}{self._left_for_all()}"
        print(said, file=sys.stderr, flush=True)

    def _left_for_all(self) -> str:
        if self._place is None:
            return ""
        left = self._place.left(min(1.0, self._frames / self._total) if self._total else 0.0)
        return "" if left is None else f", {left:.0f} s left for all"

    @staticmethod
    def _make_bar(console: Console) -> Progress:
        return Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[fps]:.1f} FPS"),
            TimeRemainingColumn(),
            TextColumn("{task.fields[all]}"),
            console=console,
        )
