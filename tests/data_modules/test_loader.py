"""What workers cannot do is told in one line, and nothing waits for ever."""

import logging
import shutil
import subprocess
import sys
from collections import namedtuple
from pathlib import Path

import pytest
import torch
from torch.utils.data import Dataset

from data_modules import loader
from data_modules.base import collate
from data_modules.loader import ClipLoader, workers_that_fit
from vst.batch import Clip
from vst.errors import UserError

ROOT = Path(__file__).resolve().parents[2]
Usage = namedtuple("Usage", "total used free")


class Items(Dataset):
    """Clips of `megabytes` each; `fault` is raised for the third."""

    def __init__(self, megabytes: float = 0.01, fault: Exception | None = None) -> None:
        self.side, self.fault = round((megabytes * 1e6 / 12) ** 0.5), fault

    def __len__(self) -> int:
        return 8

    def __getitem__(self, index: int) -> tuple[Clip, torch.Tensor]:
        if self.fault is not None and index == 2:
            raise self.fault
        return Clip(torch.zeros(1, 3, self.side, self.side), "zeros"), torch.zeros(1, 3, 4, 4)


def loaded(items: Items, workers: int) -> int:
    return len(list(ClipLoader(items, batch_size=2, num_workers=workers, collate_fn=collate)))


@pytest.mark.parametrize("workers", [0, 1])
def test_batches_arrive(workers: int) -> None:
    assert loaded(Items(), workers) == 4


@pytest.mark.parametrize("workers", [0, 1])
def test_a_users_mistake_in_a_worker_is_one_line(workers: int) -> None:
    with pytest.raises(UserError) as raised:
        loaded(Items(fault=UserError("film.mp4: cannot be read; give another")), workers)
    assert str(raised.value) == "film.mp4: cannot be read; give another"


def test_a_defect_keeps_its_traceback() -> None:
    with pytest.raises(RuntimeError, match="Original Traceback"):
        loaded(Items(fault=RuntimeError("a defect")), 1)


def told(megabytes_free: float, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> tuple[int, str]:
    """Workers for batches of 10 MB."""
    monkeypatch.setattr(loader, "SHARED_MEMORY", Path.cwd())
    monkeypatch.setattr(shutil, "disk_usage", lambda path: Usage(0, 0, int(megabytes_free * 1e6)))
    with caplog.at_level(logging.WARNING, "vst"):
        return workers_that_fit(2, 10_000_000), caplog.text


def test_workers_stay_where_their_batches_fit(monkeypatch, caplog) -> None:
    assert told(61, monkeypatch, caplog) == (2, "")


def test_workers_are_turned_off_with_a_line_where_they_do_not(monkeypatch, caplog) -> None:
    workers, line = told(59, monkeypatch, caplog)
    assert workers == 0 and "num_workers=2 turned off: their batches take 60 MB" in line and "--shm-size" in line


def in_small_shared_memory(code: str) -> subprocess.CompletedProcess[str]:
    """Run Python with a /dev/shm of 16 MB of its own."""
    mount = 'mount -t tmpfs -o size=16m tmpfs /dev/shm && exec "$0" -c "$1"'
    command = ["unshare", "--mount", "sh", "-c", mount, sys.executable, code]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=240)


def can_mount() -> bool:
    if shutil.which("unshare") is None:
        return False
    return in_small_shared_memory("").returncode == 0


@pytest.mark.skipif(not can_mount(), reason="a small /dev/shm needs unshare and the right to mount")
def test_full_shared_memory_is_one_line_and_not_for_ever() -> None:
    code = """
from tests.data_modules.test_loader import Items, loaded
try:
    loaded(Items(megabytes=12), 1)
except Exception as error:
    print(type(error).__name__, error)
"""
    ended = in_small_shared_memory(code)
    assert ended.stdout.startswith("UserError shared memory (/dev/shm) is full"), ended
    assert len(ended.stdout.splitlines()) == 1
