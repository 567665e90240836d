"""Terminals that lack characters, pipes without a reader, closed streams: the work is done all the same."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

import av
import pytest

from tests.media import make_video
from vst.checkpoint import save_stylizer, stylizer_content
from vst.networks import build_stylizer

ROOT = Path(__file__).resolve().parents[1]
MODEL = {
    "generator": {"_target_": "vst.networks.ResidualGenerator", "width": 8, "num_blocks": 1},
    "temporal": {"_target_": "vst.networks.ConvGRU", "channels": 8},
}
FRAMES = 10
ODD = "Größe → 日本"  # in UTF-8; cp1252 has a part of it, ASCII hardly any
TERMINALS = {
    "utf-8": {"PYTHONIOENCODING": "utf-8"},
    "cp1252": {"PYTHONIOENCODING": "cp1252"},
    "ascii": {"PYTHONIOENCODING": "ascii"},
    "the C locale": {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"},
}
CLOSINGS = {
    "no reader": "2>errors",  # of standard output, which is a pipe
    "no reader at all": "2>&1",
    "closed output": ">&- 2>errors",
    "closed errors": ">lines 2>&-",
    "all closed": "<&- >&- 2>&-",
    "full disk": ">/dev/full 2>errors",
}

Started = Callable[..., subprocess.CompletedProcess[bytes]]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Checkpoints a.pt and one of an odd name, and clip.mp4, 10 frames of 64 x 48."""
    path = tmp_path_factory.mktemp("console")
    network = build_stylizer(MODEL)
    for name in ("a", ODD):
        save_stylizer(path / f"{name}.pt", stylizer_content(network, MODEL, name))
    make_video(path / "clip.mp4", n=FRAMES, width=64, height=48)
    return path


@pytest.fixture
def start(folder: Path, tmp_path: Path) -> Started:
    """A function: a script and its arguments, how its streams are redirected, variables -> the process, ended.

    It runs in an empty folder, where `$IN` is that of the checkpoints. Its standard output is a pipe without a reader
    if `reader` is false.
    """

    def run(
        *words: str, redirected: str = "", environment: Mapping[str, str] | None = None, reader: bool = True
    ) -> subprocess.CompletedProcess[bytes]:
        line = f'exec "$0" "$@" {redirected}'
        arguments = [word.replace("$IN", str(folder)) for word in words]
        command = ["bash", "-c", line, sys.executable, str(ROOT / arguments[0]), *arguments[1:]]
        variables = {**os.environ, "WANDB_MODE": "offline", "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
        for name in ("WANDB_SERVICE", "PYTHONIOENCODING", "COLUMNS"):
            variables.pop(name, None)
        variables |= environment or {}
        if reader:
            return subprocess.run(command, cwd=tmp_path, env=variables, capture_output=True, timeout=280)
        ends, given = os.pipe()
        os.close(ends)
        try:
            return subprocess.run(command, cwd=tmp_path, env=variables, stdout=given, timeout=280)
        finally:
            os.close(given)

    return run


def frames_of(path: Path) -> int:
    with av.open(str(path)) as container:
        return sum(1 for _ in container.decode(video=0))


STYLIZE = ("stylize.py", f"checkpoint=$IN/{ODD}.pt", "input=$IN/clip.mp4", f"output={ODD}.mp4")
TRAIN = (
    "train.py", "experiment=smoke", "model=convgru_tiny", "data.crop=32", "margin=8", "clip_length=2", "output_dir=run",
    "logger=csv", "callbacks.benchmark.sizes=[32x32]", "callbacks.preview.size=32",
)  # fmt: skip


@pytest.mark.parametrize("terminal", TERMINALS)
def test_a_film_whose_name_the_terminal_cannot_show(start: Started, tmp_path: Path, terminal: str) -> None:
    done = start(*STYLIZE, environment=TERMINALS[terminal])
    assert (done.returncode, b"Traceback" in done.stderr) == (0, False), done.stderr.decode()
    assert frames_of(tmp_path / f"{ODD}.mp4") == FRAMES
    *_, counted, named = done.stdout.decode("cp1252" if terminal == "cp1252" else "utf-8").splitlines()
    assert counted.startswith(f"{FRAMES} frames in ")
    if terminal == "utf-8":
        assert named == f"{ODD}.mp4"
    elif terminal == "cp1252":
        assert named == "Größe \\u2192 \\u65e5\\u672c.mp4"
    elif terminal == "ascii":
        assert named == "Gr\\xf6\\xdfe \\u2192 \\u65e5\\u672c.mp4"


@pytest.mark.parametrize("closing", CLOSINGS)
def test_a_film_that_nobody_is_told_of(start: Started, tmp_path: Path, closing: str) -> None:
    done = start(*STYLIZE, redirected=CLOSINGS[closing], reader=False)
    said = (tmp_path / "errors").read_text() if (tmp_path / "errors").exists() else ""
    assert (done.returncode, "Error" in said) == (0, False), said
    assert frames_of(tmp_path / f"{ODD}.mp4") == FRAMES


# The other commands on tiny work, and the file that is there when it is done.
COMMANDS = {
    "train": (TRAIN, "run/stylizer.pt"),
    "evaluate": (
        ("evaluate.py", f"checkpoint=$IN/{ODD}.pt", "clips=$IN/clip.mp4", "width=64", "frames=4", "metrics=quick",
         "controls=false", "drift_frames=0", "attack_steps=0", "output=report"), "report/evaluation.html",
    ),
    "export": (("export.py", f"checkpoint=$IN/{ODD}.pt", f"output={ODD}.onnx"), f"{ODD}.onnx"),
    "benchmark": (
        ("benchmark.py", f"models=['$IN/{ODD}.pt']", "sizes=[64x48]", "engines=[torch]", "seconds=0.01", "rounds=1",
         "output=report"), "report/benchmark.md",
    ),
    "live": (("live.py", f"checkpoint=$IN/{ODD}.pt", "source=$IN/clip.mp4", f"sink={ODD}.mp4"), f"{ODD}.mp4"),
}  # fmt: skip


@pytest.mark.parametrize("command", COMMANDS)
def test_other_commands_on_a_terminal_that_knows_little(start: Started, tmp_path: Path, command: str) -> None:
    words, made = COMMANDS[command]
    done = start(*words, environment=TERMINALS["ascii"])
    assert (done.returncode, b"Traceback" in done.stderr) == (0, False), done.stderr.decode()
    assert done.stdout.isascii() and done.stderr.isascii() and (tmp_path / made).is_file()


@pytest.mark.parametrize("command", COMMANDS)
def test_other_commands_without_a_reader(start: Started, tmp_path: Path, command: str) -> None:
    words, made = COMMANDS[command]
    assert start(*words, redirected="2>&1", reader=False).returncode == 0
    assert (tmp_path / made).is_file()
