"""The closing lines of a run: only what exists, and a command that can be pasted."""

import shlex
from pathlib import Path

import pytest
from pytorch_lightning.callbacks import ModelCheckpoint
from pytorch_lightning.loggers import CSVLogger

from callbacks.benchmark import FPSBenchmark
from callbacks.finish import RunSummary, next_command
from callbacks.preview import Preview


@pytest.fixture(autouse=True)
def in_tmp_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def test_everything_is_named_and_the_command_is_last(task, data, make_trainer, tmp_path: Path, capsys):
    (tmp_path / "config.yaml").write_text("seed: 0\n")
    (tmp_path / "stylizer.pt").touch()
    benchmark = FPSBenchmark(["32x16"], seconds=0, min_frames=1)
    # The summary comes first in the list and still sees what the others make.
    callbacks = [
        RunSummary(),
        benchmark,
        Preview(video_seconds=0.1),
        ModelCheckpoint(tmp_path / "checkpoints", save_last=True),
    ]
    logger = CSVLogger(tmp_path, name="", version="log")
    trainer = make_trainer(*callbacks, logger=logger, enable_checkpointing=True)
    trainer.fit(task, data)
    lines = capsys.readouterr().out.splitlines()
    assert lines[-1] == "python stylize.py checkpoint=stylizer.pt input=your_video.mp4 output=stylised.mp4"
    named = dict(line.split(maxsplit=1) for line in lines[-10:-1] if line)
    speed = named.pop("speed")
    assert named == {
        "resume": "checkpoints/last.ckpt",
        "stylizer": "stylizer.pt",
        "preview": "preview.png",
        "video": "preview.mp4",
        "metrics": "log/metrics.csv",
        "config": "config.yaml",
        "benchmark": "benchmark.csv",
    }
    assert speed == f"{benchmark.reports[0].fps:.1f} fps at 32x16 on {benchmark.reports[0].device}"


def test_files_that_do_not_exist_are_not_named(task, data, make_trainer, capsys):
    make_trainer(RunSummary()).fit(task, data)
    assert not capsys.readouterr().out.strip()


def test_stylizer_of_another_name(task, data, make_trainer, tmp_path: Path, capsys):
    (tmp_path / "other.pt").touch()
    make_trainer(RunSummary(stylizer="other.pt")).fit(task, data)
    assert "checkpoint=other.pt " in capsys.readouterr().out.splitlines()[-1]


def test_paths_elsewhere_are_absolute(task, data, make_trainer, tmp_path: Path, capsys, monkeypatch):
    (tmp_path / "stylizer.pt").touch()
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    make_trainer(RunSummary()).fit(task, data)
    assert f"checkpoint={tmp_path}/stylizer.pt " in capsys.readouterr().out


def test_paths_are_relative_only_below_the_working_folder(tmp_path: Path):
    assert next_command(Path("here/../there/x.pt")).split()[2] == "checkpoint=there/x.pt"
    assert next_command(Path("../x.pt")).split()[2] == f"checkpoint={tmp_path.parent}/x.pt"


@pytest.mark.parametrize("name", ["a=1,b=[2]/x.pt", "my runs/x.pt", 'it\'s "x".pt', "epoch=1-step=4.ckpt", "dé/x.pt"])
def test_awkward_paths_survive_the_shell_and_hydra(name):
    parser = pytest.importorskip("hydra.core.override_parser.overrides_parser").OverridesParser.create()
    script, *overrides = shlex.split(next_command(Path(name)))[1:]
    parsed = {override.key_or_group: override.value() for override in parser.parse_overrides(overrides)}
    assert script == "stylize.py"
    assert parsed == {"checkpoint": name, "input": "your_video.mp4", "output": "stylised.mp4"}
