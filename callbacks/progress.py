"""One progress display for the whole run: a two-line bar on a terminal, plain lines elsewhere."""

import math
import time
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass

import pytorch_lightning as pl
import rich
from pytorch_lightning.callbacks import Timer
from rich.console import Group
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

LOSSES = {
    "loss/total": "total",
    "loss/style": "style",
    "loss/content": "content",
    "loss/structure": "structure",
    "loss/temporal": "temporal",
    "loss/adversarial": "adv",
    "loss/discriminator": "disc",
}
REFRESH_SECONDS = 0.5
SPEED_WINDOW_SECONDS = 20.0


@dataclass(frozen=True)
class Status:
    """Where the run stands. `fraction` is in [0, 1]; times are in seconds; None is unknown."""

    fraction: float | None
    batches: int
    total_batches: int | None
    epoch: int
    epochs: int | None
    clips_per_second: float | None
    losses: Mapping[str, float]
    elapsed: float
    eta: float | None

    def position(self) -> str:
        """Batches and epochs."""
        batches = f"{self.batches}" if self.total_batches is None else f"{self.batches}/{self.total_batches}"
        epoch = f"{self.epoch}" if self.epochs is None else f"{self.epoch}/{self.epochs}"
        return f"batch {batches}  epoch {epoch}"

    def percent(self) -> str:
        """The fraction as a whole percentage; 100% only when nothing is left."""
        return "  ?%" if self.fraction is None else f"{math.floor(100 * self.fraction):3d}%"

    def times(self) -> str:
        """Elapsed and remaining time."""
        return f"{_clock(self.elapsed)} elapsed, {'?' if self.eta is None else _clock(self.eta)} left"

    def numbers(self) -> str:
        """Speed and losses."""
        speed = [] if self.clips_per_second is None else [f"{self.clips_per_second:.1f} clips/s"]
        return "  ".join(speed + [f"{label} {value:.4g}" for label, value in self.losses.items()])

    def line(self) -> str:
        """Everything in one plain line."""
        parts = (f"train {self.percent()}", self.position(), self.numbers(), self.times())
        return "  ".join(part for part in parts if part)


class TrainingProgress(pl.Callback):
    """Show percent, batches, epochs, clips per second, losses, elapsed time and time left of the whole run.

    On a terminal the display stays in place; otherwise (a file, a batch system) a plain line is printed after
    the first batch, then about every `interval` seconds, and at the end. The position counts all epochs,
    those before a resume included; elapsed time is that of this process. The task has to count its clips in
    `clips_seen`.

    Args:
        losses: logged name -> short label of the numbers to show, in this order; names that a run does not
            log are left out. None: those of `LOSSES`.
        interval: seconds between plain lines.
    """

    def __init__(self, losses: Mapping[str, str] | None = None, interval: float = 10.0) -> None:
        self.labels = dict(LOSSES if losses is None else losses)
        self.interval = interval
        self._live: Live | None = None
        self._running = False

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        if not trainer.is_global_zero:
            return
        self._running = True
        self._start = time.monotonic()
        self._first: tuple[float, int] | None = None
        self._speed: deque[tuple[float, int]] = deque()
        self._shown_at = -math.inf
        self._printed: tuple[int, str] | None = None
        self._batches = _batches_before(trainer)
        self._epoch = trainer.current_epoch + 1
        console = rich.get_console()
        if console.is_terminal:
            self._live = Live(_render(self._status(trainer)), console=console, refresh_per_second=4)
            self._live.start()

    def on_train_batch_end(
        self,
        trainer: pl.Trainer,
        pl_module: pl.LightningModule,
        outputs: object,
        batch: object,
        batch_idx: int,
    ) -> None:
        if not self._running:
            return
        now = time.monotonic()
        self._batches += 1
        self._epoch = trainer.current_epoch + 1
        self._first = self._first or (now, self._batches)
        self._speed.append((now, pl_module.clips_seen))
        while len(self._speed) > 2 and now - self._speed[0][0] > SPEED_WINDOW_SECONDS:
            self._speed.popleft()
        if now - self._shown_at >= (self.interval if self._live is None else REFRESH_SECONDS):
            self._show(self._status(trainer))

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self._close(trainer)

    def on_exception(self, trainer: pl.Trainer, pl_module: pl.LightningModule, exception: BaseException) -> None:
        self._close(trainer)

    def _close(self, trainer: pl.Trainer) -> None:
        if not self._running:
            return
        self._running = False
        try:
            self._show(self._status(trainer))
        finally:
            if self._live is not None:
                self._live.stop()
                self._live = None

    def _show(self, status: Status) -> None:
        self._shown_at = time.monotonic()
        if self._live is not None:
            self._live.update(_render(status))
        elif (status.batches, status.percent()) != self._printed:
            self._printed = status.batches, status.percent()
            print(status.line(), flush=True)

    def _status(self, trainer: pl.Trainer) -> Status:
        now = time.monotonic()
        total = _total_batches(trainer)
        fractions, etas = [], []
        if total is not None:
            fractions.append(self._batches / total)
            if self._first is not None and self._batches > self._first[1]:
                # The first batch is left out: it warms up and is many times slower than the rest.
                pace = (now - self._first[0]) / (self._batches - self._first[1])
                etas.append(pace * (total - self._batches))
        timer = next((c for c in trainer.callbacks if isinstance(c, Timer)), None)
        if timer is not None and (left := timer.time_remaining()) is not None:
            elapsed, left = timer.time_elapsed(), max(0.0, left)
            fractions.append(elapsed / (elapsed + left) if left else 1.0)
            etas.append(left)
        return Status(
            fraction=min(1.0, max(fractions)) if fractions else None,
            batches=self._batches,
            total_batches=total,
            epoch=self._epoch,
            epochs=_epochs(trainer),
            clips_per_second=self._clips_per_second(),
            losses=self._losses(trainer),
            elapsed=now - self._start,
            eta=min(etas) if etas else None,
        )

    def _clips_per_second(self) -> float | None:
        if len(self._speed) < 2:
            return None
        (begin, before), (end, after) = self._speed[0], self._speed[-1]
        return (after - before) / max(end - begin, 1e-9)

    def _losses(self, trainer: pl.Trainer) -> dict[str, float]:
        logged = trainer.callback_metrics
        return {label: float(logged[name]) for name, label in self.labels.items() if name in logged}


def _epochs(trainer: pl.Trainer) -> int | None:
    return None if trainer.max_epochs is None or trainer.max_epochs < 0 else trainer.max_epochs


def _total_batches(trainer: pl.Trainer) -> int | None:
    """Batches of the whole run, or None where epochs or batches per epoch have no end."""
    epochs, per_epoch = _epochs(trainer), trainer.num_training_batches
    return None if epochs is None or math.isinf(per_epoch) else max(1, int(epochs * per_epoch))


def _batches_before(trainer: pl.Trainer) -> int:
    """Batches that a resumed run has behind it, in its present epochs' size; not global_step, which counts
    the steps of every optimizer.
    """
    if math.isinf(trainer.num_training_batches):
        return trainer.fit_loop.total_batch_idx + 1
    return trainer.current_epoch * int(trainer.num_training_batches)


def _clock(seconds: float) -> str:
    minutes, seconds = divmod(round(seconds), 60)
    return f"{minutes // 60}:{minutes % 60:02d}:{seconds:02d}"


def _render(status: Status) -> Group:
    bar = Table.grid(padding=(0, 1), expand=True)
    bar.add_column(no_wrap=True)
    bar.add_column(ratio=1)
    bar.add_column(no_wrap=True)
    bar.add_column(no_wrap=True)
    filled = ProgressBar(total=1.0, completed=status.fraction or 0.0, pulse=status.fraction is None)
    bar.add_row(f"train {status.percent()}", filled, status.position(), status.times())
    return Group(bar, Text(status.numbers(), no_wrap=True, overflow="ellipsis"))
