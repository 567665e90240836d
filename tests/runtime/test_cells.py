"""Generators on cells of the frame give what they give on pixels."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from vst.networks import (
    AlignedConvGRU,
    ConvGRU,
    GuidedGenerator,
    ResidualGenerator,
    Stateless,
    Stylizer,
    TwoScaleGenerator,
)
from vst.networks.layers import lattice_lowpass
from vst.planes import planes_of
from vst.runtime import build, open_engine
from vst.runtime.cells import Pixels, convolution_of, form_of, order, strided, to_cells, to_pixels, unfolded
from vst.runtime.graph import FrameGraph, GraphInfo, blank_cells, pack, unpack
from vst.runtime.parity import CUT, Reference, compare, moving_frames

GENERATORS = {
    "guided": lambda: GuidedGenerator(8, 1, num_strokes=1),
    "residual": lambda: ResidualGenerator(8, 2),
    "stride 2": lambda: ResidualGenerator(8, 1, stride=2),
    "two_scale": lambda: TwoScaleGenerator(8, 2, 8),
}
MEMORIES = {"gru": lambda: ConvGRU(8), "aligned": lambda: AlignedConvGRU(8), "none": Stateless}


def trained(generator: str, memory: str = "gru") -> Stylizer:
    """As after training: weights off their special starting point."""
    torch.manual_seed(0)
    made = Stylizer(GENERATORS[generator](), MEMORIES[memory]()).eval()
    with torch.no_grad():
        for parameter in made.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    return made


@pytest.mark.parametrize("memory", MEMORIES)
@pytest.mark.parametrize("generator", GENERATORS)
@pytest.mark.parametrize(("precision", "largest", "least"), [("float32", 1, 70), ("bfloat16", 4, 48)])
def test_cells_give_the_frames_of_the_stylizer(
    precision: str, largest: int, least: float, generator: str, memory: str
) -> None:
    network = trained(generator, memory)
    engine = open_engine(network, "torch", precision)
    assert engine.info.cell and engine.info.precision == precision
    for height, width in ((48, 64), (35, 50), (16, 17)):
        engine.reset()
        parity = compare(Reference(network), engine, moving_frames(24, height, width), CUT)
        assert parity.largest <= largest and parity.least_psnr > least, (height, width, parity)


@pytest.mark.parametrize("generator", GENERATORS)
def test_packed_or_not_anchored_or_not_the_bytes_are_the_same(generator: str) -> None:
    network = trained(generator)
    plain, packed = FrameGraph(network), FrameGraph(network, packed=True, anchored=True)
    assert plain.info.cell == 0 and packed.info.cell == packed.form.cell > 0
    frame = torch.randint(0, 256, (1, 96, 128, 3), dtype=torch.uint8)
    memory = (torch.tensor([True]), *plain.zeros(48, 80))
    with torch.inference_mode():
        expected, given = plain(frame, *memory), packed(to_cells(frame, packed.info.cell), *memory)
    pixels = to_pixels(given[0], packed.info.cell)[:, 24:-24, 24:-24]
    assert (pixels.int() - expected[0].int()).abs().max() <= 1
    torch.testing.assert_close(given[1], expected[1])


def test_what_depends_on_the_whole_frame_or_has_large_cells_stays_on_pixels() -> None:
    whole_frame = (ResidualGenerator(8, 1, norm="instance"), TwoScaleGenerator(8, 1, norm="instance"))
    for generator in (*whole_frame, ResidualGenerator(8, 1, stride=8), nn.Identity()):
        assert isinstance(form_of(generator, torch.float32), Pixels)


def test_cells_are_pixels_in_another_order() -> None:
    frame = torch.randint(0, 256, (1, 24, 32, 3), dtype=torch.uint8)
    cells = to_cells(frame, 4)
    assert torch.equal(to_pixels(cells, 4), frame)
    assert torch.equal(cells[0, 2, 3], frame[0, 8:12, 12:16].reshape(-1))
    shuffled = F.pixel_unshuffle(frame.permute(0, 3, 1, 2), 4)[:, order(4)]
    assert torch.equal(shuffled.permute(0, 2, 3, 1), cells)


@pytest.mark.parametrize("cell", [2, 4])
def test_packing_is_to_cells_and_unpacking_takes_the_border_off(cell: int) -> None:
    info = GraphInfo((), 8, 24, cell=cell)
    frame = np.random.default_rng(0).integers(0, 256, (1, 72, 88, 3), np.uint8)
    cells = np.empty(info.frame_shape(72, 88), np.uint8)
    pack(frame, cells, info)
    assert np.array_equal(cells, to_cells(torch.from_numpy(frame), cell).numpy())
    image = np.empty((1, 24, 40, 3), np.uint8)
    unpack(cells, image, info)
    assert np.array_equal(image, frame[:, 24:-24, 24:-24])


@pytest.mark.parametrize("tone", [(), (0.1,)])
@pytest.mark.parametrize("cell", [2, 4])
def test_packing_planes_keeps_the_rows_of_each_and_what_belongs_to_the_tone(cell: int, tone: tuple[float, ...]) -> None:
    info = GraphInfo((), 8, 24, cell=cell, planes=True, tone=tone)
    planes = np.random.default_rng(0).integers(0, 256, (1, 108, 88), np.uint8)
    cells, blank = blank_cells(info, 72, 88), blank_cells(info, 72, 88)
    pack(planes, cells, info)
    y, u, v = planes_of(planes[0])
    half, row, column = cell // 2, 5, 7
    expected = [y[row * cell :, column * cell :][:cell, :cell]]
    expected += [plane[row * half :, column * half :][:half, :half] for plane in (u, v)]
    assert np.array_equal(
        cells[0, row, column, : 3 * cell**2 // 2], np.concatenate([part.ravel() for part in expected])
    )
    assert np.array_equal(cells[..., 3 * cell**2 // 2 :], blank[..., 3 * cell**2 // 2 :])
    image = np.empty((1, 36, 40), np.uint8)
    unpack(np.ascontiguousarray(cells[..., : 3 * cell**2 // 2]), image, info)
    for whole, middle, border in zip((y, u, v), planes_of(image[0]), (24, 12, 12), strict=True):
        assert np.array_equal(middle, whole[border:-border, border:-border])


def test_an_affine_function_is_the_convolution_of_its_answers() -> None:
    torch.manual_seed(0)
    function = nn.Sequential(nn.Conv2d(5, 12, 1), nn.PixelShuffle(2), lattice_lowpass(3, 2)).requires_grad_(False)
    weight = convolution_of(function, 5, 2)
    x = torch.rand(1, 5, 9, 11)
    bias = F.pixel_unshuffle(function(torch.zeros_like(x)), 2)
    expected = F.pixel_unshuffle(function(x), 2)
    torch.testing.assert_close((F.conv2d(x, weight) + bias[:, :, 1:-1, 1:-1]), expected[:, :, 1:-1, 1:-1])
    with pytest.raises(AssertionError, match="looks farther"):
        convolution_of(nn.Conv2d(5, 12, 5, padding=2), 5, 1)


@pytest.mark.parametrize("stride", [1, 2, 4])
def test_a_convolution_of_unshuffled_pixels_is_one_with_a_stride(stride: int) -> None:
    torch.manual_seed(0)
    x, weight = torch.rand(1, 3, 8 * stride, 6 * stride), torch.randn(5, 3 * stride**2, 3, 3)
    expected = F.conv2d(F.pixel_unshuffle(x, stride), weight, padding=1)
    torch.testing.assert_close(strided(unfolded(weight, stride), stride)(x), expected, atol=1e-4, rtol=1e-4)


def test_openvino_gets_bfloat16_from_the_graph_on_cells_and_by_its_hint_otherwise(tmp_path, monkeypatch) -> None:
    ov = pytest.importorskip("openvino")
    if "BF16" not in ov.Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES"):
        pytest.skip("this CPU has no bfloat16")
    monkeypatch.setattr(build, "cache_folder", lambda: tmp_path)
    whole_frame = Stylizer(ResidualGenerator(8, 1, norm="instance"), Stateless()).eval()
    for network, exported in ((trained("guided"), "bfloat16"), (whole_frame, "float32")):
        engine = open_engine(network, "openvino", "bfloat16")
        assert (engine.precision, engine.info.precision) == ("bfloat16", exported)
        assert compare(Reference(network), engine, moving_frames(4, 48, 64)).least_psnr > 35
