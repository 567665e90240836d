"""Engines follow the camera as the stylizer does, and give its frames: whole, in tiles, of planes, resumed."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from vst.memory import load_memory, read_memory
from vst.networks import AlignedConvGRU, CameraGrain, ConvGRU, ResidualGenerator, SlowTone, Stylizer
from vst.painting.panorama import Wrapped
from vst.planes import PlaneFormat, planes_of
from vst.runtime import build, open_engine
from vst.runtime.formats import write_onnx
from vst.runtime.grain import NONE, ByteGrain
from vst.runtime.graph import FrameGraph
from vst.runtime.parity import Reference, compare, moving_frames
from vst.runtime.quantise import calibration_inputs

PACKAGES = {"onnxruntime": ("onnx", "onnxscript", "onnxruntime"), "openvino": ("onnx", "onnxscript", "openvino")}


def stylizer(stride: int = 4, tone: bool = False, aligned: bool = False) -> Stylizer:
    """As after training: weights off their special starting point, so that grain and memory matter."""
    torch.manual_seed(0)
    generator = ResidualGenerator(8, 1, stride=stride, grain=4)
    memory = AlignedConvGRU(8, reach=1) if aligned else ConvGRU(8)  # exporting takes as long as there are shifts
    made = Stylizer(generator, memory, SlowTone() if tone else None, CameraGrain(4, stride, streak=8)).eval()
    with torch.no_grad():
        for parameter in made.parameters():
            parameter.add_(0.05 * torch.randn_like(parameter))
    return made


@pytest.fixture(autouse=True)
def cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path_factory.getbasetemp() / "grain_engines"
    monkeypatch.setattr(build, "cache_folder", lambda: folder)


def opened(source: Stylizer | Path, engine: str, **options):
    for package in PACKAGES.get(engine, ()):
        pytest.importorskip(package)
    return open_engine(source, engine, **options)


@pytest.mark.parametrize("stride", [4, 8])
@pytest.mark.parametrize("engine", ["torch", "onnxruntime", "openvino"])
def test_engines_give_the_frames_of_the_stylizer(engine: str, stride: int) -> None:
    network = stylizer(stride, tone=True)
    candidate = opened(network, engine)
    assert (candidate.info.grain, candidate.info.grain_cell, candidate.info.grain_streak) == (4, stride, 8)
    for height, width in ((120, 160), (75, 101)):
        candidate.reset()
        parity = compare(Reference(network), candidate, moving_frames(12, height, width), 8)
        # The view is of bytes here and of floats there, which may round a piece of noise another way.
        assert parity.largest <= 3 and parity.least_psnr > 58, (height, width, parity)
    candidate.reset()
    silent = Stylizer(network.generator, network.temporal, network.tone, network.grain)
    silent.grain.strength = 0.0
    assert compare(Reference(silent), candidate, moving_frames(4, 120, 160), 8).least_psnr < 45, "or it would not show"


@pytest.mark.parametrize("stride", [4, 8])
@pytest.mark.parametrize("engine", ["torch", "openvino"])
def test_so_they_do_in_half_precision(engine: str, stride: int) -> None:
    network = stylizer(stride, tone=True, aligned=True)
    candidate = opened(network, engine, precision="bfloat16")
    parity = compare(Reference(network), candidate, moving_frames(8, 120, 160), 5)
    assert parity.least_psnr > 40, parity
    form = PlaneFormat.of(SimpleNamespace(matrix=1, range=1))
    on_planes = candidate.for_planes(form, (160, 120))
    if on_planes is not None:
        assert planes_of(on_planes(np.full((180, 160), 128, np.uint8)))[0][24:-24, 24:-24].std() > 1


def test_tiles_share_one_plane_of_noise() -> None:
    network = stylizer()
    whole, tiled = open_engine(network), open_engine(network, tile=40)
    found = [np.abs(whole(f).astype(int) - tiled(f)) for f in moving_frames(8, 97, 211)]
    assert tiled.tiles > 1 and np.max(found) <= 1 and np.mean(found) < 1e-4


def test_it_goes_on_from_its_memory() -> None:
    network, frames = stylizer(tone=True), list(moving_frames(10, 96, 128))
    first, second = open_engine(network), open_engine(network)
    for frame in frames[:6]:
        first(frame)
    memory = read_memory(first)
    expected = [first(frame).copy() for frame in frames[6:]]
    second(frames[9])
    load_memory(second, memory)
    for frame, painted in zip(frames[6:], expected, strict=True):
        assert np.array_equal(second(frame), painted)


def test_planes_have_about_the_noise_of_rgb() -> None:
    form = PlaneFormat.of(SimpleNamespace(matrix=1, range=1))
    on_rgb, on_planes = ByteGrain(4, 4, 8), ByteGrain(4, 4, 8, form)
    for index, frame in enumerate(moving_frames(6, 96, 128)):
        luma = np.tensordot(frame, form.from_rgb[0], 1) + form.black[0]
        planes = np.full((144, 128), 128, np.uint8)
        planes_of(planes)[0][:] = luma.round()
        a, b = (grain(x, index == 0, 24, (36, 44)).astype(int) for grain, x in ((on_rgb, frame), (on_planes, planes)))
        assert np.abs(a - b).mean() < 3 and np.abs(a - NONE).mean() > 15, index


def test_planes_are_painted_with_grain() -> None:
    network = stylizer()
    form = PlaneFormat.of(SimpleNamespace(matrix=1, range=1))
    on_rgb = open_engine(network)
    engine = on_rgb.for_planes(form, (128, 96))
    grey = np.full((144, 128), 128, np.uint8)
    painted = planes_of(engine(grey))[0]
    assert painted[24:-24, 24:-24].std() > 1
    engine.reset()
    on_rgb.grain_strength = 0.0
    assert planes_of(engine(grey))[0][24:-24, 24:-24].std() < 0.5


def test_a_panorama_has_no_grain_and_no_seam() -> None:
    engine, grey = open_engine(stylizer()), np.full((64, 128, 3), 128, np.uint8)
    grained = engine(grey).copy()
    engine.reset()
    wrapped = Wrapped(engine)
    assert wrapped(grey, np.empty_like(grey))[24:-24].std(axis=(0, 1)).max() < 0.5
    engine.reset()
    assert np.array_equal(engine(grey), grained), "only the panorama goes without"


def test_an_exported_file_takes_grain(tmp_path: Path) -> None:
    for package in PACKAGES["onnxruntime"]:
        pytest.importorskip(package)
    network, path = stylizer(tone=True), tmp_path / "grained.onnx"
    write_onnx(FrameGraph(network), path)
    engine = open_engine(path, "onnxruntime")
    assert engine.info.inputs == ["frame", "first", "state_0", "grain"]
    assert compare(Reference(network), engine, moving_frames(8, 64, 96), 5).least_psnr > 58


def test_calibration_sees_what_engines_give() -> None:
    network, frames = stylizer(tone=True), list(moving_frames(6, 48, 64))
    graph = FrameGraph(network)
    found = calibration_inputs(graph, frames, every=2)
    assert len(found) == 3 and list(found[0]) == graph.info.inputs
    assert not np.array_equal(found[1]["frame"][0, 24:72, 24:88], frames[2]), "in the tone of the style"
    assert found[1]["grain"].std() > 5 and found[0]["first"] and not found[1]["first"]
    assert np.abs(found[2]["state_0"]).max() > 0


def test_streaks_have_a_cache_of_their_own() -> None:
    round_ones, streaks = stylizer(), stylizer()
    round_ones.grain = CameraGrain(4, 4)
    assert build.fingerprint(round_ones) != build.fingerprint(streaks)
    assert opened(round_ones, "onnxruntime").info.grain_streak == 0
    assert opened(streaks, "onnxruntime").info.grain_streak == 8
