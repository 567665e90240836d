"""The window, on a screen in memory, seen by the source that grabs the screen."""

import os
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import av
import numpy as np
import pytest

from tests.live.fakes import FakeSource, grey_frames, paint
from vst.errors import UserError
from vst.live.sinks import open_sink
from vst.live.sources import open_source


def test_a_window_needs_a_display(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("DISPLAY", raising=False)
    if sys.platform != "linux":
        pytest.skip("only X11 can be without a display")
    with pytest.raises(UserError, match=r"no display here|needs Python with Tk"):
        open_sink("window")


@pytest.fixture(scope="module")
def screen_in_memory() -> Iterator[str]:
    """One for all tests: Tk stays connected to a display until the process ends, and ends with it."""
    pytest.importorskip("tkinter")
    if shutil.which("Xvfb") is None:
        pytest.skip("Xvfb is not installed")
    reading, writing = os.pipe()
    command = ["Xvfb", "-displayfd", str(writing), "-screen", "0", "800x600x24", "-nolisten", "tcp"]
    server = subprocess.Popen(command, pass_fds=[writing], stderr=subprocess.DEVNULL)
    os.close(writing)
    try:
        yield f":{os.read(reading, 16).decode().strip()}"
    finally:
        os.close(reading)
        server.terminate()
        server.wait()


@pytest.fixture
def display(screen_in_memory: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DISPLAY", screen_in_memory)


def test_a_window_shows_the_frames_and_the_screen_is_a_source(display: None) -> None:
    """The one is looked at through the other."""
    keys, closed = [], []
    sink = open_sink("window", press=keys.append, quit=lambda: closed.append(True))
    assert sink.in_main_thread and sink.own_screen
    sink.open(400, 300, 25.0)
    sink._root.geometry("400x300+100+50")
    image = np.full((300, 400, 3), (250, 120, 10), np.uint8)
    for number in range(3):
        sink.write(image, float(number))
        time.sleep(0.1)
    screen = open_source("screen", fps=10, timeout=5)
    seen = next(screen.frames(threading.Event()))
    assert seen.shape == (600, 800, 3)
    assert share_of(image[0, 0], seen[60:340, 110:490]) > 0.98  # a pointer lies over it
    assert not seen[400:, 600:].any()
    sink._root.geometry("200x300+100+50")  # narrower: fitted in, with black bars
    for _ in range(5):
        sink.poll()
        sink.write(image, 4.0)
        time.sleep(0.1)
    seen = next(screen.frames(threading.Event()))
    assert share_of(image[0, 0], seen[150:250, 110:290]) > 0.98 and not seen[55:100, 110:290].any()
    sink._root.focus_force()
    sink.poll()
    sink._root.event_generate("<Key>", keysym="plus")
    sink._root.event_generate("<Key>", keysym="Escape")
    sink.poll()
    assert keys == ["+", "Escape"]
    sink._root.tk.call(*sink._root.protocol("WM_DELETE_WINDOW").split())
    assert closed == [True]
    sink.close()


def share_of(color: np.ndarray, picture: np.ndarray) -> float:
    """Share of the pixels that are of this colour."""
    return float((np.abs(picture.astype(int) - color) < 8).all(axis=2).mean())


def test_a_window_runs_in_the_loop_beside_a_file(display: None, tmp_path: Path) -> None:
    path = tmp_path / "out.mp4"
    report = paint(FakeSource(grey_frames(30, 96, 64), fps=30), [open_sink("window"), open_sink(str(path))])
    window, film = report.sinks
    assert window.delivered > 20 and film.delivered == len(played_levels(path)) and path.exists()


def played_levels(path: Path) -> list[int]:
    with av.open(str(path)) as container:
        return [int(frame.to_ndarray(format="gray").mean()) for frame in container.decode(video=0)]
