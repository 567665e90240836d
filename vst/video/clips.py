"""Frame-exact random access: frame k of a video is the k-th frame that plays, whatever the stream is like.

A container's frame count, frame rate and packet order do not say which frames play: edit lists hide frames,
open groups of pictures start with frames that need the group before, variable frame rates have no step. So
one pass decodes the whole file and notes every frame's timestamp (`FrameIndex.build`); a clip is then read
from the last key frame before it, and frames are recognised by their timestamps (`read_clip`).
"""

from __future__ import annotations

import logging
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import av
import numpy as np
from av.container import InputContainer

from vst.errors import UserError, reason_of
from vst.video.decoder import Decoder
from vst.video.orientation import orientation_of
from vst.video.pixels import Pictures
from vst.video.probe import open_input, probe, stated_end

_log = logging.getLogger(__name__)

KEY_ATTEMPTS = 4  # key frames tried before a clip is read from the start of the file


@dataclass(frozen=True)
class FrameIndex:
    """Every frame of a video that really decodes, in the order of play.

    `stream` is the number of the video stream in its container, as `vst.video.probe` chooses it. `width` and
    `height` are those of the upright picture. `pts` holds the timestamps in the stream's own unit and `keys`
    the numbers of the key frames; both are empty where the timestamps are missing or do not rise, and a clip
    is then read from the file's start. `damaged` says in words why the file ended early, or is None. `interlaced`: its
    frames depend on their neighbours, since their fields are put together.
    """

    path: str
    stream: int
    num_frames: int
    width: int
    height: int
    pts: tuple[int, ...]
    keys: tuple[int, ...]
    damaged: str | None = None
    interlaced: bool = False

    @classmethod
    def build(cls, path: str | Path, visit: Callable[[av.VideoFrame], None] | None = None) -> FrameIndex:
        """Decode the whole file once and return its index; `visit` sees every frame on the way, deinterlaced.

        A file that breaks off is indexed as far as it decodes. Raises UserError as `vst.video.probe` does.
        """
        number = probe(path).stream
        pts, keys, first, count = [], [], None, 0
        with open_input(Path(path)) as container:
            stream = container.streams[number]
            stream.thread_type = "AUTO"
            decoding = _Decoding(container, stream, path)
            for frame in decoding:
                first = first or upright_size(frame)
                if decoding.decoder.is_key(frame):
                    keys.append(count)
                pts.append(frame.pts)
                count += 1
                if visit is not None:
                    visit(frame)
        if first is None:
            raise UserError(f"{path}: no frame of this video can be decoded; give another file")
        if not _rises(pts):
            pts, keys = [], []
        seen = decoding.damaged, decoding.decoder.deinterlaces
        return cls(str(path), number, count, *first, tuple(pts), tuple(keys), *seen)

    def to_json(self) -> dict[str, Any]:
        """Return the index as plain values."""
        return asdict(self)

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> FrameIndex:
        """Return the index that `to_json` wrote down."""
        return cls(**{**values, "pts": tuple(values["pts"]), "keys": tuple(values["keys"])})


def read_clip(
    index: FrameIndex, start: int, length: int, stride: int = 1, size: tuple[int, int] | None = None
) -> np.ndarray:
    """Return frames start, start + stride, ... as (length, H, W, 3) uint8 RGB, upright.

    `size` is the (width, height) of the result, by default that of the upright picture; it is scaled by area.
    The file is opened for this clip only and decoded by one thread, so this can run in any worker process.
    Raises IndexError for frames that the file does not have, UserError where it changed since it was indexed.
    """
    last = start + (length - 1) * stride
    if start < 0 or length < 1 or stride < 1 or last >= index.num_frames:
        raise IndexError(
            f"frames {start}..{last} (every {stride}) of {index.path}, which has {index.num_frames} frames"
        )
    numbers = range(start, last + 1, stride)
    before = bisect_left if index.interlaced else bisect_right  # a frame of fields looks back at the one before
    keys = index.keys[: before(index.keys, start)][-KEY_ATTEMPTS:]
    for key in [*reversed(keys), None]:
        frames = _read_from(index, numbers, key, size or (index.width, index.height))
        if frames is not None:
            return frames
    raise UserError(f"{index.path}: the file changed since it was indexed; build its index again")


class Upright:
    """Makes pictures of the decoded frames of one video, as `vst.video.pixels.Pictures` does, rotation applied.

    Transparency is laid onto white. `name`: of the video, in the log's lines on what is done to its pictures; None for
    no lines.
    """

    def __init__(self, name: str | Path | None = None) -> None:
        self._pictures = Pictures(tell=_telling(name))

    def __call__(self, frame: av.VideoFrame, size: tuple[int, int]) -> np.ndarray:
        """The frame as (height, width, 3) uint8 RGB of `size` (width, height), scaled by area."""
        orientation = orientation_of(frame)
        width, height = orientation.size(*size)
        return orientation.upright(self._pictures(frame, width, height, "AREA")[0])


def upright_size(frame: av.VideoFrame) -> tuple[int, int]:
    """Width and height of a decoded frame as it is shown, in pixels."""
    return orientation_of(frame).size(frame.width, frame.height)


def _telling(name: str | Path | None) -> Callable[[str], None]:
    return lambda line: None if name is None else _log.warning("%s %s", name, line)


def _read_from(index: FrameIndex, numbers: range, key: int | None, size: tuple[int, int]) -> np.ndarray | None:
    """Decode from key frame `key`, or count from the file's start; None where that does not lead there."""
    clip = np.empty((len(numbers), size[1], size[0], 3), np.uint8)
    upright = Upright()
    filled = 0
    with open_input(Path(index.path)) as container:
        stream = container.streams[index.stream]
        stream.codec_context.thread_count = 1
        if key is not None:
            container.seek(index.pts[key], stream=stream, backward=True)
        for count, frame in enumerate(_Decoding(container, stream, lenient=True)):
            if key is not None and count == 0 and (frame.pts is None or frame.pts > index.pts[key]):
                return None  # beyond `key`: what comes next may lead an open group and lack its references
            wanted = numbers[filled]
            if (count == wanted) if key is None else (frame.pts == index.pts[wanted]):
                clip[filled] = upright(frame, size)
                filled += 1
                if filled == len(numbers):
                    return clip
    return None


class _Decoding:
    """Iterates over the frames of a stream as far as it decodes; then `damaged` says whether it broke off.

    `lenient` passes over what does not decode. Frames that an index holds are read so: how many frames come
    out after a fault depends on the decoder's threads. `name` is as for `Upright`.
    """

    def __init__(
        self,
        container: InputContainer,
        stream: av.VideoStream,
        name: str | Path | None = None,
        lenient: bool = False,
    ) -> None:
        self.decoder = Decoder(stream, tell=_telling(name))
        self.container, self.stream, self.lenient = container, stream, lenient
        self.damaged: str | None = None
        self._frames = self._packets = 0
        self._end = 0.0

    def __iter__(self) -> Iterator[av.VideoFrame]:
        for frame in self._decode():
            self._frames += 1
            yield frame
        if self.damaged is None:
            self.damaged = self._ended_early()

    def _decode(self) -> Iterator[av.VideoFrame]:
        try:
            for packet in self.container.demux():
                if packet.pts is not None:
                    end = (packet.pts + (packet.duration or 0)) * packet.time_base
                    self._end = max(self._end, float(end))
                if packet.stream.index != self.stream.index:
                    continue
                self._packets += packet.size > 0
                if packet.is_corrupt and self._strict:
                    self.damaged = "breaks off: a packet is incomplete"
                    break
                yield from self._decode_packet(packet)
        except av.FFmpegError as error:
            self.damaged = f"breaks off: {reason_of(error)}"
        if self.damaged:
            yield from self._drain()

    def _decode_packet(self, packet: av.Packet) -> list[av.VideoFrame]:
        try:
            return self.decoder.decode(packet)
        except av.FFmpegError:
            if self._strict:
                raise
            return []

    @property
    def _strict(self) -> bool:
        """Before the first frame a bad packet is passed over: recordings begin anywhere."""
        return self._frames > 0 and not self.lenient

    def _drain(self) -> list[av.VideoFrame]:
        try:
            return self.decoder.decode(None)
        except av.FFmpegError:
            return self.decoder.flush()

    def _ended_early(self) -> str | None:
        if self.stream.frames:
            if self._packets < self.stream.frames:
                return f"breaks off: it holds {self._packets} of {self.stream.frames} frames"
        elif self.container.duration:
            promised, begin = stated_end(self.container), (self.container.start_time or 0) / av.time_base
            if self._end < promised - 0.5:
                return f"breaks off: it ends after {self._end - begin:.1f} of {promised - begin:.1f} s"
        return None


def _rises(pts: list[int | None]) -> bool:
    return None not in pts and all(a < b for a, b in pairwise(pts))
