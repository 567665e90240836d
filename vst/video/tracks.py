"""Sound, subtitles, chapters and attachments of the input beside the new picture, copied where they can be."""

from __future__ import annotations

import contextlib
import io
import logging
from collections.abc import Iterator, Sequence
from fractions import Fraction
from itertools import zip_longest
from pathlib import Path

import av
from av.audio.stream import AudioStream
from av.container import InputContainer, OutputContainer
from av.packet import Packet
from av.stream import Stream

from vst.errors import UserError
from vst.video.captions import TextTrack, text_of
from vst.video.encoders import FORMATS
from vst.video.excerpts import Excerpt
from vst.video.probe import open_input
from vst.video.sound import AUDIO, HOLDING, SoundTrack, Span, codec_for, codec_of, holds_sound

_log = logging.getLogger(__name__)

_METADATA = ("title", "artist", "comment", "description", "copyright", "date", "creation_time")
_MICROSECONDS = 1_000_000
_MARGIN_SECONDS = 2  # before the start: a jump ends at a key frame of the picture, its sound may begin later
# Containers that find the packets of all tracks around a time.
_SEEKABLE = ("mov", "matroska")
# FFmpeg gives Vorbis a number in mp4 that no standard knows, nor any player but itself.
_UNPLAYABLE = {".mp4": ("vorbis",)}
# Behind the picture: by then it is known where the next of spliced films takes over.
_LAG_SECONDS = Fraction(1, 2)


class TrackCopy:
    """The packets that go along with a picture, handed out in step with it so that no queue grows.

    A file is opened a second time, beside the reader of its pictures: the encoder runs many frames behind the
    decoder. `shift` in seconds is added to all timestamps; `end` is until when the picture is shown, known at its end.
    `audio` is one of `vst.video.sound.AUDIO`: sound is encoded anew where the container cannot hold it, where spliced
    inputs differ in it, or for another codec that is asked for; silence stands in for a spliced input without any.
    Subtitles of text are rewritten where the container wants another kind. What is not copied is told in a warning, and
    so is what is left out, and with it what of the picture is `lost`. Raises UserError for a codec that is asked for
    and that the container cannot hold.
    """

    def __init__(
        self,
        excerpts: Sequence[Excerpt],
        output: OutputContainer,
        path: Path,
        audio: str = "copy",
        lost: Sequence[str] = (),
    ) -> None:
        assert audio in AUDIO, audio
        self.shift = self.end = Fraction(0)
        self._audio = audio
        self._current = 0
        self._waiting: Packet | None = None
        self._parts: list[_Part] = []
        self._sounds: list[SoundTrack] = []
        self._tracks: list[_CopiedTrack | SoundTrack | TextTrack] = []
        _check_asked(audio, path)
        with contextlib.ExitStack() as stack:
            stack.callback(self.close)
            for excerpt in excerpts:
                self._parts.append(_Part(excerpt, audio != "none"))
            if self._parts:
                self._add_tracks(output, path, lost)
            stack.pop_all()

    def close(self) -> None:
        for part in self._parts:
            part.close()

    def until(self, time: Fraction | None) -> Iterator[Packet]:
        """The next packets that are due at or before `time` in seconds; all that are left for None."""
        lag = _LAG_SECONDS if self._sounds and len(self._parts) > 1 else 0
        while self._current < len(self._parts):
            part = self._parts[self._current]
            if part.excerpt.begins is None:
                if time is not None:
                    break
                self._current += 1  # nothing of it is shown
                continue
            packet = self._waiting or part.next()
            self._waiting = packet
            if packet is None and part.is_live and time is not None:
                return
            if packet is None:
                yield from self._finish(part)
                self._current += 1
                continue
            moment = packet.dts * packet.time_base + part.excerpt.shift + self.shift
            if self._is_handed_over(moment):
                self._waiting = None
                continue
            if time is not None and moment > time - lag:
                return
            self._waiting = None
            yield from part.tracks[packet.stream.index].take(packet, self._span(part))
        yield from self._stand_in(time)
        if time is None:
            self._tell_dropped()

    def _add_tracks(self, output: OutputContainer, path: Path, lost: Sequence[str]) -> None:
        first = self._parts[0]
        source = first.container
        output.metadata.update({key: text for key, text in source.metadata.items() if key.lower() in _METADATA})
        left_out = [*lost, *self._add_sound(output, path)]
        if len(self._parts) == 1:
            left_out += self._add_subtitles(first, output, path)
            _copy_chapters(first.excerpt, source, output)
            if output.format.name == "matroska":
                for attached in source.streams.attachments:
                    output.add_attachment(attached.name or "attachment", attached.mimetype or "", attached.data)
        else:
            left_out += [f"subtitles {_name(stream)}" for stream in source.streams.subtitles]
        left_out += _left_out(source, output, spliced=len(self._parts) > 1)
        if left_out:
            _log.warning("%s: left out of the input: %s", path, ", ".join(left_out))

    def _add_sound(self, output: OutputContainer, path: Path) -> list[str]:
        """Tracks for the sound of all parts, each of the first parts' first sound and so on; what cannot be read."""
        suffix = path.suffix.lower()
        lost = [f"sound {codec_of(s)}" for part in self._parts for s in part.sound if not _can_stay(s, suffix)]
        for part in self._parts:
            part.sound = [stream for stream in part.sound if _can_stay(stream, suffix)]
        why: dict[str, list[str]] = {}
        differ = _difference(self._parts)
        for streams in zip_longest(*(part.sound for part in self._parts)):
            found = [stream for stream in streams if stream is not None]
            names = sorted({codec_of(stream) for stream in found})
            unheld = [codec_of(stream) for stream in found[:1] if not _holds_sound(suffix, stream)]
            unasked = self._audio not in ("copy", *names) or len(names) > 1
            if differ or unheld or (self._audio != "copy" and unasked):
                sound = SoundTrack(output, codec_for(suffix, self._audio), found)
                self._sounds.append(sound)
                track: _CopiedTrack | SoundTrack = sound
                if differ or unheld:
                    why.setdefault(differ or f"{suffix} holds no {unheld[0]} sound", []).append(sound.describe())
            else:
                track = _CopiedTrack(output, found[0])
            _describe(track.stream, found[0])
            self._hand_out(track, streams)
        for reason, made in why.items():
            _log.warning("%s: %s; it is encoded anew (%s)", path, reason, "; ".join(made))
        return lost

    def _add_subtitles(self, part: _Part, output: OutputContainer, path: Path) -> list[str]:
        """Tracks for the subtitles that can be held, as they are or as other text; the names of the rest."""
        suffix, lost, rewritten = path.suffix.lower(), [], []
        for stream in part.container.streams.subtitles:
            codec = text_of(stream, suffix)
            if _holds(suffix, [stream]):
                track: _CopiedTrack | TextTrack = _CopiedTrack(output, stream)
            elif codec is not None:
                track = TextTrack(output, codec, stream)
                rewritten.append(f"{_name(stream)} as {codec}")
            else:
                lost.append(f"subtitles {_name(stream)}")
                continue
            _describe(track.stream, stream)
            self._hand_out(track, [stream])
        if rewritten:
            _log.warning("%s: %s holds other subtitles; written anew: %s", path, suffix, ", ".join(rewritten))
        return lost

    def _hand_out(self, track: _CopiedTrack | SoundTrack | TextTrack, streams: Sequence[Stream | None]) -> None:
        """Each of these streams, one of each part or None, goes to the track."""
        self._tracks.append(track)
        for part, stream in zip(self._parts, streams, strict=True):
            if stream is not None:
                part.tracks[stream.index] = track

    def _span(self, part: _Part) -> Span:
        excerpt, following = part.excerpt, self._begin_of_next()
        shift = excerpt.shift + self.shift
        begin = Fraction(0) if part is self._parts[0] else excerpt.begins + self.shift
        ends = [end for end in (None if excerpt.end is None else excerpt.end + shift, following) if end is not None]
        return Span(shift, begin, min(ends, default=None))

    def _begin_of_next(self) -> Fraction | None:
        """When the next part takes over, in the time of the output; None where there is none, or not yet."""
        following = self._parts[self._current + 1 : self._current + 2]
        begins = following[0].excerpt.begins if following else None
        return None if begins is None else begins + self.shift

    def _is_handed_over(self, moment: Fraction) -> bool:
        """Whether the next part has taken over at this time of the output."""
        begins = self._begin_of_next()
        return begins is not None and moment >= begins

    def _finish(self, part: _Part) -> Iterator[Packet]:
        for sound in self._sounds:
            yield from sound.end_part(self._span(part))

    def _stand_in(self, time: Fraction | None) -> Iterator[Packet]:
        """Silence for what has none of spliced films, as far as the picture is; at its end, the last packets."""
        for sound in self._sounds:
            if len(self._parts) > 1:
                yield from sound.silence(self.end if time is None else time - _LAG_SECONDS)
            if time is None:
                yield from sound.flush()

    def _tell_dropped(self) -> None:
        dropped = sum(track.dropped for track in self._tracks)
        if dropped:
            _log.warning("%s: %d damaged audio packets were left out", self._parts[0].name, dropped)


class _CopiedTrack:
    """A track whose packets are those of the input."""

    def __init__(self, output: OutputContainer, stream: Stream) -> None:
        self.stream = output.add_stream_from_template(stream)
        self.dropped = 0
        self._unit = stream.time_base
        self._strict = output.format.name not in ("matroska", "webm")  # whether times must differ within a track
        self._least: int | None = None

    def take(self, packet: Packet, span: Span) -> Iterator[Packet]:
        """The packet at its time in the output; nothing where it lies before the span of a later part."""
        unit, shift = self._unit, span.shift
        dts = round((packet.dts * packet.time_base + shift) / unit)
        if span.begin and dts * unit < span.begin:
            return
        pts = dts if packet.pts is None else max(dts, round((packet.pts * packet.time_base + shift) / unit))
        # Only in damaged files times run backwards; a muxer refuses that.
        if self._least is not None and dts < self._least:
            self.dropped += 1
            return
        self._least = dts + self._strict
        packet.duration = round((packet.duration or 0) * packet.time_base / unit)
        packet.pts, packet.dts, packet.time_base, packet.stream = pts, dts, unit, self.stream
        yield packet


class _Part:
    """One input: its packets within its excerpt, and the tracks of the output that they go to."""

    def __init__(self, excerpt: Excerpt, sound: bool) -> None:
        self.excerpt = excerpt
        excerpt.is_copied = True
        self.is_live = excerpt.container is not None
        self.container: InputContainer = excerpt.container or open_input(excerpt.location)
        self.name = str(excerpt.location)
        self.sound = list(self.container.streams.audio) if sound else []
        self.tracks: dict[int, _CopiedTrack | SoundTrack | TextTrack] = {}
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
        elif start is not None and isinstance(self.tracks[packet.stream.index], SoundTrack):
            start -= _MARGIN_SECONDS  # a decoder needs what comes before, and the track takes what is inside
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


def _describe(track: Stream, stream: Stream) -> None:
    """What players choose a track by."""
    for key in ("language", "title"):
        if key in stream.metadata:
            track.metadata[key] = stream.metadata[key]
    track.disposition = stream.disposition


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


def _left_out(source: InputContainer, output: OutputContainer, spliced: bool) -> list[str]:
    """What of the input, besides sound and subtitles, is missing in the output."""
    names = []
    if output.format.name != "matroska" or spliced:
        names += [f"attachment {stream.name}" for stream in source.streams.attachments]
    covers = [s for s in source.streams.video if s.disposition & av.stream.Disposition.attached_pic]
    names += ["cover art"] * bool(covers)
    names += [f"video track {s.index}" for s in [s for s in source.streams.video if s not in covers][1:]]
    if spliced and source.chapters():
        names.append("chapters")
    if not source.chapters():  # an mp4 keeps its chapters' names in such a track
        names += [f"data track {stream.index}" for stream in source.streams.data]
    return names


def _check_asked(audio: str, path: Path) -> None:
    suffix = path.suffix.lower()
    if not holds_sound(suffix, audio):
        named = ", ".join(HOLDING[audio])
        raise UserError(f"audio={audio}: {suffix} holds no such sound; name it {named}, or use audio=copy")


def _difference(parts: Sequence[_Part]) -> str | None:
    """In what the sound of spliced films differs; None where it can be copied as one."""
    sounds = [[_sound(stream) for stream in part.sound] for part in parts]
    other = next((sound for sound in sounds if sound != sounds[0]), None)
    if other is None:
        return None
    said = [", ".join(" ".join(map(str, sound[:3])) for sound in each) or "none" for each in (sounds[0], other)]
    how = f"{said[0]}; {said[1]}" if said[0] != said[1] else f"all {said[0]}, encoded differently"
    silence = "; silence stands in for what has none" if [] in sounds else ""
    return f"the films differ in their sound ({how}){silence}"


def _sound(stream: AudioStream) -> tuple[str, int, str, bytes | None]:
    context = stream.codec_context
    return codec_of(stream), context.sample_rate, context.layout.name, context.extradata


def _name(stream: Stream) -> str:
    return "?" if stream.codec_context is None else stream.codec_context.codec.canonical_name


def _can_stay(stream: AudioStream, suffix: str) -> bool:
    """Whether it can be copied or decoded."""
    return stream.codec_context is not None or _holds_sound(suffix, stream)


def _holds_sound(suffix: str, stream: AudioStream) -> bool:
    return codec_of(stream) not in _UNPLAYABLE.get(suffix, ()) and _holds(suffix, [stream])


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
