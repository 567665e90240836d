"""Reading a video frame after frame, with its timestamps, as far as a damaged file allows."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from av.container import InputContainer
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

from vst.video.probe import open_input, probe

# A demuxer that fails this often in a row, without one packet in between, has reached the end of what is readable.
_MAX_FAILED_READS = 16
# Containers whose header states the true length of each stream; others only have an estimate.
_EXACT_LENGTH = ("mov", "matroska", "avi")


@dataclass(frozen=True)
class Frame:
    """One frame: `image` (H, W, 3) uint8 RGB as stored, not rotated, owned by the receiver.

    `pts` is its time and `duration` its length in units of `time_base` seconds; `pts` increases strictly from frame to
    frame (missing or repeated timestamps are replaced by the mean frame rate), `duration` may be 0 for unknown.
    """

    image: np.ndarray
    pts: int
    duration: int
    time_base: Fraction


class VideoReader:
    """Iterate over the frames of a video file in order of display.

    A context manager; every iteration starts at the first frame. `info` describes the file. `damaged` is None or, after
    an iteration, one line that says what was wrong: packets that could not be decoded, or an early end. Frames are never
    made up for what is lost. Raises UserError as `vst.video.probe` does.
    """

    def __init__(self, path: str | Path) -> None:
        self.info = probe(path)
        self.damaged: str | None = None
        self._container: InputContainer | None = None

    def __enter__(self) -> VideoReader:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        if self._container is not None:
            self._container.close()
            self._container = None

    def __iter__(self) -> Iterator[Frame]:
        self.close()
        self.damaged = None
        self._container = open_input(self.info.path)
        stream = self._container.streams[self.info.stream]
        stream.thread_type = "AUTO"
        self._faults = 0
        count, end, step = 0, None, max(1, round(1 / (self.info.fps * self.info.time_base)))
        pts = None
        for frame in self._decode(self._container, stream):
            stamp = frame.pts if frame.pts is not None else frame.dts
            if stamp is None or (pts is not None and stamp <= pts):
                stamp = 0 if pts is None else pts + step
            pts = stamp
            duration = frame.duration or 0
            end = pts + (duration or step)
            count += 1
            yield Frame(self._rgb(frame), pts, duration, self.info.time_base)
        self.damaged = self._diagnose(self._container, stream, count, end, step)

    def _decode(self, container: InputContainer, stream: VideoStream) -> Iterator[VideoFrame]:
        failed_reads = 0
        while failed_reads < _MAX_FAILED_READS:
            try:
                for packet in container.demux(stream):
                    failed_reads = 0
                    self._faults += packet.is_corrupt
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

    def _rgb(self, frame: VideoFrame) -> np.ndarray:
        # Width and height are given because a stream may change its size half way.
        return frame.to_ndarray(format="rgb24", width=self.info.width, height=self.info.height)

    def _diagnose(
        self, container: InputContainer, stream: VideoStream, count: int, end: int | None, step: int
    ) -> str | None:
        found = []
        if self._faults:
            found.append(f"{self._faults} decoding errors")
        expected = _stated_end(container, stream)
        unit = float(self.info.time_base)
        if end is None:
            found.append("no frame could be decoded")
        elif expected is not None and expected - end > 1.5 * step:
            found.append(f"it ends at {end * unit:.2f} s of {expected * unit:.2f} s")
        if not found:
            return None
        claim = f" of {self.info.num_frames}" if self.info.num_frames else ""
        return f"{self.info.path} is damaged: {count}{claim} frames could be read; " + "; ".join(found)


def _stated_end(container: InputContainer, stream: VideoStream) -> float | None:
    """Time at which the header says that the picture ends, in units of the stream's time base; None if unknown."""
    if not container.format.name.startswith(_EXACT_LENGTH):
        return None
    if stream.duration is not None:
        return (stream.start_time or 0) + stream.duration
    if "DURATION" in stream.metadata:
        hours, minutes, seconds = stream.metadata["DURATION"].split(":")
        return (int(hours) * 3600 + int(minutes) * 60 + float(seconds)) / float(stream.time_base)
    return None
