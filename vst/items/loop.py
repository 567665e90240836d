"""The loop over items: what is done is passed over, what fails is told, and the others go on."""

from __future__ import annotations

import contextlib
import logging
import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from vst.errors import UserError
from vst.items.plan import Task
from vst.progress import Place
from vst.video.folders import is_whole
from vst.video.pictures import written_name

_log = logging.getLogger(__name__)


@dataclass
class Outcome:
    """Numbers of tasks, and what went wrong with which."""

    painted: int = 0
    present: int = 0
    failed: dict[str, str] = field(default_factory=dict)


def paint_items(
    tasks: Sequence[Task], paint: Callable[[Task, Place, bool], object], overwrite: bool = False
) -> Outcome:
    """Call `paint(task, place, replace)` for each task whose output is not there; a failure does not stop the others.

    `replace` says that what lies under the name may be replaced: on `overwrite`, or because it is not whole.
    """
    outcome, clock = Outcome(), _Clock(tasks)
    for index, task in enumerate(tasks):
        clock.start(index)
        expected = _outputs(task)
        present = [path for path in expected if path.exists()]
        if present and not overwrite:
            if present == expected and all(is_whole(path) for path in present):
                outcome.present += 1
                continue
            _log.warning("%s is there and not whole; it is painted again", task.output)
        # A folder of frames has to be there: where its name has a dot, such as shot.v2, it would pass for a file's.
        made = _make_folders(task.output if task.item.kind == "frames" else task.output.parent)
        place = Place(index + 1, len(tasks), partial(clock.left, index))
        try:
            paint(task, place, bool(present))
            outcome.painted += 1
            clock.finish(index)
        except KeyboardInterrupt:
            _log.warning("stopped at %d of %d; the same command goes on there", index + 1, len(tasks))
            raise
        except Exception as error:
            said = str(error) if isinstance(error, UserError) else f"{type(error).__name__}: {error}"
            outcome.failed[str(task.item.source)] = said
            _log.warning("%d/%d failed: %s", index + 1, len(tasks), said, exc_info=not isinstance(error, UserError))
        finally:
            for folder in reversed(made):
                with contextlib.suppress(OSError):
                    folder.rmdir()  # if nothing came into it
    return outcome


class _Clock:
    """How long the rest will take, by the bytes of films and of pictures and the time that such took so far."""

    def __init__(self, tasks: Sequence[Task]) -> None:
        self._sizes = [_size(task) for task in tasks]
        self._kinds = [task.item.kind for task in tasks]
        self._rest: dict[str, float] = defaultdict(float)
        self._bytes: dict[str, float] = defaultdict(float)
        self._seconds: dict[str, float] = defaultdict(float)
        for kind, size in zip(self._kinds, self._sizes, strict=True):
            self._rest[kind] += size
        self._begin = 0.0

    def start(self, index: int) -> None:
        """A task is taken up, or passed over."""
        self._rest[self._kinds[index]] -= self._sizes[index]
        self._begin = time.perf_counter()

    def finish(self, index: int) -> None:
        self._bytes[self._kinds[index]] += self._sizes[index]
        self._seconds[self._kinds[index]] += time.perf_counter() - self._begin

    def left(self, index: int, share: float) -> float | None:
        """Seconds, when `share` of a task is done; None while nothing is."""
        kind, size = self._kinds[index], self._sizes[index]
        done, seconds, rest = (defaultdict(float, each) for each in (self._bytes, self._seconds, self._rest))
        done[kind] += share * size
        seconds[kind] += time.perf_counter() - self._begin
        rest[kind] += (1 - share) * size
        if not sum(done.values()):
            return None
        usual = sum(seconds.values()) / sum(done.values())
        return sum(size * (seconds[kind] / done[kind] if done[kind] else usual) for kind, size in rest.items())


def _size(task: Task) -> int:
    """Bytes of its files."""
    total = 0
    for file in task.item.files or (task.item.source,):
        with contextlib.suppress(OSError):
            total += file.stat().st_size
    return total


def _outputs(task: Task) -> list[Path]:
    """The files that the task ends in."""
    return [task.output / written_name(path) for path in task.item.files] or [task.output]


def _make_folders(folder: Path) -> list[Path]:
    """Make it and what is missing above it, and say what was made."""
    missing = [place for place in (folder, *folder.parents) if not place.exists()][::-1]
    for place in missing:
        place.mkdir()
    return missing
