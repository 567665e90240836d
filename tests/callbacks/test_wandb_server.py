"""W&B without a server that works: training neither waits nor fails, and the curves are kept on the disk."""

import logging
import os
import signal
import time
from pathlib import Path

import pytest

from callbacks import loggers
from callbacks.loggers import wandb_logger
from tests.callbacks.wandb_server import KEY, answering, black_hole, refusing
from vst.commands.common import ending
from vst.errors import UserError


@pytest.fixture(autouse=True)
def known_user(wandb_home, monkeypatch, caplog):
    monkeypatch.setenv("WANDB_API_KEY", KEY)
    monkeypatch.setattr(loggers, "INIT_SECONDS", 3.0)
    monkeypatch.setattr(loggers, "FINISH_SECONDS", 2.0)
    caplog.set_level(logging.WARNING)


def logs(folder: Path) -> list[str]:
    """Kinds and ids of the runs on the disk: `offline-run-<time>-<id>` as ("offline", id)."""
    return sorted((path.parent.name.split("-run-")[0], path.stem[4:]) for path in folder.glob("wandb/*-run-*/*.wandb"))


def run_of(tmp_path: Path, **options: str):
    logger = wandb_logger("vst", tmp_path, **options)
    started = time.monotonic()
    logger.log_hyperparams({"seed": 1})
    logger.log_metrics({"loss": 1.0}, step=0)
    return logger, time.monotonic() - started


@pytest.mark.parametrize("kind", ["refusing", "black hole", "401", "500"])
def test_a_server_that_cannot_be_used_means_offline_and_one_line(tmp_path, monkeypatch, caplog, kind):
    with {"refusing": refusing, "black hole": black_hole}.get(kind, lambda: answering(int(kind)))() as server:
        url = getattr(server, "url", server)
        monkeypatch.setenv("WANDB_BASE_URL", url)
        logger, seconds = run_of(tmp_path)
        assert logger.experiment.offline and seconds < 30
        with ending([logger]):
            pass
    (line,) = [text for text in caplog.messages if text.startswith("W&B: ")]
    assert "offline" in line and url in line and KEY not in line and "\n" not in line
    ((mode, _),) = logs(tmp_path)
    assert mode == "offline"


def test_a_proxy_that_is_not_there_means_offline(tmp_path, monkeypatch, caplog):
    with refusing() as proxy:
        monkeypatch.setenv("HTTPS_PROXY", proxy)
        logger, seconds = run_of(tmp_path)
    assert logger.experiment.offline and seconds < 30 and "offline" in caplog.text


def test_a_key_that_is_none_means_offline(tmp_path, monkeypatch, caplog):
    monkeypatch.setenv("WANDB_API_KEY", "too-short")
    logger, _ = run_of(tmp_path)
    assert logger.experiment.offline and "offline" in caplog.text and "too-short" not in caplog.text


@pytest.mark.parametrize("asked", [{"mode": "online"}, {}])
def test_a_run_that_was_asked_for_online_is_refused_in_one_line(tmp_path, monkeypatch, asked):
    if not asked:
        monkeypatch.setenv("WANDB_MODE", "online")
    with answering(401) as server:
        monkeypatch.setenv("WANDB_BASE_URL", server.url)
        with pytest.raises(UserError, match=r"cannot be used .*401.*logger\.wandb\.mode=auto") as caught:
            run_of(tmp_path, **asked)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("end", ["gone", "silent"])
def test_a_server_that_goes_away_neither_stops_nor_holds_up_a_run(tmp_path, monkeypatch, caplog, end):
    with answering() as server:
        monkeypatch.setenv("WANDB_BASE_URL", server.url)
        logger, _ = run_of(tmp_path)
        assert not logger.experiment.offline
        run_id, folder = logger.experiment.id, logger.experiment.sync_dir
        if end == "silent":
            server.silent.set()
        else:
            server.stop()
        started = time.monotonic()
        with ending([logger]):
            for step in range(1, 50):
                logger.log_metrics({"loss": 1 / step}, step=step)
            assert time.monotonic() - started < 5, "metrics wait for nobody"
        assert time.monotonic() - started < 30, "and the end only for a while"
    assert f"wandb sync {folder}" in caplog.text
    assert Path(folder, f"run-{run_id}.wandb").stat().st_size > 0


def test_a_run_that_goes_on_is_one_run_on_the_server(tmp_path, monkeypatch):
    (tmp_path / "config.yaml").touch()
    with answering() as server:
        monkeypatch.setenv("WANDB_BASE_URL", server.url)
        for resume in (None, str(tmp_path / "checkpoints/last.ckpt")):
            logger, _ = run_of(tmp_path, resume=resume)
            assert not logger.experiment.offline
            with ending([logger]):
                pass
        assert len(server.run_ids) >= 2 and len(set(server.run_ids)) == 1


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="needs /proc to find W&B's process")
@pytest.mark.parametrize("mode", ["online", "offline"])
def test_a_service_that_dies_does_not_stop_the_run(tmp_path, monkeypatch, caplog, mode):
    with answering() as server:
        monkeypatch.setenv("WANDB_BASE_URL", server.url)
        logger, _ = run_of(tmp_path, mode=mode)
        run_id = logger.experiment.id
        for process in services():
            os.kill(process, signal.SIGKILL)
        with ending([logger]):
            deadline = time.monotonic() + 20
            while "broke down" not in caplog.text and time.monotonic() < deadline:
                logger.log_metrics({"loss": 0.5}, step=1)
                time.sleep(0.1)
            logger.log_metrics({"loss": 0.25}, step=2)
            after = logger.experiment
            if mode == "online":
                assert after.offline and after.id == run_id and dict(after.summary)["loss"] == 0.25
            else:
                assert after.disabled
    assert [text for text in caplog.messages if "broke down" in text], "and says so"
    assert "Traceback" not in caplog.text


def services() -> list[int]:
    """The processes of W&B that this one has started."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            name, rest = (folder / "stat").read_text().partition("(")[2].rsplit(")", 1)
        except OSError:  # it has ended meanwhile
            continue
        if int(rest.split()[1]) == os.getpid() and "wandb-core" in name:
            found.append(int(folder.name))
    return found
