"""Which W&B mode is chosen and why, without any account; one offline run with media, read back from disk."""

import logging
import os
import sys
from pathlib import Path

import pytest
import pytorch_lightning as pl
import wandb
from pytorch_lightning.callbacks import ModelCheckpoint
from pytorch_lightning.loggers import WandbLogger

from callbacks.benchmark import FPSBenchmark
from callbacks.finish import RunSummary
from callbacks.loggers import MetricsLogger, wandb_logger
from callbacks.preview import Preview
from vst.errors import UserError

pytestmark = pytest.mark.usefixtures("wandb_home")

KEY = "0123456789" * 4


def choose(tmp_path: Path, caplog: pytest.LogCaptureFixture, **options: str) -> tuple[str, str]:
    """(mode, the line of the log) of a logger that never starts a run."""
    caplog.clear()
    with caplog.at_level(logging.INFO, logger="callbacks.loggers"):
        logger = wandb_logger("vst", tmp_path, **options)
    assert isinstance(logger, WandbLogger)
    (record,) = [record for record in caplog.records if record.name == "callbacks.loggers"]
    return logger._wandb_init["mode"], record.getMessage()


def test_auto_is_offline_without_a_key(tmp_path, caplog):
    mode, line = choose(tmp_path, caplog)
    assert mode == "offline" and "no API key" in line and "wandb login" in line


def test_auto_is_online_with_a_key_and_never_shows_it(tmp_path, caplog, monkeypatch):
    monkeypatch.setenv("WANDB_API_KEY", KEY)
    mode, line = choose(tmp_path, caplog)
    assert mode == "online" and "WANDB_API_KEY" in line and KEY not in line


@pytest.mark.parametrize(
    ("machine", "base_url", "expected"),
    [
        ("api.wandb.ai", None, "online"),
        ("wandb.example.org", None, "offline"),
        ("wandb.example.org", "https://wandb.example.org", "online"),
        ("api.wandb.ai", "https://wandb.example.org", "offline"),
    ],
)
def test_netrc_counts_only_for_the_server_in_use(
    tmp_path, caplog, monkeypatch, wandb_home, machine, base_url, expected
):
    (wandb_home / "netrc").write_text(f"machine {machine}\n  login user\n  password {KEY}\n")
    if base_url:
        monkeypatch.setenv("WANDB_BASE_URL", base_url)
    mode, line = choose(tmp_path, caplog)
    assert mode == expected and KEY not in line
    assert (str(wandb_home / "netrc") in line) == (expected == "online")


def test_unreadable_netrc_is_no_key(tmp_path, caplog, wandb_home):
    (wandb_home / "netrc").write_text("machine\n")
    assert choose(tmp_path, caplog)[0] == "offline"


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("offline", "offline"),
        ("dryrun", "offline"),
        ("disabled", "disabled"),
        ("online", "online"),
        ("run", "online"),
    ],
)
def test_auto_obeys_wandb_mode(tmp_path, caplog, monkeypatch, value, expected):
    monkeypatch.setenv("WANDB_API_KEY", KEY)
    monkeypatch.setenv("WANDB_MODE", value)
    mode, line = choose(tmp_path, caplog)
    assert mode == expected and "WANDB_MODE" in line


def test_config_wins_over_wandb_mode(tmp_path, caplog, monkeypatch):
    monkeypatch.setenv("WANDB_MODE", "online")
    assert choose(tmp_path, caplog, mode="offline")[0] == "offline"


def test_mistakes_are_told(tmp_path, monkeypatch):
    with pytest.raises(UserError, match="did you mean 'offline'"):
        wandb_logger("vst", tmp_path, mode="ofline")
    with pytest.raises(UserError, match="wandb login"):
        wandb_logger("vst", tmp_path, mode="online")
    monkeypatch.setenv("WANDB_MODE", "sometimes")
    with pytest.raises(UserError, match="WANDB_MODE is 'sometimes'"):
        wandb_logger("vst", tmp_path)
    monkeypatch.setitem(sys.modules, "wandb", None)
    with pytest.raises(UserError, match="pip install wandb"):
        wandb_logger("vst", tmp_path)


def test_a_run_that_goes_on_in_its_folder_is_one_run(tmp_path):
    (tmp_path / "config.yaml").touch()
    resume = str(tmp_path / "checkpoints/last.ckpt")
    ids = []
    for folder, given in ((tmp_path, None), (tmp_path, resume), (tmp_path / "other", resume), (tmp_path, resume)):
        logger = wandb_logger("vst", folder, mode="offline", resume=given)
        ids.append(logger.experiment.id)
        wandb.finish()
    assert ids[0] == ids[1] == ids[3] != ids[2]


def test_metrics_go_on_in_their_file_and_are_in_it_when_a_checkpoint_is(tmp_path):
    first = MetricsLogger(tmp_path, name="", version="")
    first.log_metrics({"a": 1.0}, step=0)
    first.after_save_checkpoint(ModelCheckpoint())
    assert (tmp_path / "metrics.csv").read_text().split() == ["a,step", "1.0,0"]
    second = MetricsLogger(tmp_path, name="", version="")
    second.log_metrics({"a": 2.0, "b": 3.0}, step=1)
    second.finalize("failed")
    assert (tmp_path / "metrics.csv").read_text().split() == ["a,b,step", "1.0,,0", "2.0,3.0,1"]


def test_disabled_run_writes_nothing(task, data, make_trainer, tmp_path, capsys):
    logger = wandb_logger("vst", tmp_path, mode="disabled")
    make_trainer(Preview(video_seconds=0.1), RunSummary(), logger=logger).fit(task, data)
    assert not list(tmp_path.glob("wandb/*run*"))
    assert "W&B" not in capsys.readouterr().out


def test_offline_run_holds_media_and_numbers(task, data, make_trainer, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    logger = wandb_logger("vst", tmp_path, name="try", group="tests", mode="offline", tags=["a"])
    assert logger._wandb_init["name"] == "try"
    callbacks: list[pl.Callback] = [
        Preview(num_clips=1, video_seconds=0.2),
        FPSBenchmark(["16x16"], seconds=0, min_frames=1),
        RunSummary(),
    ]
    make_trainer(*callbacks, logger=logger).fit(task, data)
    run = logger.experiment
    assert run.offline and (run.group, run.tags) == ("tests", ("a",))
    assert "fps/16x16" in dict(run.summary) and run.summary["loss/total"] == 8
    assert run.summary["trainer/global_step"] == 3
    wandb.finish()

    (folder,) = (tmp_path / "wandb").glob("offline-run-*")
    assert next(folder.glob("*.wandb")).stat().st_size > 0
    media = folder / "files" / "media"
    for kind, suffix in (("images", "png"), ("videos", "mp4")):
        contents = {path.read_bytes() for path in media.glob(f"{kind}/preview/*.{suffix}")}
        assert contents == {path.read_bytes() for path in (tmp_path / "previews").glob(f"*.{suffix}")}
    assert f"wandb sync wandb/{folder.name}" in capsys.readouterr().out
    assert "WANDB_MODE" not in os.environ
