"""Animations that FFmpeg does not read, as animated WebP, in a form that it reads.

Pillow decodes them, and what `av.open` gets is a QuickTime film of PNG pictures in memory, with the same frames,
transparency and times. GIF and APNG need none of this. A film of more than `LARGEST_FILM` bytes is refused.
"""

from __future__ import annotations

import functools
import io
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from PIL import Image

from vst.video.depth import Refused
from vst.video.stills import is_animation, open_frames

LARGEST_FILM = 2**30
_UNIT = Fraction(1, 1000)
_FFMPEG_READS = (b"GIF8", b"\x89PNG")
_UNSTATED = 100  # milliseconds that a frame without a time is shown, as in browsers
_FASTEST = "1"  # of PNG's compression
_PIXELS = {"RGB": "rgb24", "RGBA": "rgba"}  # Pillow's mode -> FFmpeg's format


def rewrapped(path: str | Path) -> io.BytesIO | None:
    """The animation at `path` as a film in memory; None for what is none or FFmpeg reads itself.

    Raises PictureError where it is damaged or too long.
    """
    path = Path(path)
    if not path.is_file() or not is_animation(path):
        return None
    with path.open("rb") as file:
        if file.read(4) in _FFMPEG_READS:
            return None
    status = path.stat()
    return io.BytesIO(_as_film(path, status.st_size, status.st_mtime_ns))


@functools.lru_cache(maxsize=2)  # a film is opened several times: to look at it, and to read it
def _as_film(path: Path, size: int, changed: int) -> bytes:
    file = io.BytesIO()
    with open_frames(path) as image, av.open(file, "w", format="mov") as container:
        stream = container.add_stream("png", rate=Fraction(1000, _UNSTATED), options={"compression_level": _FASTEST})
        stream.width, stream.height = image.size
        mode = "RGBA" if _is_seen_through(image) else "RGB"
        stream.pix_fmt = _PIXELS[mode]
        stream.time_base = stream.codec_context.time_base = _UNIT
        time = 0
        for number in range(image.n_frames):
            image.seek(number)
            frame = _frame(image, mode)
            frame.pts, frame.time_base = time, _UNIT
            duration = round(image.info.get("duration", 0)) or _UNSTATED
            for packet in stream.encode(frame):
                packet.duration = duration
                container.mux(packet)
            time += duration
            if file.tell() > LARGEST_FILM:
                raise Refused(
                    f"it is too long: frame {number + 1} of {image.n_frames} comes to more than "
                    f"{LARGEST_FILM / 2**30:g} GiB of memory; convert it to .webm or .mov, or scale it down"
                )
        container.mux(stream.encode(None))
    return file.getvalue()


def _is_seen_through(image: Image.Image) -> bool:
    """Whether any frame is, since some have room for transparency that none of them uses."""
    if not image.has_transparency_data:
        return False
    for number in range(image.n_frames):
        image.seek(number)
        if image.convert("RGBA").getchannel("A").getextrema()[0] < 255:
            return True
    return False


def _frame(image: Image.Image, mode: str) -> av.VideoFrame:
    image.load()
    return av.VideoFrame.from_ndarray(np.ascontiguousarray(image.convert(mode)), format=_PIXELS[mode])
