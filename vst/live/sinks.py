"""Where painted frames go: a window, a virtual camera, a stream, a file, a function."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np

from vst.errors import UserError, suggest
from vst.live.h264 import HlsSink
from vst.live.protocols import SCHEMES, scheme_of
from vst.live.sink import Sink, Stamps
from vst.live.stream_sink import StreamSink
from vst.live.window import WindowSink
from vst.video import VideoWriter, new_video
from vst.video.encoders import FORMATS
from vst.video.output import check_output

KINDS = "window, camera, a file (mp4, mov, mkv), an HLS playlist (m3u8), or a URL of rtmp, rtsp, srt, udp"
_MILLISECOND = Fraction(1, 1000)


def open_sink(
    given: str,
    *,
    overwrite: bool = False,
    crf: int = 20,
    bitrate: str = "4M",
    timeout: float = 10.0,
    press: Callable[[str], None] = lambda key: None,
    quit: Callable[[], None] = lambda: None,
) -> Sink:
    """The sink that a user names.

    Args:
        given: `window`, `camera`, `camera:DEVICE`, a file, a playlist or a URL.
        overwrite: replace an existing file.
        crf: quality of a file, 0 to 51, lower is better.
        bitrate: of a stream, bits a second as FFmpeg reads them.
        timeout: seconds after which a connection counts as lost.
        press: told of keys in a window, `quit` that it was closed.

    Raises:
        UserError: it is none of these, or cannot be used here: no display, no virtual camera, a file that exists.
    """
    kind, scheme, suffix = given.partition(":")[0], scheme_of(given), Path(given).suffix.lower()
    if given == "window":
        return WindowSink(press, quit)
    if kind == "camera" and scheme is None:
        return CameraSink(given)
    if scheme in SCHEMES:
        return StreamSink(given, bitrate, timeout)
    if scheme is None and suffix == ".m3u8":
        return HlsSink(given, bitrate, overwrite)
    if scheme is None and suffix in FORMATS:
        return FileSink(given, crf, overwrite)
    raise UserError(f"sink={given}: no such sink{suggest(given, ('window', 'camera'))}; give {KINDS}")


class CallbackSink(Sink):
    """Hands each frame (H, W, 3) uint8 RGB and its capture time to a function, in a thread of its own."""

    def __init__(self, function: Callable[[np.ndarray, float], None], name: str = "callback") -> None:
        self.name = name
        self._function = function

    def open(self, width: int, height: int, fps: float) -> None:
        pass

    def write(self, image: np.ndarray, seconds: float) -> None:
        self._function(image, seconds)

    def close(self) -> None:
        pass


class FileSink(Sink):
    """A film of what was seen, with the times of capture; under its name once it is whole."""

    def __init__(self, path: str, crf: int, overwrite: bool) -> None:
        self.name = path
        self._path, self._crf, self._overwrite = Path(path), crf, overwrite
        self._writer: VideoWriter | None = None
        check_output(self._path, overwrite)

    def open(self, width: int, height: int, fps: float) -> None:
        info = replace(new_video(width, height, Fraction(fps).limit_denominator(1001)), time_base=_MILLISECOND)
        writer = VideoWriter(self._path, info, crf=self._crf, preset="veryfast", overwrite=self._overwrite)
        self._writer, self._stamps = writer.__enter__(), Stamps()

    def write(self, image: np.ndarray, seconds: float) -> None:
        self._writer.write(image, self._stamps(seconds))

    def close(self) -> None:
        writer, self._writer = self._writer, None
        if writer is not None:
            writer.__exit__(None, None, None)


class CameraSink(Sink):
    """A camera that other programs see, through pyvirtualcam: OBS on macOS and Windows, v4l2loopback on Linux."""

    def __init__(self, name: str) -> None:
        self.name = name
        self._camera: Any = None
        try:
            import pyvirtualcam
        except ImportError as error:
            raise UserError("sink=camera needs the package pyvirtualcam: pip install 'vst[camera]'") from error
        self._package = pyvirtualcam

    def open(self, width: int, height: int, fps: float) -> None:
        device = self.name.partition(":")[2] or None
        try:
            self._camera = self._package.Camera(width, height, fps, device=device)
        except RuntimeError as error:
            remedy = "sudo modprobe v4l2loopback" if sys.platform == "linux" else "install OBS Studio, start it once"
            why = " ".join(str(error).split())
            raise UserError(f"sink={self.name}: there is no virtual camera here ({why}); {remedy}") from error

    def write(self, image: np.ndarray, seconds: float) -> None:
        self._camera.send(np.ascontiguousarray(image))

    def close(self) -> None:
        if self._camera is not None:
            self._camera.close()
