"""Reading a video frame after frame, with its timestamps, as far as a damaged file allows."""

from __future__ import annotations

import math
from collections.abc import Callable, Generator, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, replace
from fractions import Fraction
from itertools import chain
from pathlib import Path

import av
import numpy as np
from av.container import InputContainer
from av.stream import Stream
from av.video.frame import VideoFrame
from av.video.reformatter import VideoReformatter
from av.video.stream import VideoStream

from vst.errors import UserError
from vst.planes import PIXELS, PlaneFormat
from vst.threads import cpus
from vst.video.encoder import convert
from vst.video.excerpts import Excerpt, copied_streams
from vst.video.probe import VideoInfo, describe, is_stream, moving_streams, open_input, probe

# A demuxer that fails this often in a row, without one packet in between, has reached the end of what is
# readable.
_MAX_FAILED_READS = 16
# Containers whose header states the true length of each stream; others only have an estimate.
_EXACT_LENGTH = ("mov", "matroska", "avi")
# Containers whose timestamps are the same after a jump as in a reading from the start.
_EXACT_SEEK = ("mov", "matroska")
_FIRST_JUMP_SECONDS = 1
_LAG_SECONDS = 5  # how far the sound may lie behind its picture in a file
_JUMPS = 4  # each four times as far back as the one before
_TOLERANCE = Fraction(1, 1000)  # Matroska rounds to milliseconds
_PASSED_OVER = np.empty((0, 0, 3), np.uint8)


@dataclass(frozen=True)
class Frame:
    """One frame: `image` (H, W, 3) uint8 RGB, or planes (`vst.planes`), as stored, not rotated, owned by the
    receiver.

    `pts` is its time and `duration` (at least 1) the time it is shown, in units of `time_base` seconds; `pts`
    increases strictly from frame to frame: missing or repeated timestamps are replaced by the mean frame
    rate. `cut`: it begins another recording than the frame before. `border` (H, W) uint8 says how much of a pixel is a
    black border that was added, of 255; None for no border.
    """

    image: np.ndarray
    pts: int
    duration: int
    time_base: Fraction
    cut: bool = False
    border: np.ndarray | None = None


class VideoReader:
    """Iterate over the frames of a video in order of display.

    `location` is a file, an address that FFmpeg reads or `-` for standard input; the latter two are read once.
    `start` and `end` in seconds from the first frame keep the frames of time start <= t < end, with times that
    begin at 0 where `start` is given; a frame counts as at `start` up to a millisecond before it. `hwaccel` names
    a device that decodes, such as cuda.

    A context manager; every iteration starts at the first frame. `info` describes what comes out, `tracks` the
    sound that belongs to it. `damaged` is None or, after an iteration, one line that says what was wrong: packets
    that could not be decoded, or an early end. Frames are never made up for what is lost. `resized` is None or,
    from such a frame on, one line that says that the picture changes its size; frames keep that of `info`.
    Transparency, which GIFs have, is laid onto white. Raises UserError as `vst.video.probe` does.
    """

    def __init__(
        self,
        location: str | Path,
        *,
        start: Fraction | None = None,
        end: Fraction | None = None,
        hwaccel: str | None = None,
        pictures: bool = False,
    ) -> None:
        self.damaged: str | None = None
        self.resized: str | None = None
        self._location, self._start, self._end = location, start, end
        self._opening = {"hwaccel": hwaccel, "pictures": pictures}
        self._converter = VideoReformatter()  # one for all frames: setting it up costs as much as a frame
        self._frames: Generator[Frame] | None = None
        self._faults = 0
        self._length = 0
        self._excerpt = Excerpt(location)
        self._source = self._open_stream() if is_stream(location) else probe(location, pictures=pictures)
        self._place_excerpt()
        self.info = _trimmed(self._source, start, end)

    @property
    def tracks(self) -> list[Excerpt]:
        return [self._excerpt]

    def __enter__(self) -> VideoReader:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __iter__(self) -> Iterator[Frame]:
        return self.read()

    @property
    def planes(self) -> PlaneFormat | None:
        """What frames are in the file, if `read` can give them so: 8 bits, 4:2:0, of even sides."""
        info = self._source
        even = info.width % 2 == info.height % 2 == 0
        plain = info.pix_fmt in PIXELS and self._opening["hwaccel"] is None  # a device gives other formats
        return PlaneFormat.of(info.colour) if even and plain else None

    def read(self, first: int = 0, *, planes: bool = False) -> Iterator[Frame]:
        """The frames from number `first` on, which cost less to pass over than to read; as RGB, or as `planes`."""
        assert not planes or self.planes is not None, self._source
        self._stop()
        self._frames = self._read(first, self._planes if planes else self._rgb)
        return self._frames

    def close(self) -> None:
        """End the iteration under way. Its generator owns the container: PyAV crashes if read when closed."""
        self._stop()
        if self._excerpt.container is not None:
            self._excerpt.container.close()

    def _stop(self) -> None:
        if self._frames is not None:
            self._frames.close()
            self._frames = None

    def _open_stream(self) -> VideoInfo:
        """Open what can be read once, and decode its first frame, which the iteration begins with."""
        container = open_input(self._location, **self._opening)
        try:
            self._excerpt.container = container
            stream = self._prepared(moving_streams(container, self._location)[0])
            frames = self._decode(container, stream)
            frame = next(frames, None)
            if frame is None:
                raise UserError(
                    f"{self._location}: no frame can be decoded; it is damaged or its codec is not supported"
                )
            self._unread: Iterator[VideoFrame] | None = chain([frame], frames)
            return describe(Path(self._location), container, stream, frame)
        except BaseException:
            container.close()
            raise

    def _place_excerpt(self) -> None:
        """Where the sound lies, as far as it is known before the first frame is read."""
        zero = self._source.first * self._source.time_base
        if self._start is None:
            self._excerpt.begins = zero
        else:
            self._excerpt.start, self._excerpt.shift = zero + self._start, -zero - self._start
        if self._end is not None:
            self._excerpt.end = zero + self._end

    def _bounds(self) -> tuple[float, float, float]:
        """The first timestamp that is wanted, the first one that is not any more, and until when the last is shown."""
        info = self._source
        slack = min(_TOLERANCE, 1 / (4 * info.fps))
        lower = -math.inf if self._start is None else info.first + math.ceil((self._start - slack) / info.time_base)
        if self._end is None:
            return lower, math.inf, math.inf
        upper = info.first + math.ceil((self._end - slack) / info.time_base)
        return lower, upper, info.first + round(self._end / info.time_base)

    def _read(self, skipped: int, image_of: Callable[[VideoFrame, int], np.ndarray]) -> Generator[Frame]:
        self.damaged = self.resized = None
        self._faults = self._length = 0
        info = self._source
        step = max(1, round(1 / (info.fps * info.time_base)))
        lower, upper, until = self._bounds()
        count, origin, begin, before, held = 0, None, None, None, None
        with ExitStack() as stack:
            container, stream, decoded = self._begin(stack, lower)
            expected = _stated_end(container, stream, upper)
            for frame in decoded:
                before = pts = _next_pts(frame, before, step)
                origin = pts if origin is None else origin
                if pts < lower:
                    continue
                if begin is None:
                    begin = pts
                    self._start_at(begin)
                if held is not None and count > skipped:
                    yield self._finished(held, min(pts, until), begin)
                if pts >= upper:
                    held = None
                    self._finish_tracks(container, pts)
                    break
                image = image_of(frame, pts) if count >= skipped else _PASSED_OVER
                held = Frame(image, pts, frame.duration or step, info.time_base)
                count += 1
            if origin is not None and count == 0:
                time = float((before - info.first) * info.time_base)
                which = "the next" if before >= upper else "its last"
                raise UserError(f"{self._location}: no frame lies between start and end; {which} is at {time:.2f} s")
            end = None if count == 0 else before
            if held is not None:
                end = held.pts + held.duration
                if expected is not None:
                    end = min(max(end, origin + self._length), max(expected, held.pts + 1))
                end = min(end, until)
                if count > skipped:
                    yield self._finished(held, end, begin)
            self.damaged = self._diagnose(count, end, expected, 1.5 * step)

    def _begin(self, stack: ExitStack, lower: float) -> tuple[InputContainer, VideoStream, Iterator[VideoFrame]]:
        """The container, its stream and the decoded frames, from not later than timestamp `lower` on."""
        info = self._source
        if self._excerpt.container is not None:
            container, frames = self._excerpt.container, self._unread
            if frames is None:
                raise UserError(f"{self._location} can be read only once; save it to a file first")
            self._unread = None
            return container, container.streams[info.stream], frames
        container, stream = self._open_stream_of(stack)
        jump = round(_FIRST_JUMP_SECONDS / info.time_base)
        if lower - jump <= info.first or not container.format.name.startswith(_EXACT_SEEK):
            return container, stream, self._decode(container, stream)
        for power in range(_JUMPS):
            frames = self._decode_from(container, stream, int(lower) - jump * 4**power, lower)
            if frames is not None:
                return container, stream, frames
        container, stream = self._open_stream_of(stack)  # anew: not every damaged file can be rewound
        return container, stream, self._decode(container, stream)

    def _open_stream_of(self, stack: ExitStack) -> tuple[InputContainer, VideoStream]:
        container = stack.enter_context(open_input(self._location, **self._opening))
        return container, self._prepared(container.streams[self._source.stream])

    def _prepared(self, stream: VideoStream) -> VideoStream:
        stream.thread_type = "AUTO"
        stream.codec_context.thread_count = max(1, cpus() // 2)  # the other half paints
        hwaccel = self._opening["hwaccel"]
        if hwaccel is not None and not stream.codec_context.is_hwaccel:
            raise UserError(f"hwaccel={hwaccel} cannot decode {stream.codec_context.name}; leave it out")
        return stream

    def _decode_from(
        self, container: InputContainer, stream: VideoStream, target: int, lower: float
    ) -> Iterator[VideoFrame] | None:
        """The frames from the key frame before `target` on; None where it is not sure that none is missing.

        Frames shown before the first key frame that comes out are left out: they need frames from before the jump.
        """
        if target <= self._source.first:
            return None
        try:
            container.seek(target, stream=stream, backward=True)
        except (av.error.FFmpegError, OSError):
            return None
        frames = self._decode(container, stream)
        key = next((frame for frame in frames if frame.key_frame), None)
        if key is None or key.pts is None or key.pts > lower:
            return None
        return chain([key], frames)

    def _start_at(self, pts: int) -> None:
        if self._start is None:
            return
        self._faults = 0  # what is broken before the excerpt does not matter
        time = pts * self._source.time_base
        self._excerpt.start, self._excerpt.shift, self._excerpt.begins = time, -time, Fraction(0)

    def _finished(self, frame: Frame, end: float, begin: int) -> Frame:
        """The frame that is shown until `end`, its time counted from `begin` if the excerpt has a start."""
        pts = frame.pts - (begin if self._start is not None else 0)
        return replace(frame, pts=pts, duration=max(1, int(end) - frame.pts))

    def _decode(self, container: InputContainer, stream: VideoStream) -> Iterator[VideoFrame]:
        failed_reads, start = 0, None
        while failed_reads < _MAX_FAILED_READS:
            try:
                for packet in container.demux(self._wanted(container, stream)):
                    failed_reads = 0
                    if packet.stream.index != stream.index:
                        if self._frames is None or self._excerpt.is_copied:
                            self._excerpt.packets.append(packet)
                        continue
                    self._faults += packet.is_corrupt
                    if packet.dts is not None and not packet.is_discard:
                        # An mp4 gives lengths in order of decoding: only their sum is the length of what is
                        # shown.
                        start = packet.dts if start is None else start
                        self._length = packet.dts + (packet.duration or 0) - start
                    for frame in self._decode_packet(packet):
                        self._faults += frame.is_corrupt
                        yield frame
                return
            except av.error.EOFError:
                return
            except (av.error.FFmpegError, OSError):
                self._faults += 1
                failed_reads += 1

    def _wanted(self, container: InputContainer, stream: VideoStream) -> list[Stream]:
        """The picture, and with it what belongs to it where the input can be read only once."""
        once = self._excerpt.container is not None
        return [stream, *copied_streams(container)] if once else [stream]

    def _finish_tracks(self, container: InputContainer, reached: int) -> None:
        """Read on until the sound, which may lie behind its picture in the file, has come as far."""
        if self._excerpt.container is None:
            return
        info, end = self._source, self._excerpt.end
        behind = {stream.index for stream in container.streams.audio}
        limit = (reached + round(_LAG_SECONDS / info.time_base)) * info.time_base
        for packet in container.demux(self._wanted(container, container.streams[info.stream])):
            if packet.dts is None or packet.dts * packet.time_base > limit:
                return
            if packet.stream.index == info.stream:
                continue
            self._excerpt.packets.append(packet)
            if packet.dts * packet.time_base >= end:
                behind.discard(packet.stream.index)
            if not behind:
                return

    def _decode_packet(self, packet: av.Packet) -> list[VideoFrame]:
        try:
            return packet.decode()
        except av.error.EOFError:
            return []
        except av.error.FFmpegError:
            self._faults += 1
            return []

    def _rgb(self, frame: VideoFrame, pts: int) -> np.ndarray:
        # Width and height are given because a stream may change its size half way; the source's range and
        # another matrix for the RGB side, where it means nothing, because PyAV before 17 else ignores both
        # tags.
        info = self._source
        if self.resized is None and (frame.width, frame.height) != (info.width, info.height):
            self.resized = (
                f"{self._location} changes its size from {info.width}x{info.height} to {frame.width}x{frame.height} at "
                f"{float(pts * info.time_base):.2f} s; all frames are scaled to {info.width}x{info.height}"
            )
        transparent = _has_alpha(frame)
        rgb = self._converter.reformat(
            frame,
            format="rgba" if transparent else "rgb24",
            width=info.width,
            height=info.height,
            src_color_range=int(frame.color_range),
            dst_colorspace="ITU601",
        ).to_ndarray()
        return _onto_white(rgb) if transparent else rgb

    def _planes(self, frame: VideoFrame, pts: int) -> np.ndarray:
        """As planes; by way of RGB where the stream has changed its size or format."""
        info = self._source
        colour = replace(info.colour, range=int(frame.color_range), matrix=int(frame.colorspace))
        same = (frame.width, frame.height) == (info.width, info.height) and frame.format.name in PIXELS
        if same and PlaneFormat.of(colour) == self.planes:
            return frame.to_ndarray()
        rgb = av.VideoFrame.from_ndarray(self._rgb(frame, pts), format="rgb24")
        return convert(self._converter, rgb, PIXELS[0], info.colour).to_ndarray()

    def _diagnose(self, count: int, end: int | None, expected: int | None, tolerance: float) -> str | None:
        found = []
        if self._faults:
            found.append(f"{self._faults} decoding errors")
        unit = float(self.info.time_base)
        if end is None:
            found.append("no frame could be decoded")
        elif expected is not None and expected - end > tolerance:
            found.append(f"it ends at {end * unit:.2f} s of {expected * unit:.2f} s")
        if not found:
            return None
        whole = self._start is None and self._end is None
        claim = f" of {self.info.num_frames}" if self.info.num_frames and whole else ""
        return f"{self._location} is damaged: {count}{claim} frames could be read; " + "; ".join(found)


def _next_pts(frame: VideoFrame, before: int | None, step: int) -> int:
    stamp = frame.pts if frame.pts is not None else frame.dts
    if before is None:
        return 0 if stamp is None else stamp
    return before + step if stamp is None or stamp <= before else stamp


def _stated_end(container: InputContainer, stream: VideoStream, upper: float) -> float | None:
    """When the picture ends by the header, in units of the stream's time base; None if unknown."""
    if not container.format.name.startswith(_EXACT_LENGTH):
        return None
    if stream.duration is not None:
        return min(upper, (stream.start_time or 0) + stream.duration)
    if "DURATION" in stream.metadata:
        hours, minutes, seconds = stream.metadata["DURATION"].split(":")
        return min(upper, round((int(hours) * 3600 + int(minutes) * 60 + Fraction(seconds)) / stream.time_base))
    return None


def _trimmed(info: VideoInfo, start: Fraction | None, end: Fraction | None) -> VideoInfo:
    if start is None and end is None:
        return info
    ends = [float(limit) for limit in (end, info.duration) if limit is not None]
    duration = max(0.0, min(ends) - float(start or 0)) if ends else None
    frames = None if duration is None else round(duration * info.fps)
    return replace(info, duration=duration, num_frames=frames, first=info.first if start is None else 0)


def _has_alpha(frame: VideoFrame) -> bool:
    return frame.format.name == "pal8" or any(component.is_alpha for component in frame.format.components)


def _onto_white(rgba: np.ndarray) -> np.ndarray:
    alpha = rgba[..., 3:].astype(np.uint16)
    return ((rgba[..., :3] * alpha + (255 - alpha) * 255 + 127) // 255).astype(np.uint8)
