"""A Ctrl-C ends training even where Python drops the exception."""

import os
import signal

import pytest
import pytorch_lightning as pl
from torch import nn, tensor, zeros
from torch.utils.data import DataLoader, TensorDataset

from callbacks.interrupt import Interrupt


class Interrupted:
    """A signal arrives while this is being destroyed, where exceptions are ignored."""

    def __init__(self, number: int) -> None:
        self.number = number

    def __del__(self) -> None:
        os.kill(os.getpid(), self.number)
        for _ in range(1000):  # Python runs the handler between two instructions
            pass


class Tiny(pl.LightningModule):
    def __init__(self, press_at: int, number: int = signal.SIGINT, where: str = "train") -> None:
        super().__init__()
        self.weight, self.press_at, self.seen = nn.Parameter(tensor(0.0)), press_at, 0
        self.number, self.where, self.validated = number, where, 0
        self.automatic_optimization = False

    def training_step(self, batch, batch_idx):
        self.seen += 1
        if self.where == "train" and batch_idx == self.press_at:
            Interrupted(self.number)

    def validation_step(self, batch, batch_idx):
        self.validated += 1
        if self.where == "validation" and batch_idx == self.press_at:
            Interrupted(self.number)

    def configure_optimizers(self):
        return None


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning", "ignore::UserWarning")
def test_a_dropped_ctrl_c_ends_the_fit_after_the_batch(tmp_path):
    quiet = {"logger": False, "enable_progress_bar": False, "enable_model_summary": False}
    before = signal.getsignal(signal.SIGINT)
    for callbacks, seen in (([Interrupt()], 3), ([], 8)):
        task = Tiny(press_at=2)
        trainer = pl.Trainer(
            max_epochs=1, callbacks=callbacks, accelerator="cpu", default_root_dir=tmp_path,
            enable_checkpointing=False, **quiet,
        )  # fmt: skip
        data = DataLoader(TensorDataset(zeros(8, 1)))
        if callbacks:
            with pytest.raises((SystemExit, KeyboardInterrupt)):
                trainer.fit(task, data)
        else:
            trainer.fit(task, data)
        assert task.seen == seen
        signal.signal(signal.SIGINT, before)


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning", "ignore::UserWarning")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("where", ["train", "validation"])
def test_both_signals_end_training_and_validation(tmp_path, number, where):
    before = {n: signal.getsignal(n) for n in (signal.SIGINT, signal.SIGTERM)}
    task = Tiny(press_at=2, number=number, where=where)
    trainer = pl.Trainer(
        max_epochs=1, callbacks=[Interrupt()], accelerator="cpu", default_root_dir=tmp_path, num_sanity_val_steps=0,
        enable_checkpointing=False, logger=False, enable_progress_bar=False, enable_model_summary=False,
    )  # fmt: skip
    data = DataLoader(TensorDataset(zeros(8, 1)))
    try:
        with pytest.raises((SystemExit, KeyboardInterrupt)):
            trainer.fit(task, data, data)
    finally:
        for n, handler in before.items():
            signal.signal(n, handler)
    assert (task.seen, task.validated) == {"train": (3, 0), "validation": (8, 3)}[where]
