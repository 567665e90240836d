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
PREPARING = "preparing ..."


class Pace:
    """Frames a second from the first frame on. What comes before it is preparation: an engine may compile for a minute,
    which says nothing of the frames that follow.

    Attributes:
        frames: that are finished.
    """

    def __init__(self, clock: Callable[[], float] = time.perf_counter) -> None:
        self.frames = 0
        self._clock = clock
        self._begin = self._first = self._last = clock()

    def add(self) -> None:
        """A frame is finished."""
        self._last = self._clock()
        if self.frames == 0:
            self._first = self._last
        self.frames += 1

    @property
    def preparing(self) -> float:
        """Seconds up to the first frame; 0 as long as there is none."""
        return self._first - self._begin

    @property
    def fps(self) -> float | None:
        """None until a second frame is finished."""
        return (self.frames - 1) / (self._last - self._first) if self._last > self._first else None

    def left(self, frames: int) -> float | None:
        """Seconds that so many further frames will take; None until that is known."""
        return frames / self.fps if self.fps else None


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

    A context manager; `seconds` is the wall time between entering and leaving, and `pace` that of the frames. `total`
    and `done` are frames, of which `done` were there before. `place` is that among several works.
    """

    def __init__(self, total: int | None, name: str, enabled: bool, done: int = 0, place: Place | None = None) -> None:
        self.seconds, self.pace = 0.0, Pace()
        self._total, self._enabled, self._place = total, enabled, place
        self._name = name if place is None else f"{place.number}/{place.total} {name}"
        console = Console(stderr=True)
        self._bar = self._make_bar(console) if enabled and console.is_terminal else None
        self._done = done

    def __enter__(self) -> Meter:
        self._start = self._last_line = time.perf_counter()
        if self._bar is not None:
            self._bar.start()
            self._task = self._bar.add_task(self._name, total=self._total, completed=self._done, pace=PREPARING, all="")
        else:
            self._print(PREPARING)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        self.seconds = time.perf_counter() - self._start
        if self._bar is not None:
            self._bar.stop()
        elif kind is None:
            self._print_line()

    def update(self) -> None:
        """One more frame is finished."""
        self.pace.add()
        now = time.perf_counter()
        if self._bar is not None:
            frames = self._done + self.pace.frames
            self._bar.update(self._task, completed=frames, pace=self._fps(), all=self._left_for_all())
        elif now - self._last_line > _LINE_SECONDS:
            self._last_line = now
            self._print_line()

    def _fps(self) -> str:
        return "" if self.pace.fps is None else f"{self.pace.fps:.1f} FPS"

    def _print_line(self) -> None:
        frames = self._done + self.pace.frames
        said = [f"{frames}/{self._total} frames" if self._total else f"{frames} frames", self._fps()]
        left = self.pace.left(self._total - frames) if self._total else None
        said += [f"{left:.0f} s left"] if left is not None and frames < self._total else []
        self._print(", ".join(filter(None, [*said, self._left_for_all()])))

    def _left_for_all(self) -> str:
        if self._place is None:
            return ""
        share = min(1.0, (self._done + self.pace.frames) / self._total) if self._total else 0.0
        left = self._place.left(share)
        return "" if left is None else f"{left:.0f} s left for all"

    def _print(self, said: str) -> None:
        if self._enabled:
            print(f"{self._name}: {said}", file=sys.stderr, flush=True)

    @staticmethod
    def _make_bar(console: Console) -> Progress:
        return Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[pace]}"),
            TimeRemainingColumn(),
            TextColumn("{task.fields[all]}"),
            console=console,
        )
