"""Films in real time, streams from the network, and what is told of sources that are not there."""

import socket
import sys
import threading
import time
from itertools import islice
from pathlib import Path

import av
import numpy as np
import pytest

from tests.media import make_video, pattern_frames, read_number
from vst.errors import UserError
from vst.live.sources import CameraSource, FileSource, StreamSource, open_source


def free_port(kind: int = socket.SOCK_DGRAM) -> int:
    with socket.socket(socket.AF_INET, kind) as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def test_a_film_plays_at_its_own_pace(tmp_path: Path) -> None:
    """Of variable frame rate: frames come at their own times."""
    stamps = [0, 40, 80, 280, 300, 400]
    path = make_video(tmp_path / "film.mp4", n=6, pts=stamps)
    arrivals, numbers = [], []
    for image in open_source(str(path)).frames(threading.Event()):
        arrivals.append(time.monotonic())
        numbers.append(read_number(image))
    assert numbers == list(range(6))
    late = (np.array(arrivals) - arrivals[0]) - np.array(stamps) / 1000
    assert (late > -0.02).all() and np.median(late) < 0.1


def test_a_film_begins_again_when_asked_to(tmp_path: Path) -> None:
    path = make_video(tmp_path / "film.mp4", n=4, fps=50)
    source = open_source(str(path), loop=True)
    assert source.finite and source.fps == 50
    numbers = [read_number(image) for image in islice(source.frames(threading.Event()), 10)]
    assert numbers == [0, 1, 2, 3, 0, 1, 2, 3, 0, 1]
    assert len(list(open_source(str(path)).frames(threading.Event()))) == 4


def test_a_film_is_shown_upright(tmp_path: Path) -> None:
    path = make_video(tmp_path / "film.mp4", n=2, fps=50, rotation=90)
    first = next(open_source(str(path)).frames(threading.Event()))
    with av.open(str(path)) as container:
        stored = next(container.decode(video=0)).to_ndarray(format="rgb24")
    assert first.shape == (96, 64, 3) and np.abs(first.astype(int) - np.rot90(stored)).mean() < 3


def test_stopping_ends_a_film_between_two_frames(tmp_path: Path) -> None:
    path = make_video(tmp_path / "film.mp4", n=3, pts=[0, 10, 20_000])
    stop, count = threading.Event(), 0
    threading.Timer(0.3, stop.set).start()
    start = time.monotonic()
    for _ in open_source(str(path)).frames(stop):
        count += 1
    assert count == 2 and time.monotonic() - start < 5


class Sender:
    """Sends numbered frames to a UDP port as MPEG-TS, in real time, from a thread; the number is kept as it is sent."""

    def __init__(self, port: int, first: int = 0, fps: int = 25) -> None:
        self.number, self._port, self._fps = first, port, fps
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def stop(self) -> None:
        self._stop.set()
        self._thread.join()

    def _run(self) -> None:
        with av.open(f"udp://127.0.0.1:{self._port}?pkt_size=1316", "w", format="mpegts") as container:
            options = {"tune": "zerolatency", "preset": "ultrafast", "g": "5"}
            stream = container.add_stream("libx264", rate=self._fps, options=options)
            stream.width, stream.height, stream.pix_fmt = 96, 64, "yuv420p"
            while not self._stop.wait(1 / self._fps):
                frame = av.VideoFrame.from_ndarray(pattern_frames(1, first=self.number)[0], format="rgb24")
                container.mux(stream.encode(frame))
                self.number += 1


def test_a_stream_arrives_with_little_delay_and_its_loss_is_noticed() -> None:
    port = free_port()
    source = open_source(f"udp://127.0.0.1:{port}", timeout=1.0)
    assert isinstance(source, StreamSource) and not source.finite
    sender, behind, numbers = Sender(port), [], []
    frames = source.frames(threading.Event())
    try:
        for image in islice(frames, 40):
            numbers.append(read_number(image))
            behind.append(sender.number - numbers[-1])
    finally:
        sender.stop()
    assert set(np.diff(numbers)) == {1} and source.fps == 25
    assert np.median(behind[-10:]) <= 4  # frames of 40 ms
    start = time.monotonic()
    with pytest.raises(UserError, match="no picture within timeout=1 seconds"):
        list(frames)
    assert 0.5 < time.monotonic() - start < 4


def test_a_stream_that_nobody_sends_is_told_within_the_time() -> None:
    source = open_source(f"udp://127.0.0.1:{free_port()}", timeout=0.5)
    start = time.monotonic()
    with pytest.raises(UserError, match=r"no picture within timeout=0.5 seconds"):
        next(source.frames(threading.Event()))
    assert time.monotonic() - start < 3
    refused = open_source(f"rtmp://127.0.0.1:{free_port(socket.SOCK_STREAM)}/live", timeout=2)
    with pytest.raises(UserError, match="connection refused"):
        next(refused.frames(threading.Event()))


def test_a_stream_of_sound_has_no_picture(tmp_path: Path) -> None:
    path = tmp_path / "sound.mp4"
    make_video(tmp_path / "both.mp4", n=5, audio="aac")
    with av.open(str(tmp_path / "both.mp4")) as given, av.open(str(path), "w") as container:
        track = container.add_stream_from_template(given.streams.audio[0])
        for packet in given.demux(given.streams.audio[0]):
            if packet.dts is not None:
                packet.stream = track
                container.mux(packet)
    with pytest.raises(UserError, match="no picture"):
        next(StreamSource(str(path), {}, 2.0).frames(threading.Event()))


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ("nothing.mp4", "no such file or device"),
        ("ftp://host/x", "no protocol ftp://"),
        ("webcam:first", "no such file or device"),
        (".", "folder"),
    ],
)
def test_what_is_no_source_is_told_at_once(given: str, said: str) -> None:
    with pytest.raises(UserError, match=said) as caught:
        open_source(given)
    assert "\n" not in str(caught.value)


def test_a_camera_that_is_not_there(capfd: pytest.CaptureFixture) -> None:
    for given, index in (("webcam:63", 63), ("/dev/video63", 63), ("webcam", 0)):
        source = open_source(given)
        assert isinstance(source, CameraSource) and source._index == index
    with pytest.raises(UserError, match="no camera 63 can be opened"):
        next(open_source("webcam:63").frames(threading.Event()))
    assert capfd.readouterr() == ("", "")  # OpenCV has its own lines for it


class FakeCapture:
    """What OpenCV's VideoCapture does, with three frames in BGR before the cable is pulled."""

    def __init__(self, index: int) -> None:
        self.settings, self.left, self.released = {}, 3, False
        FakeCapture.last = self

    def isOpened(self) -> bool:
        return True

    def set(self, key: int, value: float) -> None:
        self.settings[key] = value

    def get(self, key: int) -> float:
        return self.settings.get(key, 0.0)

    def read(self) -> tuple[bool, np.ndarray | None]:
        self.left -= 1
        return (True, np.full((48, 64, 3), (10, 20, 30), np.uint8)) if self.left >= 0 else (False, None)

    def release(self) -> None:
        self.released = True


def test_a_camera_gives_rgb_until_its_cable_is_pulled(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cv2.VideoCapture", FakeCapture)
    source = open_source("webcam", size=(640, 480), fps=25)
    seen = []
    with pytest.raises(UserError, match="gives no picture"):
        for image in source.frames(threading.Event()):
            seen.append(image)
    camera = FakeCapture.last
    assert len(seen) == 3 and all((image == (30, 20, 10)).all() for image in seen)
    assert camera.released and source.fps == 25 and {640, 480, 25, 1} == set(camera.settings.values())


@pytest.mark.skipif(sys.platform != "linux", reason="X11 is the screen of Linux")
def test_the_screen_needs_a_display(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("DISPLAY", raising=False)
    with pytest.raises(UserError, match="no display here"):
        open_source("screen")
    monkeypatch.setenv("DISPLAY", ":987")
    with pytest.raises(UserError, match="source=screen"):
        next(open_source("screen", timeout=2).frames(threading.Event()))


def test_a_file_is_a_file_whatever_its_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make_video(tmp_path / "clip.mkv", n=2)
    monkeypatch.chdir(tmp_path)
    assert isinstance(open_source("clip.mkv"), FileSource)
