"""Terminals that lack characters, pipes without a reader, closed streams: the work is done all the same."""

from __future__ import annotations

import fcntl
import os
import pty
import struct
import subprocess
import sys
import termios
from collections.abc import Callable, Mapping
from importlib.util import find_spec
from pathlib import Path

import av
import pytest

from tests.media import make_video
from vst.checkpoint import save_stylizer, stylizer_content
from vst.console import secure
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
NEEDED = [pytest.mark.skipif(find_spec(name) is None, reason=f"needs {name}") for name in ("onnx", "onnxscript")]
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


OTHERS = [pytest.param(name, marks=NEEDED if name == "export" else []) for name in COMMANDS]


@pytest.mark.parametrize("command", OTHERS)
def test_other_commands_on_a_terminal_that_knows_little(start: Started, tmp_path: Path, command: str) -> None:
    words, made = COMMANDS[command]
    done = start(*words, environment=TERMINALS["ascii"])
    assert (done.returncode, b"Traceback" in done.stderr) == (0, False), done.stderr.decode()
    assert done.stdout.isascii() and done.stderr.isascii() and (tmp_path / made).is_file()


@pytest.mark.parametrize("command", OTHERS)
def test_other_commands_without_a_reader(start: Started, tmp_path: Path, command: str) -> None:
    words, made = COMMANDS[command]
    assert start(*words, redirected="2>&1", reader=False).returncode == 0
    assert (tmp_path / made).is_file()


class Terminal:
    """A terminal of 100 columns that knows ASCII alone, and a command that runs on it."""

    def __init__(self, folder: Path, cwd: Path, *words: str) -> None:
        self.ours, theirs = pty.openpty()
        fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 30, 100, 0, 0))
        variables = {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONIOENCODING": "ascii", "TERM": "xterm"}
        command = [sys.executable, str(ROOT / words[0]), *(word.replace("$IN", str(folder)) for word in words[1:])]
        # A session of its own, or the end of the terminal would be a signal.
        self.process = subprocess.Popen(command, cwd=cwd, env=variables, stdout=theirs, stderr=theirs)
        os.close(theirs)

    def read(self, until: bytes | None = None) -> bytes:
        """What is printed, up to `until` or the end."""
        said = b""
        while until is None or until not in said:
            try:
                more = os.read(self.ours, 4096)
            except OSError:  # the other side has ended
                more = b""
            if not more:
                return said
            said += more
        return said

    def leave(self) -> None:
        os.close(self.ours)


@pytest.mark.parametrize(
    ("words", "made", "bar"), [(TRAIN, "run/stylizer.pt", b"elapsed"), (STYLIZE, f"{ODD}.mp4", b"FPS")]
)
def test_the_bar_of_a_terminal_that_knows_little(folder: Path, tmp_path: Path, words, made: str, bar: bytes) -> None:
    terminal = Terminal(folder, tmp_path, *words)
    said = terminal.read()
    terminal.leave()
    assert terminal.process.wait(60) == 0, said.decode()
    assert said.isascii() and bar in said and b"\x1b[" in said and b"Traceback" not in said
    assert (tmp_path / made).is_file()


@pytest.mark.parametrize(
    ("words", "made", "bar"), [(TRAIN, "run/stylizer.pt", b"elapsed"), (STYLIZE, f"{ODD}.mp4", b"FPS")]
)
def test_a_terminal_that_goes_away(folder: Path, tmp_path: Path, words, made: str, bar: bytes) -> None:
    terminal = Terminal(folder, tmp_path, *words)
    terminal.read(until=bar)
    terminal.leave()
    assert terminal.process.wait(280) == 0
    assert (tmp_path / made).is_file()


@pytest.mark.parametrize(
    ("redirected", "reader", "line"),
    [
        ("2>errors", False, "error: the program behind the pipe ended after "),
        (">&- 2>errors", True, "error: standard output is closed, and output=- sends frames there"),
        (">/dev/full 2>errors", True, "error: the disk is full"),
    ],
)
def test_frames_are_not_forgiven(start: Started, tmp_path: Path, redirected: str, reader: bool, line: str) -> None:
    done = start(*STYLIZE[:-1], "output=-", "format=rgb24", redirected=redirected, reader=reader)
    errors = [
        line for line in (tmp_path / "errors").read_text().splitlines() if not line.startswith("standard output: ")
    ]
    assert done.returncode == 1 and len(errors) == 1 and errors[0].startswith(line)


def test_help_may_be_cut_off(start: Started, tmp_path: Path) -> None:
    for words in (["--help"], ["--version"], ["--hydra-help"], ["--cfg", "job"]):
        done = start("stylize.py", *words, redirected="2>errors", reader=False)
        assert (done.returncode, (tmp_path / "errors").read_text()) == (0, "")


def test_output_of_another_program_is_left_alone() -> None:
    """As where a notebook or a test has taken the place of standard output."""
    mine = sys.stdout
    secure()
    assert sys.stdout is mine
