"""Shows what the networks are fed: the first batch as a picture, to catch a wrong folder or crop at a glance."""

from pathlib import Path

import pytorch_lightning as pl
import torch
import torch.nn.functional as F
from pytorch_lightning.loggers import WandbLogger
from torch import Tensor
from torchvision.utils import make_grid, save_image

from vst.batch import ClipBatch


class BatchPicture(pl.Callback):
    """Writes `batch.png` into the run folder at the first batch of a run: a row for each clip, its frames in time and,
    at the right end, the crop of the style that came with it. Logged to W&B as well, where a WandbLogger is present.

    Args:
        rows: clips shown at most.
    """

    def __init__(self, rows: int = 4) -> None:
        self.rows = rows

    def on_train_batch_start(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, batch: ClipBatch, batch_idx: int
    ) -> None:
        path = Path(trainer.default_root_dir) / "batch.png"
        if not trainer.is_global_zero or trainer.fit_loop.total_batch_idx or path.exists():
            return
        save_image(batch_grid(batch, self.rows), path)
        for logger in trainer.loggers:
            if isinstance(logger, WandbLogger):
                logger.log_image("batch", [str(path)], caption=["frames of each clip, and a crop of the style"])


def batch_grid(batch: ClipBatch, rows: int) -> Tensor:
    """The picture (3, h, w) in [0, 1]: up to `rows` clips, T frames and one style crop in each row."""
    frames = batch.frames[:rows]
    style = F.interpolate(batch.style[: len(frames)], size=frames.shape[-2:], mode="bilinear", antialias=True)
    row = torch.cat([frames, style[:, None]], dim=1)
    return make_grid(row.flatten(0, 1).float().cpu(), nrow=row.shape[1], padding=4, pad_value=1.0)
