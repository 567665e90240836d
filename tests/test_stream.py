"""A whole video through a stateful stand-in network: order, state, cuts, rotation, failures, memory."""

from __future__ import annotations

import errno
import gc
import logging
import re
import signal
import subprocess
import sys
import threading
import time
import tracemalloc
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
import torch
from torch import Tensor, nn

from tests import media
from vst import progress as progress_module
from vst.cuts import CutDetector
from vst.errors import UserError
from vst.networks import ConvGRU, GuidedGenerator, ResidualGenerator, SlowTone, Stylizer
from vst.pipeline import QUEUE_LENGTH, without_rgb
from vst.runtime import open_engine
from vst.runtime.parity import psnr
from vst.stream import StreamReport, stylize_video
from vst.video import segments as segments_module
from vst.video.probe import BT709, Colour, probe
from vst.video.reader import VideoReader
from vst.video.writer import VideoWriter, new_video

VFR = np.cumsum([0] + [20 + 7 * i % 50 for i in range(19)]).tolist()


class Identity(nn.Module):
    """Returns its input, and keeps it as its state, as a network that looks at the last frame would."""

    def __init__(self) -> None:
        super().__init__()
        self.sizes: set[tuple[int, ...]] = set()
        self.seen: list[Tensor] = []
        self.previous: list[Tensor | None] = []
        self.modes: set[tuple[bool, bool]] = set()

    def forward(self, frames: Tensor, style: Tensor | None = None, state=None):
        assert style is None
        assert frames.dtype == torch.float32 and 0 <= frames.min() and frames.max() <= 1
        self.sizes.add(tuple(frames.shape))
        self.modes.add((self.training, torch.is_inference_mode_enabled()))
        self.seen.append(frames.clone())
        self.previous.append(None if state is None else state[0].clone())
        return frames, (frames,)


class RunningMean(nn.Module):
    """Paints each frame the mean grey of all frames since the last reset."""

    def forward(self, frames: Tensor, style: Tensor | None = None, state=None):
        total, count = state or (torch.zeros(()), torch.zeros(()))
        total, count = total + frames.mean(), count + 1
        return torch.ones_like(frames) * (total / count), (total, count)


class Failing(nn.Module):
    def __init__(self, at: int, error: BaseException) -> None:
        super().__init__()
        self.at, self.error, self.calls = at, error, 0

    def forward(self, frames: Tensor, style: Tensor | None = None, state=None):
        self.calls += 1
        if self.calls == self.at:
            raise self.error
        return frames, state


def _stylize(stylizer: nn.Module, source: Path, target: Path, **options) -> StreamReport:
    return stylize_video(stylizer, source, target, progress=False, **{"preset": "ultrafast", **options})


def _times(path: Path) -> list[Fraction]:
    with VideoReader(path) as reader:
        return [f.pts * f.time_base for f in reader]


def _flat_frames(levels: list[int]) -> np.ndarray:
    return np.stack([np.full((64, 96, 3), level, np.uint8) for level in levels])


@pytest.fixture(autouse=True)
def _no_thread_is_left():
    before = threading.active_count()
    yield
    assert threading.active_count() == before


def test_same_frames_times_and_audio(tmp_path: Path) -> None:
    source = media.make_video(tmp_path / "in.mp4", n=20, bframes=2, pts=VFR, audio="aac")
    report = _stylize(Identity(), source, tmp_path / "out.mp4")
    assert media.read_numbers(media.decode_sequentially(report.output)) == list(range(20))
    assert _times(report.output) == [Fraction(pts, 1000) for pts in VFR]
    assert probe(report.output).has_audio
    assert (report.frames, report.cuts, report.damaged) == (20, 0, None)
    assert 0 < report.preparing < report.seconds and report.fps >= 19 / (report.seconds - report.preparing)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["in.mp4", "out.mp4"]


def test_the_network_sees_each_frame_once_in_evaluation_mode(tmp_path: Path) -> None:
    source = media.make_video(tmp_path / "in.mp4", n=9)
    network = Identity().train()
    _stylize(network, source, tmp_path / "out.mp4")
    decoded = media.decode_sequentially(source)
    seen = [(frame[0].permute(1, 2, 0) * 255).round().byte().numpy() for frame in network.seen]
    np.testing.assert_array_equal(np.stack(seen), np.stack(decoded))
    assert network.modes == {(False, True)} and network.training


def test_state_that_lies_in_the_input_is_not_overwritten(tmp_path: Path) -> None:
    network = Identity()
    _stylize(network, media.make_video(tmp_path / "in.mp4", n=6), tmp_path / "out.mp4")
    assert network.previous[0] is None
    for before, kept in zip(network.seen[:-1], network.previous[1:], strict=True):
        torch.testing.assert_close(kept, before)


def test_every_output_depends_on_all_frames_before(tmp_path: Path) -> None:
    levels = [40, 60, 80, 100, 120, 140]
    source = media.make_video(tmp_path / "in.mp4", frames=_flat_frames(levels))
    report = _stylize(RunningMean(), source, tmp_path / "out.mp4", crf=4)
    out = [frame.mean() for frame in media.decode_sequentially(report.output)]
    expected = [np.mean(levels[: t + 1]) for t in range(len(levels))]
    np.testing.assert_allclose(out, expected, atol=3)


def test_the_state_is_reset_at_a_cut(tmp_path: Path) -> None:
    frames = _flat_frames([40] * 5 + [200] * 5)
    source = media.make_video(tmp_path / "in.mp4", frames=frames)
    report = _stylize(RunningMean(), source, tmp_path / "out.mp4", crf=4)
    out = [frame.mean() for frame in media.decode_sequentially(report.output)]
    assert report.cuts == 1
    np.testing.assert_allclose(out, [40] * 5 + [200] * 5, atol=3)


@pytest.mark.parametrize("rotation", [90, 180, -90])
def test_the_network_sees_upright_frames(rotation: int, tmp_path: Path) -> None:
    source = media.make_video(tmp_path / "in.mp4", n=4, rotation=rotation)
    network = Identity()
    report = _stylize(network, source, tmp_path / "out.mp4")
    assert network.sizes == {(1, 3, 64, 96) if rotation == 180 else (1, 3, 96, 64)}
    stored = media.decode_sequentially(source)[2]
    upright = (network.seen[2][0].permute(1, 2, 0) * 255).round().byte().numpy()
    np.testing.assert_array_equal(upright, np.rot90(stored, rotation // 90))
    assert probe(report.output).rotation == probe(source).rotation
    assert media.read_numbers(media.decode_sequentially(report.output)) == [0, 1, 2, 3]


def test_odd_sizes_are_painted_exactly(tmp_path: Path) -> None:
    """Through file, engine and tiles as by the stylizer itself: nothing is padded, cropped or shifted."""
    torch.manual_seed(0)
    network = Stylizer(ResidualGenerator(8, 1), ConvGRU(8)).eval()
    source = media.make_video(tmp_path / "in.mp4", frames=media.pattern_frames(4, 97, 65), pix_fmt="yuv444p")
    with VideoReader(source) as reader:
        frames = [torch.from_numpy(frame.image).permute(2, 0, 1) / 255 for frame in reader]
    with torch.inference_mode():
        wanted = (network(torch.stack(frames)[None])[0][0] * 255).round().permute(0, 2, 3, 1).numpy()
    shown: list[np.ndarray] = []

    class Watched:
        def __init__(self, tile: int) -> None:
            self.engine = open_engine(network, tile=tile)
            self.reset = self.engine.reset

        def __call__(self, frame: np.ndarray, out: np.ndarray) -> np.ndarray:
            shown.append(self.engine(frame, out).copy())
            return out

    for tile in (0, 24):
        shown.clear()
        _stylize(Watched(tile), source, tmp_path / f"{tile}.mkv")
        assert np.abs(np.stack(shown).astype(int) - wanted).max() <= 1


def test_odd_sizes_stay(tmp_path: Path) -> None:
    frames = media.pattern_frames(3, 97, 65)
    source = media.make_video(tmp_path / "in.mp4", frames=frames, pix_fmt="yuv444p")
    info = probe(_stylize(Identity(), source, tmp_path / "out.mkv").output)
    assert (info.width, info.height) == (97, 65)


def test_a_size_that_changes_on_the_way_is_told_once(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """As broadcasts do it: two recordings one after the other, each frame at the size of the first one."""
    parts = [
        media.make_video(tmp_path / "a.ts", n=8, bframes=0),
        media.make_video(tmp_path / "b.ts", frames=media.pattern_frames(16, 160, 112)[8:], bframes=0),
    ]
    source = tmp_path / "both.ts"
    source.write_bytes(b"".join(part.read_bytes() for part in parts))
    network = Identity()
    with caplog.at_level(logging.WARNING, logger="vst.stream"):
        report = _stylize(network, source, tmp_path / "out.mp4")
    told = [message for message in caplog.messages if "changes its size" in message]
    assert (
        len(told) == 1 and "from 96x64 to 160x112" in told[0] and "scaled to 96x64" in told[0] and "\n" not in told[0]
    )
    assert network.sizes == {(1, 3, 64, 96)}
    assert media.read_numbers(media.decode_sequentially(report.output)) == list(range(16))
    with VideoReader(parts[0]) as reader:
        assert len(list(reader)) == 8 and reader.resized is None


def test_values_are_rounded_and_clipped(tmp_path: Path) -> None:
    class Bright(nn.Module):
        def forward(self, frames: Tensor, style: Tensor | None = None, state=None):
            return torch.cat([frames[:, :1] * 0 + 1.7, frames[:, 1:2] * 0 - 0.5, frames[:, 2:]], 1), None

    report = _stylize(Bright(), media.make_video(tmp_path / "in.mp4", n=2), tmp_path / "out.mp4", crf=4)
    red, green = media.decode_sequentially(report.output)[0][..., :2].reshape(-1, 2).astype(float).mean(0)
    assert red > 240 and green < 15


def test_damaged_input_is_finished_and_reported(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    source = media.truncate(media.make_video(tmp_path / "in.mp4", n=60, audio="aac"), 0.6)
    with caplog.at_level(logging.WARNING, logger="vst.stream"):
        report = _stylize(Identity(), source, tmp_path / "out.mp4")
    assert 10 < report.frames < 55 and report.damaged is not None
    assert f"{report.frames} of 60 frames could be read" in report.damaged
    assert report.damaged in caplog.text
    assert len(media.decode_sequentially(report.output)) == report.frames
    with VideoReader(report.output) as reader:
        assert len(list(reader)) == report.frames and reader.damaged is None


def test_no_decodable_frame_makes_no_output(tmp_path: Path) -> None:
    source = media.truncate(media.make_video(tmp_path / "in.mp4", n=20), 0.2)
    with pytest.raises(UserError, match="no frame"):
        _stylize(Identity(), source, tmp_path / "out.mp4")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["in.mp4"]


def test_mistakes_are_told_before_the_network_runs(tmp_path: Path) -> None:
    source = media.make_video(tmp_path / "in.mp4", n=3)
    tiny = media.make_video(tmp_path / "tiny.mp4", frames=np.zeros((2, 14, 40, 3), np.uint8))
    (tmp_path / "taken.mp4").write_text("taken")
    (tmp_path / "link.mp4").symlink_to(source)
    network = Failing(1, AssertionError("the network must not run"))
    for arguments, words in [
        ((source, source), "the same file"),
        ((source, tmp_path / "link.mp4"), "the same file"),
        ((source, tmp_path / "taken.mp4"), "overwrite=true"),
        ((source, tmp_path / "none" / "out.mp4"), "does not exist"),
        ((source, tmp_path / "out.avi"), r"\.mp4, \.mov, \.mkv"),
        ((tiny, tmp_path / "out.mp4"), "40x14 pixels.*at least 16"),
        ((tmp_path / "missing.mp4", tmp_path / "out.mp4"), "no such file"),
    ]:
        with pytest.raises(UserError, match=words) as caught:
            _stylize(network, *arguments)
        assert "\n" not in str(caught.value)
    assert network.calls == 0
    assert (tmp_path / "taken.mp4").read_text() == "taken"


def test_overwrite_replaces(tmp_path: Path) -> None:
    source = media.make_video(tmp_path / "in.mp4", n=3)
    (tmp_path / "out.mp4").write_text("old")
    report = _stylize(Identity(), source, tmp_path / "out.mp4", overwrite=True)
    assert media.read_numbers(media.decode_sequentially(report.output)) == [0, 1, 2]


@pytest.mark.parametrize("error", [RuntimeError("out of memory"), KeyboardInterrupt()], ids=["error", "ctrl-c"])
@pytest.mark.parametrize("at", [1, 30])
def test_a_failing_network_stops_all(error: BaseException, at: int, tmp_path: Path) -> None:
    source = media.make_video(tmp_path / "in.mp4", n=60)
    network = Failing(at, error)
    start = time.perf_counter()
    with pytest.raises(type(error)) as caught:
        _stylize(network, source, tmp_path / "out.mp4")
    assert caught.value is error and network.calls == at
    assert time.perf_counter() - start < 5
    assert sorted(p.name for p in tmp_path.iterdir()) == ["in.mp4"]


def test_a_failing_decoder_stops_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = media.make_video(tmp_path / "in.mp4", n=60)
    original = VideoReader.__iter__

    def breaking(self):
        for number, frame in enumerate(original(self)):
            if number == 20:
                raise MemoryError("no room for a frame")
            yield frame

    monkeypatch.setattr(VideoReader, "__iter__", breaking)
    with pytest.raises(MemoryError, match="no room"):
        _stylize(Identity(), source, tmp_path / "out.mp4")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["in.mp4"]


def test_a_full_disk_stops_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = media.make_video(tmp_path / "in.mp4", n=60)
    written = []

    def mux(self, packet) -> None:
        written.append(packet)
        if len(written) > 5:
            raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(VideoWriter, "_mux_with_audio", mux)
    network = Identity()
    with pytest.raises(UserError, match="disk is full"):
        _stylize(network, source, tmp_path / "out.mp4")
    assert len(network.seen) < 60
    assert sorted(p.name for p in tmp_path.iterdir()) == ["in.mp4"]


def test_a_slow_encoder_holds_the_decoder_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Memory is constant: few frames are decoded and not yet encoded, however long the video."""
    source = media.make_video(tmp_path / "in.mp4", n=60)
    decoded, encoded, alive = [], [], []
    iterate, write = VideoReader.__iter__, VideoWriter.write

    def counting(self):
        for frame in iterate(self):
            decoded.append(frame.pts)
            yield frame

    def slow(self, *arguments) -> None:
        time.sleep(0.005)
        alive.append(len(decoded) - len(encoded))
        encoded.append(arguments[1])
        write(self, *arguments)

    monkeypatch.setattr(VideoReader, "__iter__", counting)
    monkeypatch.setattr(VideoWriter, "write", slow)
    _stylize(Identity(), source, tmp_path / "out.mp4")
    assert decoded == encoded and len(encoded) == 60
    assert QUEUE_LENGTH < max(alive) <= 2 * QUEUE_LENGTH + 3


def test_the_stages_overlap(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """While the first frame is being written, a later one is painted and a still later one is read."""
    source = media.make_video(tmp_path / "in.mp4", n=10)
    iterate, write = VideoReader.__iter__, VideoWriter.write
    read, painted, waited = threading.Event(), threading.Event(), []

    def reading(self):
        for number, frame in enumerate(iterate(self)):
            if number == 2:
                read.set()
            yield frame

    def writing(self, *arguments) -> None:
        if not waited:
            waited.extend([read.wait(60), painted.wait(60)])
        write(self, *arguments)

    class Counting(nn.Module):
        count = 0

        def forward(self, frames: Tensor, style: Tensor | None = None, state=None):
            self.count += 1
            if self.count == 2:
                painted.set()
            return frames, state

    monkeypatch.setattr(VideoReader, "__iter__", reading)
    monkeypatch.setattr(VideoWriter, "write", writing)
    _stylize(Counting(), source, tmp_path / "out.mp4")
    assert waited == [True, True]


def test_progress_without_a_terminal_is_lines(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    source = media.make_video(tmp_path / "in.mp4", n=5)
    stylize_video(Identity(), source, tmp_path / "a.mp4")
    assert capsys.readouterr().err.splitlines()[-1].startswith("a.mp4: 5/5 frames, ")
    monkeypatch.setattr(progress_module, "_LINE_SECONDS", 0.0)
    stylize_video(Identity(), source, tmp_path / "b.mp4")
    lines = capsys.readouterr().err.splitlines()
    assert lines[:2] == ["b.mp4: preparing ...", "b.mp4: 1/5 frames"] and len(lines) == 7
    assert lines[2].startswith("b.mp4: 2/5 frames, ") and lines[2].endswith("s left")
    stylize_video(Identity(), source, tmp_path / "c.mp4", progress=False)
    assert capsys.readouterr().err == ""


class Compiles:
    """An engine whose first frame takes two seconds."""

    def __init__(self) -> None:
        self._ready = False

    def reset(self) -> None:
        pass

    def __call__(self, frame: np.ndarray, out: np.ndarray) -> np.ndarray:
        time.sleep(0.01 if self._ready else 2.0)
        self._ready = True
        np.copyto(out, frame)
        return out


def test_what_an_engine_takes_to_get_ready_is_no_speed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    source = media.make_video(tmp_path / "in.mp4", n=12)
    monkeypatch.setattr(progress_module, "_LINE_SECONDS", 0.0)
    report = stylize_video(Compiles(), source, tmp_path / "out.mp4")
    preparing, first, *others = capsys.readouterr().err.splitlines()
    assert preparing == "out.mp4: preparing ..." and first == "out.mp4: 1/12 frames"
    assert report.preparing >= 2 and report.fps > 12, "with the first frame it would be less than six"
    for line in others:
        assert float(re.search(r"([\d.]+) FPS", line)[1]) > 12, line
    assert all(float(re.search(r"(\d+) s left", line)[1]) < 2 for line in others[:-2])


def _cuts(frames: np.ndarray) -> list[int]:
    is_cut = CutDetector()
    return [number for number, frame in enumerate(frames) if is_cut(frame)]


def _scene(seed: int, length: int, speed: int = 3) -> np.ndarray:
    """A window that pans over a large smooth random picture; scenes of different seeds differ in colour."""
    rng = np.random.default_rng(seed)
    coarse = rng.uniform(0, 255, (12, 24, 3)) * 0.5 + rng.uniform(0, 128, 3)
    picture = torch.nn.functional.interpolate(
        torch.from_numpy(coarse).permute(2, 0, 1)[None], size=(144, 640), mode="bicubic"
    )[0].permute(1, 2, 0)
    picture = picture.clamp(0, 255).byte().numpy()
    return np.stack([picture[:, speed * t : speed * t + 256] for t in range(length)])


def test_cuts_between_scenes_are_found() -> None:
    frames = np.concatenate([_scene(seed, 12) for seed in range(6)])
    assert _cuts(frames) == [12, 24, 36, 48, 60]


def test_cuts_are_found_in_lossy_video(tmp_path: Path) -> None:
    frames = np.concatenate([_scene(seed, 10) for seed in (1, 2)])
    path = media.make_video(tmp_path / "v.mp4", frames=frames, options={"crf": "30"})
    assert _cuts(np.stack(media.decode_sequentially(path))) == [10]


@pytest.mark.parametrize("speed", [0, 1, 5, 25])
def test_motion_is_no_cut(speed: int) -> None:
    assert _cuts(_scene(0, 14, speed)) == []
    assert _cuts(media.pattern_frames(40)) == []


def test_sudden_motion_noise_and_brightness_are_no_cuts() -> None:
    still, fast = _scene(0, 10, 0), _scene(0, 10, 25)
    assert _cuts(np.concatenate([still, fast])) == []
    noise = np.random.default_rng(0).normal(0, 20, still.shape)
    assert _cuts((still + noise).clip(0, 255).astype(np.uint8)) == []
    fade = [(still[0] * (1 - 0.04 * t)).astype(np.uint8) for t in range(20)]
    assert _cuts(np.stack(fade)) == []


def test_the_smallest_frame_and_a_huge_one() -> None:
    assert _cuts(np.stack([np.zeros((16, 16, 3), np.uint8), np.full((16, 16, 3), 255, np.uint8)])) == [1]
    assert _cuts(np.zeros((2, 1080, 1920, 3), np.uint8)) == []


def test_an_unfinished_container_is_never_left_open(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An unclosed container in a parent process deadlocks workers that are forked from it."""
    opened = []
    real_open = av.open

    def recording(*arguments, **options):
        opened.append(real_open(*arguments, **options))
        return opened[-1]

    source = media.make_video(tmp_path / "in.mp4", n=40, audio="aac")
    monkeypatch.setattr(av, "open", recording)
    with pytest.raises(RuntimeError):
        _stylize(Failing(5, RuntimeError()), source, tmp_path / "out.mp4")
    inputs = [c for c in opened if isinstance(c, av.container.InputContainer)]
    assert len(inputs) >= 3
    for container in inputs:
        with pytest.raises(AssertionError, match="not open"):
            container.seek(0)


def test_an_engine_paints_what_its_stylizer_does(tmp_path: Path) -> None:
    """Also the cut, which resets both, and a rotation."""
    torch.manual_seed(0)
    network = Stylizer(ResidualGenerator(8, 1), ConvGRU(8)).eval()
    frames = np.concatenate([media.pattern_frames(6, 96, 64), 255 - media.pattern_frames(6, 96, 64, seed=1)])
    source = media.make_video(tmp_path / "in.mp4", frames=frames, rotation=90)
    module = _stylize(network, source, tmp_path / "module.mp4", crf=0)
    engine = _stylize(open_engine(network), source, tmp_path / "engine.mp4", crf=0)
    assert (engine.frames, engine.cuts) == (module.frames, module.cuts) == (12, 1)
    for a, b in zip(*(media.decode_sequentially(r.output) for r in (module, engine)), strict=True):
        assert np.abs(a.astype(int) - b).max() <= 3


@pytest.mark.parametrize("colour", ["bt709-limited", "bt601-full"])
def test_a_usual_film_is_painted_without_becoming_rgb(
    colour: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    torch.manual_seed(0)
    network = Stylizer(GuidedGenerator(8, 1), ConvGRU(8), SlowTone()).eval()
    frames = np.concatenate([media.pattern_frames(8, 96, 64), 255 - media.pattern_frames(8, 96, 64, seed=1)])
    info = replace(new_video(96, 64, 25), colour=BT709 if colour == "bt709-limited" else Colour(2, 6, 6, 6))
    source = tmp_path / "in.mp4"
    with VideoWriter(source, info, crf=1) as writer:
        for frame in frames:
            writer.write(frame)
    rgb = _stylize(open_engine(network), source, tmp_path / "rgb.mkv", crf=1)
    monkeypatch.setattr(VideoReader, "_rgb", None)
    planes = _stylize(open_engine(network), source, tmp_path / "planes.mkv", crf=1, planes=True)
    assert (planes.frames, planes.cuts) == (rgb.frames, rgb.cuts) == (16, 1)
    monkeypatch.undo()
    assert _times(planes.output) == _times(rgb.output)
    assert probe(planes.output).colour == probe(rgb.output).colour == info.colour
    for a, b in zip(*(media.decode_sequentially(r.output) for r in (rgb, planes)), strict=True):
        assert psnr(a.astype(int) - b) > 36, "in RGB, with the detail of colours that 4:2:0 does not keep"


@pytest.mark.parametrize(
    ("film", "output"),
    [
        ({"rotation": 90}, {}),
        ({"pix_fmt": "yuv444p"}, {}),
        ({"pix_fmt": "yuv420p10le"}, {}),
        ({}, {"pix_fmt": "yuv444p"}),
        ({"options": {"colorspace": "bt2020nc"}}, {}),
    ],
)
def test_what_is_not_usual_becomes_rgb(film: dict, output: dict, tmp_path: Path) -> None:
    media.make_video(tmp_path / "in.mp4", n=2, width=64, height=48, **film)
    engine = open_engine(Stylizer(GuidedGenerator(8, 1), ConvGRU(8)).eval())
    with VideoReader(tmp_path / "in.mp4") as reader, VideoWriter(tmp_path / "out.mp4", reader.info, **output) as writer:
        assert without_rgb(reader, engine, writer) == (engine, None)
        writer.write(next(iter(reader)).image)


def test_memory_stays_flat_over_a_long_video(tmp_path: Path) -> None:
    """Of Python and numpy: nothing of a frame is kept. What the libraries keep shows in benchmarks/long_video.py."""
    source = media.make_video(tmp_path / "in.mp4", n=300, width=32, height=32)
    torch.manual_seed(0)
    engine = open_engine(Stylizer(ResidualGenerator(8, 1), ConvGRU(8)).eval())
    traced: dict[int, int] = {}
    calls = iter(range(1, 1000))

    class Watched:
        reset = engine.reset

        def __call__(self, frame: np.ndarray, out: np.ndarray) -> np.ndarray:
            if (number := next(calls)) in (60, 290):  # at the first, the buffers of all stages are there
                gc.collect()
                traced[number] = tracemalloc.get_traced_memory()[0]
            return engine(frame, out)

    tracemalloc.start()
    try:
        report = _stylize(Watched(), source, tmp_path / "out.mp4")
    finally:
        tracemalloc.stop()
    assert report.frames == 300
    assert traced[290] - traced[60] < 230 * 1024, "a frame has 3,072 bytes: one kept of each would be told"


def test_an_engine_alone_leaves_the_border_of_a_splice_black(tmp_path: Path) -> None:
    frames = media.pattern_frames(8, 96, 64)
    first = media.make_video(tmp_path / "a.mp4", frames=frames)
    tall = media.make_video(tmp_path / "b.mp4", frames=frames[:, :, :48])

    class Negative:
        def reset(self) -> None: ...
        def __call__(self, frame: np.ndarray, out: np.ndarray) -> np.ndarray:
            return np.subtract(255, frame, out=out)

    stylize_video(Negative(), [first, tall], tmp_path / "out.mp4", crf=4, progress=False)
    made = np.stack(media.decode_sequentially(tmp_path / "out.mp4"))
    assert made[:8, :, :20].mean() > 100 and made[8:, :, :22].max() < 40 and made[8:, :, :20].mean() < 3
    assert made[8:, :, 28:68].mean() > 100


class Trail:
    """A stateful engine without a network: half of the frame, half of what it painted before."""

    def __init__(self) -> None:
        self.painted = 0
        self.reset()

    def reset(self) -> None:
        self._last: Tensor | None = None

    def __call__(self, frame: np.ndarray, out: np.ndarray) -> np.ndarray:
        self.painted += 1
        image = torch.from_numpy(frame).float()
        self._last = image if self._last is None else (self._last + image) / 2
        np.copyto(out, self._last.round().byte().numpy())
        return out

    def read_state(self) -> list[Tensor]:
        return [self._last]

    def load_state(self, state: list[Tensor]) -> None:
        assert self._last is not None, "there is room for a memory only after a frame"
        [self._last] = state


def _long_film(path: Path) -> Path:
    """With a cut shortly behind the end of a segment, where the detector has to know the segment's last frame."""
    frames = np.concatenate([media.pattern_frames(24), media.pattern_frames(21, seed=1)])
    return media.make_video(path, frames=frames, bframes=2, audio="aac")


KILLED = """
import os, signal, sys
from fractions import Fraction
from pathlib import Path
from tests.test_stream import Trail
from vst.stream import stylize_video
from vst.video import segments
segments.SEGMENT_SECONDS = Fraction(8, 25)
folder, at = Path(sys.argv[1]), int(sys.argv[2])

class Dying(Trail):
    def __call__(self, frame, out):
        if self.painted == at:
            os.kill(os.getpid(), signal.SIGKILL)
        return super().__call__(frame, out)

stylize_video(Dying(), folder / "in.mp4", folder / "out.mp4", resume=True, progress=False)
"""


def test_a_resumed_engine_has_the_moments_of_its_tone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(segments_module, "SEGMENT_SECONDS", Fraction(4, 25))
    film = media.pattern_frames(12) * np.linspace(0.5, 1, 12)[:, None, None, None]  # whose statistics change
    source = media.make_video(tmp_path / "in.mp4", frames=film.astype(np.uint8))
    torch.manual_seed(0)
    tone = SlowTone(pace=0.1)
    tone.set_style([torch.rand(3, 24, 24)])
    network = Stylizer(ResidualGenerator(8, 1), ConvGRU(8), tone).eval()
    whole = _stylize(open_engine(network), source, tmp_path / "whole.mp4", resume=True)

    class Dying:
        def __init__(self) -> None:
            self.engine, self.calls = open_engine(network), 0

        def __getattr__(self, name: str) -> Any:
            return getattr(self.engine, name)

        def __call__(self, frame: np.ndarray, out: np.ndarray) -> np.ndarray:
            self.calls += 1
            if self.calls == 10:
                raise KeyboardInterrupt
            return self.engine(frame, out)

    with pytest.raises(KeyboardInterrupt):
        _stylize(Dying(), source, tmp_path / "out.mp4", resume=True)
    resumed = _stylize(open_engine(network), source, tmp_path / "out.mp4", resume=True)
    assert resumed.output.read_bytes() == whole.output.read_bytes()


@pytest.mark.skipif(sys.platform == "win32", reason="needs SIGKILL")
def test_a_killed_job_goes_on_to_the_same_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(segments_module, "SEGMENT_SECONDS", Fraction(8, 25))
    source = _long_film(tmp_path / "in.mp4")
    whole = stylize_video(Trail(), source, tmp_path / "whole.mp4", resume=True, progress=False)
    assert (whole.frames, whole.cuts) == (45, 1)
    for at in (29, 12):  # the second run begins behind the segments of the first
        killed = subprocess.run([sys.executable, "-c", KILLED, str(tmp_path), str(at)], timeout=120)
        assert killed.returncode == -signal.SIGKILL
        assert not (tmp_path / "out.mp4").exists()
        assert sum(path.suffix == ".npz" for path in (tmp_path / ".out.mp4.parts").iterdir()) >= 2
    engine = Trail()
    report = stylize_video(engine, source, tmp_path / "out.mp4", resume=True, progress=False)
    assert report.frames == 45 and engine.painted < 25
    assert (tmp_path / "out.mp4").read_bytes() == (tmp_path / "whole.mp4").read_bytes()
    assert sorted(p.name for p in tmp_path.iterdir()) == ["in.mp4", "out.mp4", "whole.mp4"]
    plain = stylize_video(Trail(), source, tmp_path / "plain.mp4", progress=False)
    shown = [media.decode_sequentially(path) for path in (report.output, plain.output)]
    assert np.abs(np.stack(shown[0]).astype(int) - np.stack(shown[1])).mean() < 4
    assert _times(report.output) == _times(plain.output)


@pytest.mark.parametrize("at", [20, 44])
def test_ctrl_c_of_a_network_leaves_only_what_can_be_resumed(
    at: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(segments_module, "SEGMENT_SECONDS", Fraction(8, 25))
    source = _long_film(tmp_path / "in.mp4")
    network = RunningMean()
    whole = _stylize(network, source, tmp_path / "whole.mp4", resume=True)
    forward, calls = network.forward, iter(range(1000))

    def interrupted(*arguments):
        if next(calls) == at:
            raise KeyboardInterrupt
        return forward(*arguments)

    monkeypatch.setattr(network, "forward", interrupted)
    with pytest.raises(KeyboardInterrupt):
        _stylize(network, source, tmp_path / "out.mp4", resume=True)
    assert sorted(p.name for p in tmp_path.iterdir()) == [".out.mp4.parts", "in.mp4", "whole.mp4"]
    monkeypatch.setattr(network, "forward", forward)
    report = _stylize(network, source, tmp_path / "out.mp4", resume=True)
    assert report.frames == whole.frames
    assert report.output.read_bytes() == whole.output.read_bytes()


def test_resuming_asks_for_the_same_job(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(segments_module, "SEGMENT_SECONDS", Fraction(8, 25))
    source = media.make_video(tmp_path / "in.mp4", n=20)

    class Painting(nn.Module):
        def __init__(self, value: float, at: int = -1) -> None:
            super().__init__()
            self.value, self.at, self.calls = nn.Parameter(torch.tensor(value)), at, 0

        def forward(self, frames: Tensor, style: Tensor | None = None, state=None):
            self.calls += 1
            if self.calls == self.at:
                raise KeyboardInterrupt
            return frames * self.value, state

    with pytest.raises(KeyboardInterrupt):
        _stylize(Painting(0.5, at=18), source, tmp_path / "out.mp4", resume=True, job={"look": 1})
    for stylizer, options, words in [
        (Painting(0.25), {"job": {"look": 1}}, "weights was"),
        (Painting(0.5), {"job": {"look": 2}}, "look.look was 1, is 2"),
        (Painting(0.5), {"job": {"look": 1}, "end": 0.5}, "end was None, is 0.5"),
    ]:
        with pytest.raises(UserError, match=f"another job: .*{words}"):
            _stylize(stylizer, source, tmp_path / "out.mp4", resume=True, **options)
    assert _stylize(Painting(0.5), source, tmp_path / "out.mp4", resume=True, job={"look": 1}).frames == 20


def test_what_cannot_be_resumed_is_told(tmp_path: Path) -> None:
    source = media.make_video(tmp_path / "in.mp4", n=3)

    class Forgetful:
        reset, __call__ = Trail.reset, Trail.__call__

    for engine, given, target, words in [
        (Forgetful(), source, tmp_path / "out.mp4", "memory of Forgetful cannot be kept"),
        (Trail(), f"file://{source}", tmp_path / "out.mp4", "can be read only once"),
        (Trail(), source, tmp_path / "frames", r"not one of \.mp4"),
        (Trail(), source, "-", "needs a file"),
    ]:
        with pytest.raises(UserError, match=words):
            stylize_video(engine, given, target, resume=True, progress=False)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["in.mp4"]


@pytest.mark.parametrize("rotation", [0, 90])
def test_an_engine_is_told_the_time_and_may_change_the_size(rotation: int, tmp_path: Path) -> None:
    """As a comparison does, which shows before and after side by side."""

    class Beside:
        def __init__(self) -> None:
            self.times: list[float] = []

        def reset(self) -> None: ...

        def at(self, seconds: float) -> None:
            self.times.append(seconds)

        def output_size(self, width: int, height: int) -> tuple[int, int]:
            return 2 * width, height

        def __call__(self, frame: np.ndarray, out: np.ndarray) -> np.ndarray:
            np.copyto(out, np.concatenate([frame, 255 - frame], axis=1))
            return out

    source = media.make_video(tmp_path / "in.mp4", n=50, rotation=rotation)
    engine = Beside()
    report = stylize_video(engine, source, tmp_path / "out.mp4", start=1, progress=False)
    assert engine.times == pytest.approx([n / 25 for n in range(25)])
    info = probe(report.output)
    assert info.upright_size == ((128, 96) if rotation else (192, 64)) and info.rotation == rotation
    shown = np.rot90(media.decode_sequentially(report.output)[7], rotation // 90)
    left, right = np.split(shown, 2, axis=1)
    assert media.read_number(left, rotation) == media.read_number(255 - right, rotation) == 32


def test_from_a_folder_of_frames_to_a_gif(tmp_path: Path) -> None:
    source = media.make_video(tmp_path / "in.mp4", n=6)
    frames = stylize_video(Trail(), source, tmp_path / "frames", progress=False)
    assert len(list((tmp_path / "frames").iterdir())) == 6
    report = stylize_video(Identity(), frames.output, tmp_path / "out.gif", fps=10, progress=False)
    assert report.frames == 6
    with av.open(str(report.output)) as container:
        assert [float(frame.time) for frame in container.decode(video=0)] == pytest.approx([n / 10 for n in range(6)])
    with pytest.raises(UserError, match="in the same folder"):
        stylize_video(Identity(), tmp_path / "frames", tmp_path / "frames", overwrite=True, progress=False)


def test_a_splice_begins_anew(tmp_path: Path) -> None:
    """Where one video ends and the next begins, though both look alike, nothing is carried over."""
    paths = [media.make_video(tmp_path / f"{level}.mp4", frames=_flat_frames([level] * 4)) for level in (100, 110)]
    report = _stylize(RunningMean(), paths, tmp_path / "out.mp4", crf=4)
    out = [frame.mean() for frame in media.decode_sequentially(report.output)]
    assert report.cuts == 1
    np.testing.assert_allclose(out, [100] * 4 + [110] * 4, atol=2.5)


PIPED = """
import sys
from tests.test_stream import Trail
from vst.stream import stylize_video
stylize_video(Trail(), "-", "-", format="rgb24")
"""


def test_from_standard_input_to_standard_output(tmp_path: Path) -> None:
    source = media.make_video(tmp_path / "in.mp4", n=5)
    with source.open("rb") as pipe:
        result = subprocess.run([sys.executable, "-c", PIPED], stdin=pipe, capture_output=True, timeout=120)
    assert result.returncode == 0
    assert result.stderr.decode().startswith("standard output: preparing ...\nstandard output: 5/5 frames")
    assert np.frombuffer(result.stdout, np.uint8).size == 5 * 64 * 96 * 3


def test_one_frame_and_six_channels(tmp_path: Path) -> None:
    source = media.make_video(tmp_path / "in.mp4", n=1, audio="5.1")
    report = _stylize(Identity(), source, tmp_path / "out.mp4")
    info = probe(report.output)
    assert report.frames == 1 and info.has_audio
    silent = _stylize(Identity(), source, tmp_path / "silent.mp4", audio="none")
    assert not probe(silent.output).has_audio
    with pytest.raises(UserError, match="audio=mono is not one of copy, aac, opus, none"):
        _stylize(Identity(), source, tmp_path / "no.mp4", audio="mono")
