"""Writes stylizer.pt, the small checkpoint that stylising needs, after every epoch."""

from pathlib import Path

import pytorch_lightning as pl

from vst.checkpoint import save_stylizer


class SaveStylizer(pl.Callback):
    """After every epoch `stylizer.pt` in the run folder holds the averaged stylizer, so a stopped run is usable too.

    Args:
        filename: within the run folder.
    """

    def __init__(self, filename: str = "stylizer.pt") -> None:
        self.filename = filename

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        if trainer.is_global_zero:
            save_stylizer(Path(trainer.default_root_dir) / self.filename, pl_module.stylizer_content())
