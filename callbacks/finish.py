"""The end of a run: where everything is, and what to type next."""

import shlex
import sys
from pathlib import Path

import pytorch_lightning as pl
from pytorch_lightning.callbacks import ModelCheckpoint
from pytorch_lightning.loggers import CSVLogger, WandbLogger

from callbacks.benchmark import FPSBenchmark
from vst.shell import key_value, relative

INPUT, OUTPUT = "your_video.mp4", "stylised.mp4"


class RunSummary(pl.Callback):
    """Print at the end of the fit where everything is and, as the very last line, the next command to type.

    Only what exists is named: the stylizer, the checkpoint to resume from, the previews, the metrics, the
    config, the W&B run (with the `wandb sync` command where it is offline) and the measured speed.

    Args:
        stylizer: the checkpoint for `stylize.py`, relative to the trainer's root folder.
    """

    def __init__(self, stylizer: str = "stylizer.pt") -> None:
        self.stylizer = stylizer

    def on_fit_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        if not trainer.is_global_zero:
            return
        stylizer = Path(trainer.default_root_dir) / self.stylizer
        # Plain print: rich would wrap long paths, and a wrapped path cannot be copied.
        print()
        for label, text in summary(trainer, stylizer):
            print(f"{label:<10}  {text}")
        if stylizer.is_file():
            print(next_command(stylizer))
        sys.stdout.flush()


def summary(trainer: pl.Trainer, stylizer: Path) -> list[tuple[str, str]]:
    """(label, text) of everything that the run left behind; files that do not exist are left out."""
    root = Path(trainer.default_root_dir)
    files = [("stylizer", stylizer), ("preview", root / "preview.png"), ("video", root / "preview.mp4")]
    csv_loggers = [logger for logger in trainer.loggers if isinstance(logger, CSVLogger)]
    files += [("metrics", Path(logger.log_dir) / "metrics.csv") for logger in csv_loggers]
    files += [("config", root / "config.yaml"), ("benchmark", root / "benchmark.csv")]
    files += [("resume", Path(x.last_model_path)) for x in trainer.checkpoint_callbacks if _saves_last(x)]
    lines = [(label, relative(path)) for label, path in files if path.is_file()]
    for logger in trainer.loggers:
        if isinstance(logger, WandbLogger):
            lines += _wandb_lines(logger)
    for callback in trainer.callbacks:
        if isinstance(callback, FPSBenchmark) and callback.reports:
            speeds = ", ".join(f"{r.fps:.1f} fps at {r.resolution}" for r in callback.reports)
            lines.append(("speed", f"{speeds} on {callback.reports[0].device}"))
    return lines


def next_command(stylizer: Path) -> str:
    """The command that stylises a video with `stylizer`, quoted for the shell and for Hydra where needed."""
    return f"python stylize.py {key_value('checkpoint', relative(stylizer))} input={INPUT} output={OUTPUT}"


def _saves_last(callback: pl.Callback) -> bool:
    return isinstance(callback, ModelCheckpoint) and bool(callback.last_model_path)


def _wandb_lines(logger: WandbLogger) -> list[tuple[str, str]]:
    run = logger.experiment
    if run.disabled:
        return []
    if not run.offline:
        return [("W&B", run.url)]
    folder = relative(Path(run.sync_dir))
    return [("W&B", folder), ("", f"to upload it: wandb sync {shlex.quote(folder)}")]
