"""On planes of Y, U and V engines paint what they paint on RGB."""

from __future__ import annotations

import av
import numpy as np
import pytest
import torch

from tests.runtime.test_cells import GENERATORS
from vst.networks import ConvGRU, SlowTone, Stylizer
from vst.planes import PlaneFormat, planes_of
from vst.runtime import build, open_engine, tiled
from vst.runtime.graph import GraphInfo, _pieces, blank_cells, pack
from vst.runtime.parity import moving_frames, psnr
from vst.runtime.tone import TONE_CHANNELS, ByteTone, PlaneTone, tone_values
from vst.runtime.wire import Toned, Wire
from vst.video.encoder import convert
from vst.video.probe import Colour

LIMITED, FULL = Colour(1, 1, 1, 1), Colour(2, 6, 6, 6)
CUT = 8
SIZE = (96, 64)
LEAST = 40.0
"""dB of a frame of planes to the same frame painted in RGB, where neither leaves what bytes can hold: then what is cut
off differs. On a film with a trained network and its tone, which cuts highlights, 42 were measured."""


@pytest.fixture(autouse=True)
def cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(build, "cache_folder", lambda: tmp_path_factory.getbasetemp() / "plane_engines")


def as_planes(rgb: np.ndarray, colour: Colour) -> np.ndarray:
    """(H, W, 3) -> (3 H / 2, W), by FFmpeg."""
    converter = av.video.reformatter.VideoReformatter()
    return convert(converter, av.VideoFrame.from_ndarray(rgb, format="rgb24"), "yuv420p", colour).to_ndarray()


def shown(planes: np.ndarray, colour: Colour) -> np.ndarray:
    """(3 H / 2, W) -> (H, W, 3), each sample of chroma for its four pixels."""
    form = PlaneFormat.of(colour)
    y, u, v = planes_of(planes)
    whole = np.stack([y, u.repeat(2, 0).repeat(2, 1), v.repeat(2, 0).repeat(2, 1), np.ones_like(y)], 2)
    return (whole @ form.conversion.T).clip(0, 255).round().astype(np.uint8)


def trained(generator: str, tone: bool = False, seed: int = 0) -> Stylizer:
    """Off its special starting point, but with pictures in range."""
    torch.manual_seed(seed)
    slow = SlowTone(pace=0.3) if tone else None
    if slow is not None:
        slow.set_style([torch.rand(3, 24, 24) * torch.tensor([0.9, 0.6, 0.4])[:, None, None] + 0.1])
    made = Stylizer(GENERATORS[generator](), ConvGRU(8), slow).eval()
    with torch.no_grad():
        for parameter in made.parameters():
            parameter.add_((0.02 if tone else 0.05) * torch.randn_like(parameter))
    return made


def film(count: int, height: int, width: int) -> list[np.ndarray]:
    return [frame // 2 + 64 for frame in moving_frames(count, height, width)]


@pytest.mark.parametrize("colour", [LIMITED, FULL])
@pytest.mark.parametrize("cell", [2, 4])
def test_a_cell_of_planes_is_a_linear_map_of_one_of_rgb(cell: int, colour: Colour) -> None:
    form = PlaneFormat.of(colour)
    wire = Wire.of(cell, form)
    rgb = np.random.default_rng(0).uniform(0, 255, (cell, cell, 3)) - 128
    x = wire.from_rgb.double().numpy() @ rgb.reshape(-1) + wire.zero.double().numpy() + 128
    yuv = (rgb + 128) @ form.from_rgb.T + form.black
    chroma = yuv[..., 1:].reshape(cell // 2, 2, cell // 2, 2, 2).mean((1, 3))
    expected = np.concatenate([yuv[..., 0].ravel(), chroma[..., 0].ravel(), chroma[..., 1].ravel()])
    np.testing.assert_allclose(x, expected, atol=1e-4)
    torch.testing.assert_close(wire.from_rgb @ wire.to_rgb, torch.eye(len(x)))


@pytest.mark.parametrize(
    ("engine", "generator", "tone", "colour"),
    [
        ("torch", "guided", False, LIMITED),
        ("torch", "guided", True, FULL),
        ("torch", "residual", True, LIMITED),
        ("torch", "stride 2", False, FULL),
        ("openvino", "guided", True, LIMITED),
    ],
)
def test_engines_of_planes_give_the_frames_of_rgb(engine: str, generator: str, tone: bool, colour: Colour) -> None:
    if engine == "openvino":
        pytest.importorskip("openvino")
        pytest.importorskip("onnxscript")
    on_rgb = open_engine(trained(generator, tone), engine)
    on_planes = on_rgb.for_planes(PlaneFormat.of(colour), SIZE)
    assert on_planes is not None and on_rgb.for_planes(PlaneFormat.of(colour), SIZE) is on_planes
    for height, width in ((64, 96), (34, 50)):
        on_rgb.reset()
        on_planes.reset()
        scores = []
        for index, frame in enumerate(film(12, height, width)):
            if index == CUT:
                on_rgb.reset()
                on_planes.reset()
            planes = as_planes(frame, colour)
            expected = planes_of(as_planes(on_rgb(shown(planes, colour)), colour))
            given = planes_of(on_planes(planes))
            scores.append([psnr(a.astype(int) - b) for a, b in zip(expected, given, strict=True)])
        assert np.min(scores) > LEAST, (height, width, np.min(scores, 0))


def test_frames_that_fit_into_memory_need_no_tiles_and_so_no_rgb(monkeypatch: pytest.MonkeyPatch) -> None:
    """As stylize.py opens them: with tile=auto."""
    engine, planes = open_engine(trained("guided"), tile="auto"), PlaneFormat.of(LIMITED)
    frame = as_planes(film(1, 64, 96)[0], LIMITED)
    on_planes = engine.for_planes(planes, SIZE)
    assert np.array_equal(on_planes(frame), open_engine(trained("guided")).for_planes(planes, SIZE)(frame))
    assert open_engine(trained("guided"), tile=32).for_planes(planes, SIZE) is None
    monkeypatch.setattr(tiled, "free_bytes", lambda device: 100_000_000)
    assert engine.for_planes(planes, (6000, 4000)) is None and engine.for_planes(planes, SIZE) is on_planes


def test_the_parity_tells_another_matrix_and_another_network() -> None:
    """What the comparison above rests on."""
    on_rgb, frame = open_engine(trained("guided")), film(1, 64, 96)[0]
    planes = as_planes(frame, LIMITED)
    expected = as_planes(on_rgb(shown(planes, LIMITED)), LIMITED)
    for network, colour in ((trained("guided"), FULL), (trained("guided", seed=1), LIMITED)):
        given = open_engine(network).for_planes(PlaneFormat.of(colour), SIZE)(planes)
        assert psnr(given.astype(int) - expected) < LEAST


def test_colours_that_are_known_are_not_taken_again(monkeypatch: pytest.MonkeyPatch) -> None:
    form = PlaneFormat.of(LIMITED)
    engine = open_engine(trained("guided", tone=True)).for_planes(form, SIZE)
    frame = as_planes(film(1, 64, 96)[0], LIMITED)
    colours, expected = form.samples(frame), engine(frame)
    engine.reset()
    monkeypatch.setattr(PlaneFormat, "samples", lambda self, frame: pytest.fail("they are known"))
    assert np.array_equal(engine(frame, colours=colours), expected)
    engine.reset()
    assert not np.array_equal(engine(frame, colours=colours // 2), expected), "they are what the tone follows"


def test_the_memory_on_planes_is_carried_and_forgotten() -> None:
    engine = open_engine(trained("guided")).for_planes(PlaneFormat.of(LIMITED), SIZE)
    before, now = (as_planes(frame, LIMITED) for frame in film(9, 64, 96)[::8])
    alone = engine(now)
    engine.reset()
    engine(before)
    assert not np.array_equal(engine(now), alone)
    engine.reset()
    assert np.array_equal(engine(now), alone)


def in_its_tone(planes: np.ndarray, tone: PlaneTone, form: PlaneFormat, cell: int, first: bool) -> np.ndarray:
    """A frame of planes through the map of its cells, the clamp, and the way back."""
    info = GraphInfo((), 8, 0, tone=(0.1,), cell=cell, planes=True)
    cells, toned = blank_cells(info, *planes_of(planes)[0].shape), Toned.of(cell, form)
    pack(planes[None], cells, info)
    painted = (tone(form.samples(planes), first) @ (cells[..., None].astype(float) - 128))[..., 0].clip(
        -toned.bound, toned.bound
    )
    painted = painted @ toned.back.double().numpy().T + toned.shift.double().numpy() + 128
    assert painted.min() >= -1e-9 and painted.max() <= 255 + 1e-9, "what is clamped fits into bytes"
    out = np.empty_like(planes)
    for plane, places in _pieces(out, painted.round().astype(np.uint8)[0], info):
        np.copyto(plane, places.swapaxes(1, 2))
    return out


@pytest.mark.parametrize("cell", [2, 4])
@pytest.mark.parametrize("colour", [LIMITED, FULL])
def test_the_tone_of_planes_is_that_of_rgb(colour: Colour, cell: int) -> None:
    values, form = tone_values(trained("guided", tone=True).tone), PlaneFormat.of(colour)
    on_rgb = ByteTone(values)
    on_planes, in_half = (PlaneTone(values, form, cell, dtype) for dtype in (torch.float32, torch.bfloat16))
    for index, frame in enumerate(moving_frames(4, 160, 224)):
        planes = as_planes(frame // 2 + 100, colour)
        expected = planes_of(as_planes(on_rgb(shown(planes, colour), index == 0), colour))
        given = planes_of(in_its_tone(planes, on_planes, form, cell, index == 0))
        torch.testing.assert_close(on_planes.moments, on_rgb.moments, atol=5e-3, rtol=0)
        scores = [psnr(a.astype(int) - b) for a, b in zip(expected, given, strict=True)]
        assert min(scores) > 40, scores  # it cuts highlights
        low, high = (0, 255) if colour is FULL else (16, 235)
        assert low <= given[0].min() and given[0].max() <= high
        matrix = torch.from_numpy(in_half(form.samples(planes), index == 0))
        constants = matrix[:, -TONE_CHANNELS:]
        torch.testing.assert_close(constants.bfloat16().float().sum(1), constants.sum(1), atol=2e-3, rtol=0)


@pytest.mark.parametrize("colour", [LIMITED, FULL])
@pytest.mark.parametrize("cell", [2, 4])
def test_a_function_of_planes_is_one_of_what_is_clamped(cell: int, colour: Colour) -> None:
    torch.manual_seed(0)
    toned, places = Toned.of(cell, PlaneFormat.of(colour)), 3 * cell**2 // 2
    weight, bias, x = torch.randn(5, places), torch.randn(5), torch.randn(7 * cell**2 // 4)
    expected = weight @ (toned.back @ x + toned.shift) + bias
    there, added = toned.looking(weight, bias)
    torch.testing.assert_close(there @ x + added, expected)
