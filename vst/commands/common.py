"""What several commands share: the device, the loggers, quiet libraries."""

from __future__ import annotations

import logging
import sys
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

import torch

from vst.errors import UserError

if TYPE_CHECKING:  # it takes seconds to import, and only training and the reports log
    from pytorch_lightning.loggers import Logger

EXPORTED = (".onnx", ".xml")
CHECKPOINTS = (".pt", ".ckpt")


def open_device(name: str) -> torch.device:
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        raise UserError(f"device={name}: not available here ({str(error).splitlines()[0]}); try device=auto") from error
    return device


def quiet_libraries() -> None:
    """Keep what Lightning says of itself off the terminal: it is true of every run and asks for nothing."""
    for name in ("pytorch_lightning", "lightning_fabric"):
        logging.getLogger(name).setLevel(logging.WARNING)
    for message in (
        ".*LeafSpec.* is deprecated",
        "Experiment logs directory .* exists and is not empty",  # the run folder, which holds our config.yaml
        r"Found \d+ module\(s\) in eval mode",  # the moving average, which is only ever used for inference
        ".*does not have many workers",
        ".*number of training batches .* is smaller than the logging interval",
    ):
        warnings.filterwarnings("ignore", message=message)


@contextmanager
def ending(loggers: Sequence[Logger]) -> Iterator[None]:
    """Close the loggers after the block, as failed if it raises."""
    failed = True
    try:
        yield
        failed = False
    finally:
        for logger in loggers:
            logger.finalize("failed" if failed else "success")
        _finish_wandb(failed)


def _finish_wandb(failed: bool) -> None:
    """Close the W&B run of this job, so that the next job of a sweep starts its own."""
    if "wandb" in sys.modules:
        import wandb

        wandb.finish(exit_code=1 if failed else 0)
