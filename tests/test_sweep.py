"""Sweeps: a job that fails does not stop the others, and the last lines say which failed and why."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from vst.sweep import Account

ROOT = Path(__file__).resolve().parents[1]
SCRIPT = """
import os, signal, sys
from vst.config import command
from vst.errors import UserError
from vst.schema import StylizeConfig

@command("stylize", StylizeConfig)
def stylize(cfg):
    if cfg.input == "mistake":
        raise UserError("mistake: no video")
    if cfg.input == "defect":
        raise RuntimeError("a defect\\nof two lines")
    if cfg.input == "full":
        raise OSError(28, "No space left on device")
    if cfg.input == "exits":
        sys.exit("a library gave up")
    if cfg.input == "stops":
        os.kill(os.getpid(), signal.SIGINT)
    if cfg.input == "terminated":
        os.kill(os.getpid(), signal.SIGTERM)
    print("did", cfg.input, flush=True)

stylize()
"""


@pytest.fixture
def sweep(tmp_path: Path):
    """A function: values of `input` -> the finished process of a sweep over them, in the folder `sweep`."""
    (tmp_path / "script.py").write_text(SCRIPT)

    def start(values: str, *words: str) -> subprocess.CompletedProcess[str]:
        line = [sys.executable, "script.py", "-m", f"input={values}", "checkpoint=a", "output=o", *words]
        environment = {**os.environ, "PYTHONPATH": str(ROOT)}
        environment.pop("HYDRA_FULL_ERROR", None)
        line += [] if any(word.startswith("hydra.sweep.dir") for word in words) else ["hydra.sweep.dir=sweep"]
        return subprocess.run(line, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=60)

    return start


def did(done: subprocess.CompletedProcess[str]) -> list[str]:
    return re.findall(r"^did (\w+)$", done.stdout, flags=re.MULTILINE)


def test_the_last_lines_are_the_failed_jobs(sweep) -> None:
    done = sweep("one,mistake,defect,two,full,exits,three")
    assert did(done) == ["one", "two", "three"]
    assert done.returncode == 1
    assert done.stderr.splitlines()[-5:] == [
        "error: 4 of 7 jobs failed, in sweep",
        "  job 1 (input=mistake): mistake: no video",
        "  job 2 (input=defect): RuntimeError: a defect of two lines",
        "  job 4 (input=full): the disk is full; free some space, then start again or resume= from the last checkpoint",
        "  job 5 (input=exits): SystemExit: a library gave up",
    ]
    # Each has been told when it failed as well, a defect with its traceback.
    assert "error: job 1 (input=mistake checkpoint=a output=o): mistake: no video\n" in done.stderr
    assert done.stderr.count("Traceback") == 2


def test_a_sweep_without_failures_says_nothing(sweep) -> None:
    done = sweep("one,two")
    assert (done.returncode, done.stderr, did(done)) == (0, "", ["one", "two"])


def test_a_folder_that_is_used_again_has_a_new_account(sweep) -> None:
    assert sweep("mistake,one").returncode == 1
    again = sweep("one,two")
    assert (again.returncode, again.stderr) == (0, "")


def test_the_folder_of_a_sweep_has_one_name(sweep, tmp_path: Path) -> None:
    """The one that the account is kept in, although the time of day has gone on meanwhile."""
    done = sweep("one,mistake", "hydra.sweep.dir='it,s ${now:%H-%M-%S-%f}'")
    (folder,) = [path for path in tmp_path.iterdir() if path.is_dir()]
    assert folder.name.startswith("it,s ") and {path.name for path in folder.iterdir()} >= {"0", "1", "jobs.jsonl"}
    assert f"1 of 2 jobs failed, in {folder.name}\n" in done.stderr


@pytest.mark.parametrize("way", ["stops", "terminated"])
def test_ctrl_c_ends_the_sweep_and_says_what_is_done(sweep, way: str) -> None:
    done = sweep(f"one,mistake,two,{way},three")
    assert done.returncode == 130 and did(done) == ["one", "two"]
    assert done.stderr.splitlines()[-6:] == [
        "2 jobs done, in sweep",
        "  job 0 (input=one): done",
        "  job 1 (input=mistake): mistake: no video",
        "  job 2 (input=two): done",
        f"  job 3 (input={way}): interrupted",
        "interrupted",
    ]


def test_a_job_that_never_ended_has_failed(tmp_path: Path) -> None:
    """As where a launcher's process was killed; jobs may end in any order."""
    account = Account(tmp_path)
    assert account.failures() is None
    for job, state in ((1, "running"), (0, "running"), (1, "done"), (2, "running"), (0, "done")):
        account.note(job, ["data=video", f"seed={job}"], state)
    assert account.failures() == f"1 of 3 jobs failed, in {tmp_path}\n  job 2 (seed=2): it has not ended"
    assert Account(tmp_path).failures() is None


TRAIN = (
    "trainer=smoke", "model=convgru_tiny", "data.batch_size=2", "data.num_workers=0", "data.crop=32", "margin=8",
    "clip_length=2", "logger=csv", "~callbacks.preview", "~callbacks.benchmark", "hydra.sweep.dir=sweep",
)  # fmt: skip


def training(folder: Path, *words: str) -> subprocess.Popen[str]:
    environment = {**os.environ, "WANDB_MODE": "offline", "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
    line = [sys.executable, str(ROOT / "train.py"), "-m", *TRAIN, *words]
    streams = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    return subprocess.Popen(line, cwd=folder, env=environment, **streams)


def test_trainings_that_fail_in_a_sweep(tmp_path: Path) -> None:
    """Job 0 in the midst of it, where a folder has the name of the stylizer; jobs 2 and 3 before it begins."""
    (tmp_path / "sweep" / "0" / "stylizer.pt").mkdir(parents=True)
    process = training(tmp_path, "init_from=null,none.pt", "seed=1,2")
    _, errors = process.communicate(timeout=280)
    assert process.returncode == 1
    headline, *lines = errors.splitlines()[-4:]
    assert headline == "error: 3 of 4 jobs failed, in sweep"
    assert re.fullmatch(r"  job 0 \(init_from=null seed=1\): .*stylizer\.pt.*", lines[0]), lines
    for job, seed, line in zip((2, 3), (1, 2), lines[1:], strict=True):
        assert line.startswith(f"  job {job} (init_from=none.pt seed={seed}): checkpoint 'none.pt': not found")
    assert (tmp_path / "sweep" / "1" / "stylizer.pt").is_file()


def test_ctrl_c_in_a_training_ends_the_sweep(tmp_path: Path) -> None:
    """Lightning makes an exit status of it, which is no failure of the job."""
    process = training(tmp_path, "seed=1,2,3", "trainer.max_epochs=10000")
    under_way = tmp_path / "sweep" / "0" / "checkpoints" / "last.ckpt"
    deadline = time.monotonic() + 200
    while not under_way.exists() and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.1)
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=100)
    assert process.returncode == 130, errors
    headline, job, what, _, command = errors.splitlines()[-5:]
    assert (headline, what) == ("0 jobs done, in sweep", "interrupted")
    assert command == "python train.py resume=sweep/0/checkpoints/last.ckpt"
    assert job.startswith("  job 0 (") and " seed=1 " in job and job.endswith("): interrupted")
    assert not (tmp_path / "sweep" / "1").exists()
