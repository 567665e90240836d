"""How fast a run trains, and how much of that time it waits for data."""

from __future__ import annotations

import time
from typing import Any

import pytorch_lightning as pl
import torch


class Throughput(pl.Callback):
    """Times the steps of a fit.

    Between the end of a step and the begin of the next one Lightning does little but fetch the batch: that is the time
    of waiting. A device is waited for at the end of each step, or its work would be taken for waiting.

    Args:
        warmup: steps that do not count: kernels are chosen, workers start.

    Attributes:
        steps, clips: that counted.
        waiting, working: seconds.
    """

    def __init__(self, warmup: int = 5) -> None:
        self.warmup = warmup
        self.steps = self.clips = 0
        self.waiting = self.working = 0.0
        self._ended = self._begun = 0.0

    def on_train_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self._ended = 0.0  # what lies between epochs is no waiting for a batch

    def on_train_batch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule, batch: Any, index: int) -> None:
        self._begun = time.perf_counter()

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Any, index: int
    ) -> None:
        if pl_module.device.type != "cpu":
            torch.accelerator.synchronize(pl_module.device)
        now = time.perf_counter()
        if self.warmup > 0:
            self.warmup -= 1
        elif self._ended:
            self.waiting += self._begun - self._ended
            self.working += now - self._begun
            self.steps += 1
            self.clips += len(batch.frames)
        self._ended = now

    def row(self) -> dict[str, float | int]:
        """`steps`, `clips_per_s`, `step_ms`, and `waiting`, the share of the time."""
        assert self.steps > 0, "no step was measured"
        seconds = self.waiting + self.working
        return {
            "steps": self.steps,
            "clips_per_s": self.clips / seconds,
            "step_ms": 1e3 * seconds / self.steps,
            "waiting": self.waiting / seconds,
        }
