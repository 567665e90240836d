"""What the progress display says, read from its output; time comes from a clock that the training step
drives.
"""

import io
import re
import signal
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest
import pytorch_lightning as pl
import rich
from pytorch_lightning.callbacks import ModelCheckpoint
from rich.console import Console

import callbacks.progress
from callbacks.progress import Status, TrainingProgress

SHOW_CURSOR = "\x1b[?25h"
HIDE_CURSOR = "\x1b[?25l"


class Clock:
    now = 1000.0

    def monotonic(self) -> float:
        return self.now


class Tick(pl.Callback):
    """Lets batch i of the fit take seconds[i]."""

    def __init__(self, clock: Clock, seconds: list[float]) -> None:
        self.clock, self.seconds = clock, iter(seconds)

    def on_train_batch_start(self, *_: object) -> None:
        self.clock.now += next(self.seconds)


class Interrupt(pl.Callback):
    def on_train_batch_start(self, trainer, pl_module, batch, batch_idx) -> None:
        if trainer.current_epoch == 1:
            raise KeyboardInterrupt


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    fake = Clock()
    monkeypatch.setattr(callbacks.progress, "time", SimpleNamespace(monotonic=fake.monotonic))
    return fake


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch) -> Console:
    console = Console(file=io.StringIO(), force_terminal=True, width=110, legacy_windows=False, color_system=None)
    monkeypatch.setattr(rich, "get_console", lambda: console)
    return console


@pytest.fixture
def keep_sigint() -> Iterator[None]:
    """Lightning ignores Ctrl-C for the rest of the process once it has handled one."""
    handler = signal.getsignal(signal.SIGINT)
    yield
    signal.signal(signal.SIGINT, handler)


def lines(capsys: pytest.CaptureFixture[str]) -> list[str]:
    return [line for line in capsys.readouterr().out.splitlines() if line.startswith("train ")]


def test_plain_lines_say_position_speed_losses_and_times(task, data, make_trainer, clock, capsys):
    tick = Tick(clock, [30.0, 2.0, 2.0, 2.0])  # a slow first batch, then two clips in two seconds
    make_trainer(TrainingProgress(interval=0), tick).fit(task, data)
    assert lines(capsys) == [
        "train  25%  batch 1/4  epoch 1/2  total 2  style 0.5  0:00:30 elapsed, ? left",
        "train  50%  batch 2/4  epoch 1/2  1.0 clips/s  total 4  style 0.5  0:00:32 elapsed, 0:00:04 left",
        "train  75%  batch 3/4  epoch 2/2  1.0 clips/s  total 6  style 0.5  0:00:34 elapsed, 0:00:02 left",
        "train 100%  batch 4/4  epoch 2/2  1.0 clips/s  total 8  style 0.5  0:00:36 elapsed, 0:00:00 left",
    ]


def test_plain_lines_keep_their_interval_and_the_end_is_always_told(task, data, make_trainer, clock, capsys):
    tick = Tick(clock, [1.0] * 30)
    make_trainer(TrainingProgress(interval=10), tick, max_epochs=15).fit(task, data)
    assert [re.search(r"batch (\d+)/30", line)[1] for line in lines(capsys)] == ["1", "11", "21", "30"]


def test_speed_is_that_of_the_last_seconds(task, data, make_trainer, clock, capsys):
    tick = Tick(clock, [1.0] * 10 + [10.0] * 10)
    make_trainer(TrainingProgress(interval=0), tick, max_epochs=10).fit(task, data)
    speeds = [float(m[1]) for line in lines(capsys) if (m := re.search(r"([\d.]+) clips/s", line))]
    assert speeds[8] == 2.0 and speeds[-1] == 0.2


def test_chosen_losses_in_chosen_order(task, data, make_trainer, capsys):
    names = {"loss/style": "S", "loss/absent": "A", "loss/total": "T"}
    make_trainer(TrainingProgress(names), max_epochs=1, limit_train_batches=1).fit(task, data)
    (line,) = lines(capsys)
    assert "100%  batch 1/1  epoch 1/1  S 0.5  T 2  0:00:0" in line


def test_resumed_run_starts_where_it_stopped(task, data, make_trainer, tmp_path: Path, capsys):
    make_trainer(ModelCheckpoint(tmp_path, "last"), max_epochs=1, enable_checkpointing=True).fit(task, data)
    trainer = make_trainer(TrainingProgress(interval=0), max_epochs=3)
    trainer.fit(task, data, ckpt_path=tmp_path / "last.ckpt")
    seen = [re.search(r"(\d+)%  batch (\S+)  epoch (\S+)", line).groups() for line in lines(capsys)]
    assert seen == [("50", "3/6", "2/3"), ("66", "4/6", "2/3"), ("83", "5/6", "3/3"), ("100", "6/6", "3/3")]


def test_time_limit_alone_gives_percent_and_time_left(task, data, make_trainer, capsys):
    trainer = make_trainer(TrainingProgress(interval=0), max_epochs=-1, max_time={"seconds": 0.2})
    trainer.fit(task, data)
    first, *_, last = lines(capsys)
    assert re.match(r"train +\d+%  batch 1  epoch 1  total 2", first) and first.endswith("0:00:00 left")
    assert last.startswith("train 100%")


def test_without_any_end_the_fraction_is_unknown():
    status = Status(None, 7, None, 2, None, 3.0, {}, 4000.0, None)
    assert status.line() == "train   ?%  batch 7  epoch 2  3.0 clips/s  1:06:40 elapsed, ? left"


def test_percent_is_not_rounded_up_to_the_end():
    assert Status(0.999, 999, 1000, 1, 1, None, {}, 0, 0).percent() == " 99%"


def test_terminal_shows_one_display_and_gives_the_cursor_back(task, data, make_trainer, terminal, capsys):
    make_trainer(TrainingProgress()).fit(task, data)
    output = terminal.file.getvalue()
    assert output.count(HIDE_CURSOR) == output.count(SHOW_CURSOR) == 1
    final = re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", output).replace("\r", "").splitlines()[-2:]
    assert re.fullmatch(r"train 100% ━+ batch 4/4  epoch 2/2 0:00:0\d elapsed, 0:00:00 left *", final[0])
    assert re.fullmatch(r"[\d.]+ clips/s  total 8  style 0.5 *", final[1])
    assert all(len(line) <= 110 for line in final)
    assert not lines(capsys)


@pytest.mark.usefixtures("keep_sigint")
@pytest.mark.parametrize("how", ["error", "interrupt"])
def test_bar_is_closed_when_training_breaks(task, data, make_trainer, terminal, how):
    progress = TrainingProgress()
    if how == "error":
        task.fail_at = 2
        with pytest.raises(RuntimeError, match="planned failure"):
            make_trainer(progress).fit(task, data)
    else:
        with pytest.raises(SystemExit):
            make_trainer(progress, Interrupt()).fit(task, data)
    output = terminal.file.getvalue()
    assert output.count(HIDE_CURSOR) == output.count(SHOW_CURSOR) == 1
    assert "train  50%" in output and "batch 2/4" in output and "100%" not in output


def test_plain_line_says_where_an_error_struck(task, data, make_trainer, capsys):
    task.fail_at = 3
    with pytest.raises(RuntimeError, match="planned failure"):
        make_trainer(TrainingProgress(interval=1000)).fit(task, data)
    assert [re.search(r"batch (\S+)", line)[1] for line in lines(capsys)] == ["1/4", "3/4"]
