"""The table of models: turns, what cannot run, the reports."""

import csv
import json
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from vst.benchmark import entries, models
from vst.benchmark.entries import MemoryMeter, Model, check_engines, read_sizes
from vst.benchmark.limits import Machine
from vst.benchmark.models import run_models
from vst.benchmark.report import check_folder, log_benchmark, shown, table, to_markdown, write_reports
from vst.benchmark.results import Benchmark
from vst.errors import UserError
from vst.networks import ConvGRU, ResidualGenerator, Stateless, Stylizer

CPU = torch.device("cpu")


class Clock:
    """Stands still but when an engine works."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


class Paced:
    """An engine that takes `seconds` a frame of the clock."""

    info = SimpleNamespace(bordered=lambda height, width: (height + 48, width + 48))

    def __init__(self, name: str, seconds: float, clock: Clock, log: list[str], precision: str = "float32") -> None:
        self.name, self.seconds, self.clock, self.log, self.precision = name, seconds, clock, log, precision

    def __call__(self, frame: np.ndarray, out: np.ndarray | None = None) -> np.ndarray:
        self.clock.now += self.seconds
        if not self.log or self.log[-1] != self.name:
            self.log.append(self.name)
        return frame

    def describe(self) -> str:
        return self.name


def machine() -> Machine:
    known = Machine(CPU)
    known.flops, known.bandwidth = {"float32": 1e12}, 1e12
    known.measure = lambda precisions: None
    return known


def model(name: str) -> Model:
    return Model(name, "preset", Stylizer(ResidualGenerator(8, 1), ConvGRU(8)))


@pytest.fixture
def paced(monkeypatch: pytest.MonkeyPatch):
    """A function that runs a benchmark of engines with given seconds a frame; an error in their place is raised."""

    def run(pace: dict[str, float | Exception], engines=("torch",), rounds=2, seconds=1.0, precision="float32"):
        clock, log = Clock(), []
        made = [model(name) for name in pace]
        sources = {id(m.source): m.name for m in made}

        def opened(source, engine, asked, device):
            name = sources[id(source)]
            if isinstance(pace[name], Exception):
                raise pace[name]
            return Paced(name, pace[name], clock, log, precision)

        monkeypatch.setattr(entries, "open_engine", opened)
        result = run_models(
            made, [(64, 48)], engines, ["float32"], CPU, {}, rounds=rounds, seconds=seconds,
            machine=machine(), clock=clock,
        )  # fmt: skip
        return result, log

    return run


def test_entries_take_turns_in_every_round(paced) -> None:
    result, log = paced({"a": 0.125, "b": 0.25, "c": 3.0})
    assert log == ["a", "b", "c", "a", "b", "c", "a", "b", "c"]  # opened, then two rounds
    rows = {row["model"]: row for row in result.rows}
    assert [rows[name]["frames"] for name in "abc"] == [16, 8, 2]
    assert [rows[name]["fps"] for name in "abc"] == pytest.approx([8, 4, 1 / 3])
    assert rows["b"]["p50_ms"] == rows["b"]["p99_ms"] == pytest.approx(250)


def test_a_row_is_held_against_the_limit_of_the_frame_with_its_border(paced) -> None:
    (row,) = paced({"a": 0.01})[0].rows
    pixels = (64 + 48) * (48 + 48)
    arithmetic, memory = 2e3 * row["kmac_per_px"], 8 * row["act_per_px"] + 6
    assert row["bound"] == ("arithmetic" if arithmetic > memory else "memory")
    least = max(arithmetic, memory) * pixels / 1e12
    assert row["limit_ms"] == pytest.approx(1e3 * least)
    assert row["of_limit"] == pytest.approx(row["limit_ms"] / 10)


def test_what_cannot_run_is_listed_and_the_rest_goes_on(paced) -> None:
    result, _ = paced(
        {"a": 0.1, "b": UserError("no package"), "c": RuntimeError("kernel missing\nat 0x1")},
        engines=("torch", "cuda_graph"),
    )
    assert [row["model"] for row in result.rows] == ["a"]
    assert result.skipped["b torch float32 64x48"] == "no package"
    assert result.skipped["c torch float32 64x48"] == "kernel missing"
    assert "device=cuda" in result.skipped["cuda_graph float32"]


def test_nothing_at_all_is_a_mistake(paced) -> None:
    with pytest.raises(UserError, match=r"no combination can run here .*: broken"):
        paced({"a": UserError("broken")})


def test_int8_is_int8_whatever_was_asked_and_has_no_limit(paced) -> None:
    (row,) = paced({"a": 0.1}, precision="int8")[0].rows
    assert row["precision"] == "int8" and row["limit_ms"] is None and row["of_limit"] is None


def test_a_frame_beyond_the_memory_is_not_tried(paced, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(entries, "free_memory", lambda device: 1000)
    with pytest.raises(UserError, match=r"needs at least .* GB for its widest layer, 0\.0 GB are free"):
        paced({"a": 0.1})


def test_the_meter_sees_what_is_taken_and_given_back() -> None:
    meter = MemoryMeter(CPU)
    if meter.peak() is None:
        pytest.skip("this system does not tell its peak of memory")
    taken = np.ones(5_000_000)
    del taken
    assert 35e6 < meter.peak() < 60e6


def test_real_engines_run_through() -> None:
    made = [Model("gru", "preset", Stylizer(ResidualGenerator(8, 1), ConvGRU(8)).eval())]
    made.append(Model("none", "preset", Stylizer(ResidualGenerator(8, 1), Stateless()).eval()))
    small = Machine(CPU, (16, 4, 16, 4096))
    precisions = ["float32", "bfloat16"]
    result = models.run_models(made, [(32, 24)], ["torch"], precisions, CPU, {}, rounds=1, seconds=0.01, machine=small)
    assert [(r["model"], r["precision"]) for r in result.rows] == [(m.name, p) for m in made for p in precisions]
    assert all(row["fps"] > 0 and row["of_limit"] > 0 for row in result.rows)
    assert result.settings["machine"]["copy_gb_per_s"] > 0


@pytest.fixture
def report() -> Benchmark:
    row = {
        "model": "a",
        "engine": "torch",
        "precision": "float32",
        "size": "64x48",
        "fps": 123.4,
        "parameters": 1_680_000,
    }
    row |= {"limit_ms": 2.0, "of_limit": 0.25}
    empty = dict.fromkeys(("parameters", "limit_ms", "of_limit"))
    rows = [row, row | {"model": "b", "fps": 3.21} | empty]
    return Benchmark("models", {"commit": "abc", "versions": {"torch": "2"}}, rows, {"c": "too large"}, ["a note"])


def test_reports_hold_the_rows_and_their_circumstances(report: Benchmark, tmp_path: Path) -> None:
    write_reports(report, tmp_path)
    stored = json.loads((tmp_path / "benchmark.json").read_text())
    assert stored["rows"] == report.rows and stored["settings"]["commit"] == "abc" and stored["skipped"]
    with (tmp_path / "benchmark.csv").open() as file:
        assert [float(row["fps"]) for row in csv.DictReader(file)] == [123.4, 3.21]
    text = (tmp_path / "benchmark.md").read_text()
    assert "| a | torch | float32 | 64x48 | 123 | 1.68 M | 2 | 25 % |" in text
    assert "- c: too large" in text and "- commit: abc" in text and "- versions: torch 2" in text
    assert not list(tmp_path.glob(".part*"))


def test_the_chart_is_a_picture(report: Benchmark, tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    assert str(tmp_path / "benchmark.png") in write_reports(report, tmp_path)
    assert (tmp_path / "benchmark.png").read_bytes()[:4] == b"\x89PNG"


def test_without_matplotlib_the_rest_is_written(report: Benchmark, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr("vst.benchmark.report.find_spec", lambda name: None)
    lines = write_reports(report, tmp_path)
    assert "pip install 'vst[benchmarks]'" in lines[0] and (tmp_path / "benchmark.md").is_file()
    assert not (tmp_path / "benchmark.png").exists()


def test_a_benchmark_is_not_replaced_unasked(report: Benchmark, tmp_path: Path) -> None:
    write_reports(report, tmp_path)
    with pytest.raises(UserError, match="overwrite=true"):
        check_folder(tmp_path, overwrite=False)
    assert check_folder(tmp_path, overwrite=True) == tmp_path


def test_loggers_get_a_table_or_numbers(report: Benchmark) -> None:
    tables, numbers = [], {}
    log_benchmark(report, SimpleNamespace(log_table=lambda **given: tables.append(given)))
    assert tables[0]["columns"] == report.columns and tables[0]["data"][1][0] == "b"
    log_benchmark(report, SimpleNamespace(log_metrics=numbers.update))
    assert numbers["a/torch/float32/64x48/fps"] == 123.4


def test_the_console_has_a_line_for_each_row(report: Benchmark) -> None:
    assert table(report).row_count == 2
    assert [shown("fps", value) for value in (1234.5, 3.217, None)] == ["1234", "3.22", "-"]
    assert shown("parameters", 50_300) == "50.3 k" and to_markdown(report).startswith("# Benchmark: models")


def test_sizes() -> None:
    assert read_sizes(["720p", "1280x720", "4k", "64x48"]) == [(1280, 720), (3840, 2160), (64, 48)]
    with pytest.raises(UserError, match=r"'1080' \(did you mean '1080p'\?\)"):
        read_sizes(["1080"])


def test_names_of_engines_and_precisions() -> None:
    check_engines(["torch", "openvino"], ["bfloat16"])
    with pytest.raises(UserError, match="did you mean 'openvino'"):
        check_engines(["openvine"], ["float32"])
    with pytest.raises(UserError, match="precisions: 'int8' is unknown"):
        check_engines(["torch"], ["int8"])
    with pytest.raises(UserError, match="engines: none given"):
        check_engines([], ["float32"])
