"""What a video file is: size, rotation, timing and colour, found by decoding its first frame."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path

import av
from av.codec.hwaccel import HWAccel, hwdevices_available
from av.container import InputContainer
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

from vst.errors import UserError, reason_of
from vst.video.animations import rewrapped
from vst.video.decoder import Decoder
from vst.video.hdr import Hdr, hdr_of
from vst.video.orientation import Orientation, display_matrix
from vst.video.pixels import has_alpha, is_transparent
from vst.video.spatial import NOTHING, Spatial

_MICROSECOND = Fraction(1, 1_000_000)
_ASSUMED_FPS = Fraction(25)
# Containers that say when the last packet ends; others say how long it all is.
_END_STAMPED = ("matroska", "nut")
# Containers whose header states the true length of each stream; others only have an estimate.
_EXACT_LENGTH = ("mov", "matroska", "avi")
STDIN = "-"
# Formats whose pictures have room for transparency whether or not they use it.
_ROOMY = ("gif", "apng")
_LOOKED_AT = 2**28  # pixels of such a film that are looked at for transparency, which takes seconds


@dataclass(frozen=True)
class Colour:
    """The colour tags of a stream: code points of ITU-T H.273, 2 for unspecified; `range` is 0 (unspecified),
    1 (limited) or 2 (full).
    """

    range: int
    primaries: int
    trc: int
    matrix: int


BT709 = Colour(range=1, primaries=1, trc=1, matrix=1)
BT601 = Colour(range=1, primaries=6, trc=6, matrix=6)


@dataclass(frozen=True)
class VideoInfo:
    """What is known of a video file before its frames are read.

    `width` and `height` are in pixels as STORED; `orientation` makes them upright. `display_matrix` are the nine
    integers of the tag that says so, None where there is no tag, and `rotation` is the counter-clockwise angle in
    degrees, in [-180, 180], that FFmpeg reads from it, which is all of it where nothing is mirrored. `num_frames` is
    the header's claim and `duration`, in seconds, how long the picture is shown, wherever it begins; both are None
    where the header is silent. `fps` is the mean rate. `stream` is the index of the chosen stream in the container and
    `time_base` the unit of its timestamps in seconds. `first` is the timestamp of its first frame in that unit, and
    `origin` that of the earliest of picture and sound, from which readers count. `spatial` says how it surrounds its
    viewer or shows two eyes. `hdr` says how its numbers stand for light, None for SDR; `alpha`, whether its frames can
    be seen through.
    """

    path: Path
    width: int
    height: int
    rotation: int
    codec: str
    fps: Fraction
    num_frames: int | None
    duration: float | None
    pix_fmt: str
    has_audio: bool
    stream: int
    time_base: Fraction
    sample_aspect_ratio: Fraction | None
    colour: Colour
    display_matrix: tuple[int, ...] | None
    first: int = 0
    origin: int = 0
    spatial: Spatial = NOTHING
    hdr: Hdr | None = None
    alpha: bool = False

    @property
    def orientation(self) -> Orientation:
        """What makes a stored picture upright."""
        return Orientation.of(self.display_matrix)

    @property
    def upright_size(self) -> tuple[int, int]:
        """Width and height as shown, in pixels."""
        return self.orientation.size(self.width, self.height)


def probe(path: str | Path) -> VideoInfo:
    """Describe the first video stream of `path` from which a frame can be decoded.

    Raises UserError for a path that is missing, a folder, empty or unreadable, for what is not a video, and
    for a file without a video stream or without a single decodable frame.
    """
    path = Path(path)
    for index in _picture_streams(path):
        # Opened anew for each stream: not every damaged file can be rewound.
        with open_input(path) as container:
            stream = container.streams[index]
            frame = _decode_one(container, stream)
            if frame is not None:
                info = describe(path, container, stream, frame)
                return replace(info, alpha=_uses_alpha(path, index)) if info.alpha and _is_roomy(container) else info
    raise UserError(f"{path}: no frame can be decoded; the file is damaged or its codec is not supported")


def is_stream(location: str | Path) -> bool:
    """Whether it is standard input or an address: what can be read once, from its begin, and is no path."""
    return location == STDIN or (isinstance(location, str) and "://" in location)


def open_input(location: str | Path, *, hwaccel: str | None = None) -> InputContainer:
    """Open a file, an address that FFmpeg reads, or `-` for reading, to be used in a `with` statement.

    `hwaccel` names the device that decodes. Raises UserError for what cannot be opened, is no video, or for a device
    that this build does not know.
    """
    if not is_stream(location):
        _check_file(Path(location))
    try:
        container = _open(location, hwaccel)
    except PermissionError as error:
        if hwaccel is not None:
            raise UserError(f"hwaccel={hwaccel} cannot be used on this machine; leave it out") from error
        raise UserError(f"{location} cannot be read: permission denied; change its permissions") from error
    except (av.error.FFmpegError, OSError) as error:
        remedy = "check the address" if is_stream(location) and location != STDIN else "give an mp4, mov or mkv"
        raise UserError(f"{_named(location)} is not a video that can be read ({reason_of(error)}); {remedy}") from error
    kind = container.format.name
    if kind == "tty" or kind == "image2" or kind.endswith("_pipe"):
        # FFmpeg opens pictures, and plain text as ANSI art, as if they were videos.
        container.close()
        raise UserError(f"{_named(location)} is a picture or a text, not a video ({kind}); give an mp4, mov or mkv")
    return container


def _check_file(path: Path) -> None:
    if not path.exists():
        raise UserError(f"{path}: no such file; check the path")
    if path.is_dir():
        raise UserError(f"{path} is a folder; give the path of one video file")
    if path.is_file() and path.stat().st_size == 0:
        raise UserError(f"{path} is empty (0 bytes); copy or download it again")


def _open(location: str | Path, hwaccel: str | None) -> InputContainer:
    animation = None if is_stream(location) else rewrapped(location)
    if animation is not None:
        return av.open(animation)
    address = "pipe:0" if location == STDIN else str(location)
    if hwaccel is None:
        return av.open(address, metadata_errors="replace")
    known = hwdevices_available()
    if hwaccel not in known:
        raise UserError(f"hwaccel={hwaccel} is not one of {', '.join(known)}, which this build of FFmpeg decodes with")
    return av.open(address, metadata_errors="replace", hwaccel=HWAccel(hwaccel))


def _named(location: str | Path) -> str:
    return "standard input" if location == STDIN else str(location)


def _picture_streams(path: Path) -> list[int]:
    with open_input(path) as container:
        return [stream.index for stream in moving_streams(container, path)]


def moving_streams(container: InputContainer, name: str | Path) -> list[VideoStream]:
    """The video streams that are not cover art; UserError when there is none."""
    streams = container.streams.video
    found = [s for s in streams if not s.disposition & av.stream.Disposition.attached_pic]
    if not found:
        raise UserError(f"{name} has no video stream; give a file with a picture")
    return found


def describe(path: Path, container: InputContainer, stream: VideoStream, frame: VideoFrame) -> VideoInfo:
    """What the container and the first frame of a stream say of it; `alpha`, whether there is room for it."""
    first = next((stamp for stamp in (frame.pts, frame.dts) if stamp is not None), 0)
    return VideoInfo(
        path=path,
        width=frame.width,
        height=frame.height,
        rotation=frame.rotation,
        codec=stream.codec_context.name,
        fps=stream.average_rate or stream.guessed_rate or _ASSUMED_FPS,
        num_frames=stream.frames or None,
        duration=_duration(container, stream, first),
        pix_fmt=frame.format.name,
        has_audio=bool(container.streams.audio),
        stream=stream.index,
        time_base=stream.time_base,
        sample_aspect_ratio=stream.sample_aspect_ratio or None,
        colour=_colour(stream, frame),
        display_matrix=display_matrix(frame),
        first=first,
        origin=_origin(container, stream, first),
        spatial=Spatial.of(frame),
        hdr=hdr_of(frame),
        alpha=has_alpha(frame),
    )


def _is_roomy(container: InputContainer) -> bool:
    return container.format.name in _ROOMY


def _uses_alpha(path: Path, index: int) -> bool:
    """Whether any frame can be seen through; taken for granted of what is too long to be looked at."""
    left = _LOOKED_AT
    with open_input(path) as container:
        for frame in _decoded(container, container.streams[index]):
            left -= frame.width * frame.height
            if left < 0 or is_transparent(frame):
                return True
    return False


def _origin(container: InputContainer, stream: VideoStream, first: int) -> int:
    """When the earliest of picture and sound begins, in units of the picture's timestamps.

    It is 0 where only sound lies before 0: that is what its decoder needs to begin with, and is not heard.
    """
    starts = [sound.start_time * sound.time_base for sound in container.streams.audio if sound.start_time is not None]
    begin = min([first, *(math.floor(start / stream.time_base) for start in starts)])
    return 0 if begin <= 0 <= first else begin


def _decode_one(container: InputContainer, stream: VideoStream) -> VideoFrame | None:
    """The first frame of the stream; None when there is none."""
    return next(_decoded(container, stream), None)


def _decoded(container: InputContainer, stream: VideoStream) -> Iterator[VideoFrame]:
    """The frames of the stream, passing over packets that cannot be decoded."""
    if stream.codec_context is None:
        return
    decoder = Decoder(stream, "none")
    try:
        for packet in container.demux(stream):
            try:
                frames = decoder.decode(packet)
            except av.error.FFmpegError:
                continue
            yield from frames
    except av.error.FFmpegError:
        return


def stated_end(container: InputContainer) -> float | None:
    """When the container's last packet ends by its header, in seconds on its own clock; None if unknown.

    Some writers of Matroska state how long it lasts instead.
    """
    if container.duration is None:
        return None
    begin, stated = (float((time or 0) * _MICROSECOND) for time in (container.start_time, container.duration))
    return stated if container.format.name.startswith(_END_STAMPED) and stated > begin else begin + stated


def stated_picture_end(container: InputContainer, stream: VideoStream, first: int) -> int | None:
    """When a picture that begins at `first` ends by the header, in units of its timestamps; None if unknown."""
    if not container.format.name.startswith(_EXACT_LENGTH):
        return None
    if stream.duration is not None:
        return (stream.start_time or 0) + stream.duration
    if "DURATION" not in stream.metadata:
        return None
    hours, minutes, seconds = stream.metadata["DURATION"].split(":")
    stated = round((int(hours) * 3600 + int(minutes) * 60 + Fraction(seconds)) / stream.time_base)
    return stated if stated > first else first + stated


def _duration(container: InputContainer, stream: VideoStream, first: int) -> float | None:
    if stream.duration is not None:
        return float(stream.duration * stream.time_base)
    last = stated_picture_end(container, stream, first)
    if last is not None:
        return float((last - first) * stream.time_base)
    end = stated_end(container)
    return None if end is None else max(0.0, end - float(first * stream.time_base))


def _colour(stream: VideoStream, frame: VideoFrame) -> Colour:
    """The tags; for what has no luma, such as a GIF, those of the video that it may become."""
    if frame.format.is_rgb or frame.format.name == "pal8":
        return BT709
    context = stream.codec_context
    # The frame's matrix and range are those by which its pixels are converted to RGB.
    return Colour(int(frame.color_range), int(context.color_primaries), int(context.color_trc), int(frame.colorspace))
