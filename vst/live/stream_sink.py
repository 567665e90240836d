"""A stream to the network, sent by a process of its own, so that a receiver that hangs does not stop the picture."""

from __future__ import annotations

import contextlib
import json
import os
import queue
import subprocess
import sys
import threading
from pathlib import Path
from typing import BinaryIO

import numpy as np

from vst.errors import UserError
from vst.live.h264 import FORMATS
from vst.live.protocols import scheme_of
from vst.live.sender import TIME
from vst.live.sink import Sink, SinkLost

_ROOT = Path(__file__).resolve().parents[2]


class StreamSink(Sink):
    """H.264 to a URL of rtmp, rtmps, rtsp, srt, udp or tcp.

    Args:
        bitrate: bits a second as FFmpeg reads them.
        timeout: seconds after which a receiver that does not answer, or takes nothing, is lost.

    Raises:
        UserError: nothing is sent to this protocol.
    """

    def __init__(self, url: str, bitrate: str, timeout: float) -> None:
        if scheme_of(url) not in FORMATS:
            raise UserError(f"sink={url}: nothing is sent to {scheme_of(url)}://; give rtmp, rtsp, srt or udp")
        self.name = url
        self._bitrate, self._timeout = bitrate, timeout
        self._process: subprocess.Popen | None = None
        self._answers: queue.Queue[bytes] = queue.Queue()

    def open(self, width: int, height: int, fps: float) -> None:
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(_ROOT), os.environ.get("PYTHONPATH", "")])}
        self._process = subprocess.Popen(
            [sys.executable, "-m", "vst.live.sender"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment
        )
        self._answers = queue.Queue()
        threading.Thread(target=_collect, args=(self._process.stdout, self._answers), daemon=True).start()
        asked = {"url": self.name, "bitrate": self._bitrate, "width": width, "height": height, "fps": fps}
        self._ask(json.dumps(asked).encode() + b"\n")

    def write(self, image: np.ndarray, seconds: float) -> None:
        self._ask(TIME.pack(seconds), np.ascontiguousarray(image).data)

    def close(self) -> None:
        if self._process is None:
            return
        try:
            with contextlib.suppress(BrokenPipeError):
                self._process.stdin.close()
            self._process.wait(self._timeout)
        except subprocess.TimeoutExpired as error:
            raise SinkLost(f"sink={self.name}: it did not end within timeout={self._timeout:g} seconds") from error
        finally:
            self._abandon()

    def _ask(self, *parts: bytes | memoryview) -> None:
        """Send to the process, and wait for its answer."""
        try:
            for part in parts:
                self._process.stdin.write(part)
            self._process.stdin.flush()
        except BrokenPipeError:
            pass  # it has answered why
        try:
            answer = self._answers.get(timeout=self._timeout)
        except queue.Empty as error:
            self._abandon()
            raise SinkLost(
                f"sink={self.name}: no answer within timeout={self._timeout:g} seconds; check address and port"
            ) from error
        said = json.loads(answer or b'{"lost": "its process ended"}')
        if said:
            self._abandon()
            raise SinkLost(said["lost"]) if "lost" in said else UserError(said["error"])

    def _abandon(self) -> None:
        process, self._process = self._process, None
        if process is not None:
            process.kill()
            process.wait()
            with contextlib.suppress(BrokenPipeError):
                process.stdin.close()


def _collect(lines: BinaryIO, answers: queue.Queue[bytes]) -> None:
    """Lines as they come, an empty one at the end."""
    with lines:
        for line in lines:
            answers.put(line)
    answers.put(b"")
