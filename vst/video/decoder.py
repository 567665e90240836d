"""Packets to frames: which decoder reads them, and the fields of interlaced film made whole frames."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from fractions import Fraction

import av
from av.codec.codec import UnknownCodecError
from av.packet import Packet
from av.video.codeccontext import VideoCodecContext
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

from vst.errors import UserError

DEINTERLACE = ("auto", "yes", "none")
# FFmpeg's own decoders of these formats pass over the second picture that holds their transparency.
_WITH_ALPHA = {"vp8": "libvpx", "vp9": "libvpx-vp9"}


class Decoder:
    """The frames of a stream, in the order of display, as many as it holds and with their times.

    A VP8 or VP9 stream that says that it has transparency is decoded with it. `deinterlace` is auto (frames that are
    flagged as interlaced; some streams say so only later), yes (all frames, of films whose flags are missing) or none:
    both fields of a frame become one picture of the time of its first field, by FFmpeg's bwdif. One is made for each
    reading from a place on: after a jump in the file, make another.

    `tell` gets one line when the first fields are put together, and where transparency cannot be read.
    """

    def __init__(
        self, stream: VideoStream, deinterlace: str = "auto", tell: Callable[[str], None] = lambda line: None
    ) -> None:
        self._stream, self._mode, self._tell = stream, deinterlace, tell
        self._context = _context_with_alpha(stream, tell)
        self._keys: set[int | None] = set()
        self._fields: _Fields | None = None
        self.deinterlaces = False

    def decode(self, packet: Packet | None) -> list[VideoFrame]:
        """The frames that are ready; those that are left, for None or the empty packet at the end.

        Raises FFmpegError, after which `flush` gives what is left.
        """
        packet = packet if packet is not None and packet.size else None
        ready = [frame for decoded in self._frames_of(packet) for frame in self._whole(decoded)]
        return [*ready, *self.flush()] if packet is None else ready

    def flush(self) -> list[VideoFrame]:
        """The frames that wait for their successor."""
        fields, self._fields = self._fields, None
        return [] if fields is None else fields.flush()

    def is_key(self, frame: VideoFrame) -> bool:
        """Whether decoding can begin with it."""
        return frame.key_frame or frame.pts in self._keys

    def _frames_of(self, packet: Packet | None) -> list[VideoFrame]:
        if self._context is not None and packet is not None and packet.is_keyframe:
            self._keys.add(packet.pts)  # libvpx does not say it of its frames
        context = self._context or self._stream.codec_context
        frames = context.decode(packet)
        for frame in frames:
            frame.time_base = self._stream.time_base  # which the last ones lack
        return frames

    def _whole(self, frame: VideoFrame) -> list[VideoFrame]:
        if self._mode == "none" or (self._fields is None and self._mode == "auto" and not frame.interlaced_frame):
            return [frame]
        before: list[VideoFrame] = []
        if self._fields is None or not self._fields.fits(frame):
            before = self.flush()
            self._fields = _Fields(frame, all_frames=self._mode == "yes")
        if not self.deinterlaces:
            self.deinterlaces = True
            self._tell("is interlaced; it is deinterlaced (FFmpeg's bwdif), deinterlace=none leaves its fields")
        return [*before, *self._fields(frame)]


class _Fields:
    """FFmpeg's bwdif for frames like `frame` in size, format and colours; holds one back until the next is there."""

    def __init__(self, frame: VideoFrame, all_frames: bool) -> None:
        self._kind = _kind_of(frame)
        self._graph = av.filter.Graph()
        # By its arguments, since PyAV's add_buffer leaves out the colours, which a change of format would then lose.
        width, height, format, matrix, span = map(str, self._kind)
        source = self._graph.add(
            "buffer", video_size=f"{width}x{height}", pix_fmt=format, time_base="1/1", colorspace=matrix, range=span
        )
        which = "all" if all_frames else "interlaced"
        weaver = self._graph.add("bwdif", mode="send_frame", parity="auto", deint=which)
        drain = self._graph.add("buffersink")
        source.link_to(weaver)
        weaver.link_to(drain)
        self._graph.configure()
        self._count = 0
        self._times: deque[tuple] = deque()

    def fits(self, frame: VideoFrame) -> bool:
        return _kind_of(frame) == self._kind

    def __call__(self, frame: VideoFrame) -> list[VideoFrame]:
        # Times go around the filter, which counts in other units and makes some up where they are missing.
        self._times.append((frame.pts, frame.dts, frame.duration, frame.time_base))
        frame.pts, frame.time_base = self._count, Fraction(1, 1)
        self._count += 1
        self._graph.push(frame)
        return self._ready()

    def flush(self) -> list[VideoFrame]:
        self._graph.push(None)
        return self._ready()

    def _ready(self) -> list[VideoFrame]:
        frames = []
        while self._times:
            try:
                frame = self._graph.pull()
            except (av.error.BlockingIOError, av.error.EOFError):
                break
            frame.pts, frame.dts, frame.duration, frame.time_base = self._times.popleft()
            frames.append(frame)
        return frames


def _kind_of(frame: VideoFrame) -> tuple[int, int, str, int, int]:
    return frame.width, frame.height, frame.format.name, int(frame.colorspace), int(frame.color_range)


def check_deinterlace(given: str) -> None:
    if given not in DEINTERLACE:
        raise UserError(f"deinterlace={given} is not one of {', '.join(DEINTERLACE)}")


def says_alpha(stream: VideoStream) -> bool:
    """Whether a VP8 or VP9 stream says that it has transparency."""
    mode = next((value for key, value in stream.metadata.items() if key.lower() == "alpha_mode"), "0")
    return mode == "1" and stream.codec_context is not None and stream.codec_context.codec.canonical_name in _WITH_ALPHA


def _context_with_alpha(stream: VideoStream, tell: Callable[[str], None]) -> VideoCodecContext | None:
    """A decoder of its own for a stream whose usual one leaves its transparency out; None for the usual one."""
    if not says_alpha(stream):
        return None
    name = _WITH_ALPHA[stream.codec_context.codec.canonical_name]
    try:
        context = av.CodecContext.create(name, "r")
    except UnknownCodecError:
        tell(f"has transparency, which this build of FFmpeg cannot read (it has no {name}): hidden colours are shown")
        return None
    context.thread_count = stream.codec_context.thread_count
    return context
