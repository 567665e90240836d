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
from vst.video.encoders import FORMATS, HOLDERS, holds_alpha
from vst.video.excerpts import Excerpt
from vst.video.gif import GifWriter
from vst.video.pictures import WRITTEN, PictureWriter, has_number
from vst.video.pixels import WHITE, Color
from vst.video.probe import BT601, STDIN, VideoInfo, is_stream
from vst.video.writer import VideoWriter

STDOUT = STDIN
PIPE_FORMATS = ("y4m", "rgb24")
TRANSPARENCY = ("auto", "keep", "flatten")


class Sink(Protocol):
    """What `open_sink` returns: a context manager that takes frames. What it writes appears when it is whole.

    `info` describes the frames that it expects: size, time base, and the orientation of what is shown upright, which is
    UPRIGHT where the output has no tag for it. A sink may also have `planes`, the `PlaneFormat` of frames of
    planes that `write` takes besides RGB, None for none.
    """

    info: VideoInfo
    path: Path

    def __enter__(self) -> Sink: ...
    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...

    def write(self, image: np.ndarray, pts: int, duration: int) -> None:
        """Append `image` (H, W, 3) uint8 RGB at time `pts` for `duration`, in units of `info.time_base`.

        It is (H, W, 4), with an alpha, where `info.alpha`.
        """
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
    hdr: str = "auto",
    audio: str = "copy",
    format: str | None = None,
    names: Sequence[str] | None = None,
    overwrite: bool = False,
) -> Sink:
    """Open what frames as `info` describes them go to.

    `output` is a video file (mp4, mov, mkv, webm), whose sound is that of `tracks` as `audio` says, and whose encoder
    the options set as for `VideoWriter`; a GIF; a picture for a single frame (png, jpg); a numbered
    name such as frames/%05d.png, or a folder, which is a name without an extension, whose pictures are called as
    `names` says, for frames that are files (`PictureWriter`); or `-`, standard output, in
    `format`: y4m (the default) or rgb24, the bare bytes of the frames. Pictures, GIFs and standard output are
    upright.

    Raises UserError as the writers do, before anything is written where it can be known.
    """
    if format is not None and (output != STDOUT or format not in PIPE_FORMATS):
        raise UserError(f"format={format} is for output=-, where it is one of {', '.join(PIPE_FORMATS)}")
    if info.alpha and not _holds_alpha(output, codec, pix_fmt):
        raise UserError(f"{output} holds no transparency as it is written; {HOLDERS} do")
    if output == STDOUT:
        return PipeWriter(sys.stdout.buffer, upright(info), format or PIPE_FORMATS[0])
    if is_stream(output):
        raise UserError(f"{output}: an address is no output; live.py sends to one")
    path, suffix = Path(output), Path(output).suffix.lower()
    if suffix in FORMATS:
        return VideoWriter(
            path, info, copy_from=tracks, codec=codec, crf=crf, preset=preset, bitrate=bitrate, pix_fmt=pix_fmt,
            hdr=hdr, audio=audio, overwrite=overwrite,
        )  # fmt: skip
    settings = {"codec": codec, "crf": crf, "preset": preset, "bitrate": bitrate, "pix_fmt": pix_fmt}
    given = [f"{name}={value}" for name, value in settings.items() if value is not None]
    given += [f"hdr={hdr}"] if hdr == "keep" else []
    if given:
        raise UserError(f"{', '.join(given)}: {path} is no video file ({', '.join(FORMATS)}); leave it out")
    if suffix == ".gif":
        return GifWriter(path, upright(info), overwrite=overwrite)
    if has_number(path.name) or suffix in ("", *WRITTEN) or path.is_dir():
        return PictureWriter(path, upright(info), names=names, overwrite=overwrite)
    raise UserError(
        f"{path}: the extension {suffix} is not one of {', '.join((*FORMATS, '.gif', *WRITTEN))}; without one it is a "
        f"folder of pictures"
    )


def ground_of(
    output: str | Path,
    transparency: str = "auto",
    background: Sequence[int] | None = None,
    codec: str | None = None,
    pix_fmt: str | None = None,
) -> Color | None:
    """What an input's transparency is laid onto on its way to `output`: a colour, or None where it is kept.

    `transparency` is keep, flatten, or auto: kept where the output can hold it, which ProRes 4444 (mov), VP9 (webm),
    GIF and PNG can, and where no `background` (red, green, blue) is given. `codec` and `pix_fmt` are as for
    `open_sink`.

    Raises UserError for other values, and for what cannot be kept.
    """
    if transparency not in TRANSPARENCY:
        raise UserError(f"transparency={transparency} is not one of {', '.join(TRANSPARENCY)}")
    if background is not None and not _is_color(background):
        raise UserError(f"background={background}: give red, green and blue, each 0 to 255, such as [255,255,255]")
    if transparency == "keep" and background is not None:
        raise UserError(f"background={list(background)} is for transparency=flatten; leave it out to keep transparency")
    if transparency == "flatten" or background is not None:
        return WHITE if background is None else tuple(background)
    if _holds_alpha(output, codec, pix_fmt):
        return None
    if transparency == "keep":
        raise UserError(f"transparency=keep: {output} holds none as it is written; {HOLDERS} do, or set it to flatten")
    return WHITE


def _is_color(given: Sequence[int]) -> bool:
    return len(given) == 3 and all(type(value) is int and 0 <= value <= 255 for value in given)


def _holds_alpha(output: str | Path, codec: str | None, pix_fmt: str | None) -> bool:
    if is_stream(output):
        return False
    path, suffix = Path(output), Path(output).suffix.lower()
    if suffix in FORMATS:
        return holds_alpha(path, codec, pix_fmt)
    return suffix in ("", ".gif", ".png") or path.is_dir()


def upright(info: VideoInfo) -> VideoInfo:
    """The description of the same video with its display matrix applied to its pixels."""
    width, height = info.upright_size
    aspect = info.sample_aspect_ratio
    aspect = aspect and info.orientation.aspect(aspect)
    return replace(info, width=width, height=height, rotation=0, display_matrix=None, sample_aspect_ratio=aspect)


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
