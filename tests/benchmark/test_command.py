"""`vst benchmark`: models by name, and each mode as a user calls it."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from tests.media import make_video
from vst.commands.benchmark import benchmark, benchmark_model
from vst.errors import UserError
from vst.networks import ConvGRU, ResidualGenerator, Stylizer
from vst.runtime.formats import write_onnx
from vst.runtime.graph import FrameGraph


@pytest.mark.parametrize("name, stride", [("convgru", 4), ("convgru_tiny", 8)])
def test_presets_run_with_the_same_weights_each_time(name: str, stride: int) -> None:
    before = torch.random.get_rng_state()
    first, second = benchmark_model(name), benchmark_model(name)
    assert torch.equal(before, torch.random.get_rng_state())
    assert (first.kind, first.source.generator.stride) == ("preset", stride)
    frame = torch.rand(1, 3, 30, 45)
    with torch.inference_mode():
        pictures = [model.source.eval()(frame)[0] for model in (first, second)]
    assert pictures[0].shape == frame.shape and torch.equal(*pictures)


def test_a_baseline_and_a_file_are_models() -> None:
    assert benchmark_model("johnson").kind == "baseline"
    assert benchmark_model("folder/model.onnx").source == Path("folder/model.onnx")


def test_an_unknown_model_is_one_line() -> None:
    with pytest.raises(UserError, match=r"'convgru_tny' is unknown \(did you mean 'convgru_tiny'\?\)"):
        benchmark_model("convgru_tny")


def test_models_from_the_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    benchmark(
        ["models=[convgru_tiny]", "sizes=[32x24]", "engines=[torch,cuda_graph]", "seconds=0.01", "rounds=1",
         "device=cpu", f"output={tmp_path}"]
    )  # fmt: skip
    shown = capsys.readouterr().out
    assert "convgru_tiny" in shown and "could not run cuda_graph float32" in shown
    settings = json.loads((tmp_path / "benchmark.json").read_text())["settings"]
    assert {"date", "commit", "versions", "device", "machine", "engines"} <= settings.keys()


def test_an_exported_file_is_measured_with_the_engines_that_run_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for package in ("onnx", "onnxscript", "onnxruntime", "openvino"):
        pytest.importorskip(package)
    network = Stylizer(ResidualGenerator(8, 1), ConvGRU(8)).eval()
    write_onnx(FrameGraph(network), tmp_path / "waves.onnx")
    make_video(tmp_path / "film.mp4", n=4, width=64, height=48)
    given = [f"models=[{tmp_path / 'waves.onnx'}]", "device=cpu", "rounds=1"]
    benchmark([*given, "sizes=[64x48]", "seconds=0.01", f"output={tmp_path / 'table'}"])
    rows = json.loads((tmp_path / "table" / "benchmark.json").read_text())["rows"]
    assert [row["engine"] for row in rows] == ["onnxruntime", "openvino"]
    assert "could not run" not in capsys.readouterr().out
    benchmark([*given, "mode=pipeline", f"input={tmp_path / 'film.mp4'}", f"output={tmp_path / 'pipeline'}"])
    settings = json.loads((tmp_path / "pipeline" / "benchmark.json").read_text())["settings"]
    assert settings["engine"].startswith("onnxruntime")
    with pytest.raises(SystemExit):
        benchmark([*given, "sizes=[64x48]", "engines=[torch]", f"output={tmp_path / 'none'}"])
    assert "engine=torch cannot run a .onnx file; choose onnxruntime" in capsys.readouterr().err


def test_training_from_the_command(tmp_path: Path) -> None:
    picture = tmp_path / "style.png"
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (64, 80, 3), dtype=np.uint8)).save(picture)
    benchmark(
        ["mode=training", f"train=trainer=cpu style=image style.image={picture} data.crop=32 margin=4 clip_length=2 "
         "data.batch_size=1 data.num_workers=0", "steps=2", "device=cpu", f"output={tmp_path / 'speed'}"]
    )  # fmt: skip
    (row,) = json.loads((tmp_path / "speed" / "benchmark.json").read_text())["rows"]
    assert row["steps"] == 2 and row["clips_per_s"] == pytest.approx(1e3 / row["step_ms"]) and 0 < row["waiting"] < 1
    assert {path.suffix for path in (tmp_path / "speed").iterdir()} == {".json", ".csv", ".md"}


@pytest.mark.parametrize(
    "arguments, said",
    [
        (["mode=pipeline"], "give input=film.mp4"),
        (["engines=[torhc]"], "did you mean 'torch'"),
        (["sizes=[8x8]"], "at least 16"),
        (["rounds=0"], "rounds: 0 is not 1 or more"),
    ],
)
def test_mistakes_are_told_before_anything_is_measured(
    arguments: list[str], said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        benchmark([*arguments, f"output={tmp_path}", "device=cpu"])
    assert said in capsys.readouterr().err
