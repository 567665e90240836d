"""Single frames of a film, as they are and painted."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Iterator
from typing import TypeVar

import numpy as np
from av.container import InputContainer
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

from vst.errors import UserError
from vst.painting.look import Look
from vst.studio.refusal import Busy, Refusal
from vst.studio.styles import Painters
from vst.studio.thumbnails import jpeg
from vst.studio.uploads import Upload
from vst.video.clips import Upright
from vst.video.decoder import Decoder
from vst.video.probe import VideoInfo, open_input

SIDE = 960  # pixels of a still's longer side, at most
FRAMES = 4  # painted for one still: a memory starts empty, and a film looks as it does after some frames
MAX_WAITING = 4

Result = TypeVar("Result")


class Stills:
    """Makes stills one after the other; the frames that were decoded last are at hand for the next look."""

    def __init__(self, painters: Painters) -> None:
        self._painters = painters
        self._turn = asyncio.Lock()
        self._waiting = 0
        self._decoded: tuple[str, float, list[np.ndarray]] = ("", 0.0, [])

    async def original(self, upload: Upload, seconds: float) -> bytes:
        """The JPEG of the frame that is shown at `seconds`, or of the last one."""
        return await self._in_turn(lambda: jpeg(self._frames(upload, seconds)[-1]))

    async def painted(self, upload: Upload, seconds: float, look: Look) -> bytes:
        """The same frame painted, after some before it."""
        return await self._in_turn(lambda: self._paint(self._frames(upload, seconds), look))

    async def _in_turn(self, work: Callable[[], Result]) -> Result:
        if self._waiting >= MAX_WAITING:
            raise Busy("the studio is busy with other guests' pictures; try again in a moment", 2)
        self._waiting += 1
        try:
            async with self._turn:
                return await asyncio.to_thread(work)
        finally:
            self._waiting -= 1

    def _paint(self, frames: list[np.ndarray], look: Look) -> bytes:
        with self._painters.lent(look) as painter:
            for frame in frames:
                painted = painter(frame)
        return jpeg(painted)

    def _frames(self, upload: Upload, seconds: float) -> list[np.ndarray]:
        name, time, frames = self._decoded
        if (name, time) != (upload.id, seconds):
            try:
                frames = frames_until(upload.info, seconds, FRAMES, upload.size)
            except UserError as error:
                raise Refusal(404, "this film is not here any more; choose it again") from error
            self._decoded = (upload.id, seconds, frames)
        return frames


def frames_until(info: VideoInfo, seconds: float, count: int, size: tuple[int, int]) -> list[np.ndarray]:
    """The frame that is shown at `seconds` of a film, after up to `count` - 1 frames before it.

    Frames (h, w, 3) uint8 are upright; `size` is the film's (width, height), which is scaled to `SIDE` if it is larger.
    Raises UserError where none can be read.
    """
    scale = min(1, SIDE / max(size))
    small = (max(16, round(size[0] * scale)), max(16, round(size[1] * scale)))
    kept: deque = deque(maxlen=count)
    with open_input(info.path) as container:
        stream = container.streams[info.stream]
        stream.thread_type = "AUTO"
        moment = info.first + round(seconds / info.time_base)
        if seconds > 0:
            container.seek(moment, stream=stream, backward=True)
        for frame in _decoded(container, stream):
            late = frame.pts is not None and frame.pts > moment
            if not (late and kept):
                kept.append(frame)
            if late:
                break
        if not kept:
            raise UserError(f"{info.path}: no frame can be read there")
        upright = Upright()
        return [np.ascontiguousarray(upright(frame, small)) for frame in kept]


def _decoded(container: InputContainer, stream: VideoStream) -> Iterator[VideoFrame]:
    decoder = Decoder(stream)
    for packet in container.demux(stream):
        yield from decoder.decode(packet)
