"""One run, one folder, one curve: what a run that broke off leaves, and how it goes on."""

import csv
import os
import shlex
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import pytorch_lightning as pl
import torch
import yaml
from pytorch_lightning.utilities import rank_zero_only

from vst.commands.train import train

ROOT = Path(__file__).resolve().parent.parent
TINY = [
    "experiment=smoke", "model.generator.width=8", "data.crop=32", "margin=8", "data.batch_size=1", "logger=csv",
    "trainer.max_epochs=3", "trainer.limit_train_batches=3", "~callbacks.preview", "~callbacks.benchmark",
]  # fmt: skip


class BreakOff(pl.Callback):
    """Ends a run after batch `batch`, counted from 0, or in validation; but not once it goes on."""

    def __init__(self, batch: int, error: str = "KeyboardInterrupt", in_validation: bool = False) -> None:
        self.batch, self.in_validation = batch, in_validation
        self.error = {"KeyboardInterrupt": KeyboardInterrupt, "RuntimeError": RuntimeError, "OSError": OSError}[error]

    def on_train_batch_end(self, trainer, *_):
        if not self.in_validation:
            self._look(trainer)

    def on_validation_batch_end(self, trainer, *_):
        if self.in_validation:
            self._look(trainer)

    def _look(self, trainer):
        if trainer.ckpt_path is None and trainer.fit_loop.total_batch_idx >= self.batch:
            raise self.error(28, "No space left on device") if self.error is OSError else self.error("planned")


def broken_off(batch, **options):
    values = "".join(f", {name}: {value}" for name, value in options.items())
    return f"+callbacks.break_off={{_target_: tests.test_run_folder.BreakOff, batch: {batch}{values}}}"


def trained(*arguments):
    """The exit status of `train.py` with arguments; the handlers of signals are those of before."""
    handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        train(list(arguments))
    except SystemExit as end:
        return end.code
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)
    return 0


@pytest.fixture
def command(tmp_path, monkeypatch, capsys):
    """`train.py` with arguments, in an empty folder: (exit status, stdout, lines of stderr)."""
    monkeypatch.chdir(tmp_path)

    def run(*arguments):
        status = trained(*arguments)
        printed = capsys.readouterr()
        return status, printed.out, printed.err.splitlines()

    return run


@pytest.fixture(scope="module")
def straight(tmp_path_factory):
    """A run that nothing has disturbed."""
    folder = tmp_path_factory.mktemp("straight") / "run"
    assert trained(*TINY, f"output_dir={folder}") == 0
    return folder


def rows(folder):
    with (folder / "metrics.csv").open() as file:
        return [{key: value for key, value in row.items() if value} for row in csv.DictReader(file)]


def contents(folder):
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file() and path.suffix != ".log"}


@pytest.mark.parametrize(
    ("how", "status"),
    [({}, 130), ({"in_validation": "true"}, 130), ({"error": "RuntimeError"}, 1), ({"error": "OSError"}, 1)],
    ids=["Ctrl-C", "Ctrl-C in validation", "a crash", "a full disk"],
)
def test_a_run_that_broke_off_goes_on_in_its_folder_with_one_curve(straight, command, tmp_path, how, status):
    ended, _, lines = command(*TINY, broken_off(4, **how), "output_dir=run")
    assert ended == status
    (number,) = [i for i, line in enumerate(lines) if line.startswith("python train.py")]
    assert lines[number] == "python train.py resume=run/checkpoints/last.ckpt"
    assert "epoch 1" in lines[number - 1] or how.get("in_validation")
    assert number == len(lines) - 1 or how.get("error") == "RuntimeError", "the last line, but for Hydra's own"
    run = tmp_path / "run"
    before = yaml.safe_load((run / "config.yaml").read_text())
    lost = [row for row in rows(run) if int(row["step"]) > 2]
    assert lost, "rows that the checkpoint does not know of"
    with (run / "benchmark.csv").open("w") as file:
        file.write("epoch,fps\n1,5.0\n2,6.0\n")
    hydra = contents(run / ".hydra")

    ended, printed, lines = command(*shlex.split(lines[number])[2:])
    assert ended == 0 and "resume      run/checkpoints/last.ckpt" in printed, lines
    assert rows(run) == rows(straight)
    assert yaml.safe_load((run / "config.yaml").read_text()) == before
    assert contents(run / ".hydra") == hydra
    if not how.get("in_validation"):
        assert (run / "benchmark.csv").read_text().split() == ["epoch,fps", "1,5.0"]
    assert sorted(path.name for path in (run / "checkpoints").iterdir()) == ["epoch_002.ckpt", "last.ckpt"]
    assert [path.name for path in tmp_path.iterdir()] == ["run"]
    weights = [torch.load(f / "checkpoints/last.ckpt", weights_only=True)["state_dict"] for f in (straight, run)]
    assert all(torch.equal(value, weights[1][name]) for name, value in weights[0].items())


def test_before_the_first_checkpoint_the_command_starts_anew_in_the_same_folder(command, tmp_path):
    status, _, lines = command(*TINY, broken_off(1), "output_dir=my run")
    assert status == 130 and "before the first checkpoint" in lines[-2]
    words = shlex.split(lines[-1])
    assert words[:2] == ["python", "train.py"]
    again = [word for word in words[2:] if "break_off" not in word]
    status, _, lines = command(*again)
    assert status == 0, lines
    assert [row["step"] for row in rows(tmp_path / "my run") if "lr" in row] == [str(i) for i in range(9)]
    status, _, lines = command(*again)
    assert status == 1 and lines[-1].startswith("error: output_dir=my run: holds a run already")


def test_a_run_that_has_ended_is_left_as_it_is(command, tmp_path):
    assert command(*TINY, "callbacks.checkpoint.save_top_k=-1", "output_dir=run")[0] == 0
    before = contents(tmp_path)
    for arguments, message in (
        (["resume=run/checkpoints/last.ckpt"], "has finished its 3 epochs; to go on, give a larger trainer.max_epochs"),
        (["resume=run/checkpoints/epoch_000.ckpt"], "the run went further, to run/checkpoints/last.ckpt"),
        ([*TINY, "output_dir=run"], "holds a run already"),
        (["data=video", "data.root=nowhere", "output_dir=run"], "holds a run already"),
    ):
        status, _, (line,) = command(*arguments)
        assert status == 1 and line.startswith("error: ") and message in line
        assert contents(tmp_path) == before
    assert [path.name for path in tmp_path.iterdir()] == ["run"]

    status, _, lines = command("resume=run/checkpoints/last.ckpt", "trainer.max_epochs=4")
    assert status == 0, lines
    steps = [int(row["step"]) for row in rows(tmp_path / "run") if "lr" in row]
    assert steps == list(range(12))

    shutil.move(tmp_path / "run", tmp_path / "moved")
    assert command("resume=moved/checkpoints/last.ckpt", "trainer.max_epochs=5")[0] == 0
    assert [int(row["step"]) for row in rows(tmp_path / "moved") if "lr" in row] == list(range(15))
    assert not list((tmp_path / "moved/checkpoints").glob("last-*"))
    assert not (tmp_path / "run").exists()

    assert command("resume=moved/checkpoints/epoch_000.ckpt", "output_dir=other")[0] == 0
    assert rows(tmp_path / "other")[0]["step"] == "3"


def test_a_run_that_failed_before_training_leaves_the_folder_usable(command, tmp_path):
    status, _, lines = command("data=video", "data.root=nowhere", "output_dir=run")
    assert status == 1 and len(lines) == 1
    assert command(*TINY, "trainer.max_epochs=1", "output_dir=run")[0] == 0


def test_names_made_of_the_time_are_claimed_and_numbered(command, tmp_path):
    for expected in (["r"], ["r", "r_2"], ["r", "r_2", "r_3"]):
        status, printed, lines = command(*TINY, "trainer.max_epochs=1", "output_dir=${now:r}")
        assert status == 0 and f"stylizer    {expected[-1]}/stylizer.pt" in printed, lines
        assert sorted(path.name for path in tmp_path.iterdir()) == expected
        assert len(rows(tmp_path / expected[-1])) == 4


def test_sweeps_that_begin_in_one_moment_have_a_folder_each(command, tmp_path):
    for name in ("s", "s_2"):
        sweep = ["-m", *TINY, "trainer.max_epochs=1", "seed=1,2", "hydra.sweep.dir=${now:s}"]
        assert command(*sweep)[0] == 0
        assert all(len(rows(tmp_path / name / job)) == 4 for job in "01")


CLUSTERS = {
    "SLURM": {
        "SLURM_NTASKS": "4", "SLURM_JOB_NAME": "train", "SLURM_JOB_ID": "1", "SLURM_PROCID": "3", "SLURM_LOCALID": "3",
        "SLURM_NODEID": "0", "SLURM_NODELIST": "node[1-2]",
    },
    "SLURM by nodes": {
        "SLURM_NTASKS": "4", "SLURM_NTASKS_PER_NODE": "2", "SLURM_NNODES": "2", "SLURM_JOB_NAME": "train",
        "SLURM_PROCID": "0", "SLURM_LOCALID": "0", "SLURM_NODEID": "0",
    },
    "torchrun": {
        "WORLD_SIZE": "2", "RANK": "1", "LOCAL_RANK": "1", "GROUP_RANK": "0", "TORCHELASTIC_RUN_ID": "x",
        "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "29500",
    },
    "jsrun": {"LSB_JOBID": "1", "LSB_DJOB_RANKFILE": "/none", "JSM_NAMESPACE_SIZE": "2", "JSM_NAMESPACE_RANK": "1"},
}  # fmt: skip


@pytest.mark.parametrize("cluster", CLUSTERS)
def test_a_process_of_a_cluster_trains_alone_and_says_so(command, tmp_path, monkeypatch, cluster):
    for name, value in CLUSTERS[cluster].items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(rank_zero_only, "rank", 1)  # as Lightning sets it when it is imported in such a process
    status, printed, lines = command(*TINY, "trainer.max_epochs=1", "output_dir=run")
    assert status == 0, lines
    (line,) = [line for line in printed.splitlines() if line.startswith("launcher")]
    assert cluster.split()[0] in line and "for a single run" in line
    assert len(rows(tmp_path / "run")) == 4 and (tmp_path / "run/stylizer.pt").is_file()


def test_a_daemonic_process_trains_without_workers_and_says_so(tmp_path):
    script = f"""
import multiprocessing, sys
from vst.commands.train import train
if __name__ == "__main__":
    arguments = {[*TINY, "trainer.max_epochs=1", "data.num_workers=1", "output_dir=run"]!r}
    process = multiprocessing.get_context("spawn").Process(target=train, args=(arguments,), daemon=True)
    process.start()
    process.join()
    sys.exit(process.exitcode)
"""
    (tmp_path / "pool.py").write_text(script)
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    options = {"cwd": tmp_path, "env": environment, "capture_output": True, "text": True, "timeout": 280}
    result = subprocess.run([sys.executable, "pool.py"], **options)
    assert result.returncode == 0, result.stdout + result.stderr
    assert "num_workers=1 turned off" in result.stdout
    assert len(rows(tmp_path / "run")) == 4


@pytest.mark.parametrize("name", ["metrics.csv", "benchmark.csv", "batch.png"])
def test_files_of_the_user_are_not_overwritten(tmp_path, command, name):
    (tmp_path / "results").mkdir()
    (tmp_path / "results" / name).write_text("mine")
    status, _, errors = command("experiment=smoke", "output_dir=results")
    assert status == 1 and errors == [f"error: output_dir=results: {name} would be overwritten; give another folder"]
    assert [path.name for path in (tmp_path / "results").iterdir()] == [name]
    assert (tmp_path / "results" / name).read_text() == "mine"
