"""A Ctrl-C ends training even where Python drops the exception."""

import os
import signal

import pytest
import pytorch_lightning as pl
from torch import nn, tensor, zeros
from torch.utils.data import DataLoader, TensorDataset

from callbacks.interrupt import Interrupt


class Interrupted:
    """Ctrl-C arrives while this is being destroyed, where exceptions are ignored."""

    def __del__(self) -> None:
        os.kill(os.getpid(), signal.SIGINT)
        for _ in range(1000):  # Python runs the handler between two instructions
            pass


class Tiny(pl.LightningModule):
    def __init__(self, press_at: int) -> None:
        super().__init__()
        self.weight, self.press_at, self.seen = nn.Parameter(tensor(0.0)), press_at, 0
        self.automatic_optimization = False

    def training_step(self, batch, batch_idx):
        self.seen += 1
        if batch_idx == self.press_at:
            Interrupted()

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
