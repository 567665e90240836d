"""Writing a video that differs from its input in the pixels only: timing, colour, rotation and audio stay."""

from __future__ import annotations

import contextlib
import errno
import io
import logging
import os
import secrets
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from av.audio.stream import AudioStream
from av.container import OutputContainer
from av.packet import Packet
from av.video.reformatter import VideoReformatter
from av.video.stream import VideoStream

from vst.errors import UserError, suggest
from vst.video.probe import Colour, VideoInfo, open_input

_log = logging.getLogger(__name__)

FORMATS = {".mp4": "mp4", ".mov": "mov", ".mkv": "matroska"}
CODECS = ("libx264", "libx265")
PRESETS = (
    "ultrafast", "superfast", "veryfast", "faster", "fast", "medium", "slow", "slower", "veryslow", "placebo",
)  # fmt: skip
_METADATA = ("title", "artist", "comment", "description", "copyright", "date", "creation_time")
# swscale's number of a matrix (SWS_CS_*) by its H.273 code point; 2 is unspecified, which every reader takes
# as BT.601.
_BT601 = 5
_SWSCALE_MATRIX = {1: 1, 2: _BT601, 4: 4, 5: _BT601, 6: _BT601, 7: 7, 9: 9, 10: 9}
_BT709 = Colour(range=1, primaries=1, trc=1, matrix=1)
_FULL_RANGE = 2


def new_video(width: int, height: int, fps: Fraction | int) -> VideoInfo:
    """The description, for `VideoWriter`, of a video that has no original: BT.709, square pixels, upright."""
    fps = Fraction(fps)
    return VideoInfo(
        path=Path(), width=width, height=height, rotation=0, display_matrix=None, codec="", pix_fmt="rgb24",
        fps=fps, time_base=1 / fps, num_frames=None, duration=None, has_audio=False, stream=0,
        sample_aspect_ratio=None, colour=_BT709,
    )  # fmt: skip


def write_clip(path: str | Path, frames: np.ndarray, fps: Fraction | int) -> None:
    """Write `frames` (T, H, W, 3) uint8 RGB as H.264 in yuv420p, which every browser plays.

    An existing file is replaced. Odd sizes are padded to even ones by repeating the last row or column.
    Raises UserError as `VideoWriter` does.
    """
    assert frames.dtype == np.uint8 and frames.ndim == 4 and frames.shape[3] == 3, (
        frames.dtype,
        frames.shape,
    )
    height, width = frames.shape[1:3]
    frames = np.pad(frames, ((0, 0), (0, height % 2), (0, width % 2), (0, 0)), mode="edge")
    with VideoWriter(path, new_video(width + width % 2, height + height % 2, fps), overwrite=True) as writer:
        for frame in frames:
            writer.write(frame)


def check_output(path: Path, overwrite: bool) -> None:
    """Raise UserError when `path` cannot become an output: by its extension, its folder, what is there."""
    if path.suffix.lower() not in FORMATS:
        raise UserError(f"{path}: the extension {path.suffix or '(none)'} is not one of {', '.join(FORMATS)}")
    if path.is_dir():
        raise UserError(f"{path} is a folder; give the name of a file")
    if not path.parent.is_dir():
        raise UserError(f"{path}: the folder {path.parent} does not exist; create it first")
    if path.exists() and not overwrite:
        raise UserError(f"{path} exists already; choose another name or set overwrite=true")


class VideoWriter:
    """Encode frames into an mp4, mov or mkv of the size, timing, colour tags and rotation of `info`.

    `copy_from` is a file whose audio tracks are copied packet by packet and whose title is kept. A context
    manager: the file is written under a temporary name in the same folder and takes its own name when whole;
    on an exception it is removed. Even sizes become yuv420p, odd ones yuv444p (4:2:0 has no odd sizes),
    always of exactly the given size. A first timestamp below zero is moved to zero, with all audio, because
    mp4 players hide what lies before zero.

    Raises UserError for an output that cannot be written (before the first frame where it can be known), for
    an unknown codec, preset or crf, for audio that the container cannot hold, and for a full disk.
    """

    def __init__(
        self,
        path: str | Path,
        info: VideoInfo,
        *,
        copy_from: str | Path | None = None,
        codec: str = "libx264",
        crf: int = 18,
        preset: str = "veryfast",
        overwrite: bool = False,
    ) -> None:
        self.path = Path(path)
        check_output(self.path, overwrite)
        _check_encoder(codec, crf, preset)
        self._info = info
        self._copy_from = None if copy_from is None else Path(copy_from)
        self._encoder = (codec, crf, preset)
        self._colour = info.colour if info.colour.matrix in _SWSCALE_MATRIX else _BT709
        self._temporary = self.path.with_name(f".{self.path.name}.{secrets.token_hex(4)}.part")
        self._converter = VideoReformatter()  # one for all frames: setting it up costs as much as a frame
        self._turns = 0
        self._shift = 0
        self._first_pts: int | None = None
        self._next_pts = 0
        self._durations: dict[int, int] = {}
        self._end = 0
        self._first_dts: int | None = None
        self._held: Packet | None = None

    def __enter__(self) -> VideoWriter:
        with contextlib.ExitStack() as stack:
            stack.callback(self._discard)
            with self._translated_errors():
                self._temporary.open("xb").close()
                self._container = av.open(str(self._temporary), "w", format=FORMATS[self.path.suffix.lower()])
                stack.callback(_close_quietly, self._container)
                self._video = self._add_video(self._container)
                self._audio = _AudioCopy(self._copy_from, self._container, self.path)
                stack.callback(self._audio.close)
                self._container.start_encoding()
            self._cleanup = stack.pop_all()
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        with self._cleanup:
            if kind is not None:
                return
            if self._first_pts is None:
                raise UserError(f"{self.path}: no frame was given, so no video was written")
            with self._translated_errors():
                self._mux(self._video.encode(None))
                self._mux_last()
                self._container.close()
                os.replace(self._temporary, self.path)

    def write(self, image: np.ndarray, pts: int | None = None, duration: int = 0) -> None:
        """Append `image` (H, W, 3) uint8 RGB.

        `pts` (strictly increasing) and `duration` are in units of `info.time_base`. Without `pts` the frame
        follows the last one at the mean rate; duration 0 means unknown. The array is copied.
        """
        info = self._info
        assert image.shape == (info.height, info.width, 3) and image.dtype == np.uint8, (
            image.shape,
            image.dtype,
        )
        pts = self._next_pts if pts is None else pts
        step = max(1, round(1 / (info.fps * info.time_base)))
        if self._first_pts is None:
            self._shift = max(0, -pts)
            self._first_pts = pts + self._shift
            self._audio.shift = self._shift * info.time_base
        self._next_pts = pts + (duration or step)
        self._end = max(self._end, self._next_pts + self._shift)
        frame = self._to_yuv(np.ascontiguousarray(np.rot90(image, self._turns)))
        frame.pts, frame.time_base = pts + self._shift, info.time_base
        if duration:
            self._durations[frame.pts] = duration
        with self._translated_errors():
            self._mux(self._video.encode(frame))

    def _add_video(self, container: OutputContainer) -> VideoStream:
        info = self._info
        codec, crf, preset = self._encoder
        options = {"crf": str(crf), "preset": preset}
        if codec == "libx265":
            options["x265-params"] = "log-level=error"
        stream = container.add_stream(codec, rate=info.fps, options=options)
        if codec == "libx265" and container.format.name != "matroska":
            stream.codec_context.codec_tag = "hvc1"  # Apple's players accept HEVC under this name only
        self._turns = _set_rotation(stream, info)
        width, height = (info.height, info.width) if self._turns % 2 else (info.width, info.height)
        stream.width, stream.height = width, height
        stream.pix_fmt = "yuv444p" if width % 2 or height % 2 else "yuv420p"
        stream.time_base = stream.codec_context.time_base = info.time_base
        aspect = info.sample_aspect_ratio
        if aspect is not None:
            stream.codec_context.sample_aspect_ratio = 1 / aspect if self._turns % 2 else aspect
        context, colour = stream.codec_context, self._colour
        context.color_range, context.colorspace = colour.range, colour.matrix
        context.color_primaries, context.color_trc = colour.primaries, colour.trc
        return stream

    def _to_yuv(self, image: np.ndarray) -> av.VideoFrame:
        """Convert with the tagged matrix: PyAV's own conversion takes BT.601 whatever the tags are."""
        matrix = _SWSCALE_MATRIX[self._colour.matrix]
        full = {"dst_color_range": _FULL_RANGE} if self._colour.range == _FULL_RANGE else {}
        frame = av.VideoFrame.from_numpy_buffer(image, format="rgb24")  # copies nothing
        # The matrix of an RGB source means nothing, but PyAV before 17 ignores the other one where the two
        # are equal.
        return self._converter.reformat(
            frame, format=self._video.pix_fmt, src_colorspace=_BT601, dst_colorspace=matrix, **full
        )

    def _mux(self, packets: list[Packet]) -> None:
        for packet in packets:
            packet.duration = self._durations.pop(packet.pts, packet.duration)
            if self._held is None:
                self._first_dts = packet.dts
            else:
                self._mux_with_audio(self._held)
            self._held = packet

    def _mux_last(self) -> None:
        """Mux the last packet, with the length that makes the whole as long as the frames are shown.

        An mp4 gives lengths in order of decoding, where the last packet may not be the last frame shown.
        """
        packet = self._held
        assert packet is not None and self._first_dts is not None and self._first_pts is not None
        if self._container.format.name != "matroska":
            shown = self._end - self._first_pts
            packet.duration = max(1, shown - (packet.dts - self._first_dts))
        self._mux_with_audio(packet)
        for sound in self._audio.until(None):
            self._container.mux(sound)

    def _mux_with_audio(self, packet: Packet) -> None:
        for sound in self._audio.until(packet.dts * packet.time_base):
            self._container.mux(sound)
        self._container.mux(packet)

    def _discard(self) -> None:
        self._temporary.unlink(missing_ok=True)

    @contextlib.contextmanager
    def _translated_errors(self) -> Iterator[None]:
        try:
            yield
        except (av.error.FFmpegError, OSError) as error:
            if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
                raise UserError(f"{self.path}: the disk is full; free some space and start again") from error
            reason = error.strerror or str(error)
            raise UserError(f"{self.path} cannot be written: {reason}; check the folder {self.path.parent}") from error


class _AudioCopy:
    """The packets of all audio tracks of a file, handed out in step with the picture so that no queue grows.

    The file is opened a second time, beside the reader of its pictures: the encoder runs many frames behind
    the decoder. `shift` in seconds is added to all timestamps.
    """

    def __init__(self, source: Path | None, output: OutputContainer, path: Path) -> None:
        self.shift = Fraction(0)
        self._input = None if source is None else open_input(source)
        self._packets: Iterator[Packet] = iter(())
        self._waiting: Packet | None = None
        self._tracks: dict[int, AudioStream] = {}
        self._strict = output.format.name != "matroska"  # whether times must differ within a track
        if self._input is None:
            return
        output.metadata.update({key: text for key, text in self._input.metadata.items() if key.lower() in _METADATA})
        streams = list(self._input.streams.audio)
        if streams:
            _check_audio(streams, path)
            self._tracks = {s.index: _add_track(output, s) for s in streams}
            self._packets = self._demux(streams)

    def close(self) -> None:
        if self._input is not None:
            self._input.close()

    def until(self, time: Fraction | None) -> Iterator[Packet]:
        """The next packets that are due at or before `time` in seconds; all that are left for None."""
        while True:
            packet = self._waiting or next(self._packets, None)
            self._waiting = packet
            if packet is None or (time is not None and packet.dts * packet.time_base > time):
                return
            self._waiting = None
            packet.stream = self._tracks[packet.stream.index]
            yield packet

    def _demux(self, streams: list[AudioStream]) -> Iterator[Packet]:
        last: dict[int, int] = {}
        dropped = 0
        try:
            for packet in self._input.demux(streams):
                if packet.dts is None:  # the empty packet at the end of each track
                    continue
                if packet.dts < last.get(packet.stream.index, packet.dts):
                    dropped += 1  # only in damaged files; a muxer refuses times that run backwards
                    continue
                last[packet.stream.index] = packet.dts + self._strict
                shift = round(self.shift / packet.time_base)
                packet.dts += shift
                packet.pts = packet.dts if packet.pts is None else max(packet.pts + shift, packet.dts)
                yield packet
        except av.error.FFmpegError as error:
            _log.warning("%s: the audio ends early, it is damaged (%s)", self._input.name, error.strerror)
        if dropped:
            _log.warning("%s: %d damaged audio packets were left out", self._input.name, dropped)


def _set_rotation(stream: VideoStream, info: VideoInfo) -> int:
    """Write the rotation tag; where PyAV cannot (before 17.1), return the quarter turns that do the same."""
    if info.display_matrix is None:
        return 0
    if hasattr(stream, "set_display_matrix"):
        stream.set_display_matrix(info.display_matrix)
        return 0
    return round(info.rotation / 90) % 4


def _add_track(output: OutputContainer, stream: AudioStream) -> AudioStream:
    track = output.add_stream_from_template(stream)
    for key in ("language", "title"):
        if key in stream.metadata:
            track.metadata[key] = stream.metadata[key]
    return track


def _check_audio(streams: list[AudioStream], path: Path) -> None:
    suffix = path.suffix.lower()
    if _holds(suffix, streams):
        return
    contexts = [stream.codec_context for stream in streams]
    names = ", ".join(sorted({"unknown" if c is None else c.name for c in contexts}))
    other = [extension for extension in FORMATS if extension != suffix and _holds(extension, streams)]
    advice = f"name it {path.with_suffix(other[0]).name}" if other else "convert the audio to AAC first"
    raise UserError(f"{path}: {suffix} cannot hold the input's {names} audio; {advice}")


def _holds(suffix: str, streams: list[AudioStream]) -> bool:
    """Whether a container takes these tracks, by writing a header to memory: some muxers refuse only then."""
    try:
        with av.open(io.BytesIO(), "w", format=FORMATS[suffix]) as trial:
            for stream in streams:
                trial.add_stream_from_template(stream)
            trial.start_encoding()
    except (av.error.FFmpegError, ValueError):
        return False
    return True


def _check_encoder(codec: str, crf: int, preset: str) -> None:
    if codec not in CODECS:
        raise UserError(f"codec={codec} is not one of {', '.join(CODECS)}{suggest(codec, CODECS)}")
    if preset not in PRESETS:
        raise UserError(f"preset={preset} is not one of {', '.join(PRESETS)}{suggest(preset, PRESETS)}")
    if not 0 <= crf <= 51:
        raise UserError(f"crf={crf} is not in 0..51; 18 looks like the original, larger is smaller and coarser")


def _close_quietly(container: OutputContainer) -> None:
    """Close after a failure, whose own error is the one to report."""
    with contextlib.suppress(av.error.FFmpegError, OSError):
        container.close()
