"""The process that encodes and sends a stream: `python -m vst.live.sender`, started by `StreamSink`.

It reads a line of JSON with `url`, `bitrate`, `width`, `height` and `fps`, then frames: the capture time as a double
and the RGB bytes. To each of them it answers a line of JSON: {} when sent, else {"lost": ...} or {"error": ...}, which
is its last. At the end of its input it ends the stream.
"""

from __future__ import annotations

import json
import os
import signal
import struct
import sys
from typing import BinaryIO

import numpy as np

from vst.errors import UserError
from vst.live.h264 import UrlSink
from vst.live.sink import SinkLost

TIME = struct.Struct("d")


def main() -> None:
    """Send until the input ends."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches all of a terminal; the parent ends this process
    given, answers = sys.stdin.buffer, os.fdopen(os.dup(1), "w", buffering=1)
    try:
        _send(given, answers)
    except BrokenPipeError:
        pass
    except UserError as error:
        print(json.dumps({"lost" if isinstance(error, SinkLost) else "error": str(error)}), file=answers)


def _send(given: BinaryIO, answers: object) -> None:
    asked = json.loads(given.readline())
    width, height = asked["width"], asked["height"]
    sink = UrlSink(asked["url"], asked["bitrate"])
    sink.open(width, height, asked["fps"])
    print("{}", file=answers)
    size = TIME.size + width * height * 3
    while len(record := given.read(size)) == size:
        (seconds,) = TIME.unpack_from(record)
        sink.write(np.frombuffer(record, np.uint8, offset=TIME.size).reshape(height, width, 3), seconds)
        print("{}", file=answers)
    sink.close()


if __name__ == "__main__":
    main()
