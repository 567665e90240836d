"""The examples of docs/export.md, run as a stranger would: without vst, against what vst paints."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Callable
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import torch

from tests.painting.engines import film
from vst.networks import AlignedConvGRU, CameraGrain, ConvGRU, ResidualGenerator, SlowTone, Stateless, Stylizer
from vst.runtime import open_engine
from vst.runtime.formats import write_onnx
from vst.runtime.graph import FrameGraph

EXAMPLE = Path(__file__).resolve().parents[1] / "docs" / "examples" / "onnx_numpy.py"

MODELS = {
    # Exporting takes as long as there are shifts.
    "all": lambda: Stylizer(
        ResidualGenerator(8, 1, grain=4), AlignedConvGRU(8, reach=1), SlowTone(), CameraGrain(4, 4, 3)
    ),
    "memory": lambda: Stylizer(ResidualGenerator(8, 1), ConvGRU(8)),
    "frames": lambda: Stylizer(ResidualGenerator(8, 1), Stateless(), SlowTone()),
}


def model(name: str) -> Stylizer:
    torch.manual_seed(0)
    made = MODELS[name]().eval()
    with torch.no_grad():
        for parameter in made.parameters():
            parameter.add_(0.05 * torch.randn_like(parameter))
    if made.tone is not None:
        made.tone.set_style([torch.rand(3, 40, 40) * torch.tensor([1.0, 0.7, 0.4])[:, None, None]])
    return made


def psnr(one: np.ndarray, other: np.ndarray) -> float:
    return 10 * np.log10(255**2 / max(np.mean((one.astype(float) - other) ** 2), 1e-9))


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], tuple[Stylizer, Path]]:
    """A model and its ONNX file, by name."""
    for package in ("onnx", "onnxscript", "onnxruntime"):
        pytest.importorskip(package)
    folder = tmp_path_factory.mktemp("exported")

    @cache
    def export(name: str) -> tuple[Stylizer, Path]:
        network, path = model(name), folder / f"{name}.onnx"
        write_onnx(FrameGraph(network), path)
        return network, path

    return export


@pytest.fixture
def paint(exported, tmp_path: Path) -> Callable[..., tuple[np.ndarray, np.ndarray]]:
    """(frames of vst, frames of the example) for a model and a film."""

    def run(name: str, frames: np.ndarray, *options: str) -> tuple[np.ndarray, np.ndarray]:
        network, path = exported(name)
        np.save(tmp_path / "frames.npy", frames)
        given = [EXAMPLE, path, "frames.npy", "out.npy", *options]
        subprocess.run([sys.executable, *given], check=True, cwd=tmp_path)
        engine = open_engine(network)
        engine.grain_strength = float("--no-grain" not in options)
        return np.stack([engine(frame) for frame in frames]), np.load(tmp_path / "out.npy")

    return run


def test_the_example_needs_numpy_and_onnxruntime_alone() -> None:
    tree = ast.parse(EXAMPLE.read_text())
    names = {
        name.name.partition(".")[0] for node in ast.walk(tree) if isinstance(node, ast.Import) for name in node.names
    }
    assert not [node for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)]
    assert names - sys.stdlib_module_names == {"numpy", "onnxruntime"}


@pytest.mark.parametrize(
    ("name", "size"), [("all", (48, 64)), ("all", (17, 90)), ("memory", (35, 50)), ("frames", (48, 64))]
)
def test_a_film_is_painted_as_vst_paints_it(paint, name: str, size: tuple[int, int]) -> None:
    frames = np.stack(film(8, *size))
    frames[4:] = frames[4:] // 3  # darker, which tone and memory take in slowly
    ours, theirs = paint(name, frames, "--no-grain")
    assert psnr(ours, theirs) > 50
    assert psnr(ours[1:], ours[:-1]) < 40, "the frames differ, so that a frame too late would show"


def test_the_noise_of_a_still_camera_is_that_of_vst(paint) -> None:
    frames = np.repeat(np.stack(film(1, 120, 200)), 4, 0)
    ours, theirs = paint("all", frames)
    without, _ = paint("all", frames, "--no-grain")
    assert psnr(ours, theirs) > 45 > psnr(ours, without) + 5
