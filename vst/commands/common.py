"""What several commands share: the device, the trainer, the loggers, quiet libraries."""

from __future__ import annotations

import logging
import os
import sys
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any

import torch
from hydra.utils import instantiate
from omegaconf import DictConfig

from vst.errors import UserError

if TYPE_CHECKING:  # it takes seconds to import, and only training and the reports need it
    from pytorch_lightning import Trainer
    from pytorch_lightning.loggers import Logger

log = logging.getLogger("vst")

CHECKPOINTS = (".pt", ".ckpt")
LAUNCHERS = {
    "SLURM_NTASKS": ("SLURM", "give --ntasks=1"),
    "JSM_NAMESPACE_SIZE": ("jsrun", "give -n 1"),
    "OMPI_COMM_WORLD_SIZE": ("mpirun", "give -n 1"),
    "WORLD_SIZE": ("torchrun", "start it with python"),
}
"""Variables that tell how many processes a launcher has, and what to do for a single one."""


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
        "Checkpoint directory .* exists and is not empty",  # a run goes on in its folder
        "The dirpath has changed",  # or in another one
        r"Found \d+ module\(s\) in eval mode",  # the moving average, which is only ever used for inference
        ".*does not have many workers",
        ".*number of training batches .* is smaller than the logging interval",
    ):
        warnings.filterwarnings("ignore", message=message)


def build_trainer(cfg: DictConfig, **arguments: Any) -> Trainer:
    """Lightning's trainer for a run in this process alone, whoever has started it and how often.

    Lightning would take the tasks that a cluster has given for parts of one run, and refuse those that do not match
    its devices. The `arguments` are those that are objects already.
    """
    from pytorch_lightning.plugins.environments import LightningEnvironment
    from pytorch_lightning.utilities import rank_zero_only

    for variable, (launcher, advice) in LAUNCHERS.items():
        number = os.environ.get(variable, "")
        if number.isdigit() and int(number) > 1:
            log.warning(
                "launcher  %s has %s processes, and a run is one: each that starts this command trains a run of its "
                "own; for a single run %s",
                *(launcher, number, advice),
            )
            break
    rank_zero_only.rank = 0
    if cfg.get("devices", "auto") == "auto":
        arguments["devices"] = 1
    plugins = [*(instantiate(cfg.get("plugins")) or ()), LightningEnvironment()]
    return instantiate(cfg, **arguments, plugins=plugins)


def open_loggers(cfg: DictConfig) -> list[Logger]:
    """Build the loggers of a command, and open them before it measures for an hour."""
    loggers = list(instantiate(cfg).values())
    for logger in loggers:
        _ = logger.experiment
    return loggers


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

        run = wandb.run
        try:
            wandb.finish(exit_code=1 if failed else 0)
        except Exception as error:  # of whatever kind: what the command has made does not depend on it
            with suppress(Exception):
                wandb.teardown()
            reason = " ".join(str(error).split()) or type(error).__name__
            log.warning("W&B: not all could be sent (%s); to send the rest: wandb sync %s", reason, run.sync_dir)
