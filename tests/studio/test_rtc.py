"""A camera over WebRTC, with aiortc on both ends."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from fractions import Fraction

import numpy as np
import pytest

pytest.importorskip("aiortc", reason="needs the studio's packages: pip install 'vst[studio]'")

from aiortc import RTCConfiguration, RTCPeerConnection, RTCSessionDescription, VideoStreamTrack
from av import VideoFrame

from tests.studio.serving import STYLES, Client
from vst.painting.look import Look
from vst.studio import rtc
from vst.studio.refusal import Busy
from vst.studio.rtc import Cameras
from vst.studio.settings import Settings
from vst.studio.styles import Painters

ORANGE, BLUE = np.array([230, 120, 20]), np.array([25, 135, 235])  # each the negative of the other
COUNTER = Fraction(1, 90_000)


class Orange(VideoStreamTrack):
    """A camera on an orange wall, until it looks elsewhere; `size` is its width and height."""

    def __init__(self, size: tuple[int, int] = (128, 96), rate: int = 30) -> None:
        super().__init__()
        self.size, self.colour, self.sent, self._rate = size, ORANGE, 0, rate

    async def recv(self) -> VideoFrame:
        await asyncio.sleep(1 / self._rate)
        width, height = self.size
        frame = VideoFrame.from_ndarray(np.full((height, width, 3), self.colour, np.uint8), format="rgb24")
        frame.pts, frame.time_base = self.sent * 90_000 // self._rate, COUNTER
        self.sent += 1
        return frame


class Guest:
    """The browser's end of a connection."""

    def __init__(self, camera: Orange | None) -> None:
        self.peer = RTCPeerConnection(RTCConfiguration(iceServers=[]))
        self.heard: list[dict] = []
        self.camera = camera
        self._painted: asyncio.Future = asyncio.get_running_loop().create_future()
        self.peer.on("track", lambda track: self._painted.set_result(track))
        self.channel = self.peer.createDataChannel("look")
        self.channel.on("message", lambda text: self.heard.append(json.loads(text)))
        if camera is not None:
            self.peer.addTrack(camera)

    async def connect(self, answer: Callable[[str], Awaitable[str]]) -> None:
        await self.peer.setLocalDescription(await self.peer.createOffer())
        sdp = await answer(self.peer.localDescription.sdp)
        await self.peer.setRemoteDescription(RTCSessionDescription(sdp, "answer"))

    async def frame(self) -> np.ndarray:
        track = await asyncio.wait_for(self._painted, 20)
        return (await asyncio.wait_for(track.recv(), 20)).to_ndarray(format="rgb24")

    async def sees(self, colour: np.ndarray, within: float = 20) -> np.ndarray:
        """A frame of that colour, once there is one."""
        deadline = time.monotonic() + within
        while True:
            frame = await self.frame()
            mean = frame.reshape(-1, 3).mean(axis=0)
            if np.abs(mean - colour).max() < 20:
                return frame
            assert time.monotonic() < deadline, f"{mean} is not {colour}"

    async def hears(self, key: str) -> dict:
        deadline = time.monotonic() + 20
        while not any(key in message for message in self.heard):
            assert time.monotonic() < deadline, self.heard
            await asyncio.sleep(0.05)
        return next(message for message in self.heard if key in message)


@asynccontextmanager
async def cameras(**settings: float) -> AsyncIterator[tuple[Cameras, Callable]]:
    """Cameras, and a function that connects a guest to them in a style."""
    opened = Cameras(Painters(STYLES), Settings(**settings))
    guests = []

    async def connect(style: str, camera: Orange | None = None) -> Guest:
        guest = Guest(camera or Orange())
        guests.append(guest)
        await guest.connect(lambda sdp: opened.answer(sdp, Look(style=style)))
        return guest

    try:
        yield opened, connect
    finally:
        await asyncio.gather(*(guest.peer.close() for guest in guests))
        await opened.close()
        assert opened.count == 0


async def closes(opened: Cameras, count: int = 0) -> None:
    deadline = time.monotonic() + 20
    while opened.count > count:
        assert time.monotonic() < deadline, "the camera is still open"
        await asyncio.sleep(0.05)


def test_frames_come_back_painted_and_the_style_changes() -> None:
    async def scene() -> None:
        async with cameras() as (opened, connect):
            guest = await connect("negative")
            frame = await guest.sees(BLUE)
            assert frame.shape == (96, 128, 3)
            guest.channel.send(json.dumps({"style": "same"}))
            await guest.sees(ORANGE)
            guest.channel.send(json.dumps({"style": "negative", "strength": 0.5}))
            await guest.sees((ORANGE + BLUE) / 2)
            report = await guest.hears("fps")
            assert 0 < report["fps"] <= report["camera_fps"] + 5 and report["paint_ms"] >= 0
            await guest.peer.close()
            await closes(opened)

    asyncio.run(scene())


def test_large_frames_are_painted_small_and_may_change_their_size() -> None:
    async def scene() -> None:
        async with cameras(live_side=64) as (_, connect):
            camera = Orange((256, 144))
            guest = await connect("negative", camera)
            assert (await guest.sees(BLUE)).shape == (36, 64, 3)
            camera.size = (144, 256)
            while (frame := await guest.sees(BLUE)).shape != (64, 36, 3):
                assert frame.shape == (36, 64, 3)

    asyncio.run(scene())


def test_a_slow_painter_drops_frames_and_stays_close() -> None:
    async def scene() -> None:
        async with cameras() as (_, connect):
            guest = await connect("slow")  # ten frames a second at most, of thirty
            await guest.sees(ORANGE)
            for _ in range(20):
                await guest.frame()
            guest.camera.colour = BLUE
            late = 0
            while late < 12 and np.abs((await guest.frame())[48, 64] - BLUE).max() > 20:
                late += 1
            assert late < 12, f"{late} frames were painted before the newest"  # in turn, forty would wait
            assert any(report["dropped"] > 0 for report in guest.heard)

    asyncio.run(scene())


def test_looks_that_cannot_be_are_told_and_change_nothing() -> None:
    async def scene() -> None:
        async with cameras() as (opened, connect):
            guest = await connect("negative")
            await guest.sees(BLUE)
            for wrong in ('{"style": "other"}', "{", '{"strength": 9}', "x" * 9000, '{"file": "/etc/passwd"}'):
                guest.heard.clear()
                guest.channel.send(wrong)
                assert (await guest.hears("error"))["error"]
            await guest.sees(BLUE)
            assert opened.count == 1

    asyncio.run(scene())


def test_cameras_are_bounded_and_their_places_come_back() -> None:
    async def scene() -> None:
        async with cameras(max_viewers=1) as (opened, connect):
            first = await connect("same")
            await first.sees(ORANGE)
            with pytest.raises(Busy, match="busy"):
                await connect("same")
            await first.peer.close()
            await closes(opened)
            second = await connect("negative")
            await second.sees(BLUE)

    asyncio.run(scene())


def test_a_guest_who_never_comes_loses_the_place(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rtc, "SETUP_SECONDS", 0.5)

    async def scene() -> None:
        async with cameras() as (opened, _):
            guest = Guest(Orange())
            await guest.peer.setLocalDescription(await guest.peer.createOffer())
            await opened.answer(guest.peer.localDescription.sdp, Look(style="same"))
            assert opened.count == 1
            await closes(opened)
            await guest.peer.close()

    asyncio.run(scene())


def test_offers_without_a_camera_are_refused(studio: Client) -> None:
    async def offer() -> str:
        guest = Guest(None)
        await guest.peer.setLocalDescription(await guest.peer.createOffer())
        await guest.peer.close()
        return guest.peer.localDescription.sdp

    answer = studio.ask("POST", "/api/live", {"sdp": asyncio.run(offer()), "look": {"style": "same"}})
    assert answer.status == 400 and "one video track" in answer.json["error"]


def test_a_camera_through_the_studio(studio: Client) -> None:
    async def scene() -> None:
        guest = Guest(Orange())

        async def answer(sdp: str) -> str:
            asked = {"sdp": sdp, "look": {"style": "negative"}}
            given = await asyncio.to_thread(studio.ask, "POST", "/api/live", asked)
            assert given.status == 200 and given.json["type"] == "answer"
            return given.json["sdp"]

        await guest.connect(answer)
        await guest.sees(BLUE)
        await guest.peer.close()

    asyncio.run(scene())
