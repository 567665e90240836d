"""Every engine gives the stylizer's frames, with the memory carried, at any size; mistakes are one line."""

from __future__ import annotations

import json
import logging
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from vst.errors import UserError
from vst.networks import AlignedConvGRU, ColourTransport, ConvGRU, ResidualGenerator, SlowTone, Stateless, Stylizer
from vst.planes import PlaneFormat
from vst.runtime import auto, build, choose_engine, open_engine, settle_engine, torch_engine
from vst.runtime import engine as engine_module
from vst.runtime.formats import write_onnx, write_openvino
from vst.runtime.graph import FrameGraph, GraphInfo, add_border
from vst.runtime.parity import CUT, Reference, compare, moving_frames
from vst.runtime.tone import tone_of

MEMORIES = {"gru": lambda: ConvGRU(8), "aligned": lambda: AlignedConvGRU(8), "none": Stateless}
PACKAGES = {"onnxruntime": ("onnx", "onnxscript", "onnxruntime"), "openvino": ("onnx", "onnxscript", "openvino")}


def stylizer(memory: str = "gru") -> Stylizer:
    """As after training: weights off their special starting point, so that the memory matters."""
    torch.manual_seed(0)
    made = Stylizer(ResidualGenerator(8, 1), MEMORIES[memory]()).eval()
    with torch.no_grad():
        for parameter in made.parameters():
            parameter.add_(0.05 * torch.randn_like(parameter))
    return made


@pytest.fixture(autouse=True)
def cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    """One cache for all tests of this module, and not the user's."""
    folder = tmp_path_factory.getbasetemp() / "engines"
    monkeypatch.setattr(build, "cache_folder", lambda: folder)
    monkeypatch.setattr(auto, "cache_folder", lambda: folder)
    return folder


def opened(source, engine: str, precision: str = "float32"):
    for package in PACKAGES.get(engine, ()):
        pytest.importorskip(package)
    return open_engine(source, engine, precision)


@pytest.mark.parametrize("memory", MEMORIES)
@pytest.mark.parametrize("engine", ["torch", "onnxruntime", "openvino"])
def test_engines_give_the_frames_of_the_stylizer(engine: str, memory: str) -> None:
    network = stylizer(memory)
    candidate = opened(network, engine)
    assert len(candidate.info.states) == {"gru": 1, "aligned": 2, "none": 0}[memory]
    for height, width in ((48, 64), (35, 50), (16, 17)):
        candidate.reset()
        parity = compare(Reference(network), candidate, moving_frames(30, height, width), CUT)
        assert parity.frames == 30 and parity.largest <= 1 and parity.least_psnr > 70, (height, width, parity)


def test_the_memory_is_carried_and_forgotten() -> None:
    """What the comparison above rests on: a candidate that forgets, or never does, would not pass it."""
    network = stylizer()
    candidate, frames = open_engine(network), list(moving_frames(6, 40, 48))

    class Forgetful:
        def reset(self) -> None:
            candidate.reset()

        def __call__(self, frame: np.ndarray) -> np.ndarray:
            candidate.reset()
            return candidate(frame)

    assert compare(Reference(network), Forgetful(), frames).largest > 2
    candidate.reset()
    first = candidate(frames[0])
    assert not np.array_equal(candidate(frames[0]), first)
    candidate.reset()
    assert np.array_equal(candidate(frames[0]), first)


@pytest.mark.parametrize(("engine", "least"), [("torch", 45), ("openvino", 35)])
def test_half_precision_is_near_and_does_not_drift(engine: str, least: float) -> None:
    if engine == "openvino":
        ov = pytest.importorskip("openvino")
        if "BF16" not in ov.Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES"):
            pytest.skip("this CPU has no bfloat16")
    network = stylizer()
    parity = compare(Reference(network), opened(network, engine, "bfloat16"), moving_frames(30, 48, 64))
    assert parity.least_psnr > least and parity.largest > 0


@pytest.mark.parametrize("size", [(33, 40), (32, 40)])
def test_the_result_can_go_into_a_given_buffer_and_outlives_the_next_frame(size: tuple[int, int]) -> None:
    """The graph pads the first size; the second one it could write where it goes."""
    candidate, (a, b) = open_engine(stylizer()), moving_frames(2, *size)
    out = np.empty_like(a)
    assert candidate(a, out=out) is out
    kept, own = out.copy(), candidate(b)
    candidate(a)
    assert np.array_equal(out, kept) and not np.array_equal(own, kept)
    candidate.reset()
    wide = np.zeros((size[0], 2 * size[1], 3), np.uint8)
    candidate(a, out=wide[:, : size[1]])
    assert np.array_equal(wide[:, : size[1]], kept) and not wide[:, size[1] :].any()


def test_the_border_is_that_of_the_stylizer() -> None:
    info = GraphInfo((16,), 4, 24)
    for height, width in ((30, 45), (64, 64), (16, 90)):
        frame = np.random.default_rng(0).integers(0, 256, (height, width, 3), np.uint8)
        padded, before = stylizer()._pad(torch.from_numpy(frame).permute(2, 0, 1)[None].float())
        assert before == 24
        np.testing.assert_array_equal(add_border(frame, info)[0], padded[0].permute(1, 2, 0).numpy())


def test_pixels_stay_in_full_precision() -> None:
    """Half precision of the fixed filters would show as steps in smooth skies."""
    graph = FrameGraph(stylizer(), dtype=torch.bfloat16)
    kept = {name: buffer.dtype for name, buffer in graph.named_buffers()}
    assert kept and set(kept.values()) == {torch.float32}
    assert {p.dtype for name, p in graph.named_parameters() if "conv" in name} == {torch.bfloat16}


def test_opening_leaves_the_stylizer_as_it_is() -> None:
    network = stylizer().train()
    before = {name: value.clone() for name, value in network.state_dict().items()}
    open_engine(network, precision="bfloat16")
    assert network.training and all(torch.equal(value, before[name]) for name, value in network.state_dict().items())


@pytest.mark.parametrize(
    ("frames", "said"),
    [
        ([np.zeros((15, 40, 3), np.uint8)], "frame of 40x15: scale it up to at least 16"),
        ([np.zeros((40, 40, 3), np.float32)], "a frame is (height, width, 3) uint8 RGB"),
        ([np.zeros((40, 40, 4), np.uint8)], "a frame is (height, width, 3) uint8 RGB"),
        ([np.zeros((40, 40, 3), np.uint8), np.zeros((40, 44, 3), np.uint8)], "44x40 after one of 40x40"),
    ],
)
def test_frames_that_do_not_fit(frames: list[np.ndarray], said: str) -> None:
    candidate = open_engine(stylizer())
    for frame in frames[:-1]:
        candidate(frame)
    with pytest.raises(UserError) as error:
        candidate(frames[-1])
    assert said in str(error.value) and "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("engine", "precision", "device", "source", "said"),
    [
        ("onnxruntme", "float32", "cpu", None, "did you mean 'onnxruntime'?"),
        ("openvino", "float16", "cpu", None, "engine=openvino computes in float32 or bfloat16"),
        ("torch", "float16", "cpu", None, "float16 is for GPUs"),
        ("cuda_graph", "float32", "cpu", None, "needs device=cuda"),
        ("openvino", "float32", "mps", None, "runs on the CPU"),
        ("torch", "float32", "cpu", "model.onnx", "cannot run a .onnx file; choose onnxruntime"),
        ("openvino", "float32", "cpu", "missing.xml", "not found"),
    ],
)
def test_choices_that_do_not_fit(engine: str, precision: str, device: str, source: str | None, said: str) -> None:
    with pytest.raises(UserError) as error:
        open_engine(source or stylizer(), engine, precision, device)
    assert said in str(error.value) and "\n" not in str(error.value)


def test_a_missing_package_is_one_line_with_the_command(monkeypatch: pytest.MonkeyPatch) -> None:
    def absent(name: str):
        raise ImportError(name)

    monkeypatch.setattr(engine_module, "import_module", absent)
    with pytest.raises(UserError, match=r"needs the package onnxruntime: pip install 'vst\[onnx\]'"):
        engine_module.require("onnxruntime", "engine=onnxruntime")


def test_a_file_that_is_no_model_of_vst(tmp_path: Path) -> None:
    pytest.importorskip("onnxruntime")
    onnx = pytest.importorskip("onnx")
    (tmp_path / "text.onnx").write_text("no model")
    with pytest.raises(UserError, match="cannot load it"):
        open_engine(tmp_path / "text.onnx", "onnxruntime")
    value = [onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, [1]) for name in "ab"]
    graph = onnx.helper.make_graph([onnx.helper.make_node("Identity", ["a"], ["b"])], "g", value[:1], value[1:])
    onnx.save(
        onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 20)], ir_version=10),
        str(tmp_path / "foreign.onnx"),
    )
    with pytest.raises(UserError, match="not one that vst has exported"):
        open_engine(tmp_path / "foreign.onnx", "onnxruntime")


def test_the_exported_graph_is_found_again_until_the_weights_change(cache: Path) -> None:
    pytest.importorskip("onnxscript")
    network = stylizer()
    path, before = build.cached_onnx(network), build.fingerprint(network)
    written = path.stat().st_mtime_ns
    assert build.cached_onnx(network) == path and path.stat().st_mtime_ns == written
    with torch.no_grad():
        next(network.parameters()).add_(1e-3)
    assert path.stem.startswith(before) and build.fingerprint(network) != before
    assert not list(cache.glob(".*"))


class Paced:
    """An engine that takes a given time, by a clock of its own."""

    def __init__(self, name: str, precision: str, seconds: float, clock: list[float], error: int = 0) -> None:
        self.name, self.precision, self.seconds, self.clock, self.error = name, precision, seconds, clock, error

    def reset(self) -> None: ...

    def __call__(self, frame: np.ndarray) -> np.ndarray:
        self.clock[0] += self.seconds
        return np.clip(frame.astype(int) + self.error, 0, 255).astype(np.uint8)


def paced(monkeypatch: pytest.MonkeyPatch, engines: dict[tuple[str, str], tuple[float, int]]) -> list[tuple]:
    """Engines of given (seconds, error in bytes); any other is missing. Returns the list of those opened."""
    clock, calls = [0.0], []

    def open_paced(source, engine="torch", precision="float32", device="cpu"):
        calls.append((engine, precision))
        if (engine, precision) not in engines:
            raise UserError(f"engine={engine} needs the package {engine}: pip install {engine}")
        seconds, error = engines[engine, precision]
        return Paced(engine, precision, seconds, clock, error)

    monkeypatch.setattr(auto, "open_engine", open_paced)
    monkeypatch.setattr(auto.time, "perf_counter", lambda: clock[0])
    return calls


def test_auto_takes_the_fastest_that_looks_the_same(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(auto, "cache_folder", lambda: tmp_path)
    engines = {
        ("torch", "float32"): (0.1, 0),
        ("torch", "bfloat16"): (0.05, 1),
        ("onnxruntime", "float32"): (0.07, 0),
        ("openvino", "bfloat16"): (0.01, 9),
    }
    paced(monkeypatch, engines)
    choice = choose_engine(stylizer(), (48, 32), "auto")
    assert (choice.engine, choice.precision) == ("torch", "bfloat16")
    assert "torch bfloat16 50.0 ms, onnxruntime float32 70.0 ms" in choice.reason
    assert "openvino bfloat16: only 29 dB" in choice.reason and "pip install openvino" in choice.reason
    choice = choose_engine(stylizer(), (48, 32), "float32")
    assert (choice.engine, choice.precision) == ("onnxruntime", "float32")


def test_auto_measures_once_for_each_model_and_size(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    monkeypatch.setattr(auto, "cache_folder", lambda: tmp_path)
    calls = paced(monkeypatch, {("torch", "float32"): (0.1, 0)})
    network = stylizer()
    first = choose_engine(network, (48, 32), "float32")
    measured = len(calls)
    assert choose_engine(network, (48, 32), "float32") == first and len(calls) == measured
    choose_engine(network, (64, 32), "float32")
    assert len(calls) == 2 * measured
    with torch.no_grad():
        next(network.parameters()).add_(1e-3)
    choose_engine(network, (48, 32), "float32")
    assert len(calls) == 3 * measured
    assert len(json.loads((tmp_path / "choices.json").read_text())) == 3
    assert [record.message.split(";")[0] for record in caplog.records] == [
        f"engine    measuring which is fastest at {size}" for size in ("48x32", "64x32", "48x32")
    ]


@pytest.mark.parametrize("content", ["{", "[]", '{"%s": {"engine": "gone"}}', '{"%s": 3}'])
def test_a_damaged_cache_is_measured_again(content: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(auto, "cache_folder", lambda: tmp_path)
    paced(monkeypatch, {("torch", "float32"): (0.1, 0)})
    choose_engine(stylizer(), (48, 32), "float32")
    (key,) = json.loads((tmp_path / "choices.json").read_text())
    (tmp_path / "choices.json").write_text(content.replace("%s", key))
    assert choose_engine(stylizer(), (48, 32), "float32").engine == "torch"


def test_auto_for_a_real_model_gives_an_engine_that_opens(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.ERROR)
    choice = choose_engine(stylizer(), (48, 32), "float32")
    (frame,) = moving_frames(1, 32, 48)
    assert open_engine(stylizer(), choice.engine, choice.precision)(frame).shape == (32, 48, 3)


@pytest.mark.parametrize("kind", [SlowTone, ColourTransport])
def test_the_tone_is_the_stylizers_own_on_bytes(kind):
    torch.manual_seed(0)
    tone = kind(pace=0.3)
    tone.set_style([0.2 * torch.rand(3, 24, 24) + torch.tensor([0.6, 0.3, 0.1])[:, None, None]])
    stylizer = Stylizer(ResidualGenerator(8, 1), ConvGRU(8), tone).eval()
    engine, state = open_engine(stylizer), None
    film = np.random.default_rng(0).integers(0, 256, (4, 40, 56, 3)) // np.array([1, 2, 3, 4])[:, None, None, None]
    for frame in film.astype(np.uint8):
        pixels = torch.from_numpy(frame).permute(2, 0, 1)[None] / 255
        with torch.no_grad():
            expected, state = stylizer(pixels, None, state)
        ours = torch.from_numpy(engine(frame)).permute(2, 0, 1)[None] / 255
        torch.testing.assert_close(ours, expected, atol=1.1 / 255, rtol=0)
    engine.reset()
    again = engine(film[3].astype(np.uint8))
    fresh = open_engine(stylizer)(film[3].astype(np.uint8))
    assert np.array_equal(again, fresh), "a cut must forget the film's tone"


@pytest.mark.parametrize("kind", [SlowTone, ColourTransport])
def test_metadata_tell_of_the_tone(kind):
    torch.manual_seed(0)
    network = Stylizer(ResidualGenerator(8, 1), Stateless(), kind(0.3, 2.0))
    network.tone.set_style([torch.rand(3, 24, 24)])
    info = FrameGraph(network).info
    read = tone_of(GraphInfo.from_metadata(info.to_metadata(), "file").tone)
    assert type(read) is kind and (read.pace, read.max_gain) == (0.3, 2.0)
    for name, values in network.tone.state_dict().items():
        torch.testing.assert_close(read.state_dict()[name], values)


@pytest.mark.parametrize(("kind", "short_side"), [(ColourTransport, None), (SlowTone, 64)])
def test_frames_of_planes_are_for_those_who_paint_them_as_they_are(kind, short_side):
    network = Stylizer(ResidualGenerator(8, 1), Stateless(), kind(), short_side=short_side).eval()
    planes = PlaneFormat.of(SimpleNamespace(matrix=1, range=1))
    assert open_engine(network).for_planes(planes, (160, 120)) is None
    plain = Stylizer(ResidualGenerator(8, 1), Stateless(), SlowTone()).eval()
    assert open_engine(plain).for_planes(planes, (160, 120)) is not None


@pytest.mark.parametrize("missing", ["vst_grain", "vst_grain_streak"])
def test_files_of_older_versions_are_told(missing: str) -> None:
    metadata = FrameGraph(stylizer()).info.to_metadata()
    del metadata[missing]
    with pytest.raises(UserError, match="exported by an older vst"):
        GraphInfo.from_metadata(metadata, "old.onnx")


@pytest.mark.parametrize(("ending", "engine"), [(".onnx", "onnxruntime"), (".xml", "openvino"), ("", "torch")])
def test_an_engine_that_nobody_chose_is_the_one_that_runs_the_source(
    ending: str, engine: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for package in PACKAGES.get(engine, ()):
        pytest.importorskip(package)
    network = stylizer()
    source = tmp_path / f"model{ending}" if ending else network
    if ending:
        write_onnx(FrameGraph(network), tmp_path / "model.onnx")
    if ending == ".xml":
        write_openvino(tmp_path / "model.onnx", source)
    device = torch.device("cpu")
    assert settle_engine(source, None, "float32", device, (64, 48)) == (engine, "float32")
    assert settle_engine(source, "torch", "float32", device, (64, 48)) == ("torch", "float32")
    opened = open_engine(source)
    assert opened.name == engine
    assert compare(Reference(network), opened, moving_frames(4, 48, 64), CUT).least_psnr > 70
    if not ending:
        return
    with pytest.raises(UserError, match=f"engine=torch cannot run a {ending} file; choose .*{engine}"):
        open_engine(source, "torch")
    with pytest.raises(UserError, match="precision=auto is for engine=auto"):
        settle_engine(source, None, "auto", device, (64, 48))

    def absent(name: str):
        raise ImportError(name)

    monkeypatch.setattr(engine_module, "import_module", absent)
    with pytest.raises(UserError) as error:
        open_engine(source)
    assert f"needs the package {engine}: pip install 'vst[" in str(error.value) and "\n" not in str(error.value)


@pytest.mark.parametrize("memory", MEMORIES)
def test_all_that_is_compiled_is_compiled_for_the_first_frame(memory: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """By a quick backend: what is compiled again, and when, is decided before it."""
    import torch._dynamo as dynamo
    from torch._dynamo.utils import counters

    compiled = torch.compile
    monkeypatch.setattr(
        torch, "compile", lambda graph, dynamic, options: compiled(graph, dynamic=dynamic, backend="eager")
    )
    monkeypatch.setattr(torch_engine.shutil, "which", lambda name: name)
    dynamo.reset()
    counters.clear()
    engine, graphs = open_engine(stylizer(memory), "torch_compile"), []
    for frame in moving_frames(4, 48, 64):
        engine(frame)
        graphs.append(counters["stats"]["unique_graphs"])
    dynamo.reset()
    assert graphs == [1, 1, 1, 1]
