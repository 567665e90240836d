"""How fast the trained stylizer runs: frames per second and latency, measured as it is deployed."""

import csv
from collections.abc import Sequence
from pathlib import Path

import pytorch_lightning as pl
import rich
from rich.table import Table

from vst.benchmark import LatencyReport, measure_latency, parse_size

COLUMNS = ("epoch", "resolution", "device", "precision", "num_frames", "fps", "p50_ms", "p95_ms", "p99_ms")


class FPSBenchmark(pl.Callback):
    """Measure the moving-average stylizer on the training device at the end of the fit.

    Prints a table, logs `fps/WxH` and `latency_ms_p50/WxH`, `latency_ms_p95/WxH`, `latency_ms_p99/WxH`
    through the loggers, and appends rows to `benchmark.csv` in the trainer's root folder.
    `vst.benchmark.measure_latency` says what exactly is timed.

    Args:
        sizes: resolutions as `WIDTHxHEIGHT`.
        seconds: measured time per resolution; a quarter of it is spent on warm-up before.
        min_frames: frames per resolution, even if they take longer than `seconds`.
        every_n_epochs: measure also after every so many epochs; None: only at the end.

    Raises:
        UserError: a resolution is malformed.
    """

    def __init__(
        self,
        sizes: Sequence[str] = ("640x360", "1280x720"),
        seconds: float = 2.0,
        min_frames: int = 10,
        every_n_epochs: int | None = None,
    ) -> None:
        self.sizes = [parse_size(size) for size in sizes]
        self.seconds = seconds
        self.min_frames = min_frames
        self.every_n_epochs = every_n_epochs
        self.reports: list[LatencyReport] = []
        self._measured_at: int | None = None

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        if self.every_n_epochs is not None and (trainer.current_epoch + 1) % self.every_n_epochs == 0:
            self._measure(trainer, pl_module, trainer.current_epoch + 1)

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        # Not on_fit_end: here the weights are still on the device.
        if self._measured_at != trainer.fit_loop.total_batch_idx:
            self._measure(trainer, pl_module, trainer.current_epoch)

    def _measure(self, trainer: pl.Trainer, task: pl.LightningModule, epoch: int) -> None:
        if not trainer.is_global_zero:
            return
        stylizer = task.inference_stylizer()
        self.reports = [
            measure_latency(stylizer, size, task.device, seconds=self.seconds, min_frames=self.min_frames)
            for size in self.sizes
        ]
        self._measured_at = trainer.fit_loop.total_batch_idx
        if not self.reports:
            return
        rich.get_console().print(_table(self.reports))
        _append_csv(Path(trainer.default_root_dir) / "benchmark.csv", epoch, self.reports)
        for logger in trainer.loggers:
            logger.log_metrics(_scalars(self.reports), step=max(0, self._measured_at))
            logger.save()


def _scalars(reports: Sequence[LatencyReport]) -> dict[str, float]:
    scalars = {}
    for report in reports:
        scalars[f"fps/{report.resolution}"] = report.fps
        scalars[f"latency_ms_p50/{report.resolution}"] = report.p50_ms
        scalars[f"latency_ms_p95/{report.resolution}"] = report.p95_ms
        scalars[f"latency_ms_p99/{report.resolution}"] = report.p99_ms
    return scalars


def _table(reports: Sequence[LatencyReport]) -> Table:
    table = Table(title=f"{reports[0].device}, {reports[0].precision}, one frame at a time", title_justify="left")
    table.add_column("resolution")
    for name in ("fps", "p50 ms", "p95 ms", "p99 ms", "frames"):
        table.add_column(name, justify="right")
    for r in reports:
        table.add_row(
            r.resolution,
            f"{r.fps:.1f}",
            f"{r.p50_ms:.2f}",
            f"{r.p95_ms:.2f}",
            f"{r.p99_ms:.2f}",
            str(r.num_frames),
        )
    return table


def _append_csv(path: Path, epoch: int, reports: Sequence[LatencyReport]) -> None:
    """Append: a resumed run keeps the rows of the run that it continues."""
    path.parent.mkdir(parents=True, exist_ok=True)
    is_new = not path.exists()
    with path.open("a", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        if is_new:
            writer.writerow(COLUMNS)
        for report in reports:
            writer.writerow([epoch, *(getattr(report, column) for column in COLUMNS[1:])])
