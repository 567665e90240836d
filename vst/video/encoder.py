"""A picture's stream in a file: the encoder with colours, shape and rotation, and the conversion of its pixels."""

from __future__ import annotations

import os

import av
import numpy as np
from av.container import OutputContainer
from av.packet import Packet
from av.video.reformatter import VideoReformatter
from av.video.stream import VideoStream

from vst.errors import UserError, reason_of
from vst.planes import PIXELS, PlaneFormat, planes_of
from vst.threads import cpus
from vst.video.encoders import Encoding
from vst.video.hdr import Hdr
from vst.video.probe import BT709, Colour, VideoInfo

# swscale's number of a matrix (SWS_CS_*) by its H.273 code point; 2 is unspecified, which every reader takes
# as BT.601.
_BT601 = 5
_SWSCALE_MATRIX = {1: 1, 2: _BT601, 4: 4, 5: _BT601, 6: _BT601, 7: 7, 9: 9, 10: 9}
_FULL_RANGE = 2
_BT2020 = 9

# Presets with which x264 takes less time than painting: with more threads than half of the processors it only gets
# dearer, by waiting for them.
_LIGHT = ("ultrafast", "superfast")


class PictureTrack:
    """The video stream of `container` for frames as `info` describes them, written with `encoding`.

    Raises UserError where this machine cannot open the encoder.
    """

    def __init__(self, container: OutputContainer, info: VideoInfo, encoding: Encoding) -> None:
        self._info, self._encoding = info, encoding
        self._hdr = info.hdr if encoding.hdr else None
        self._colour = _colour_of(info, self._hdr)
        self._converter = VideoReformatter()  # one for all frames: setting it up costs as much as a frame
        self.stream = self._add(container)
        _open(self.stream, encoding.codec)

    def encode(self, image: np.ndarray, pts: int) -> list[Packet]:
        """The packets that are ready when `image`, of time `pts`, has gone in.

        It is (H, W, 3) uint8 RGB, (H, W, 4) with an alpha where the encoding keeps one, or `planes`.
        """
        if image.ndim == 2:
            assert self.planes is not None, self._encoding
            frame = frame_of_planes(image)
        else:
            frame = self._to_yuv(np.ascontiguousarray(image))
        colour = self._colour
        frame.color_range, frame.colorspace = colour.range, colour.matrix
        frame.color_primaries, frame.color_trc = colour.primaries, colour.trc  # which ProRes takes from here
        frame.pts, frame.time_base = pts, self._info.time_base
        return self.stream.encode(frame)

    @property
    def planes(self) -> PlaneFormat | None:
        """What frames may come in besides RGB, because the encoder takes just that."""
        fits = self._encoding.pix_fmt == PIXELS[0] and self._hdr is None
        return PlaneFormat.of(self._colour) if fits else None

    def flush(self) -> list[Packet]:
        """The packets that are left."""
        return self.stream.encode(None)

    def _add(self, container: OutputContainer) -> VideoStream:
        info, encoding = self._info, self._encoding
        stream = container.add_stream(encoding.codec, rate=info.fps, options=dict(encoding.options))
        if encoding.makes == "hevc" and container.format.name in ("mp4", "mov"):
            stream.codec_context.codec_tag = "hvc1"  # Apple's players accept HEVC under this name only
        if info.display_matrix is not None:
            stream.set_display_matrix(info.display_matrix)
        stream.width, stream.height = info.width, info.height
        if encoding.alpha and encoding.makes == "vp9":
            stream.metadata["alpha_mode"] = "1"
        stream.disposition = av.stream.Disposition.default
        stream.pix_fmt = encoding.pix_fmt
        stream.codec_context.bit_rate = encoding.bitrate or 0
        stream.time_base = stream.codec_context.time_base = info.time_base
        if info.sample_aspect_ratio is not None:
            stream.codec_context.sample_aspect_ratio = info.sample_aspect_ratio
        context, colour = stream.codec_context, self._colour
        if encoding.codec == "libx264" and encoding.options["preset"] in _LIGHT:
            context.thread_count = max(1, cpus() // 2)
        context.color_range, context.colorspace = colour.range, colour.matrix
        context.color_primaries, context.color_trc = colour.primaries, colour.trc
        return stream

    def _to_yuv(self, image: np.ndarray) -> av.VideoFrame:
        """Convert with the tagged matrix: PyAV's own conversion takes BT.601 whatever the tags are."""
        if self._hdr is not None:
            deep = self._hdr.from_sdr(image[..., :3])
            if image.shape[2] == 4:
                deep = np.dstack([deep, image[..., 3:].astype(np.uint16) * 257])
            frame = av.VideoFrame.from_ndarray(deep, format="rgb48le" if image.shape[2] == 3 else "rgba64le")
        else:
            format = "rgb24" if image.shape[2] == 3 else "rgba"
            frame = av.VideoFrame.from_numpy_buffer(image, format=format)  # copies nothing
        return convert(self._converter, frame, self._encoding.pix_fmt, self._colour)


def convert(converter: VideoReformatter, frame: av.VideoFrame, pix_fmt: str, colour: Colour = BT709) -> av.VideoFrame:
    """An RGB frame in another format of pixels, by the matrix and range of `colour`."""
    full = {"dst_color_range": _FULL_RANGE} if colour.range == _FULL_RANGE else {}
    # The matrix of an RGB source means nothing, but PyAV before 17 ignores the other one where the two
    # are equal.
    matrix = _SWSCALE_MATRIX[colour.matrix]
    return converter.reformat(frame, format=pix_fmt, src_colorspace=_BT601, dst_colorspace=matrix, **full)


def _colour_of(info: VideoInfo, hdr: Hdr | None) -> Colour:
    """The tags of what is written; those of HDR that became SDR are BT.709's."""
    if info.hdr is not None:
        known = hdr is not None and info.colour.trc == hdr.transfer and info.colour.matrix in (_BT2020, BT709.matrix)
        return info.colour if known else BT709 if hdr is None else Colour(1, hdr.primaries, hdr.transfer, _BT2020)
    return info.colour if info.colour.matrix in _SWSCALE_MATRIX else BT709


def _open(stream: VideoStream, codec: str) -> None:
    if codec == "libsvtav1":
        os.environ.setdefault("SVT_LOG", "1")  # else it writes its settings over the progress bar
    try:
        stream.codec_context.open()
    except (av.error.FFmpegError, OSError, ValueError) as error:
        raise UserError(
            f"codec={codec} cannot be opened on this machine for {stream.width}x{stream.height} {stream.pix_fmt} "
            f"({reason_of(error)}); codec=libx264 needs no hardware"
        ) from error


def frame_of_planes(planes: np.ndarray) -> av.VideoFrame:
    """A frame of planes as one for an encoder, with memory of its own."""
    y, *_ = views = planes_of(planes)
    frame = av.VideoFrame(y.shape[1], y.shape[0], PIXELS[0])
    for plane, view in zip(frame.planes, views, strict=True):
        rows = np.frombuffer(plane, np.uint8).reshape(-1, plane.line_size)
        np.copyto(rows[: view.shape[0], : view.shape[1]], view)
    return frame
