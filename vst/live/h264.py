"""Streams out: H.264 with the least delay, time stamps from the clock, a key frame every second."""

from __future__ import annotations

import contextlib
from fractions import Fraction
from math import ceil
from pathlib import Path

import av
import numpy as np
from av.container import OutputContainer
from av.video.frame import PictureType
from av.video.reformatter import VideoReformatter

from vst.errors import UserError
from vst.live.protocols import reason, scheme_of, unsupported
from vst.live.sink import Sink, SinkLost, Stamps

FORMATS = {"rtmp": "flv", "rtmps": "flv", "rtsp": "rtsp", "srt": "mpegts", "udp": "mpegts", "tcp": "mpegts"}
_KEY_MILLISECONDS = 1000
_BT709 = 1  # of H.273, and swscale's number of it
_LIMITED_RANGE = 1
_SEGMENT_SECONDS, _SEGMENTS = 2, 10


class H264Sink(Sink):
    """What the streams share: the encoder and its clock. Subclasses say where it goes."""

    def __init__(self, name: str, bitrate: str) -> None:
        self.name = name
        self._bitrate = bitrate
        self._container: OutputContainer | None = None

    def _connect(self) -> OutputContainer:
        raise NotImplementedError

    def open(self, width: int, height: int, fps: float) -> None:
        try:
            self._container = self._connect()
            self._video = self._add_video(width, height, fps)
            self._container.start_encoding()
        except (av.error.FFmpegError, OSError, ValueError) as error:
            self._abandon()
            raise self._explained(error) from error
        self._converter, self._stamps, self._next_key = VideoReformatter(), Stamps(), 0

    def _add_video(self, width: int, height: int, fps: float) -> av.VideoStream:
        options = {"preset": "veryfast", "tune": "zerolatency", "forced-idr": "1", "g": str(2 * ceil(fps))}
        options |= {"b": self._bitrate, "maxrate": self._bitrate, "bufsize": self._bitrate}
        stream = self._container.add_stream("libx264", rate=Fraction(fps).limit_denominator(1001), options=options)
        stream.width, stream.height = width + width % 2, height + height % 2  # 4:2:0 has no odd sizes
        stream.pix_fmt = "yuv420p"
        stream.time_base = stream.codec_context.time_base = Fraction(1, 1000)
        context = stream.codec_context
        context.color_range, context.colorspace = _LIMITED_RANGE, _BT709
        context.color_primaries = context.color_trc = _BT709
        return stream

    def write(self, image: np.ndarray, seconds: float) -> None:
        padded = np.pad(image, ((0, image.shape[0] % 2), (0, image.shape[1] % 2), (0, 0)), mode="edge")
        frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(padded), format="rgb24")
        frame = self._converter.reformat(frame, format="yuv420p", dst_colorspace=_BT709)
        frame.pts, frame.time_base = self._stamps(seconds), Fraction(1, 1000)
        if frame.pts >= self._next_key:
            frame.pict_type, self._next_key = PictureType.I, frame.pts + _KEY_MILLISECONDS
        try:
            self._container.mux(self._video.encode(frame))
        except (av.error.FFmpegError, OSError) as error:
            self._abandon()
            raise self._explained(error) from error

    def close(self) -> None:
        if self._container is None:
            return
        try:
            self._container.mux(self._video.encode(None))
            self._container.close()
        except (av.error.FFmpegError, OSError) as error:
            raise self._explained(error) from error
        finally:
            self._abandon()

    def _abandon(self) -> None:
        container, self._container = self._container, None
        if container is not None:
            with contextlib.suppress(av.error.FFmpegError, OSError):
                container.close()

    def _explained(self, error: Exception) -> UserError:
        raise NotImplementedError


class UrlSink(H264Sink):
    """A receiver on the network: RTMP in FLV, RTSP over TCP, SRT, UDP and TCP in MPEG-TS.

    Its calls may hang, with the interpreter locked: PyAV connects and ends a stream without releasing it, and FFmpeg
    then knows no time limit. So it is used in a process of its own, by `vst.live.stream_sink.StreamSink`.
    """

    def __init__(self, url: str, bitrate: str) -> None:
        super().__init__(url, bitrate)
        self._format = FORMATS[scheme_of(url)]

    def _connect(self) -> OutputContainer:
        options = {"flush_packets": "1"}
        if self._format == "rtsp":
            options["rtsp_transport"] = "tcp"
        if self._format == "flv":
            options["flvflags"] = "no_duration_filesize"
        return av.open(self.name, "w", format=self._format, options=options)

    def _explained(self, error: Exception) -> UserError:
        if isinstance(error, av.error.ProtocolNotFoundError):
            return UserError(f"sink={self.name}: {unsupported(scheme_of(self.name))}")
        return SinkLost(f"sink={self.name}: {reason(error)}; start the receiver, check address and port")


class HlsSink(H264Sink):
    """A playlist with segments of two seconds beside it, of which the last ten are kept, for a web server to give."""

    def __init__(self, path: str, bitrate: str, overwrite: bool) -> None:
        super().__init__(path, bitrate)
        place = Path(path)
        if not place.parent.is_dir():
            raise UserError(f"sink={path}: the folder {place.parent} does not exist; create it first")
        if place.exists() and not overwrite:
            raise UserError(f"sink={path} exists already; choose another name or set overwrite=true")

    def _connect(self) -> OutputContainer:
        options = {"hls_time": str(_SEGMENT_SECONDS), "hls_list_size": str(_SEGMENTS)}
        options["hls_flags"] = "delete_segments+independent_segments+temp_file"
        return av.open(self.name, "w", format="hls", options=options)

    def _explained(self, error: Exception) -> UserError:
        return UserError(f"sink={self.name}: it cannot be written: {reason(error)}; check its folder")
