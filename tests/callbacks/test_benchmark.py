"""The measuring core against a clock that we drive, and the callback in a real fit."""

import csv
from pathlib import Path

import numpy as np
import pytest
import torch
from pytorch_lightning.loggers import CSVLogger
from torch import nn

from callbacks.benchmark import FPSBenchmark
from vst.benchmark import device_name, measure_latency, parse_size
from vst.errors import UserError


class TimedStylizer(nn.Module):
    """Call i takes `seconds[i]` of a clock that stands still otherwise (the last one repeats)."""

    def __init__(self, seconds: list[float]) -> None:
        super().__init__()
        self.seconds = seconds
        self.now = 0.0
        self.seen: list[tuple[torch.Size, int | None, bool]] = []

    def forward(self, frames, style=None, state=None):
        count = 0 if state is None else int(state[0])
        self.seen.append((frames.shape, None if state is None else count, self.training))
        assert torch.is_inference_mode_enabled()
        self.now += self.seconds[min(len(self.seen), len(self.seconds)) - 1]
        return frames, (torch.tensor(count + 1),)

    def clock(self) -> float:
        return self.now


def test_percentiles_and_fps_are_those_of_the_frames_after_the_warmup():
    measured = np.random.default_rng(0).uniform(0.01, 0.05, 40)
    stylizer = TimedStylizer([9.0, 9.0, 9.0, *measured])
    report = measure_latency(stylizer, (64, 48), seconds=1e-6, min_frames=40, clock=stylizer.clock)
    assert (report.num_frames, report.resolution, report.precision) == (40, "64x48", "float32")
    expected = 1e3 * np.percentile(measured, [50, 95, 99])
    np.testing.assert_allclose([report.p50_ms, report.p95_ms, report.p99_ms], expected)
    assert report.fps == pytest.approx(40 / measured.sum())


def test_time_budget_decides_when_frames_are_fast():
    stylizer = TimedStylizer([1 / 64])
    report = measure_latency(stylizer, (16, 16), seconds=2.0, min_frames=10, clock=stylizer.clock)
    assert report.num_frames == 128
    assert len(stylizer.seen) == 128 + 32  # half a second of warm-up


def test_slow_stylizer_still_gets_its_minimum_of_frames():
    stylizer = TimedStylizer([5.0])
    report = measure_latency(stylizer, (16, 16), seconds=1.0, min_frames=10, clock=stylizer.clock)
    assert (report.num_frames, len(stylizer.seen), report.p99_ms) == (10, 13, 5000.0)


def test_state_is_carried_in_eval_mode_at_batch_one_and_the_mode_is_restored():
    stylizer = TimedStylizer([1.0]).train()
    before = torch.random.get_rng_state()
    measure_latency(stylizer, (32, 24), seconds=0.1, min_frames=4, clock=stylizer.clock)
    shapes, states, training = zip(*stylizer.seen, strict=True)
    assert set(shapes) == {(1, 3, 24, 32)}
    assert states == (None, 1, 2, 3, 4, 5, 6)
    assert not any(training) and stylizer.training
    assert torch.equal(before, torch.random.get_rng_state())


def test_frames_have_the_type_of_the_weights():
    class Half(nn.Module):
        def __init__(self):
            super().__init__()
            self.weight = nn.Parameter(torch.ones(1, dtype=torch.bfloat16))

        def forward(self, frames, style=None, state=None):
            assert frames.dtype == torch.bfloat16
            return frames * self.weight, ()

    assert measure_latency(Half(), (16, 16), seconds=0, min_frames=1).precision == "bfloat16"


def test_real_clock_measures_a_known_wait():
    import time

    class Waiting(nn.Module):
        def forward(self, frames, style=None, state=None):
            time.sleep(0.01)
            return frames, ()

    report = measure_latency(Waiting(), (16, 16), seconds=0.05, min_frames=3)
    assert 10 <= report.p50_ms < 100 and 10 < report.fps <= 100


def test_cpu_is_named_with_its_threads():
    name = device_name(torch.device("cpu"))
    assert name.endswith(f", {torch.get_num_threads()} thread" + ("s" if torch.get_num_threads() > 1 else ""))
    assert len(name.split(",")[0]) > 2


@pytest.mark.parametrize("text", ["1280", "1280x", "x720", "1280*720", "8x720", "-16x16", "640x360p"])
def test_malformed_sizes_are_refused(text):
    assert parse_size("1280x720") == (1280, 720)
    with pytest.raises(UserError, match="WIDTHxHEIGHT"):
        parse_size(text)


def test_callback_logs_prints_and_writes(task, data, make_trainer, tmp_path: Path, capsys):
    callback = FPSBenchmark(sizes=["64x48", "32x32"], seconds=0.01, min_frames=3)
    trainer = make_trainer(callback, logger=CSVLogger(tmp_path, name="", version=""))
    trainer.fit(task, data)

    rows = list(csv.DictReader((tmp_path / "benchmark.csv").open()))
    assert [row["resolution"] for row in rows] == ["64x48", "32x32"]
    assert all(row["epoch"] == "2" and row["device"] == device_name(torch.device("cpu")) for row in rows)
    assert [float(row["fps"]) for row in rows] == [report.fps for report in callback.reports]

    logged = {}
    for row in csv.DictReader((tmp_path / "metrics.csv").open()):
        logged |= {name: float(value) for name, value in row.items() if value}
    for report in callback.reports:
        assert logged[f"fps/{report.resolution}"] == pytest.approx(report.fps)
        assert logged[f"latency_ms_p95/{report.resolution}"] == pytest.approx(report.p95_ms)
    assert logged["step"] == 3  # batches, not optimizer steps

    printed = capsys.readouterr().out
    assert "64x48" in printed and f"{callback.reports[0].fps:.1f}" in printed
    assert {shape for shape, *_ in task.stylizer.calls} == {(1, 3, 48, 64), (1, 3, 32, 32)}


def test_callback_measures_during_training_and_appends(task, data, make_trainer, tmp_path: Path):
    make_trainer(FPSBenchmark(["16x16"], seconds=0, min_frames=1, every_n_epochs=1)).fit(task, data)
    rows = list(csv.DictReader((tmp_path / "benchmark.csv").open()))
    assert [row["epoch"] for row in rows] == ["1", "2"]  # the end of the fit is not measured twice
    make_trainer(FPSBenchmark(["16x16"], seconds=0, min_frames=1)).fit(task, data)
    rows = list(csv.DictReader((tmp_path / "benchmark.csv").open()))
    assert [row["epoch"] for row in rows] == ["1", "2", "2"]
