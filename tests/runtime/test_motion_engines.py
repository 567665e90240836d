"""Engines of models with motion: they see it on bytes, carry the noise along and accumulate the pictures."""

from pathlib import Path

import numpy as np
import pytest
import torch

from tests.networks.behaviour import texture
from vst.benchmark.cost import count_cost
from vst.memory import load_memory, read_memory
from vst.networks import (
    ColourTransport,
    DenseMotion,
    FlowGrain,
    ResidualGenerator,
    SlowTone,
    Stateless,
    Stylizer,
    TwoScaleGenerator,
)
from vst.networks.grain import STEPS
from vst.networks.motion import resized_flow
from vst.planes import PlaneFormat
from vst.runtime import motion as on_bytes_motion
from vst.runtime import open_engine
from vst.runtime.device_engine import DeviceEngine
from vst.runtime.flow_grain import ByteFlowGrain
from vst.runtime.grain import NONE
from vst.runtime.graph import FrameGraph
from vst.runtime.parity import check


def stylizer(estimator="dis", history=0.8):
    torch.manual_seed(0)
    generator = ResidualGenerator(8, 1, grain=4)
    with torch.no_grad():
        generator.head.weight.mul_(20)
    return Stylizer(generator, Stateless(), SlowTone(), FlowGrain(4, 4), DenseMotion(estimator, 60, history)).eval()


def film(count=6, size=(120, 162)):
    """A pan by (3, 1) pixels a frame, (H, W, 3) uint8 each."""
    wide = (texture(size[0] + 40, size[1] + 60, 3)[0].permute(1, 2, 0).clamp(0, 1) * 255).round().byte().numpy()
    places = [(10 + t, 10 + 3 * t) for t in range(count)]
    return [np.ascontiguousarray(wide[y : y + size[0], x : x + size[1]]) for y, x in places]


@torch.inference_mode()
def painted_by(model, frames):
    state, made = None, []
    for frame in frames:
        picture, state = model(torch.from_numpy(frame).permute(2, 0, 1)[None].float() / 255, None, state)
        made.append((picture[0].permute(1, 2, 0) * 255).round().numpy())
    return made


@pytest.mark.parametrize("estimator", ["dis", "lucas_kanade"])
@pytest.mark.parametrize("name", ["torch", "onnxruntime", "openvino"])
def test_engines_give_the_frames_of_the_stylizer(name, estimator):
    if name != "torch":
        pytest.importorskip(name)
    model, frames = stylizer(estimator), film()
    engine = open_engine(model, name)
    made = [engine(frame).copy() for frame in frames]
    apart = [np.abs(a.astype(float) - b) for a, b in zip(made, painted_by(model, frames), strict=True)]
    # Bytes round what is seen, and OpenCV warps in steps of a 32nd of a pixel.
    assert all(difference.mean() < 1 and np.quantile(difference, 0.99) <= 8 for difference in apart)
    anew = painted_by(stylizer(history=0), frames)
    without = [np.abs(a.astype(float) - b).mean() for a, b in zip(made, anew, strict=True)]
    assert min(without[2:]) > 2 * max(difference.mean() for difference in apart), "history is to be seen"


def test_the_memory_of_an_engine_holds_the_motion():
    model, frames = stylizer(), film(7)
    whole, halves = open_engine(model), open_engine(model)
    expected = [whole(frame).copy() for frame in frames]
    for frame in frames[:4]:
        halves(frame)
    memory, other = read_memory(halves), open_engine(model)
    other(frames[0])
    load_memory(other, memory)
    for frame, picture in zip(frames[4:], expected[4:], strict=True):
        assert np.array_equal(other(frame), picture)


def test_a_reset_forgets_the_picture_before():
    engine, frames = open_engine(stylizer()), film(4)
    first = engine(frames[3]).copy()
    engine.reset()
    for frame in frames[:3]:
        engine(frame)
    assert not np.array_equal(engine(frames[3]), first)
    engine.reset()
    assert np.array_equal(engine(frames[3]), first)


def test_an_exported_file_says_its_motion(tmp_path: Path):
    pytest.importorskip("onnxruntime")
    from vst.runtime.formats import write_onnx
    from vst.runtime.graph import FrameGraph

    graph = FrameGraph(stylizer())
    write_onnx(graph, tmp_path / "model.onnx")
    engine = open_engine(tmp_path / "model.onnx")
    assert engine.info == graph.info
    assert (engine.info.motion, engine.info.motion_rows, engine.info.history) == ("dis", 60, 0.8)
    assert engine.info.grain_flows
    here = open_engine(stylizer())
    for frame in film(3):
        assert np.abs(engine(frame).astype(int) - here(frame)).max() <= 2


def test_there_are_no_engines_of_planes():
    """Pictures accumulate in RGB; who asks for planes paints those."""
    assert open_engine(stylizer()).for_planes(PlaneFormat(0.2126, 0.0722, False), (64, 48)) is None


def test_tiles_see_one_motion():
    model, frames = stylizer(), film(4, (160, 240))
    whole, tiled = open_engine(model), open_engine(model, tile=64)
    for frame in frames:
        assert np.abs(whole(frame).astype(int) - tiled(frame)).max() <= 1
    assert tiled.tiles > 1


def two_scale(estimator="dis"):
    torch.manual_seed(0)
    generator = TwoScaleGenerator(8, 1, 8, grain=4)
    with torch.no_grad():
        generator.head.weight.mul_(10)
    tone, grade = ColourTransport(), ColourTransport()
    grade.set_style([texture(64, 64, 3, seed=5)[0]])
    parts = generator, Stateless(), tone, FlowGrain(4, 2), DenseMotion(estimator, 60), grade
    return Stylizer(*parts, short_side=64).eval()


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_generators_of_two_scales_run_in_half_precision_too(precision):
    model, frames = two_scale(), film(3)
    made = [open_engine(model, "torch", precision)(frame) for frame in frames[:1]]
    apart = np.abs(made[0].astype(float) - painted_by(model, frames[:1])[0])
    assert apart.mean() < (0.5 if precision == "float32" else 3)


def test_an_export_is_held_against_what_it_has_to_give():
    """The motion outside of a graph is OpenCV's in every engine, and torch's in the stylizer."""
    parity = check(two_scale(), open_engine(two_scale(), "torch"))
    assert parity.within("float32") and parity.largest == 0


def test_what_a_network_costs_is_counted_without_its_motion():
    torch.manual_seed(0)
    plain = Stylizer(TwoScaleGenerator(8, 1, 8), Stateless())
    stem = 4 * 4 * 8 * 9 / 16  # multiply-adds a pixel of the noise: four channels at half of the resolution
    assert count_cost(two_scale()).macs == pytest.approx(count_cost(plain).macs + stem)


@pytest.mark.parametrize("channels", [2, 4, 6])
@pytest.mark.parametrize("streak", [0, 7])
def test_noise_by_opencv_is_that_of_the_definition(channels, streak):
    motion, grain, on_bytes = (
        DenseMotion(rows=60).eval(),
        FlowGrain(channels, 2, streak),
        ByteFlowGrain(channels, 2, streak),
    )
    state, kept = None, None
    for number, frame in enumerate(film(4)):
        state = motion.follow(torch.from_numpy(frame).permute(2, 0, 1)[None] / 255, state)
        kept = grain.follow(state, kept, 2)
        places = (64, 85)
        expected = (grain(kept, 2, places, 4) * STEPS + NONE).permute(0, 2, 3, 1).numpy()
        if number == 2:  # one that comes in the middle of the film
            film_so_far, on_bytes = on_bytes.state, ByteFlowGrain(channels, 2, streak)
            on_bytes.state = film_so_far
        on_view = tuple(np.ascontiguousarray(x[0].permute(1, 2, 0).squeeze(-1).numpy()) for x in state)
        made = on_bytes(on_view, 2, number == 0, 4, places).astype(float)
        assert made.shape == expected.shape and np.abs(made - expected).mean() < 0.02


@pytest.mark.parametrize(("size", "cell"), [((48, 64), 1), ((98, 131), 2)])
def test_a_flow_on_bytes_is_resized_as_the_definition_says(size, cell):
    flow = torch.randn(1, 2, size[0] // cell, size[1] // cell)
    made = on_bytes_motion._resized_flow(flow[0].permute(1, 2, 0).contiguous().numpy(), size, cell)
    torch.testing.assert_close(torch.from_numpy(made).permute(2, 0, 1), resized_flow(flow, size, cell)[0])


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_all_of_it_on_a_device_gives_the_frames_of_the_stylizer(precision):
    """A GPU is not at hand: the CPU is a device as well."""
    model, frames = two_scale("lucas_kanade"), film(6)
    expected = painted_by(model, frames)

    def opened():
        return DeviceEngine(two_scale("lucas_kanade"), FrameGraph(model).info, precision, torch.device("cpu"))

    engine, made, out = opened(), [], np.empty_like(frames[0])
    for number, frame in enumerate(frames):
        if number == 3:  # another engine goes on
            kept, engine = read_memory(engine), opened()
            engine(frames[0])
            load_memory(engine, kept)
        made.append(engine(frame, out).copy())
    apart = [np.abs(a.astype(float) - b).mean() for a, b in zip(made, expected, strict=True)]
    assert max(apart) < (0.05 if precision == "float32" else 3)
    engine.reset()
    again = engine(frames[0]).copy()
    assert np.array_equal(again, made[0])
    engine.reset()
    engine.grain_strength = 0.0
    assert np.abs(engine(frames[0]).astype(float) - again).mean() > 0.1, "it has lost its noise"
