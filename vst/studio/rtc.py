"""The camera of a browser, painted and sent back over WebRTC."""

from __future__ import annotations

import asyncio
import json
import logging
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from fractions import Fraction

import numpy as np
from aiortc import RTCConfiguration, RTCPeerConnection, RTCSessionDescription
from aiortc.mediastreams import MediaStreamError, MediaStreamTrack
from aiortc.rtcdatachannel import RTCDataChannel
from av import VideoFrame

from vst.errors import UserError
from vst.painting.look import Look
from vst.painting.painter import Painter
from vst.studio.looks import read_look
from vst.studio.refusal import Busy, Refusal
from vst.studio.settings import Settings
from vst.studio.styles import Painters

_log = logging.getLogger(__name__)

CLOCK = 90_000  # ticks a second of video in RTP
SETUP_SECONDS = 20  # for an answer, and again for the first frame
SILENCE_SECONDS = 15  # without a frame, after which a camera is taken to be gone
REPORT_SECONDS = 0.5
MAX_MESSAGE = 4096  # characters of a look


class Cameras:
    """The cameras that are painted now, never more than `max_viewers`."""

    def __init__(self, painters: Painters, settings: Settings) -> None:
        self._painters, self._settings = painters, settings
        self._open: set[_Camera] = set()

    async def answer(self, sdp: str, look: Look) -> str:
        """The SDP answer to a browser's complete offer (no trickled candidates).

        The offer has one video track, and may open a data channel: text messages to it are looks as JSON, and
        from it come reports as JSON. Raises Busy, UserError for a look that cannot be, Refusal for another offer.
        """
        if len(self._open) >= self._settings.max_viewers:
            count = len(self._open)
            cameras = "a camera is" if count == 1 else f"{count} cameras are"
            raise Busy(f"the studio is busy: {cameras} being painted; try again when there is a place", 15)
        camera = _Camera(self._painters, self._painters.take(look), self._settings.live_side, self._open.discard)
        self._open.add(camera)
        try:
            return await asyncio.wait_for(camera.answer(sdp), SETUP_SECONDS)
        except BaseException as error:
            await camera.close()
            if isinstance(error, Refusal | UserError | asyncio.CancelledError):
                raise
            # What aiortc makes of an offer that is none has many names.
            raise Refusal(400, "this is not an offer of WebRTC with one video track") from error

    async def close(self) -> None:
        await asyncio.gather(*(camera.close() for camera in list(self._open)))

    @property
    def count(self) -> int:
        return len(self._open)


class _PaintedTrack(MediaStreamTrack):
    """Gives the newest painted frame, once; what nobody fetched in time is replaced."""

    kind = "video"

    def __init__(self) -> None:
        super().__init__()
        self._newest: asyncio.Queue[VideoFrame] = asyncio.Queue(1)
        self._began = time.monotonic()

    def show(self, image: np.ndarray) -> None:
        frame = VideoFrame.from_ndarray(image, format="rgb24")
        frame.pts = int((time.monotonic() - self._began) * CLOCK)
        frame.time_base = Fraction(1, CLOCK)
        if self._newest.full():
            self._newest.get_nowait()
        self._newest.put_nowait(frame)

    async def recv(self) -> VideoFrame:
        if self.readyState != "live":
            raise MediaStreamError
        return await self._newest.get()


class _Camera:
    """One connection: frames arrive as they like, the newest is painted, the others are dropped and counted."""

    def __init__(self, painters: Painters, painter: Painter, side: int, on_close: Callable) -> None:
        self._painters, self._painter, self._side, self._on_close = painters, painter, side, on_close
        self._peer = RTCPeerConnection(RTCConfiguration(iceServers=[]))
        self._track = _PaintedTrack()
        self._channel: RTCDataChannel | None = None
        self._thread = ThreadPoolExecutor(1, "camera")
        self._newest: VideoFrame | None = None
        self._arrived = asyncio.Event()
        self._received = self._painted = 0
        self._paint_seconds = 0.0
        self._tasks: list[asyncio.Task] = []
        self._closing: asyncio.Task | None = None

    async def answer(self, sdp: str) -> str:
        peer = self._peer
        peer.on("connectionstatechange", self._watch)
        peer.on("datachannel", self._listen)
        await peer.setRemoteDescription(RTCSessionDescription(sdp, "offer"))
        receivers = [transceiver.receiver for transceiver in peer.getTransceivers()]
        if len(receivers) != 1 or receivers[0].track.kind != "video":
            raise Refusal(400, "this is not an offer of WebRTC with one video track")
        peer.addTrack(self._track)
        await peer.setLocalDescription(await peer.createAnswer())
        self._tasks = [asyncio.create_task(work) for work in (self._receive(receivers[0].track), self._paint())]
        return peer.localDescription.sdp

    async def close(self) -> None:
        """Let go of everything; all who ask for it wait until it is done."""
        if self._closing is None:
            self._closing = asyncio.create_task(self._shut())
        await asyncio.shield(self._closing)

    async def _shut(self) -> None:
        for task in self._tasks:
            task.cancel()
        self._track.stop()
        await self._peer.close()
        # The painter is lent again only when the frame under way is done with it.
        await asyncio.to_thread(self._thread.shutdown)
        self._painters.give(self._painter)
        self._on_close(self)

    async def _watch(self) -> None:
        if self._peer.connectionState in ("failed", "closed"):
            await self.close()

    def _listen(self, channel: RTCDataChannel) -> None:
        self._channel = channel
        channel.on("message", self._obey)

    def _obey(self, message: str | bytes) -> None:
        try:
            if not isinstance(message, str) or len(message) > MAX_MESSAGE:
                raise UserError("a look is a short text")
            self._painter.look = read_look(message)
        except UserError as error:
            self._say({"error": str(error)})

    async def _receive(self, track: MediaStreamTrack) -> None:
        patience = SETUP_SECONDS
        try:
            while True:
                self._newest = await asyncio.wait_for(track.recv(), patience)
                self._received += 1
                self._arrived.set()
                patience = SILENCE_SECONDS
        except (MediaStreamError, TimeoutError):
            await self.close()

    async def _paint(self) -> None:
        loop, reported = asyncio.get_running_loop(), None
        try:
            while True:
                await self._arrived.wait()
                self._arrived.clear()
                self._track.show(await loop.run_in_executor(self._thread, self._paint_frame, self._newest))
                self._painted += 1
                if reported is None:  # the first frame, for which the engine got ready
                    self._received, self._painted, reported = 0, 0, time.monotonic()
                elif time.monotonic() - reported > REPORT_SECONDS:
                    self._report(time.monotonic() - reported)
                    reported = time.monotonic()
        except UserError as error:
            self._say({"error": str(error)})
            await self.close()
        except Exception:
            _log.exception("a camera could not be painted")
            self._say({"error": "something broke while painting; the studio's log says what"})
            await self.close()

    def _paint_frame(self, frame: VideoFrame) -> np.ndarray:
        began = time.perf_counter()
        scale = min(1, self._side / max(frame.width, frame.height))
        # The encoders of WebRTC halve the resolution of colour.
        width, height = (max(16, round(side * scale / 2) * 2) for side in (frame.width, frame.height))
        image = frame.to_ndarray(format="rgb24", width=width, height=height, interpolation="AREA")
        painted = self._painter(image)
        self._paint_seconds = time.perf_counter() - began
        return painted

    def _report(self, seconds: float) -> None:
        dropped = self._received - self._painted
        report = {"fps": round(self._painted / seconds, 1), "camera_fps": round(self._received / seconds, 1)}
        self._say(report | {"dropped": max(dropped, 0), "paint_ms": round(self._paint_seconds * 1000, 1)})
        self._received = self._painted = 0

    def _say(self, message: dict) -> None:
        if self._channel is not None and self._channel.readyState == "open":
            self._channel.send(json.dumps(message))
