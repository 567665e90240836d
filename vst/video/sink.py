"""One face for everything that frames go to: video files, pictures, GIFs, standard output."""

from __future__ import annotations

import errno
import sys
from collections.abc import Sequence
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, Protocol

import av
import numpy as np
from av.video.reformatter import VideoReformatter

from vst.errors import UserError
from vst.video.encoder import convert
from vst.video.encoders import FORMATS
from vst.video.excerpts import Excerpt
from vst.video.gif import GifWriter
from vst.video.pictures import WRITTEN, PictureWriter, has_number
from vst.video.probe import BT601, STDIN, VideoInfo, is_stream
from vst.video.writer import VideoWriter

STDOUT = STDIN
PIPE_FORMATS = ("y4m", "rgb24")


class Sink(Protocol):
    """What `open_sink` returns: a context manager that takes frames. What it writes appears when it is whole.

    `info` describes the frames that it expects: size, time base, and the rotation that makes them upright,
    which is 0 where the output has no rotation tag. A sink may also have `planes`, the `PlaneFormat` of frames of
    planes that `write` takes besides RGB, None for none.
    """

    info: VideoInfo
    path: Path

    def __enter__(self) -> Sink: ...
    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...

    def write(self, image: np.ndarray, pts: int, duration: int) -> None:
        """Append `image` (H, W, 3) uint8 RGB at time `pts` for `duration`, in units of `info.time_base`."""
        ...


def open_sink(
    output: str | Path,
    info: VideoInfo,
    *,
    tracks: Sequence[Excerpt] = (),
    codec: str | None = None,
    crf: int | None = None,
    preset: str | int | None = None,
    bitrate: str | int | None = None,
    pix_fmt: str | None = None,
    sound: bool = True,
    format: str | None = None,
    overwrite: bool = False,
) -> Sink:
    """Open what frames as `info` describes them go to.

    `output` is a video file (mp4, mov, mkv, webm), whose sound is that of `tracks`, unless `sound` is false, and
    whose encoder the options set as for `VideoWriter`; a GIF; a picture for a single frame (png, jpg); a numbered
    name such as frames/%05d.png, or a folder, which is a name without an extension; or `-`, standard output, in
    `format`: y4m (the default) or rgb24, the bare bytes of the frames. Pictures, GIFs and standard output are
    upright.

    Raises UserError as the writers do, before anything is written where it can be known.
    """
    if format is not None and (output != STDOUT or format not in PIPE_FORMATS):
        raise UserError(f"format={format} is for output=-, where it is one of {', '.join(PIPE_FORMATS)}")
    if output == STDOUT:
        return PipeWriter(sys.stdout.buffer, upright(info), format or PIPE_FORMATS[0])
    if is_stream(output):
        raise UserError(f"{output}: an address is no output; live.py sends to one")
    path, suffix = Path(output), Path(output).suffix.lower()
    if suffix in FORMATS:
        return VideoWriter(
            path, info, copy_from=tracks, codec=codec, crf=crf, preset=preset, bitrate=bitrate, pix_fmt=pix_fmt,
            sound=sound, overwrite=overwrite,
        )  # fmt: skip
    settings = {"codec": codec, "crf": crf, "preset": preset, "bitrate": bitrate, "pix_fmt": pix_fmt}
    given = [f"{name}={value}" for name, value in settings.items() if value is not None]
    if given:
        raise UserError(f"{', '.join(given)}: {path} is no video file ({', '.join(FORMATS)}); leave it out")
    if suffix == ".gif":
        return GifWriter(path, upright(info), overwrite=overwrite)
    if has_number(path.name) or suffix in ("", *WRITTEN) or path.is_dir():
        return PictureWriter(path, upright(info), overwrite=overwrite)
    raise UserError(
        f"{path}: the extension {suffix} is not one of {', '.join((*FORMATS, '.gif', *WRITTEN))}; without one it is a "
        f"folder of pictures"
    )


def upright(info: VideoInfo) -> VideoInfo:
    """The description of the same video with the rotation of its tag applied to its pixels."""
    width, height = info.upright_size
    aspect = info.sample_aspect_ratio
    turned = aspect is not None and (width, height) != (info.width, info.height)
    return replace(
        info, width=width, height=height, rotation=0, display_matrix=None,
        sample_aspect_ratio=1 / aspect if turned else aspect,
    )  # fmt: skip


class PipeWriter:
    """Frames on a pipe, one after the other: `rgb24` is their bytes, `y4m` a YUV4MPEG2 stream.

    A YUV4MPEG2 stream cannot say its matrix. It is BT.601 at every size, which FFmpeg takes it for. Their times are
    lost: give the source a constant frame rate (fps=25) where that matters. A context manager.
    """

    def __init__(self, pipe: BinaryIO, info: VideoInfo, format: str) -> None:
        self.path, self.info = Path("standard output"), info
        self._pipe, self._format = pipe, format
        odd = info.width % 2 or info.height % 2
        self._pixels, self._tag = ("yuv444p", "444") if odd else ("yuv420p", "420jpeg")
        self._converter = VideoReformatter()
        self._count = 0

    def __enter__(self) -> PipeWriter:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is None:
            if not self._count:
                raise UserError("no frame was given, so nothing was written to standard output")
            self._send(flush=True)

    def write(self, image: np.ndarray, pts: int | None = None, duration: int = 0) -> None:
        """Append `image` (H, W, 3) uint8 RGB; its time does not matter."""
        image = np.ascontiguousarray(image)
        if self._format == "rgb24":
            self._send(image.data)
        else:
            if not self._count:
                self._send(self._header())
            frame = av.VideoFrame.from_numpy_buffer(image, format="rgb24")
            planes = convert(self._converter, frame, self._pixels, BT601).to_ndarray()
            self._send(b"FRAME\n", np.ascontiguousarray(planes).data)
        self._count += 1

    def _header(self) -> bytes:
        fps, aspect = self.info.fps, self.info.sample_aspect_ratio or Fraction(1)
        rate, shape = (f"{ratio.numerator}:{ratio.denominator}" for ratio in (fps, aspect))
        size = f"W{self.info.width} H{self.info.height}"
        return f"YUV4MPEG2 {size} F{rate} Ip A{shape} C{self._tag} XCOLORRANGE=LIMITED\n".encode()

    def _send(self, *parts: bytes | memoryview, flush: bool = False) -> None:
        try:
            for part in parts:
                self._pipe.write(part)
            if flush:
                self._pipe.flush()
        except BrokenPipeError as error:
            raise UserError(f"the program behind the pipe ended after {self._count} frames") from error
        except OSError as error:
            if error.errno != errno.EBADF:
                raise
            raise UserError(
                "standard output is closed, and output=- sends frames there; send it to a program"
            ) from error
