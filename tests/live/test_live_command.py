"""`live.py` as a person starts it: in real processes, and with mistakes."""

import math
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import av
import pytest

from tests.media import make_video, read_numbers
from vst.checkpoint import load_stylizer, save_stylizer, stylizer_content
from vst.commands.live import _tell, live, read_names
from vst.live.loop import LiveReport, SinkReport
from vst.live.meter import Pace
from vst.networks import build_stylizer
from vst.runtime.formats import write_onnx
from vst.runtime.graph import FrameGraph

ROOT = Path(__file__).resolve().parents[2]
MODEL = {
    "generator": {"_target_": "vst.networks.ResidualGenerator", "width": 4, "num_blocks": 1},
    "temporal": {"_target_": "vst.networks.Stateless"},
}


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Two styles of random weights and a film of two seconds, in the working folder."""
    for name in ("one.pt", "two.pt"):
        save_stylizer(tmp_path / name, stylizer_content(build_stylizer(MODEL), MODEL, "random"))
    make_video(tmp_path / "film.mp4", n=50, fps=25)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def numbers_of(path: Path) -> list[int]:
    with av.open(str(path)) as container:
        return read_numbers([frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)])


def test_a_film_to_a_file_with_two_styles(folder: Path, capsys: pytest.CaptureFixture) -> None:
    live(["checkpoint=[one.pt,two.pt]", "first=two", "source=film.mp4", "sink=out.mp4", "strength=0.2", "device=cpu"])
    out = capsys.readouterr().out
    assert "received 50" in out and out.rstrip().endswith("out.mp4") and "latency p50" in out
    numbers = numbers_of(folder / "out.mp4")
    assert numbers == sorted(set(numbers)) and numbers[0] == 0 and numbers[-1] == 49 and len(numbers) > 25


def test_it_is_told_that_sound_is_left_out(folder: Path, capsys: pytest.CaptureFixture) -> None:
    make_video(folder / "heard.mp4", n=5, audio="aac")
    for source, is_told in (("heard.mp4", True), ("film.mp4", False)):
        live(["checkpoint=one.pt", f"source={source}", "sink=out.mp4", "overwrite=true", "device=cpu"])
        assert (f"that of {source} is left out" in capsys.readouterr().out) == is_told


def test_an_exported_file_brings_its_engine(folder: Path, capsys: pytest.CaptureFixture) -> None:
    for package in ("onnx", "onnxscript", "onnxruntime"):
        pytest.importorskip(package)
    write_onnx(FrameGraph(load_stylizer(folder / "one.pt")), folder / "one.onnx")
    live(["checkpoint=[one.onnx,two.pt]", "source=film.mp4", "sink=out.mp4", "strength=0.2", "device=cpu"])
    assert [line for line in capsys.readouterr().out.splitlines() if "preparing" in line] == [
        "live      preparing one (1 of 2)", "live      preparing two (2 of 2)",
    ]  # fmt: skip
    assert numbers_of(folder / "out.mp4")[-1] == 49


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([], "checkpoint: missing"),
        (["checkpoint=none.pt", "source=film.mp4", "sink=out.mp4"], "checkpoint 'none.pt': not found"),
        (["checkpoint=one.pt", "source=nothing.mp4", "sink=out.mp4"], "source=nothing.mp4: no such file"),
        (["checkpoint=one.pt", "source=webcam:63", "sink=out.mp4"], "no camera 63"),
        (["checkpoint=one.pt", "source=udp://127.0.0.1:9", "sink=out.mp4", "timeout=0.3"], "within timeout=0.3"),
        (["checkpoint=one.pt", "source=film.mp4", "sink=windw"], "did you mean 'window'"),
        (["checkpoint=one.pt", "source=film.mp4", "sink=[a.mp4,a.mp4]"], "that differ"),
        (["checkpoint=one.pt", "source=film.mp4", "sink=rtmp://127.0.0.1:9/x"], "connection refused"),
        (["checkpoint=one.pt", "source=film.mp4", "sink=out.mp4", "first=three"], "no such style"),
        (["checkpoint=one.pt", "source=film.mp4", "sink=out.mp4", "size=1280"], "size=1280: give width"),
        (["checkpoint=one.pt", "source=film.mp4", "sink=out.mp4", "size=12x7"], "at least 16 on each side"),
        (["checkpoint=one.pt", "engine=torch_compile"], "add min_scale=1"),
        (["checkpoint=one.pt", "ui=web", "sink=out.mp4"], "leave out sink=out.mp4"),
        (["checkpoint=one.pt", "min_scale=2"], "min_scale: 2"),
    ],
)
def test_mistakes_are_one_line(folder: Path, capsys: pytest.CaptureFixture, arguments: list[str], said: str) -> None:
    before = set(folder.iterdir())
    with pytest.raises(SystemExit) as caught:
        live([*arguments, "device=cpu"])
    error = capsys.readouterr().err
    assert caught.value.code == 1 and said in error and len(error.strip().splitlines()) == 1
    assert set(folder.iterdir()) == before


def test_lists_are_read() -> None:
    urls = ["udp://h:1?pkt_size=1316", "out.mp4"]
    assert read_names(urls) == read_names(f"[{urls[0]},{urls[1]}]") == urls and read_names("window") == ["window"]


@pytest.fixture
def running(folder: Path) -> Callable[..., subprocess.Popen]:
    """A function: arguments -> `live.py` of a film without end into `out.mp4`, once it is told to be running."""

    def start(*arguments: str) -> subprocess.Popen:
        command = [sys.executable, str(ROOT / "live.py"), "checkpoint=[one.pt,two.pt]", "source=film.mp4", "loop=true"]
        process = subprocess.Popen(
            [*command, "sink=out.mp4", "strength=0.2", "device=cpu", *arguments],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env={**os.environ},
        )  # fmt: skip
        assert "keys:" in process.stdout.readline()
        time.sleep(4)
        return process

    return start


@pytest.mark.parametrize("how", ["Ctrl-C", "SIGTERM", "quit"])
def test_stopping_leaves_a_whole_file(folder: Path, running: Callable[..., subprocess.Popen], how: str) -> None:
    process = running()
    if how == "quit":
        process.stdin.write("style two\nstrength 0.1\nquit\n")
        process.stdin.close()
    else:
        process.send_signal({"Ctrl-C": signal.SIGINT, "SIGTERM": signal.SIGTERM}[how])
    assert process.wait(30) == 0
    said = process.stdout.read()
    assert "painted" in said and "Traceback" not in said and said.rstrip().endswith("out.mp4")
    assert len(numbers_of(folder / "out.mp4")) >= 10 and not list(folder.glob(".*.part"))


def test_only_what_was_written_is_named(capsys: pytest.CaptureFixture) -> None:
    sinks = [SinkReport("a.mkv", 0, 0, Pace(0.0, math.nan, math.nan)), SinkReport("b.mp4", 3, 0, Pace(25.0, 0.1, 0.2))]
    _tell(LiveReport(0.1, 3, 3, 0, 0, 0, 0, 0, 1.0, 0, sinks))
    assert capsys.readouterr().out.splitlines()[1:] == [
        "a.mkv: no frame came that far, so nothing was written",
        "b.mp4: 3 frames, 0 skipped, 25.0 FPS, latency p50 100 ms, p95 200 ms",
        "b.mp4",
    ]
