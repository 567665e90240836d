"""Subtitles in the words of another container: text of any kind becomes the kind that it holds."""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction

import av
from av.container import OutputContainer
from av.packet import Packet
from av.stream import Stream

from vst.video.sound import Span

_HELD = {".mp4": "mov_text", ".mov": "mov_text", ".mkv": "subrip", ".webm": "webvtt"}
_TEXT = ("subrip", "ass", "mov_text", "webvtt", "text")
_UNIT = Fraction(1, 1000)


def text_of(stream: Stream, suffix: str) -> str | None:
    """The codec that these subtitles can be written as into a container of this suffix; None for pictures."""
    context = stream.codec_context
    return _HELD[suffix] if context is not None and context.codec.canonical_name in _TEXT else None


class TextTrack:
    """A track of subtitles that are written as another kind of text, with slant and weight where it has them."""

    def __init__(self, output: OutputContainer, codec: str, source: Stream) -> None:
        self.stream = output.add_stream(codec)
        self._source, encoder = source.codec_context, self.stream.codec_context
        self._source.open(strict=False)
        encoder.subtitle_header = self._source.subtitle_header
        encoder.time_base = self.stream.time_base = _UNIT
        encoder.open()
        self.dropped = 0

    def take(self, packet: Packet, span: Span) -> Iterator[Packet]:
        """The subtitle of an input's packet, at its time in the output; nothing for one that only ends another."""
        begin, length = ((stamp or 0) * packet.time_base for stamp in (packet.pts, packet.duration))
        try:
            said = self._source.decode2(packet)
            if said is None or not len(said.rects):
                return
            written = self.stream.codec_context.encode_subtitle(said)
        except (av.error.FFmpegError, UnicodeDecodeError):
            self.dropped += 1
            return
        written.pts = written.dts = round((begin + span.shift) / _UNIT)
        written.duration, written.time_base, written.stream = round(length / _UNIT), _UNIT, self.stream
        yield written
