"""Writing a video that differs from its input in the pixels only: timing, colour, rotation and audio stay."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path

import numpy as np
from av.packet import Packet

from vst.errors import UserError
from vst.planes import PlaneFormat
from vst.video.encoder import PictureTrack
from vst.video.encoders import FORMATS, choose_encoding, told_of
from vst.video.excerpts import Excerpt
from vst.video.output import PartFile, check_output, told
from vst.video.probe import BT709, VideoInfo, probe
from vst.video.tracks import TrackCopy

_log = logging.getLogger(__name__)


def new_video(width: int, height: int, fps: Fraction | int) -> VideoInfo:
    """The description, for `VideoWriter`, of a video that has no original: BT.709, square pixels, upright."""
    fps = Fraction(fps)
    return VideoInfo(
        path=Path(), width=width, height=height, rotation=0, display_matrix=None, codec="", pix_fmt="rgb24",
        fps=fps, time_base=1 / fps, num_frames=None, duration=None, has_audio=False, stream=0,
        sample_aspect_ratio=None, colour=BT709,
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


def _whole(path: Path) -> Excerpt:
    """All that goes along with the frames that a `VideoReader` reads of a film, at its times."""
    info = probe(path)
    origin = info.origin * info.time_base
    return Excerpt(path, shift=-origin, begins=Fraction(0), origin=origin)


class VideoWriter:
    """Encode frames into an mp4, mov, mkv or webm of the size, timing, colour tags and rotation of `info`.

    `copy_from` is a film, or the `tracks` of a source: its audio and subtitles are copied packet by packet where the
    container holds them, else encoded anew (`audio` is one of `vst.video.sound.AUDIO`); its title, chapters and
    attachments are kept. What is not copied is told in a warning.
    A context manager: the file is written under a temporary name in the same folder, or in `scratch` on the same
    disk, and takes its own name when whole; on an exception it is removed. The size is exactly the given one.
    `codec`, `crf`, `preset`, `bitrate`, `pix_fmt` and `hdr` are as for `vst.video.encoders.choose_encoding`. A first
    timestamp below zero is moved to zero, with all audio, because mp4 players hide what lies before zero.

    Raises UserError for an output that cannot be written (before the first frame where it can be known), for
    an unknown codec or its settings, for a codec of the sound that the container cannot hold, and for a full disk.
    """

    def __init__(
        self,
        path: str | Path,
        info: VideoInfo,
        *,
        copy_from: str | Path | Sequence[Excerpt] | None = None,
        codec: str | None = None,
        crf: int | None = None,
        preset: str | int | None = None,
        bitrate: str | int | None = None,
        pix_fmt: str | None = None,
        hdr: str = "auto",
        audio: str = "copy",
        overwrite: bool = False,
        scratch: Path | None = None,
    ) -> None:
        self.path, self.info = Path(path), info
        check_output(self.path, overwrite)
        asked = {"codec": codec, "crf": crf, "preset": preset, "bitrate": bitrate, "pix_fmt": pix_fmt, "hdr": hdr}
        self._encoding = choose_encoding(self.path, info, **asked)
        self._choice = told_of(self.path, info, self._encoding, asked)
        if copy_from is None or isinstance(copy_from, str | Path):
            copy_from = [] if copy_from is None else [_whole(Path(copy_from))]
        self._excerpts, self._sound = copy_from, audio
        self._format = FORMATS[self.path.suffix.lower()]
        self._spatial = info.spatial.kept_in(self._format)
        self._file = PartFile(self.path, self._format, scratch)
        self._shift = 0
        self._first_pts: int | None = None
        self._next_pts = 0
        self._durations: dict[int, int] = {}
        self._end = 0
        self._first_dts: int | None = None
        self._held: Packet | None = None

    def __enter__(self) -> VideoWriter:
        with contextlib.ExitStack() as stack:
            self._container = stack.enter_context(self._file).container
            with told(self.path):
                self._picture = PictureTrack(self._container, self.info, self._encoding)
                self._picture.stream.metadata.update(self._spatial.tags(self._format))
                lost = self.info.spatial.without(self._spatial).names
                self._audio = TrackCopy(self._excerpts, self._container, self.path, self._sound, lost)
                stack.callback(self._audio.close)
                self._container.start_encoding()
            self._cleanup = stack.pop_all()
        if self._choice is not None:
            _log.warning(self._choice)
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        with self._cleanup:
            if kind is not None:
                return
            if self._first_pts is None:
                raise UserError(f"{self.path}: no frame was given, so no video was written")
            with told(self.path):
                self._mux(self._picture.flush())
                self._audio.end = self._end * self.info.time_base
                self._mux_last()
                self._file.finish(lambda part: self._spatial.write(part, self._format))

    @property
    def planes(self) -> PlaneFormat | None:
        """What frames `write` takes besides RGB: those that the encoder is given anyway."""
        return self._picture.planes

    def write(self, image: np.ndarray, pts: int | None = None, duration: int = 0) -> None:
        """Append `image`, (H, W, 3) uint8 RGB, (H, W, 4) with an alpha where `info.alpha`, or `planes`.

        `pts` (strictly increasing) and `duration` are in units of `info.time_base`. Without `pts` the frame
        follows the last one at the mean rate; duration 0 means unknown. The array is copied.
        """
        height, width = self.info.height, self.info.width
        channels = 4 if self.info.alpha else 3
        assert image.shape in ((height, width, channels), (height * 3 // 2, width)), image.shape
        assert image.dtype == np.uint8, image.dtype
        stamp = self.announce(self._next_pts if pts is None else pts, duration)
        with told(self.path):
            self._mux(self._picture.encode(image, stamp))

    def announce(self, pts: int, duration: int) -> int:
        """Take note of the next frame's time; its timestamp in the file."""
        step = max(1, round(1 / (self.info.fps * self.info.time_base)))
        if self._first_pts is None:
            self._shift = max(0, -pts)
            self._first_pts = pts + self._shift
            self._audio.shift = self._shift * self.info.time_base
        self._next_pts = pts + (duration or step)
        self._end = max(self._end, self._next_pts + self._shift)
        if duration:
            self._durations[pts + self._shift] = duration
        return pts + self._shift

    def add(self, packets: Sequence[Packet]) -> None:
        """Append packets that another encoder of the same settings made, with the timestamps that `announce` gave."""
        for packet in packets:
            packet.stream = self._picture.stream
        with told(self.path):
            self._mux(packets)

    def _mux(self, packets: Sequence[Packet]) -> None:
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
        if self._container.format.name not in ("matroska", "webm"):
            shown = self._end - self._first_pts
            packet.duration = max(1, shown - (packet.dts - self._first_dts))
        self._mux_with_audio(packet)
        for sound in self._audio.until(None):
            self._container.mux(sound)

    def _mux_with_audio(self, packet: Packet) -> None:
        for sound in self._audio.until(packet.dts * packet.time_base):
            self._container.mux(sound)
        self._container.mux(packet)
