"""The stages of a film alone and overlapped, and the throughput of training."""

import time
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from callbacks.throughput import Throughput
from tests.media import make_video
from vst.benchmark.pipeline import STAGES, limit, run_pipeline
from vst.errors import UserError
from vst.networks import ConvGRU, ResidualGenerator, Stylizer
from vst.pipeline import Pipeline
from vst.runtime import open_engine

run = Pipeline.run


@pytest.mark.parametrize(("planes", "frames"), [(False, "RGB"), (True, "planes (bt601-limited)")])
def test_every_stage_is_measured_and_the_limit_named(
    planes: bool, frames: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    in_planes = []
    monkeypatch.setattr(Pipeline, "run", lambda self: in_planes.append(self.in_planes) or run(self))
    make_video(tmp_path / "film.mp4", n=6, width=64, height=48, audio="aac")
    engine = open_engine(Stylizer(ResidualGenerator(8, 1), ConvGRU(8)))
    result = run_pipeline(engine, tmp_path / "film.mp4", {}, preset="ultrafast", rounds=2, planes=planes)
    rows = {row["stage"]: row for row in result.rows}
    assert list(rows) == [*STAGES, "overlapped"]
    assert all(row["fps"] == pytest.approx(1e3 / row["ms"]) and row["cpu_ms"] > 0 for row in result.rows)
    slowest = max(rows[stage]["ms"] for stage in STAGES)
    assert rows["overlapped"]["of_slowest"] == pytest.approx(slowest / rows["overlapped"]["ms"])
    assert result.notes[-1].startswith("limit: ") and "64x48, 6 frames" in result.settings["film"]
    assert result.settings["frames"] == frames
    assert in_planes == [planes] * 2, "the stages alone and overlapped are of the same frames"
    assert [path.name for path in tmp_path.iterdir()] == ["film.mp4"]


def test_the_limit_is_the_slowest_stage_or_the_processors() -> None:
    wall = {"decode": 0.001, "model": 0.010, "encode": 0.004}
    cpu = {"decode": 0.001, "model": 0.010, "encode": 0.004}
    assert limit(wall, cpu, "model", processors=2) == "limit: model, 10.0 ms a frame alone"
    busy = {"decode": 0.002, "model": 0.020, "encode": 0.008}
    assert "limit: the processors: the stages take 30.0 ms of CPU a frame, 15.0 ms" in limit(wall, busy, "model", 2)


def test_a_film_that_is_none(tmp_path: Path) -> None:
    (tmp_path / "film.mp4").write_bytes(b"no film")
    with pytest.raises(UserError, match=r"film\.mp4"):
        run_pipeline(open_engine(Stylizer(ResidualGenerator(8, 1), ConvGRU(8))), tmp_path / "film.mp4", {})


def test_throughput_parts_waiting_from_working(monkeypatch: pytest.MonkeyPatch) -> None:
    """Three steps that count: 1 s of waiting and 3 s of work each; the first two are warm-up and begin of the count."""
    now = [0.0]
    monkeypatch.setattr(time, "perf_counter", lambda: now[0])
    meter, task = Throughput(warmup=1), SimpleNamespace(device=torch.device("cpu"))
    batch = SimpleNamespace(frames=torch.zeros(4, 2, 3, 8, 8))
    meter.on_train_epoch_start(None, task)
    for wait, work in ((9.0, 9.0), (1.0, 3.0), (1.0, 3.0), (1.0, 3.0)):
        now[0] += wait
        meter.on_train_batch_start(None, task, batch, 0)
        now[0] += work
        meter.on_train_batch_end(None, task, None, batch, 0)
    assert meter.row() == {"steps": 3, "clips_per_s": 1.0, "step_ms": 4000.0, "waiting": 0.25}


def test_between_epochs_nobody_waits_for_a_batch(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [1.0]
    monkeypatch.setattr(time, "perf_counter", lambda: now[0])
    meter, task = Throughput(warmup=0), SimpleNamespace(device=torch.device("cpu"))
    batch = SimpleNamespace(frames=torch.zeros(1, 2, 3, 8, 8))
    for _ in range(2):
        meter.on_train_epoch_start(None, task)
        for _ in range(2):
            meter.on_train_batch_start(None, task, batch, 0)
            now[0] += 1.0
            meter.on_train_batch_end(None, task, None, batch, 0)
        now[0] += 100.0
    assert meter.row() == {"steps": 2, "clips_per_s": 1.0, "step_ms": 1000.0, "waiting": 0.0}
