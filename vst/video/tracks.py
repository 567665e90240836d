"""Sound, subtitles, chapters and attachments of the input, copied as they are beside the new picture."""

from __future__ import annotations

import contextlib
import io
import logging
from collections.abc import Iterator, Sequence
from fractions import Fraction
from pathlib import Path

import av
from av.audio.stream import AudioStream
from av.container import InputContainer, OutputContainer
from av.packet import Packet
from av.stream import Stream

from vst.errors import UserError
from vst.video.encoders import FORMATS
from vst.video.excerpts import Excerpt
from vst.video.probe import open_input

_log = logging.getLogger(__name__)

_METADATA = ("title", "artist", "comment", "description", "copyright", "date", "creation_time")
_MICROSECONDS = 1_000_000
_MARGIN_SECONDS = 2  # before the start: a jump ends at a key frame of the picture, its sound may begin later
# Containers that find the packets of all tracks around a time.
_SEEKABLE = ("mov", "matroska")


class TrackCopy:
    """The packets that go along with a picture, handed out in step with it so that no queue grows.

    A file is opened a second time, beside the reader of its pictures: the encoder runs many frames behind the
    decoder. `shift` in seconds is added to all timestamps. What the container cannot hold is named in a warning, and
    with it what of the picture is `lost`.
    Raises UserError for sound that it cannot hold, and for spliced inputs whose sound differs.
    """

    def __init__(
        self,
        excerpts: Sequence[Excerpt],
        output: OutputContainer,
        path: Path,
        sound: bool = True,
        lost: Sequence[str] = (),
    ) -> None:
        self.shift = Fraction(0)
        self._strict = output.format.name not in ("matroska", "webm")  # whether times must differ within a track
        self._last: dict[int, int] = {}
        self._dropped = 0
        self._current = 0
        self._waiting: Packet | None = None
        self._parts: list[_Part] = []
        with contextlib.ExitStack() as stack:
            stack.callback(self.close)
            for excerpt in excerpts:
                self._parts.append(_Part(excerpt, sound))
            if self._parts:
                self._add_tracks(output, path, lost)
            stack.pop_all()

    def close(self) -> None:
        for part in self._parts:
            part.close()

    def until(self, time: Fraction | None) -> Iterator[Packet]:
        """The next packets that are due at or before `time` in seconds; all that are left for None."""
        while self._current < len(self._parts):
            part = self._parts[self._current]
            if part.excerpt.begins is None and time is not None:
                return
            packet = self._waiting or self._next(part)
            self._waiting = packet
            if packet is None and part.is_live and time is not None:
                return
            if packet is None:
                self._current += 1
                continue
            moment = packet.dts * packet.time_base
            if self._is_handed_over(moment):
                self._waiting = None
                continue
            if time is not None and moment > time:
                return
            self._waiting = None
            if self._runs_forward(packet):
                yield packet
        self._tell_dropped()

    def _add_tracks(self, output: OutputContainer, path: Path, lost: Sequence[str]) -> None:
        first = self._parts[0]
        source, suffix = first.container, path.suffix.lower()
        output.metadata.update({key: text for key, text in source.metadata.items() if key.lower() in _METADATA})
        if first.sound:
            _check_audio(first.sound, path)
        copied: list[Stream] = list(first.sound)
        if len(self._parts) == 1:
            copied += [stream for stream in source.streams.subtitles if _holds(suffix, [stream])]
            _copy_chapters(first.excerpt, source, output)
            if output.format.name == "matroska":
                for attached in source.streams.attachments:
                    output.add_attachment(attached.name or "attachment", attached.mimetype or "", attached.data)
        for part in self._parts[1:]:
            _check_same_sound(first, part)
        tracks = [_add_track(output, stream) for stream in copied]
        for part in self._parts:
            own = copied if part is first else part.sound
            part.tracks = {
                stream.index: (track, template.time_base)
                for stream, track, template in zip(own, tracks, copied, strict=True)
            }
        _tell_left_out(source, copied, output, path, lost, spliced=len(self._parts) > 1)

    def _is_handed_over(self, moment: Fraction) -> bool:
        """Whether the next part has taken over at this time of the output."""
        following = self._parts[self._current + 1 : self._current + 2]
        begins = following[0].excerpt.begins if following else None
        return begins is not None and moment >= begins + self.shift

    def _next(self, part: _Part) -> Packet | None:
        """The next packet of a part at its time in the output; None where there is none, or none yet."""
        while (packet := part.next()) is not None:
            track, unit = part.tracks[packet.stream.index]
            shift = part.excerpt.shift + self.shift
            dts = round((packet.dts * packet.time_base + shift) / unit)
            if self._current and dts * unit < part.excerpt.begins + self.shift:
                continue
            pts = dts if packet.pts is None else max(dts, round((packet.pts * packet.time_base + shift) / unit))
            packet.duration = round((packet.duration or 0) * packet.time_base / unit)
            packet.pts, packet.dts, packet.time_base, packet.stream = pts, dts, unit, track
            return packet
        return None

    def _runs_forward(self, packet: Packet) -> bool:
        """Only in damaged files it does not; a muxer refuses times that run backwards."""
        track = packet.stream.index
        if packet.dts < self._last.get(track, packet.dts):
            self._dropped += 1
            return False
        self._last[track] = packet.dts + self._strict
        return True

    def _tell_dropped(self) -> None:
        if self._dropped:
            _log.warning("%s: %d damaged audio packets were left out", self._parts[0].name, self._dropped)
            self._dropped = 0


class _Part:
    """One input: its packets within its excerpt, and the tracks and time units of the output that they go to."""

    def __init__(self, excerpt: Excerpt, sound: bool) -> None:
        self.excerpt = excerpt
        excerpt.is_copied = True
        self.is_live = excerpt.container is not None
        self.container: InputContainer = excerpt.container or open_input(excerpt.location)
        self.name = str(excerpt.location)
        self.sound = list(self.container.streams.audio) if sound else []
        self.tracks: dict[int, tuple[Stream, Fraction]] = {}
        self._packets: Iterator[Packet] | None = None

    def close(self) -> None:
        if not self.is_live:
            self.container.close()

    def next(self) -> Packet | None:
        if self._packets is None:
            self._packets = iter(()) if not self.tracks else self._demux()
        while (packet := self._pop() if self.is_live else next(self._packets, None)) is not None:
            if packet.dts is not None and packet.stream.index in self.tracks and self._is_inside(packet):
                return packet
        return None

    def _pop(self) -> Packet | None:
        return self.excerpt.packets.popleft() if self.excerpt.packets else None

    def _is_inside(self, packet: Packet) -> bool:
        time = (packet.dts if packet.pts is None else packet.pts) * packet.time_base
        start, end = self.excerpt.start, self.excerpt.end
        if start is None and packet.stream.type == "subtitle":
            start = self.excerpt.origin  # only sound may begin before the rest: its decoder needs that
        return (start is None or time >= start) and (end is None or time < end)

    def _demux(self) -> Iterator[Packet]:
        start = self.excerpt.start
        late = start is not None and start - self.excerpt.origin > _MARGIN_SECONDS
        if late and self.container.format.name.startswith(_SEEKABLE):
            with contextlib.suppress(av.error.FFmpegError):
                self.container.seek(int((start - _MARGIN_SECONDS) * _MICROSECONDS))
        try:
            for packet in self.container.demux([self.container.streams[index] for index in self.tracks]):
                if self._is_past(packet):
                    return
                yield packet
        except av.error.FFmpegError as error:
            _log.warning("%s: the audio ends early, it is damaged (%s)", self.name, error.strerror)

    def _is_past(self, packet: Packet) -> bool:
        """Whether it lies so far behind the end that no track has anything left before it."""
        end = self.excerpt.end
        return end is not None and packet.dts is not None and packet.dts * packet.time_base > end + _MARGIN_SECONDS


def _add_track(output: OutputContainer, stream: Stream) -> Stream:
    track = output.add_stream_from_template(stream)
    for key in ("language", "title"):
        if key in stream.metadata:
            track.metadata[key] = stream.metadata[key]
    track.disposition = stream.disposition
    return track


def _copy_chapters(excerpt: Excerpt, source: InputContainer, output: OutputContainer) -> None:
    """The chapters within the excerpt, cut at its ends.

    Some recordings that begin late count them from their begin, before which nothing of them would lie.
    """
    chapters, moved = source.chapters(), []
    from_begin = all(chapter["end"] * chapter["time_base"] <= excerpt.origin for chapter in chapters)
    for chapter in chapters:
        unit = chapter["time_base"]
        begin, end = (chapter[side] * unit + from_begin * excerpt.origin for side in ("start", "end"))
        begin = max(begin, excerpt.origin if excerpt.start is None else excerpt.start)
        end = end if excerpt.end is None else min(end, excerpt.end)
        if begin < end:
            times = {"start": round((begin + excerpt.shift) / unit), "end": round((end + excerpt.shift) / unit)}
            moved.append({**chapter, **times})
    if moved:
        output.set_chapters(moved)


def _tell_left_out(
    source: InputContainer,
    copied: list[Stream],
    output: OutputContainer,
    path: Path,
    lost: Sequence[str],
    spliced: bool,
) -> None:
    """One line on what of the input is missing in the output, if anything."""
    names = [*lost]
    names += [
        f"subtitles {s.codec_context.name if s.codec_context else '?'}"
        for s in source.streams.subtitles
        if s not in copied
    ]
    if output.format.name != "matroska" or spliced:
        names += [f"attachment {stream.name}" for stream in source.streams.attachments]
    covers = [s for s in source.streams.video if s.disposition & av.stream.Disposition.attached_pic]
    names += ["cover art"] * bool(covers)
    names += [f"video track {s.index}" for s in [s for s in source.streams.video if s not in covers][1:]]
    if spliced and source.chapters():
        names.append("chapters")
    if not source.chapters():  # an mp4 keeps its chapters' names in such a track
        names += [f"data track {stream.index}" for stream in source.streams.data]
    if names:
        _log.warning("%s: left out of the input: %s", path, ", ".join(names))


def _check_audio(streams: list[AudioStream], path: Path) -> None:
    suffix = path.suffix.lower()
    if _holds(suffix, streams):
        return
    contexts = [stream.codec_context for stream in streams]
    names = ", ".join(sorted({"unknown" if c is None else c.name for c in contexts}))
    other = [extension for extension in FORMATS if extension != suffix and _holds(extension, streams)]
    advice = f"name it {path.with_suffix(other[0]).name}" if other else "convert the audio to AAC first"
    raise UserError(f"{path}: {suffix} cannot hold the input's {names} audio; {advice}, or set audio=none")


def _check_same_sound(first: _Part, other: _Part) -> None:
    here, there = ([_sound(stream) for stream in part.sound] for part in (first, other))
    if here == there:
        return
    said = [", ".join(" ".join(map(str, sound[:3])) for sound in each) or "none" for each in (here, there)]
    differ = f"{said[0]}; {said[1]}" if said[0] != said[1] else f"both {said[0]}, encoded differently"
    raise UserError(
        f"{first.name} and {other.name} differ in their audio ({differ}), which is copied; convert one of them, or set "
        f"audio=none"
    )


def _sound(stream: AudioStream) -> tuple[str, int, str, bytes | None]:
    context = stream.codec_context
    return context.name, context.sample_rate, context.layout.name, context.extradata


def _holds(suffix: str, streams: Sequence[Stream]) -> bool:
    """Whether a container takes these tracks, by writing a header to memory: some muxers refuse only then."""
    try:
        with av.open(io.BytesIO(), "w", format=FORMATS[suffix]) as trial:
            for stream in streams:
                trial.add_stream_from_template(stream)
            trial.start_encoding()
    except (av.error.FFmpegError, ValueError):
        return False
    return True
