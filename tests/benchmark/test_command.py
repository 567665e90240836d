"""`vst benchmark`: models by name, and each mode as a user calls it."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from omegaconf import DictConfig
from PIL import Image

import vst.commands.benchmark as commands
from tests.media import make_video
from vst.checkpoint import save_stylizer, stylizer_content
from vst.commands.benchmark import benchmark, benchmark_model, measure_training
from vst.commands.train import build_task
from vst.config import compose_or_explain, plain
from vst.errors import UserError
from vst.networks import ConvGRU, ResidualGenerator, Stylizer, build_stylizer
from vst.pruning import prune
from vst.runtime.formats import write_onnx
from vst.runtime.graph import FrameGraph
from vst.schema import TrainConfig


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


TRAINING = "trainer=cpu data.crop=32 margin=4 clip_length=2 data.batch_size=1 data.num_workers=0"


def test_training_from_the_command(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Of one picture, with the loss that fits it, as in training."""
    picture, built = tmp_path / "style.png", []
    monkeypatch.setattr(commands, "build_task", lambda cfg, name: built.append(plain(cfg)) or build_task(cfg, name))
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (64, 80, 3), dtype=np.uint8)).save(picture)
    asked = ["mode=training", "steps=2", "device=cpu", f"output={tmp_path / 'speed'}"]
    benchmark([*asked, f"train={TRAINING} style=image style.image={picture}"])
    (row,) = json.loads((tmp_path / "speed" / "benchmark.json").read_text())["rows"]
    assert row["steps"] == 2 and row["clips_per_s"] == pytest.approx(1e3 / row["step_ms"]) and 0 < row["waiting"] < 1
    assert {path.suffix for path in (tmp_path / "speed").iterdir()} == {".json", ".csv", ".md"}
    assert "loss=few_pictures is chosen, since a discriminator learns 1 picture by heart" in capsys.readouterr().out
    fitting = plain(compose_or_explain("train", ["loss=few_pictures"], TrainConfig).loss)
    assert [cfg["loss"] for cfg in built] == [fitting]


@pytest.mark.parametrize("loss", ["loss=default", "loss.terms.adversarial.augment.colour=0.5", "loss=hinge"])
def test_a_loss_that_was_chosen_is_measured(loss: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Stop(Exception):
        pass

    def stop(cfg: DictConfig, name: str) -> None:
        assert plain(cfg.loss) == plain(compose_or_explain("train", [loss], TrainConfig).loss)
        raise Stop

    monkeypatch.setattr(commands, "build_task", stop)
    Image.new("RGB", (64, 64), "red").save(tmp_path / "style.png")
    with pytest.raises(Stop):
        measure_training([*TRAINING.split(), "style=image", f"style.image={tmp_path}/style.png", loss], 1, tmp_path, {})


def test_the_training_of_a_pruned_model_is_measured(tmp_path: Path) -> None:
    model = plain(compose_or_explain("train", ["model=convgru_tiny"], TrainConfig).model)
    large = build_stylizer(model)
    save_stylizer(tmp_path / "large.pt", stylizer_content(large, model, "test"))
    given = ["experiment=prune", f"init_from={tmp_path}/large.pt", "model=convgru", *TRAINING.split()]
    found = measure_training(given, 1, tmp_path, {})
    width = model["generator"]["width"] // 2
    assert found.settings["model"].startswith(f"{type(large.generator).__name__} ")
    small = prune(stylizer_content(large, model, "test"), 0.5)
    count = sum(value.numel() for name, value in small["weights"].items() if name.startswith("generator."))
    assert small["model"]["generator"]["width"] == width and f" {count:,}, " in found.settings["model"]
    assert "experiment=prune comes with loss=distill, model/discriminator=none" in found.notes


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
