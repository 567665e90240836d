"""Reading a video frame after frame, with its timestamps, as far as a damaged file allows."""

from __future__ import annotations

from collections.abc import Generator, Iterator
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from av.container import InputContainer
from av.video.frame import VideoFrame
from av.video.reformatter import VideoReformatter
from av.video.stream import VideoStream

from vst.video.probe import open_input, probe

# A demuxer that fails this often in a row, without one packet in between, has reached the end of what is
# readable.
_MAX_FAILED_READS = 16
# Containers whose header states the true length of each stream; others only have an estimate.
_EXACT_LENGTH = ("mov", "matroska", "avi")


@dataclass(frozen=True)
class Frame:
    """One frame: `image` (H, W, 3) uint8 RGB as stored, not rotated, owned by the receiver.

    `pts` is its time and `duration` (at least 1) the time it is shown, in units of `time_base` seconds; `pts`
    increases strictly from frame to frame: missing or repeated timestamps are replaced by the mean frame
    rate.
    """

    image: np.ndarray
    pts: int
    duration: int
    time_base: Fraction


class VideoReader:
    """Iterate over the frames of a video file in order of display.

    A context manager; every iteration starts at the first frame. `info` describes the file. `damaged` is None
    or, after an iteration, one line that says what was wrong: packets that could not be decoded, or an early
    end. Frames are never made up for what is lost. `resized` is None or, from such a frame on, one line that says that
    the picture changes its size; frames keep that of `info`. Raises UserError as `vst.video.probe` does.
    """

    def __init__(self, path: str | Path) -> None:
        self.info = probe(path)
        self.damaged: str | None = None
        self.resized: str | None = None
        self._converter = VideoReformatter()  # one for all frames: setting it up costs as much as a frame
        self._frames: Generator[Frame] | None = None
        self._faults = 0
        self._length = 0

    def __enter__(self) -> VideoReader:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __iter__(self) -> Iterator[Frame]:
        self.close()
        self._frames = self._read()
        return self._frames

    def close(self) -> None:
        """End the iteration under way. Its generator owns the container: PyAV crashes if read when closed."""
        if self._frames is not None:
            self._frames.close()
            self._frames = None

    def _read(self) -> Generator[Frame]:
        self.damaged = self.resized = None
        self._faults = self._length = 0
        info = self.info
        step = max(1, round(1 / (info.fps * info.time_base)))
        count, first, held = 0, 0, None
        with open_input(info.path) as container:
            stream = container.streams[info.stream]
            stream.thread_type = "AUTO"
            expected = _stated_end(container, stream)
            for frame in self._decode(container, stream):
                pts = _next_pts(frame, None if held is None else held.pts, step)
                if held is None:
                    first = pts
                else:
                    yield replace(held, duration=pts - held.pts)
                held = Frame(self._rgb(frame, pts), pts, frame.duration or step, info.time_base)
                count += 1
            end = None
            if held is not None:
                end = held.pts + held.duration
                if expected is not None:
                    end = min(max(end, first + self._length), max(expected, held.pts + 1))
                yield replace(held, duration=end - held.pts)
            self.damaged = self._diagnose(count, end, expected, 1.5 * step)

    def _decode(self, container: InputContainer, stream: VideoStream) -> Iterator[VideoFrame]:
        failed_reads, start = 0, None
        while failed_reads < _MAX_FAILED_READS:
            try:
                for packet in container.demux(stream):
                    failed_reads = 0
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
        info = self.info
        if self.resized is None and (frame.width, frame.height) != (info.width, info.height):
            self.resized = (
                f"{info.path} changes its size from {info.width}x{info.height} to {frame.width}x{frame.height} at "
                f"{float(pts * info.time_base):.2f} s; all frames are scaled to {info.width}x{info.height}"
            )
        rgb = self._converter.reformat(
            frame,
            format="rgb24",
            width=info.width,
            height=info.height,
            src_color_range=int(frame.color_range),
            dst_colorspace="ITU601",
        )
        return rgb.to_ndarray()

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
        claim = f" of {self.info.num_frames}" if self.info.num_frames else ""
        return f"{self.info.path} is damaged: {count}{claim} frames could be read; " + "; ".join(found)


def _next_pts(frame: VideoFrame, before: int | None, step: int) -> int:
    stamp = frame.pts if frame.pts is not None else frame.dts
    if before is None:
        return 0 if stamp is None else stamp
    return before + step if stamp is None or stamp <= before else stamp


def _stated_end(container: InputContainer, stream: VideoStream) -> int | None:
    """When the picture ends by the header, in units of the stream's time base; None if unknown."""
    if not container.format.name.startswith(_EXACT_LENGTH):
        return None
    if stream.duration is not None:
        return (stream.start_time or 0) + stream.duration
    if "DURATION" in stream.metadata:
        hours, minutes, seconds = stream.metadata["DURATION"].split(":")
        return round((int(hours) * 3600 + int(minutes) * 60 + Fraction(seconds)) / stream.time_base)
    return None
