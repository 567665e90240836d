"""Files, playlists and streams are whole and readable; a camera is fed; what cannot be is told."""

import socket
import sys
import threading
import time
from pathlib import Path
from types import SimpleNamespace

import av
import numpy as np
import pytest

from tests.live.fakes import FakeSource, paint
from tests.live.test_sources import free_port
from tests.media import pattern_frames, read_number, read_numbers
from vst.errors import UserError
from vst.live.sink import Sink, SinkLost, Stamps
from vst.live.sinks import open_sink
from vst.live.sources import open_source

FRAMES = pattern_frames(30, 96, 64)


def feed(sink: Sink, times: np.ndarray, size: tuple[int, int] = (96, 64)) -> None:
    """Deliver as many pattern frames, captured at `times` in seconds."""
    sink.open(*size, 25.0)
    for image, seconds in zip(pattern_frames(len(times), *size), times, strict=True):
        sink.write(image, seconds)
    sink.close()


def played(path: Path) -> tuple[list[int], list[float]]:
    """The numbers of the frames and their times in seconds from the first one."""
    with av.open(str(path)) as container:
        frames = list(container.decode(container.streams.video[0]))
    numbers = read_numbers([frame.to_ndarray(format="rgb24") for frame in frames])
    return numbers, [frame.time - frames[0].time for frame in frames]


@pytest.mark.parametrize("name", ["out.mp4", "out.mkv", "out.mov"])
def test_a_file_keeps_the_times_of_capture(tmp_path: Path, name: str) -> None:
    times = 1234.5 + np.array([0, 0.04, 0.08, 0.5, 0.54, 2.0])
    feed(open_sink(str(tmp_path / name)), times)
    numbers, shown = played(tmp_path / name)
    assert numbers == list(range(6)) and shown == pytest.approx(times - times[0], abs=1e-3)
    assert [path.name for path in tmp_path.iterdir()] == [name]


def test_a_file_is_not_there_before_it_is_whole_and_stopping_makes_it_whole(tmp_path: Path) -> None:
    path, seen = tmp_path / "out.mp4", []
    sink = open_sink(str(path))
    sink.open(96, 64, 25.0)
    sink.write(FRAMES[0], 0.0)
    seen.append(path.exists())
    sink.close()
    assert seen == [False] and played(path)[0] == [0]


def test_a_run_that_is_stopped_leaves_a_whole_file(tmp_path: Path) -> None:
    path = tmp_path / "out.mp4"
    source = FakeSource(list(pattern_frames(20, 96, 64)), fps=100)
    report = paint(source, [open_sink(str(path))], numbers="none")
    numbers, _ = played(path)
    assert len(numbers) == report.sinks[0].delivered and numbers == sorted(set(numbers)) and numbers[-1] == 19


def test_stamps_rise_whatever_the_clock_says() -> None:
    stamps = Stamps()
    assert [stamps(t) for t in (5.0, 5.04, 5.04, 5.0402, 5.02, 6.0)] == [0, 40, 41, 42, 43, 1000]


def test_a_playlist_is_whole_at_the_end_and_keeps_the_last_segments(tmp_path: Path) -> None:
    path = tmp_path / "live.m3u8"
    feed(open_sink(str(path)), np.arange(150) / 5)  # 30 s at 5 frames a second
    text = path.read_text()
    segments = [line for line in text.splitlines() if line.endswith(".ts")]
    assert text.rstrip().endswith("#EXT-X-ENDLIST") and len(segments) == 10
    assert len(list(tmp_path.glob("*.ts"))) <= 12  # older ones are deleted
    numbers, _ = played(path)
    assert numbers == list(range(numbers[0], 150)) and len(numbers) >= 95


def test_there_is_a_key_frame_every_second_whatever_the_rate(tmp_path: Path) -> None:
    path = tmp_path / "live.m3u8"
    times = np.concatenate([np.arange(0, 3, 0.04), np.arange(3, 8, 0.4)])  # 25 a second, then 2.5
    feed(open_sink(str(path)), times)
    with av.open(str(path)) as container:
        frames = list(container.decode(video=0))
    keys = [frame.time - frames[0].time for frame in frames if frame.key_frame]
    assert max(np.diff(keys)) <= 1.25 and len(keys) >= 6


def test_odd_sizes_are_padded(tmp_path: Path) -> None:
    feed(open_sink(str(tmp_path / "live.m3u8")), np.arange(5) / 5, (97, 65))
    with av.open(str(tmp_path / "live.m3u8")) as container:
        frame = next(container.decode(video=0))
    assert (frame.width, frame.height) == (98, 66) and read_number(frame.to_ndarray(format="rgb24")) == 0


def test_colours_arrive_as_they_were_sent(tmp_path: Path) -> None:
    image = np.full((64, 96, 3), (200, 60, 30), np.uint8)
    sink = open_sink(str(tmp_path / "live.m3u8"))
    sink.open(96, 64, 25.0)
    sink.write(image, 0.0)
    sink.close()
    got = next(open_source(str(tmp_path / "live.m3u8")).frames(threading.Event()))
    assert np.abs(got.astype(int) - image).max() <= 6


class Receiver:
    """Reads a URL in a thread and keeps the numbers of the frames that arrive."""

    def __init__(self, url: str, options: dict[str, str] | None = None) -> None:
        self.numbers: list[int] = []
        self.error: Exception | None = None
        self._thread = threading.Thread(target=self._run, args=(url, options or {}))
        self._thread.start()

    def join(self) -> None:
        self._thread.join(15)
        assert not self._thread.is_alive()

    def _run(self, url: str, options: dict[str, str]) -> None:
        try:
            with av.open(url, options=options, timeout=(10, 2)) as container:
                for frame in container.decode(video=0):
                    self.numbers.append(read_number(frame.to_ndarray(format="rgb24")))
        except av.FFmpegError as error:
            self.error = error


@pytest.mark.parametrize("kind", ["udp", "rtmp"])
def test_a_stream_arrives_at_its_receiver(kind: str) -> None:
    if kind == "udp":
        url = f"udp://127.0.0.1:{free_port()}?pkt_size=1316"
        receiver = Receiver(url.partition("?")[0])
    else:
        url = f"rtmp://127.0.0.1:{free_port(socket.SOCK_STREAM)}/live/x"
        receiver = Receiver(url, {"listen": "1"})
    time.sleep(0.5)  # until it listens
    sink = open_sink(url, timeout=5)
    sink.open(96, 64, 25.0)
    for number, image in enumerate(pattern_frames(50, 96, 64)):
        sink.write(image, number / 25)
        time.sleep(0.02)
    sink.close()
    receiver.join()
    assert receiver.numbers == list(range(receiver.numbers[0], receiver.numbers[-1] + 1))
    assert len(receiver.numbers) >= 45


def test_a_receiver_that_goes_away_is_a_loss_and_can_come_back() -> None:
    port = free_port(socket.SOCK_STREAM)
    url = f"tcp://127.0.0.1:{port}"
    with socket.create_server(("127.0.0.1", port)) as server:
        sink = open_sink(url, timeout=5)
        sink.open(96, 64, 25.0)
        connection, _ = server.accept()
        sink.write(FRAMES[0], 0.0)
        connection.close()
        with pytest.raises(SinkLost, match="start the receiver"):
            for number in range(2000):
                sink.write(FRAMES[number % 30], number / 25)
        sink.open(96, 64, 25.0)
        connection, _ = server.accept()
        sink.write(FRAMES[0], 0.0)
        sink.close()
        assert len(connection.recv(4096)) > 188
        connection.close()


def test_a_receiver_that_takes_nothing_is_a_loss_in_time() -> None:
    """It accepts, and never reads: once the system's buffers are full, writing would block for ever."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        sink = open_sink(f"tcp://127.0.0.1:{server.getsockname()[1]}?send_buffer_size=4096", timeout=1, bitrate="50M")
        sink.open(640, 480, 25.0)
        connection, _ = server.accept()
        noise = np.random.default_rng(0).integers(0, 256, (480, 640, 3), dtype=np.uint8)
        start = time.monotonic()
        with pytest.raises(SinkLost):
            for number in range(400):
                sink.write(np.roll(noise, number, axis=1), number / 25)
        assert time.monotonic() - start < 30
        connection.close()


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ("windw", "did you mean 'window'"),
        ("out.gif", "no such sink"),
        ("ftp://host/x", "no such sink"),
        ("http://host/x", "nothing is sent to http://"),
        ("no_folder/out.mp4", "does not exist"),
        ("no_folder/out.m3u8", "does not exist"),
        ("taken.mp4", "exists already"),
        ("taken.m3u8", "exists already"),
    ],
)
def test_what_is_no_sink_is_told_at_once(given: str, said: str, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("taken.mp4", "taken.m3u8"):
        Path(name).write_text("something dear")
    with pytest.raises(UserError, match=said) as caught:
        open_sink(given)
    assert "\n" not in str(caught.value)
    assert {path.name: path.read_text() for path in tmp_path.iterdir()} == {
        "taken.mp4": "something dear",
        "taken.m3u8": "something dear",
    }


def test_a_receiver_that_accepts_and_says_nothing_does_not_stop_the_program() -> None:
    """The handshake of RTMP never comes: PyAV waits for it for ever, with the interpreter locked."""
    ticks, done = [], threading.Event()

    def tick() -> None:
        while not done.wait(0.02):
            ticks.append(time.monotonic())

    with socket.create_server(("127.0.0.1", 0)) as server:
        sink = open_sink(f"rtmp://127.0.0.1:{server.getsockname()[1]}/live/x", timeout=2)
        ticking = threading.Thread(target=tick)
        ticking.start()
        try:
            with pytest.raises(SinkLost, match="no answer within timeout=2 seconds"):
                sink.open(96, 64, 25.0)
        finally:
            done.set()
            ticking.join()
    sink.close()
    assert len(ticks) > 20 and max(np.diff(ticks)) < 1


def test_a_protocol_that_this_build_lacks_is_named() -> None:
    sink = open_sink("srt://127.0.0.1:9")
    with pytest.raises(UserError, match="srt"):
        sink.open(96, 64, 25.0)


class FakeCamera:
    """What pyvirtualcam's camera does."""

    def __init__(self, width: int, height: int, fps: float, device: str | None = None) -> None:
        if device == "missing":
            raise RuntimeError("no virtual\ncamera device")
        self.made, self.sent, self.closed = (width, height, fps, device), [], False
        FakeCamera.last = self

    def send(self, image: np.ndarray) -> None:
        self.sent.append(image)

    def close(self) -> None:
        self.closed = True


def test_a_virtual_camera_is_fed_and_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pyvirtualcam", SimpleNamespace(Camera=FakeCamera))
    feed(open_sink("camera:/dev/video9"), np.arange(3) / 25)
    camera = FakeCamera.last
    assert camera.made == (96, 64, 25.0, "/dev/video9") and camera.closed
    assert read_numbers(camera.sent) == [0, 1, 2]
    with pytest.raises(UserError, match="there is no virtual camera here") as caught:
        feed(open_sink("camera:missing"), np.arange(1))
    assert "\n" not in str(caught.value)


def test_a_virtual_camera_needs_its_package(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pyvirtualcam", None)
    with pytest.raises(UserError, match=r"pip install 'vst\[camera\]'"):
        open_sink("camera")
