"""Ctrl-C that is never lost."""

from __future__ import annotations

import signal
import threading
from typing import Any

import pytorch_lightning as pl


class Interrupt(pl.Callback):
    """Ends the fit after the batch at hand where a Ctrl-C has come to nothing.

    Python raises KeyboardInterrupt wherever the program happens to be, and drops it where that is a destructor or a
    callback of a C library ("Exception ignored in ..."). So the signal is also noted, and looked at after each batch.
    """

    def __init__(self) -> None:
        self.asked = False
        self._before: Any = None

    def on_fit_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        if threading.current_thread() is threading.main_thread():
            self._before = signal.signal(signal.SIGINT, self._note)

    def on_train_batch_end(self, trainer: pl.Trainer, *_: Any) -> None:
        if self.asked:
            raise KeyboardInterrupt

    def teardown(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        if self._before is not None and signal.getsignal(signal.SIGINT) == self._note:
            signal.signal(signal.SIGINT, self._before)
        self._before = None

    def _note(self, number: int, frame: Any) -> None:
        self.asked = True
        signal.default_int_handler(number, frame)
