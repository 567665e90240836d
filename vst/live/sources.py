"""Where live frames come from: a camera, a film in real time, a stream from the network, the screen."""

from __future__ import annotations

import glob
import logging
import os
import re
import sys
import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Iterator
from pathlib import Path

import av
import cv2
import numpy as np
from av.container import InputContainer

from vst.errors import UserError
from vst.live.protocols import SCHEMES, reason, scheme_of, unsupported
from vst.video import VideoReader, probe
from vst.video.decoder import Decoder, check_deinterlace
from vst.video.orientation import orientation_of
from vst.video.pixels import Pictures

_log = logging.getLogger(__name__)

KINDS = "webcam, webcam:1, /dev/video0, screen, a video file, or a URL of " + ", ".join(SCHEMES)
_SCREENS = {"linux": "x11grab", "darwin": "avfoundation", "win32": "gdigrab"}
_ANALYSIS_SECONDS = 1.0


class Source(ABC):
    """Frames as they happen.

    Attributes:
        name: as the user gave it.
        finite: whether it can wait for its reader, and its end is no loss.
        has_sound: whether it is known to have sound, which goes nowhere.
        fps: frames a second as the source states them, None if it does not; known with the first frame.
    """

    name: str
    finite = False
    has_sound = False
    fps: float | None = None

    @abstractmethod
    def frames(self, stop: threading.Event) -> Iterator[np.ndarray]:
        """Open it and give every frame (H, W, 3) uint8 RGB, upright, when it arrives, until `stop` is set.

        Raises:
            UserError: it cannot be opened, or does not give any more frames.
        """


def open_source(
    given: str,
    *,
    loop: bool = False,
    size: tuple[int, int] | None = None,
    fps: float | None = None,
    timeout: float = 10.0,
    deinterlace: str = "auto",
) -> Source:
    """The source that a user names.

    Args:
        given: `webcam`, `webcam:1`, `/dev/video0`, `screen`, a file, or a URL.
        loop: a file begins again at its end.
        size: (width, height) that a camera is asked for.
        fps: frames a second that a camera and the screen are asked for.
        timeout: seconds without a picture after which a stream counts as lost.
        deinterlace: of files and streams, as for `vst.video.decoder.Decoder`; fields cost a frame of delay.

    Raises:
        UserError: it is none of these, or the file is no video.
    """
    check_deinterlace(deinterlace)
    camera = re.fullmatch(r"webcam(?::(\d+))?|/dev/video(\d+)", given)
    if camera:
        return CameraSource(given, int(camera[1] or camera[2] or 0), size, fps)
    if given == "screen":
        return _screen(fps or 30.0, timeout)
    scheme = scheme_of(given)
    if scheme in SCHEMES:
        return StreamSource(given, _network_options(scheme, timeout), timeout, deinterlace=deinterlace)
    if scheme is None and Path(given).exists():
        return FileSource(given, loop, deinterlace)
    what = f"no protocol {scheme}://" if scheme else "no such file or device"
    raise UserError(f"source={given}: {what}; give {KINDS}")


class _Pacer:
    """Holds frames back until their time, counted from when the second one was asked for."""

    def __init__(self, stop: threading.Event) -> None:
        self._stop = stop
        self._before: float | None = None
        self._start: float | None = None

    def __call__(self, seconds: float) -> None:
        if self._before is not None:
            if self._start is None:
                self._start = time.monotonic() - self._before
            self._stop.wait(max(0.0, self._start + seconds - time.monotonic()))
        self._before = seconds


class FileSource(Source):
    """A film at its own pace."""

    finite = True

    def __init__(self, path: str, loop: bool, deinterlace: str = "auto") -> None:
        self.name = path
        self._loop, self._deinterlace = loop, deinterlace
        self._info = probe(path)
        self.fps, self.has_sound = float(self._info.fps), self._info.has_audio

    def frames(self, stop: threading.Event) -> Iterator[np.ndarray]:
        orientation = self._info.orientation
        with VideoReader(self._info.path, deinterlace=self._deinterlace) as reader:
            while not stop.is_set():
                pacer, count = _Pacer(stop), 0
                for count, frame in enumerate(reader, start=1):  # noqa: B007
                    pacer(float(frame.pts * frame.time_base))
                    if stop.is_set():
                        return
                    yield orientation.upright(frame.image)
                if count == 0:
                    raise UserError(reader.damaged or f"{self.name}: no frame could be read")
                pacer(float((frame.pts + frame.duration) * frame.time_base))  # the last frame is shown as well
                if not self._loop:
                    return


class CameraSource(Source):
    """A camera by its number, through OpenCV (V4L2, AVFoundation, Media Foundation)."""

    def __init__(self, name: str, index: int, size: tuple[int, int] | None, fps: float | None) -> None:
        self.name = name
        self._index, self._size, self._asked_fps = index, size, fps

    def frames(self, stop: threading.Event) -> Iterator[np.ndarray]:
        capture = self._open()
        try:
            self.fps = capture.get(cv2.CAP_PROP_FPS) or None
            while not stop.is_set():
                good, image = capture.read()
                if not good:
                    raise UserError(f"source={self.name}: the camera gives no picture; check its cable")
                yield cv2.cvtColor(image, cv2.COLOR_BGR2RGB)
        finally:
            capture.release()

    def _open(self) -> cv2.VideoCapture:
        logs = cv2.utils.logging
        level = logs.setLogLevel(logs.LOG_LEVEL_SILENT)  # several lines for a camera that is not there
        capture = cv2.VideoCapture(self._index)
        logs.setLogLevel(level)
        if not capture.isOpened():
            capture.release()
            here = ", ".join(sorted(glob.glob("/dev/video*"))) or "none"
            found = f" (cameras here: {here})" if sys.platform == "linux" else ""
            raise UserError(
                f"source={self.name}: no camera {self._index} can be opened{found}; plug it in, close other programs "
                "that use it, or give webcam:1"
            )
        capture.set(cv2.CAP_PROP_BUFFERSIZE, 1)  # frames that wait in the driver are old
        if self._size:
            capture.set(cv2.CAP_PROP_FRAME_WIDTH, self._size[0])
            capture.set(cv2.CAP_PROP_FRAME_HEIGHT, self._size[1])
        if self._asked_fps:
            capture.set(cv2.CAP_PROP_FPS, self._asked_fps)
        return capture


class StreamSource(Source):
    """What FFmpeg receives from the network, or grabs. A recorded film at a URL is played at its own pace.

    Args:
        address: URL, or what the device `format` calls its input.
        options: of FFmpeg's protocol and demuxer.
        timeout: seconds without data after which it counts as lost.
        name: by default the address.
        deinterlace: as for `vst.video.decoder.Decoder`.
    """

    def __init__(
        self,
        address: str,
        options: dict[str, str],
        timeout: float,
        format: str | None = None,
        name: str | None = None,
        deinterlace: str = "auto",
    ) -> None:
        self._deinterlace, self._told = deinterlace, set()
        self.name, self._address = name or address, address
        self._options, self._timeout, self._format = options, timeout, format

    def frames(self, stop: threading.Event) -> Iterator[np.ndarray]:
        pictures = Pictures(tell=self._tell)
        try:
            with self._open() as container:
                if not container.streams.video:
                    raise UserError(f"source={self.name}: it has no picture; give a stream with video")
                stream = container.streams.video[0]
                stream.thread_type = "SLICE"  # threads for whole frames would each hold one back
                self.fps = float(stream.average_rate or stream.guessed_rate or 0) or None
                self.finite = scheme_of(self.name) in ("http", "https") and bool(container.duration)
                pacer = _Pacer(stop)
                for frame in self._decode(container, stream):
                    if stop.is_set():
                        return
                    if self.finite and frame.time is not None:
                        pacer(frame.time)
                    image, _ = pictures(frame, frame.width, frame.height)
                    yield orientation_of(frame).upright(image)
        except (av.error.FFmpegError, OSError) as error:
            raise UserError(f"source={self.name}: {self._explain(error)}") from error

    def _open(self) -> InputContainer:
        timeout = (self._timeout, self._timeout)
        return av.open(
            self._address, format=self._format, options=self._options, timeout=timeout, metadata_errors="replace"
        )

    def _decode(self, container: InputContainer, stream: av.VideoStream) -> Iterator[av.VideoFrame]:
        decoder = Decoder(stream, self._deinterlace, self._tell)
        for packet in container.demux(stream):
            try:
                yield from decoder.decode(packet)
            except av.error.InvalidDataError:
                continue  # a stream is joined anywhere, and loses packets on its way
        yield from decoder.flush()

    def _tell(self, line: str) -> None:
        if line not in self._told:
            self._told.add(line)
            _log.warning("%s %s", self.name, line)

    def _explain(self, error: Exception) -> str:
        if isinstance(error, av.error.ExitError):
            return f"no picture within timeout={self._timeout:g} seconds; start its sender, check address and port"
        if isinstance(error, av.error.ProtocolNotFoundError):
            return unsupported(scheme_of(self.name))
        return f"{reason(error)}; start its sender, check address and port"


def _screen(fps: float, timeout: float) -> StreamSource:
    grabber = _SCREENS.get(sys.platform)
    if grabber is None or grabber not in av.formats_available:
        raise UserError(f"source=screen: this PyAV cannot grab the screen of {sys.platform}; give {KINDS}")
    address = {"avfoundation": "Capture screen 0", "gdigrab": "desktop"}.get(grabber, os.environ.get("DISPLAY", ""))
    if not address:
        raise UserError("source=screen: no display here (DISPLAY is not set); start it from a desktop with X11")
    return StreamSource(address, {"framerate": str(fps)}, timeout, grabber, "screen")


def _network_options(scheme: str, timeout: float) -> dict[str, str]:
    # What is kept from the analysis is decoded faster than it was sent, so it costs no lasting latency; the analysis
    # itself, which by default takes up to five seconds, is cut short.
    options = {"analyzeduration": str(round(_ANALYSIS_SECONDS * 1e6)), "fflags": "nobuffer"}
    if scheme == "rtsp":
        options["rtsp_transport"] = "tcp"
    if scheme == "udp":
        options |= {"overrun_nonfatal": "1", "fifo_size": "50000"}
    return options
