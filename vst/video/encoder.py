"""A picture's stream in a file: the encoder with colours, shape and rotation, and the conversion of its pixels."""

from __future__ import annotations

import os

import av
import numpy as np
from av.container import OutputContainer
from av.packet import Packet
from av.video.reformatter import VideoReformatter
from av.video.stream import VideoStream

from vst.errors import UserError
from vst.planes import PIXELS, PlaneFormat, planes_of
from vst.threads import cpus
from vst.video.encoders import Encoding
from vst.video.probe import BT709, Colour, VideoInfo

# swscale's number of a matrix (SWS_CS_*) by its H.273 code point; 2 is unspecified, which every reader takes
# as BT.601.
_BT601 = 5
_SWSCALE_MATRIX = {1: 1, 2: _BT601, 4: 4, 5: _BT601, 6: _BT601, 7: 7, 9: 9, 10: 9}
_FULL_RANGE = 2

# Presets with which x264 takes less time than painting: with more threads than half of the processors it only gets
# dearer, by waiting for them.
_LIGHT = ("ultrafast", "superfast")


class PictureTrack:
    """The video stream of `container` for frames as `info` describes them, written with `encoding`.

    Raises UserError where this machine cannot open the encoder.
    """

    def __init__(self, container: OutputContainer, info: VideoInfo, encoding: Encoding) -> None:
        self._info, self._encoding = info, encoding
        self._colour = _colour_of(info)
        self._converter = VideoReformatter()  # one for all frames: setting it up costs as much as a frame
        self.stream = self._add(container)
        _open(self.stream, encoding.codec)

    def encode(self, image: np.ndarray, pts: int) -> list[Packet]:
        """The packets that are ready when `image`, (H, W, 3) uint8 RGB or `planes`, of time `pts`, has gone in."""
        if image.ndim == 2:
            assert self.planes is not None, self._encoding
            frame = frame_of_planes(image)
            frame.color_range, frame.colorspace = self._colour.range, self._colour.matrix
        else:
            frame = self._to_yuv(np.ascontiguousarray(np.rot90(image, self._turns)))
        frame.pts, frame.time_base = pts, self._info.time_base
        return self.stream.encode(frame)

    @property
    def planes(self) -> PlaneFormat | None:
        """What frames may come in besides RGB, because the encoder takes just that."""
        fits = self._encoding.pix_fmt == PIXELS[0] and not self._turns
        return PlaneFormat.of(self._colour) if fits else None

    def flush(self) -> list[Packet]:
        """The packets that are left."""
        return self.stream.encode(None)

    def _add(self, container: OutputContainer) -> VideoStream:
        info, encoding = self._info, self._encoding
        stream = container.add_stream(encoding.codec, rate=info.fps, options=dict(encoding.options))
        if encoding.makes == "hevc" and container.format.name in ("mp4", "mov"):
            stream.codec_context.codec_tag = "hvc1"  # Apple's players accept HEVC under this name only
        self._turns = _set_rotation(stream, info)
        width, height = (info.height, info.width) if self._turns % 2 else (info.width, info.height)
        stream.width, stream.height = width, height
        stream.disposition = av.stream.Disposition.default
        stream.pix_fmt = encoding.pix_fmt
        stream.codec_context.bit_rate = encoding.bitrate or 0
        stream.time_base = stream.codec_context.time_base = info.time_base
        aspect = info.sample_aspect_ratio
        if aspect is not None:
            stream.codec_context.sample_aspect_ratio = 1 / aspect if self._turns % 2 else aspect
        context, colour = stream.codec_context, self._colour
        if encoding.codec == "libx264" and encoding.options["preset"] in _LIGHT:
            context.thread_count = max(1, cpus() // 2)
        context.color_range, context.colorspace = colour.range, colour.matrix
        context.color_primaries, context.color_trc = colour.primaries, colour.trc
        return stream

    def _to_yuv(self, image: np.ndarray) -> av.VideoFrame:
        """Convert with the tagged matrix: PyAV's own conversion takes BT.601 whatever the tags are."""
        frame = av.VideoFrame.from_numpy_buffer(image, format="rgb24")  # copies nothing
        return convert(self._converter, frame, self._encoding.pix_fmt, self._colour)


def convert(converter: VideoReformatter, frame: av.VideoFrame, pix_fmt: str, colour: Colour = BT709) -> av.VideoFrame:
    """An RGB frame in another format of pixels, by the matrix and range of `colour`."""
    full = {"dst_color_range": _FULL_RANGE} if colour.range == _FULL_RANGE else {}
    # The matrix of an RGB source means nothing, but PyAV before 17 ignores the other one where the two
    # are equal.
    matrix = _SWSCALE_MATRIX[colour.matrix]
    return converter.reformat(frame, format=pix_fmt, src_colorspace=_BT601, dst_colorspace=matrix, **full)


def _colour_of(info: VideoInfo) -> Colour:
    return info.colour if info.colour.matrix in _SWSCALE_MATRIX else BT709


def _open(stream: VideoStream, codec: str) -> None:
    if codec == "libsvtav1":
        os.environ.setdefault("SVT_LOG", "1")  # else it writes its settings over the progress bar
    try:
        stream.codec_context.open()
    except (av.error.FFmpegError, OSError, ValueError) as error:
        reason = (getattr(error, "strerror", None) or str(error)).splitlines()[0]
        raise UserError(
            f"codec={codec} cannot be opened on this machine for {stream.width}x{stream.height} {stream.pix_fmt} "
            f"({reason}); codec=libx264 needs no hardware"
        ) from error


def _set_rotation(stream: VideoStream, info: VideoInfo) -> int:
    """Write the rotation tag; where PyAV cannot (before 17.1), return the quarter turns that do the same."""
    if info.display_matrix is None:
        return 0
    if hasattr(stream, "set_display_matrix"):
        stream.set_display_matrix(info.display_matrix)
        return 0
    return round(info.rotation / 90) % 4


def frame_of_planes(planes: np.ndarray) -> av.VideoFrame:
    """A frame of planes as one for an encoder, with memory of its own."""
    y, *_ = views = planes_of(planes)
    frame = av.VideoFrame(y.shape[1], y.shape[0], PIXELS[0])
    for plane, view in zip(frame.planes, views, strict=True):
        rows = np.frombuffer(plane, np.uint8).reshape(-1, plane.line_size)
        np.copyto(rows[: view.shape[0], : view.shape[1]], view)
    return frame
