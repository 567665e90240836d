"""Frames painted in tiles equal whole ones, with the memory carried; what does not fit is told before it is tried."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from vst.errors import UserError
from vst.networks import AlignedConvGRU, ConvGRU, ResidualGenerator, Stateless, Stylizer
from vst.runtime import build, footprint, open_engine
from vst.runtime import engine as engine_module
from vst.runtime import tiled as tiled_module
from vst.runtime.engine import Engine, overlap
from vst.runtime.footprint import WHOLE_FRAME, free_bytes, peak_bytes, reach
from vst.runtime.graph import FrameGraph
from vst.runtime.parity import moving_frames
from vst.runtime.tiled import divide

MEMORIES = {
    "gru": lambda: ConvGRU(8),
    "aligned": lambda: AlignedConvGRU(8),
    "aligned nearby": lambda: AlignedConvGRU(8, reach=1),  # exporting takes as long as there are shifts
    "none": Stateless,
}


def stylizer(memory: str = "gru", **options) -> Stylizer:
    """As after training: weights off their special starting point, so that the memory matters."""
    torch.manual_seed(0)
    made = Stylizer(ResidualGenerator(8, 1, **options), MEMORIES[memory]()).eval()
    with torch.no_grad():
        for parameter in made.parameters():
            parameter.add_(0.05 * torch.randn_like(parameter))
    return made


def differences(a: Engine, b: Engine, frames: list[np.ndarray]) -> np.ndarray:
    return np.stack([np.abs(a(frame).astype(int) - b(frame)) for frame in frames])


def assert_equal(a: Engine, b: Engine, frames: list[np.ndarray]) -> None:
    """But for a rounding here and there: convolutions sum up in another order at another size, 1e-7 apart."""
    found = differences(a, b, frames)
    assert found.max() <= 1 and found.mean() < 1e-4, (found.max(), found.mean())


@pytest.mark.parametrize("memory", MEMORIES)
@pytest.mark.parametrize(("height", "width", "tile"), [(97, 211, 40), (150, 61, 52), (64, 130, 30)])
def test_tiles_equal_the_whole(memory: str, height: int, width: int, tile: int) -> None:
    network = stylizer(memory)
    whole, tiled = open_engine(network), open_engine(network, tile=tile)
    frames = list(moving_frames(10, height, width))
    assert_equal(whole, tiled, frames)
    assert tiled.tiles > 1 and (not network.temporal.state_dict() or tiled._before)
    for of_whole, of_tiles in zip(whole.read_state(), tiled._before, strict=True):
        torch.testing.assert_close(of_tiles, of_whole, atol=1e-5, rtol=0)
    for engine in (whole, tiled):
        engine.reset()
    assert_equal(whole, tiled, frames[5:7])  # after a cut


def test_a_smaller_overlap_would_show(monkeypatch: pytest.MonkeyPatch) -> None:
    """So the equality above is one of the right overlap, and not of a network that looks nowhere."""
    network, frames = stylizer("aligned"), list(moving_frames(10, 97, 211))
    whole, tiled = open_engine(network), open_engine(network, tile=40)
    monkeypatch.setattr(tiled_module, "overlap", lambda info: overlap(info) - 7 * info.stride)
    differences(whole, tiled, frames)
    assert max(float((a - b).abs().max()) for a, b in zip(whole.read_state(), tiled._before, strict=True)) > 1e-3


def test_another_memory_would_show() -> None:
    network, frames = stylizer(), list(moving_frames(10, 97, 211))
    whole, tiled = open_engine(network), open_engine(network, tile=40)
    tiled.reset()
    assert_equal(whole, tiled, frames[:3])
    tiled._before[0].zero_()
    assert differences(whole, tiled, frames[3:4]).max() > 1


def test_tiles_on_several_devices() -> None:
    network, frames = stylizer("aligned"), list(moving_frames(5, 90, 170))
    both = open_engine(network, device=["cpu", "cpu"], tile=32)
    assert_equal(open_engine(network), both, frames)
    assert both.tiles > 2
    shared = open_engine(network, device=["cpu", "cpu"], tile="auto")
    assert_equal(open_engine(network), shared, frames)
    assert shared.tiles >= 2
    with pytest.raises(UserError, match="devices share tiles; choose tile=auto"):
        open_engine(network, device=["cpu", "cpu"])


@pytest.mark.parametrize("engine", ["onnxruntime", "openvino"])
def test_other_engines_take_tiles_too(engine: str, tmp_path_factory, monkeypatch: pytest.MonkeyPatch) -> None:
    for package in (engine, "onnx", "onnxscript"):
        pytest.importorskip(package)
    monkeypatch.setattr(build, "cache_folder", lambda: tmp_path_factory.getbasetemp() / "engines")
    network, frames = stylizer("aligned nearby"), list(moving_frames(10, 97, 131))
    whole, tiled = open_engine(network, engine), open_engine(network, engine, tile=40)
    assert_equal(whole, tiled, frames)
    assert tiled.tiles > 2


def test_half_precision_and_stride() -> None:
    network, frames = stylizer(stride=8), list(moving_frames(5, 97, 211))
    whole, tiled = (open_engine(network, precision="bfloat16", tile=tile) for tile in (0, 16))
    assert differences(whole, tiled, frames).max() <= 2 and tiled.tiles > 1


@pytest.mark.parametrize("length", [7, 40, 41, 99, 1000])
@pytest.mark.parametrize(("tile", "around"), [(1, 3), (10, 3), (17, 0), (30, 12)])
def test_cores_cover_a_side_once_and_keep_away_from_the_ends(length: int, tile: int, around: int) -> None:
    parts = divide(length, tile, around)
    assert [parts[0].core.start, parts[-1].core.stop] == [0, length]
    assert all(a.core.stop == b.core.start for a, b in pairwise(parts))
    assert len({part.window.stop - part.window.start for part in parts}) == 1
    assert parts[0].window.stop <= max(tile + 2 * around, 0) or len(parts) == 1
    for part in parts:
        assert 0 <= part.window.start <= part.core.start < part.core.stop <= part.window.stop <= length
        assert part.window.start == 0 or part.core.start - part.window.start >= around
        assert part.window.stop == length or part.window.stop - part.core.stop >= around


class Blur(nn.Module):
    """A generator whose reach is known: `first` places of convolution, `second` more behind the memory."""

    stride = 4

    def __init__(self, first: int, second: int, along: int = 3) -> None:
        super().__init__()
        self.first, self.second, self.along = first, second, along

    def encode(self, frames: Tensor) -> Tensor:
        return self._blur(torch.nn.functional.avg_pool2d(frames, 4), self.first)

    def decode(self, features: Tensor, frames: Tensor) -> Tensor:
        return self._blur(features, self.second).repeat_interleave(4, 2).repeat_interleave(4, 3)

    def _blur(self, x: Tensor, radius: int) -> Tensor:
        size = [1, 1]
        size[self.along - 2] = 2 * radius + 1
        return torch.nn.functional.avg_pool2d(x, size, stride=1, padding=[side // 2 for side in size])


@pytest.mark.parametrize("along", [2, 3])
def test_the_reach_is_found(along: int) -> None:
    assert reach(Blur(3, 4, along), Stateless(), ()) == 7 * 4
    assert reach(Blur(40, 30, along), Stateless(), ()) == WHOLE_FRAME


def test_the_reach_of_the_networks() -> None:
    """Local contrast 6, stem 1, block 1 + 1, head 1, gate 1; the gated candidate 2, alignment and gates 2 + 2."""
    for memory, places in (("none", 11), ("gru", 13), ("aligned", 13)):
        assert FrameGraph(stylizer(memory)).info.reach == 4 * places
    assert FrameGraph(stylizer(norm="instance")).info.reach == WHOLE_FRAME


def test_a_network_that_looks_at_the_whole_frame_is_not_tiled() -> None:
    network = stylizer(norm="instance")
    with pytest.raises(UserError, match="looks at the whole frame"):
        open_engine(network, tile=64)
    auto, frame = open_engine(network, tile="auto"), next(moving_frames(1, 64, 70))
    assert np.array_equal(auto(frame), open_engine(network)(frame))


def test_peak_bytes_counts_what_lives_at_once() -> None:
    def chain(x: Tensor) -> Tensor:
        for _ in range(5):
            x = x + 1  # the one before it is freed, but for the argument
        return x.view(-1)[:10]

    assert peak_bytes(chain, torch.zeros(1000)) == 3 * 4000
    assert peak_bytes(lambda x: [x + 1, x + 2, x + 3], torch.zeros(1000)) == 4 * 4000


def test_the_estimate_grows_with_pixels() -> None:
    """Between the least imaginable, frame and result in float32, and ten times that."""
    graph = FrameGraph(stylizer())
    assert 24 < graph.info.bytes_per_pixel < 240
    side = 256
    inputs = [torch.zeros(1, side, side, 3, dtype=torch.uint8), torch.tensor([False])]
    states = graph.zeros(side - 2 * graph.info.border, side - 2 * graph.info.border)
    assert peak_bytes(graph, *inputs, *states) / side**2 == pytest.approx(graph.info.bytes_per_pixel, rel=0.05)


def allow(monkeypatch: pytest.MonkeyPatch, free: int | None) -> None:
    for module in (engine_module, tiled_module):
        monkeypatch.setattr(module, "free_bytes", lambda device: free)


def test_what_does_not_fit_is_told_before_it_is_tried(monkeypatch: pytest.MonkeyPatch) -> None:
    network = stylizer()
    frames = list(moving_frames(3, 200, 330))
    engine, reference = open_engine(network), open_engine(network)
    reference.fit(200, 330)
    side = 64 + 2 * overlap(engine.info)
    allow(monkeypatch, int(2 * engine.bytes_per_pixel * side**2) + 1)
    with pytest.raises(UserError) as error:
        engine(frames[0])
    line = str(error.value)
    assert line.startswith("frame of 330x200: it needs 0.0 GB on cpu") and "tile=64 paints it in parts" in line
    assert "\n" not in line and engine._size is None
    auto = open_engine(network, tile="auto")
    assert_equal(reference, auto, frames)
    assert auto.tiles > 10
    allow(monkeypatch, 10_000)
    for tile in ("auto", 64):
        with pytest.raises(UserError, match="scale it down"):
            open_engine(network, tile=tile)(frames[0])
    allow(monkeypatch, None)
    engine(frames[0])


def test_tiles_are_automatic_only_where_they_are_needed() -> None:
    auto = open_engine(stylizer(), tile="auto")
    auto(next(moving_frames(1, 97, 211)))
    assert auto.tiles == 1


def test_small_frames_and_changed_sizes() -> None:
    tiled = open_engine(stylizer(), tile=32)
    with pytest.raises(UserError, match="frame of 40x15: scale it up to at least 16"):
        tiled(np.zeros((15, 40, 3), np.uint8))
    tiled(np.zeros((90, 170, 3), np.uint8))
    with pytest.raises(UserError, match="44x90 after one of 170x90"):
        tiled(np.zeros((90, 44, 3), np.uint8))
    tiled.reset()
    assert tiled(np.zeros((90, 44, 3), np.uint8)).shape == (90, 44, 3)
    with pytest.raises(UserError, match="tile=-1: give auto"):
        open_engine(stylizer(), tile=-1)


def test_free_memory_is_within_a_containers_limit(tmp_path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "meminfo").write_text("MemTotal: 9000 kB\nMemAvailable: 4000 kB\n")
    monkeypatch.setattr(footprint, "_MEMINFO", tmp_path / "meminfo")
    monkeypatch.setattr(footprint, "_CGROUP", tmp_path)
    assert free_bytes("cpu") == 4000 * 1024
    (tmp_path / "memory.max").write_text("max\n")
    assert free_bytes("cpu") == 4000 * 1024
    (tmp_path / "memory.max").write_text("3000000\n")
    (tmp_path / "memory.current").write_text("2500000\n")
    (tmp_path / "memory.stat").write_text("anon 100\ninactive_file 1000000\n")
    assert free_bytes("cpu") == 1500000
    monkeypatch.setattr(footprint, "_MEMINFO", tmp_path / "none")
    assert free_bytes("cpu") is None
