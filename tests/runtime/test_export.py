"""Exports: what is in the file, that it is checked, and that nothing is left of what fails."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

import vst.export as export_module
from tests.media import make_video
from tests.runtime.test_engines import stylizer
from vst.checkpoint import load_stylizer, read_stylizer, save_stylizer, stylizer_content
from vst.errors import UserError
from vst.export import export_stylizer
from vst.pruning import prune
from vst.quality import TURN, Candidate, film, judge
from vst.runtime import open_engine
from vst.runtime.formats import write_torch_export
from vst.runtime.graph import FrameGraph
from vst.runtime.parity import Parity, Reference, compare, moving_frames

MODEL = {
    "generator": {"_target_": "vst.networks.ResidualGenerator", "width": 8, "num_blocks": 1},
    "temporal": {"_target_": "vst.networks.ConvGRU", "channels": 8},
}


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    save_stylizer(tmp_path / "stylizer.pt", stylizer_content(stylizer(), MODEL, "swirl"))
    return tmp_path / "stylizer.pt"


def test_an_onnx_file_tells_what_it_is_and_runs_without_vst(checkpoint: Path) -> None:
    onnx, ort = pytest.importorskip("onnx"), pytest.importorskip("onnxruntime")
    pytest.importorskip("onnxscript")
    target = checkpoint.with_suffix(".onnx")
    target.write_text("mine")
    with pytest.raises(UserError, match="overwrite=true"):
        export_stylizer(checkpoint)
    assert target.read_text() == "mine"
    report = export_stylizer(checkpoint, overwrite=True)
    assert report.path == target and report.parity.largest <= 1
    metadata = {entry.key: entry.value for entry in onnx.load(str(report.path)).metadata_props}
    wanted = {"vst_style": "swirl", "vst_states": "4", "vst_border": "24", "vst_stride": "4", "vst_padding": "reflect"}
    assert wanted.items() <= metadata.items() and "0 to 255" in metadata["vst_frame"]
    session = ort.InferenceSession(str(report.path))
    assert [x.name for x in session.get_inputs()] == metadata["vst_inputs"].split(",") == ["frame", "first", "state_0"]
    assert [x.name for x in session.get_outputs()] == metadata["vst_outputs"].split(",")
    reference = Reference(stylizer())
    state, first = np.full((1, 4, 24, 28), np.nan, np.float32), True  # not looked at on the first frame
    for frame in moving_frames(4, 48, 64):
        bordered = np.pad(frame, ((24, 24), (24, 24), (0, 0)), mode="reflect")[None]
        image, state = session.run(None, {"frame": bordered, "first": np.array([first]), "state_0": state})
        first = False
        assert np.abs(image[0].astype(int) - reference(frame)).max() <= 1


@pytest.mark.parametrize("format", ["openvino", "torch_export"])
def test_other_formats_are_checked_too(format: str, checkpoint: Path) -> None:
    if format == "openvino":
        for package in ("onnx", "onnxscript", "openvino"):
            pytest.importorskip(package)
    report = export_stylizer(checkpoint, checkpoint.with_name("model" + export_module.FORMATS[format]), format)
    assert report.parity.frames == 60 and report.parity.largest <= 1
    assert not [path for path in checkpoint.parent.iterdir() if path.name.startswith(".")]
    if format == "openvino":
        engine = open_engine(report.path, "openvino")
        assert (engine.info.style, engine.info.states) == ("swirl", (4,))
        assert compare(Reference(stylizer()), engine, moving_frames(3, 40, 48)).largest <= 1


def test_a_file_with_other_frames_is_not_kept(checkpoint: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def write_another(graph: FrameGraph, path: Path) -> None:
        with torch.no_grad():
            graph.temporal.candidate.bias.add_(0.3)
        write_torch_export(graph, path)

    monkeypatch.setattr(export_module, "write_torch_export", write_another)
    before = sorted(checkpoint.parent.iterdir())
    with pytest.raises(UserError, match="does not give the checkpoint's frames, and is not kept: 60 frames"):
        export_stylizer(checkpoint, format="torch_export")
    assert sorted(checkpoint.parent.iterdir()) == before


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"opset": 9}, "opset=9: not supported; allowed: 18 to 23"),
        ({"output": "model.pb"}, "format=onnx is written as .onnx"),
        ({"format": "torch_export", "compress": "int8"}, "hold int8, not torch_export"),
        ({"compress": "int8", "calibration": "nowhere.mp4"}, "nowhere.mp4"),
    ],
)
def test_what_cannot_be_is_told_before_anything_is_written(options: dict, said: str, checkpoint: Path) -> None:
    for package in ("onnx", "onnxscript", "onnxruntime"):
        pytest.importorskip(package)
    before = sorted(checkpoint.parent.iterdir())
    with pytest.raises(UserError) as error:
        export_stylizer(checkpoint, **options)
    assert said in str(error.value) and "\n" not in str(error.value)
    assert sorted(checkpoint.parent.iterdir()) == before


def test_int8_is_smaller_near_and_does_not_drift(checkpoint: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for package in ("onnx", "onnxscript", "onnxruntime"):
        pytest.importorskip(package)
    frames = list(moving_frames(40, 48, 64, seed=3))
    monkeypatch.setattr(export_module, "film", lambda video: frames)
    report = export_stylizer(checkpoint, compress="int8")
    assert report.path.name == "stylizer_int8.onnx"
    before, after = report.quality.rows
    assert before.psnr > 70 and 30 < after.psnr < before.psnr
    assert before.parameters == after.parameters == sum(p.numel() for p in stylizer().parameters())
    assert before.macs == after.macs and after.size < before.size and min(before.fps, after.fps) > 0
    assert after.psnr_last > after.psnr_first - 3 and after.ssim > 0.9 and 0.8 < after.ewarp_ratio < 1.2
    engine = open_engine(report.path, "onnxruntime")
    assert engine.precision == "int8" and "int8" in report.quality.to_markdown()


def test_a_small_model_is_held_against_the_large_one(checkpoint: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    frames = list(moving_frames(24, 48, 64, seed=3))
    monkeypatch.setattr(export_module, "film", lambda video: frames)
    small = checkpoint.with_name("small.pt")
    save_stylizer(small, prune(read_stylizer(checkpoint), 0.5))
    report = export_stylizer(small, format="torch_export", reference=checkpoint)
    large, pruned = report.quality.rows
    assert [large.name, pruned.name] == ["reference", "float32"] and report.path == small.with_suffix(".pt2")
    assert large.psnr > 70 and large.ewarp_ratio == pytest.approx(1, abs=0.01)
    ours, theirs = (Reference(load_stylizer(path)) for path in (small, checkpoint))
    assert pruned.psnr == pytest.approx(compare(theirs, ours, frames).mean_psnr, abs=0.1)
    sums = [sum(p.numel() for p in load_stylizer(path).parameters()) for path in (checkpoint, small)]
    assert [large.parameters, pruned.parameters] == sums
    assert pruned.macs < 0.6 * large.macs and pruned.size < large.size
    assert f"| float32 | {pruned.size / 1e3:.0f} | {pruned.parameters:,} | " in report.quality.to_markdown()
    assert sorted(path.name for path in checkpoint.parent.iterdir()) == ["small.pt", "small.pt2", "stylizer.pt"]
    with pytest.raises(UserError, match=r"none.pt': not found"):
        export_stylizer(small, checkpoint.with_name("b.pt2"), "torch_export", reference=checkpoint.with_name("none.pt"))


def test_a_film_is_as_long_as_asked_and_turns_round(tmp_path: Path) -> None:
    video = make_video(tmp_path / "a.mp4", n=5, width=96, height=64)
    frames = film(video)
    assert len(frames) == 300
    assert all(np.array_equal(a, b) for a, b in zip(frames[:5], frames[8:13], strict=True))
    assert np.array_equal(frames[5], frames[3]), "the way back begins with the last but one"
    with pytest.raises(UserError):
        film(tmp_path / "missing.mp4")


def test_the_photographs_make_a_film() -> None:
    frames = film(None)
    assert len(frames) == 300 and {frame.shape for frame in frames} == {(240, 320, 3)}
    assert all(frame.std() > 5 for frame in frames[::50]) and not np.array_equal(frames[0], frames[1])


def test_quality_of_a_worse_engine_is_worse() -> None:
    network = stylizer()
    frames = list(moving_frames(TURN + 5, 48, 64))

    class Noisy(Reference):
        def __call__(self, frame: np.ndarray) -> np.ndarray:
            noise = np.random.default_rng(frame.sum()).normal(0, 8, frame.shape)
            return (super().__call__(frame) + noise).clip(0, 255).astype(np.uint8)

    engines = {"same": Reference(network), "noisy": Noisy(network)}
    candidates = [Candidate(name, Path(__file__), engine, network) for name, engine in engines.items()]
    report = judge(network, candidates, frames)
    same, noisy = report.rows
    assert (report.frames, report.size, same.size) == (TURN + 5, (64, 48), Path(__file__).stat().st_size)
    assert same.psnr == 100 and same.ssim == pytest.approx(1) and same.ewarp_ratio == pytest.approx(1)
    assert noisy.psnr == pytest.approx(20 * np.log10(255 / 8), abs=1.5) and noisy.ewarp_ratio > 1.1


def test_parity_needs_both_the_worst_byte_and_the_psnr() -> None:
    assert Parity(30, 1, 90.0, 85.0).within("float32")
    assert not Parity(30, 9, 90.0, 85.0).within("float32")
    assert not Parity(30, 1, 55.0, 50.0).within("float32") and Parity(30, 9, 55.0, 50.0).within("bfloat16")
