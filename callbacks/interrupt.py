"""Ctrl-C and SIGTERM that are never lost."""

from __future__ import annotations

import signal
import threading
from typing import Any

import pytorch_lightning as pl


class Interrupt(pl.Callback):
    """Ends the fit after the batch at hand where a Ctrl-C has come to nothing.

    Python raises KeyboardInterrupt wherever the program happens to be, and drops it where that is a destructor or a
    callback of a C library ("Exception ignored in ..."). So the signal is also noted, and looked at after each batch,
    of training or validation. Once the fit is ending, another one does not break into what it saves.
    """

    SIGNALS = (signal.SIGINT, signal.SIGTERM)

    def __init__(self) -> None:
        self.asked = False
        self._before: dict[int, Any] = {}

    def on_fit_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        if threading.current_thread() is threading.main_thread():
            self._before = {number: signal.signal(number, self._note) for number in self.SIGNALS}

    def on_train_batch_end(self, trainer: pl.Trainer, *_: Any) -> None:
        self._look()

    def on_validation_batch_end(self, trainer: pl.Trainer, *_: Any) -> None:
        self._look()

    def on_exception(self, trainer: pl.Trainer, pl_module: pl.LightningModule, exception: BaseException) -> None:
        if self._before and isinstance(exception, KeyboardInterrupt):
            signal.signal(signal.SIGTERM, signal.SIG_IGN)  # as Lightning does with SIGINT
        else:
            self._restore()

    def teardown(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        self._restore()

    def _look(self) -> None:
        if self.asked:
            raise KeyboardInterrupt

    def _restore(self) -> None:
        for number, handler in self._before.items():
            if signal.getsignal(number) == self._note:
                signal.signal(number, handler)
        self._before = {}

    def _note(self, number: int, frame: Any) -> None:
        self.asked = True
        signal.default_int_handler(number, frame)
