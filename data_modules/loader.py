"""The loader of clip batches: whether its workers fit into shared memory, and what goes wrong in them in one line."""

from __future__ import annotations

import logging
import multiprocessing
import shutil
from collections.abc import Iterator
from pathlib import Path

from torch.utils.data import DataLoader, get_worker_info

from vst.batch import ClipBatch
from vst.errors import UserError

SHARED_MEMORY = Path("/dev/shm")
PREFETCH = 2  # batches that a worker makes ahead
HELD = 2  # batches that the main process holds: the one in training, and the next

_REMEDY = "give the container more (docker run --shm-size=1g), or data.num_workers=0, or smaller batches"

log = logging.getLogger("vst")


class ClipLoader(DataLoader[ClipBatch]):
    """A DataLoader that raises one line, as UserError, for a user's mistake in a worker and for full shared memory."""

    def __iter__(self) -> Iterator[ClipBatch]:
        return _told(super().__iter__())


def _told(batches: Iterator[ClipBatch]) -> Iterator[ClipBatch]:
    try:
        yield from batches
    except (UserError, RuntimeError) as error:
        message = _message(error)
        if message is None:
            raise
        raise UserError(message) from error


def _message(error: Exception) -> str | None:
    """The one line of a worker's failure, or None for a defect. torch makes the traceback its text."""
    text = str(error)
    if isinstance(error, UserError):
        return text.strip().splitlines()[-1].partition("UserError: ")[2] or text
    full = "No space left on device" in text and "torch_" in text  # the name of a file in shared memory
    if full or "out of shared memory" in text:
        return f"shared memory ({SHARED_MEMORY}) is full, which workers hand their batches over in; {_REMEDY}"
    return None


def hand_over(batch: ClipBatch) -> ClipBatch:
    """Move a worker's batch into shared memory here, where a failure is told; torch's queue would lose both."""
    return batch if get_worker_info() is None else batch.share_memory()


def workers_allowed(num_workers: int) -> int:
    """`num_workers`, or 0 with a warning where Python forbids them: in a pool's process, as of parallel launchers."""
    if not num_workers or not multiprocessing.current_process().daemon:
        return num_workers
    log.warning(
        "data      num_workers=%d turned off: this is a launcher's process, which may not start its own", num_workers
    )
    return 0


def workers_that_fit(num_workers: int, batch_bytes: int) -> int:
    """`num_workers`, or 0 with a warning where shared memory has no room for the batches that they have under way."""
    if not num_workers or not SHARED_MEMORY.is_dir():
        return num_workers
    free = shutil.disk_usage(SHARED_MEMORY).free
    needed = (PREFETCH * num_workers + HELD) * batch_bytes
    if needed <= free:
        return num_workers
    log.warning(
        "data      num_workers=%d turned off: their batches take %.0f MB of shared memory and %s has %.0f MB free; %s",
        num_workers, needed / 1e6, SHARED_MEMORY, free / 1e6, _REMEDY,
    )  # fmt: skip
    return 0
