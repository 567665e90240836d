"""What a video file is: size, rotation, timing and colour, found by decoding its first frame."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from av.container import InputContainer
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

from vst.errors import UserError

_MICROSECOND = Fraction(1, 1_000_000)
_ASSUMED_FPS = Fraction(25)


@dataclass(frozen=True)
class Colour:
    """The colour tags of a stream: code points of ITU-T H.273, 2 for unspecified; `range` is 0 (unspecified),
    1 (limited) or 2 (full).
    """

    range: int
    primaries: int
    trc: int
    matrix: int


@dataclass(frozen=True)
class VideoInfo:
    """What is known of a video file before its frames are read.

    `width` and `height` are in pixels as STORED, before rotation. `rotation` is the counter-clockwise angle
    in degrees, in [-180, 180], by which a player turns the picture: `np.rot90(image, rotation // 90)` is
    upright. `display_matrix` are the nine integers of the rotation tag (it may also mirror), None where there
    is no tag. `num_frames` is the header's claim and `duration` is in seconds; both are None where the header
    is silent. `fps` is the mean rate. `stream` is the index of the chosen stream in the container,
    `time_base` the unit of its timestamps in seconds.
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
                return _describe(path, container, stream, frame)
    raise UserError(f"{path}: no frame can be decoded; the file is damaged or its codec is not supported")


def open_input(path: Path) -> InputContainer:
    """Open `path` for reading, to be used in a `with` statement; UserError when it is not a video file."""
    if not path.exists():
        raise UserError(f"{path}: no such file; check the path")
    if path.is_dir():
        raise UserError(f"{path} is a folder; give the path of one video file")
    try:
        if path.is_file() and path.stat().st_size == 0:
            raise UserError(f"{path} is empty (0 bytes); copy or download it again")
        container = av.open(str(path), metadata_errors="replace")
    except PermissionError as error:
        raise UserError(f"{path} cannot be read: permission denied; change its permissions") from error
    except (av.error.FFmpegError, OSError) as error:
        raise UserError(
            f"{path} is not a video that can be read ({_reason(error)}); give an mp4, mov or mkv"
        ) from error
    kind = container.format.name
    if kind in ("image2", "tty") or kind.endswith("_pipe"):
        # FFmpeg opens pictures, and plain text as ANSI art, as if they were videos.
        container.close()
        raise UserError(f"{path} is a picture or a text, not a video ({kind}); give an mp4, mov or mkv")
    return container


def _reason(error: Exception) -> str:
    return (getattr(error, "strerror", None) or str(error)).splitlines()[0]


def _picture_streams(path: Path) -> list[int]:
    """Indices of the video streams that are not cover art."""
    with open_input(path) as container:
        streams = container.streams.video
        found = [s.index for s in streams if not s.disposition & av.stream.Disposition.attached_pic]
    if not found:
        raise UserError(f"{path} has no video stream; give a file with a picture")
    return found


def _describe(path: Path, container: InputContainer, stream: VideoStream, frame: VideoFrame) -> VideoInfo:
    matrix = frame.side_data.get("DISPLAYMATRIX")
    return VideoInfo(
        path=path,
        width=frame.width,
        height=frame.height,
        rotation=frame.rotation,
        codec=stream.codec_context.name,
        fps=stream.average_rate or stream.guessed_rate or _ASSUMED_FPS,
        num_frames=stream.frames or None,
        duration=_duration(container, stream),
        pix_fmt=frame.format.name,
        has_audio=bool(container.streams.audio),
        stream=stream.index,
        time_base=stream.time_base,
        sample_aspect_ratio=stream.sample_aspect_ratio or None,
        colour=_colour(stream, frame),
        display_matrix=None if matrix is None else tuple(np.frombuffer(bytes(matrix), np.int32).tolist()),
    )


def _decode_one(container: InputContainer, stream: VideoStream) -> VideoFrame | None:
    """The first frame of the stream, passing over packets that cannot be decoded; None when there is none."""
    if stream.codec_context is None:
        return None
    try:
        for packet in container.demux(stream):
            try:
                frames = packet.decode()
            except av.error.FFmpegError:
                continue
            if frames:
                return frames[0]
    except av.error.FFmpegError:
        return None
    return None


def _duration(container: InputContainer, stream: VideoStream) -> float | None:
    if stream.duration is not None:
        return float(stream.duration * stream.time_base)
    if container.duration is not None:
        return float(container.duration * _MICROSECOND)
    return None


def _colour(stream: VideoStream, frame: VideoFrame) -> Colour:
    context = stream.codec_context
    # The frame's matrix and range are those by which its pixels are converted to RGB.
    return Colour(int(frame.color_range), int(context.color_primaries), int(context.color_trc), int(frame.colorspace))
