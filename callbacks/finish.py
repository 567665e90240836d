"""The end of a run: where everything is, and what to type next."""

import json
import os
import re
import shlex
import sys
from pathlib import Path

import pytorch_lightning as pl
from pytorch_lightning.loggers import CSVLogger, WandbLogger

from callbacks.benchmark import FPSBenchmark

INPUT, OUTPUT = "your_video.mp4", "stylised.mp4"


class RunSummary(pl.Callback):
    """Print, when the fit has ended, the files of the run and, as the very last line, the next command to type.

    Only files that exist are named: the checkpoint, the previews, the metrics, the config, the W&B run (with the
    `wandb sync` command where it is offline), and the measured frames per second.

    Args:
        checkpoint: the file for `stylize.py`, relative to the trainer's root folder; None: the last, or else the
            best, checkpoint of the trainer's first ModelCheckpoint.
    """

    def __init__(self, checkpoint: str | None = None) -> None:
        self.checkpoint = checkpoint

    def on_fit_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        if not trainer.is_global_zero:
            return
        checkpoint = self._checkpoint(trainer)
        # Plain print: rich would wrap long paths, and a wrapped path cannot be copied.
        print()
        for label, text in summary(trainer, checkpoint):
            print(f"{label:<10}  {text}")
        if checkpoint is not None:
            print(next_command(checkpoint))
        sys.stdout.flush()

    def _checkpoint(self, trainer: pl.Trainer) -> Path | None:
        candidates = []
        if self.checkpoint is not None:
            candidates.append(Path(trainer.default_root_dir) / self.checkpoint)
        elif trainer.checkpoint_callback is not None:
            saver = trainer.checkpoint_callback
            candidates += [Path(path) for path in (saver.last_model_path, saver.best_model_path) if path]
        return next((path for path in candidates if path.is_file()), None)


def summary(trainer: pl.Trainer, checkpoint: Path | None) -> list[tuple[str, str]]:
    """(label, text) of everything that the run left behind; files that do not exist are left out."""
    root = Path(trainer.default_root_dir)
    files = [("checkpoint", checkpoint), ("preview", root / "preview.png"), ("video", root / "preview.mp4")]
    files += [("metrics", Path(x.log_dir) / "metrics.csv") for x in trainer.loggers if isinstance(x, CSVLogger)]
    files += [("config", root / "config.yaml"), ("benchmark", root / "benchmark.csv")]
    lines = [(label, _relative(path)) for label, path in files if path is not None and path.is_file()]
    for logger in trainer.loggers:
        if isinstance(logger, WandbLogger):
            lines += _wandb_lines(logger)
    for callback in trainer.callbacks:
        if isinstance(callback, FPSBenchmark) and callback.reports:
            speeds = ", ".join(f"{r.fps:.1f} fps at {r.resolution}" for r in callback.reports)
            lines.append(("speed", f"{speeds} on {callback.reports[0].device}"))
    return lines


def next_command(checkpoint: Path) -> str:
    """The command that stylises a video with `checkpoint`, quoted for the shell and for Hydra where needed."""
    return f"python stylize.py {_override('checkpoint', _relative(checkpoint))} input={INPUT} output={OUTPUT}"


def _wandb_lines(logger: WandbLogger) -> list[tuple[str, str]]:
    run = logger.experiment
    if run.disabled:
        return []
    if not run.offline:
        return [("W&B", run.url)]
    folder = _relative(Path(run.sync_dir))
    return [("W&B", folder), ("", f"to upload it: wandb sync {shlex.quote(folder)}")]


def _override(key: str, value: str) -> str:
    """`key=value` for the command line; Hydra reads `=`, commas, brackets and spaces in a bare value as grammar."""
    if re.fullmatch(r"[\w./+-]+", value):
        return f"{key}={value}"
    return shlex.quote(f"{key}={json.dumps(value, ensure_ascii=False)}")


def _relative(path: Path) -> str:
    """Relative to the working folder where `path` lies below it, else absolute."""
    path = path.absolute()
    return os.path.relpath(path) if path.is_relative_to(Path.cwd()) else str(path)
