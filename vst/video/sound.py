"""Sound that is encoded anew: where its container cannot hold it, where films of different sound join, or on request.

Sample n of such a track is heard n / rate seconds after time 0 of the output, whatever codecs, resampling and joins do:
what is decoded goes to the place that its time stamp gives it, and silence fills what is left free.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction

import av
import numpy as np
from av.audio.frame import AudioFrame
from av.audio.resampler import AudioResampler
from av.audio.stream import AudioStream
from av.codec import Codec
from av.container import OutputContainer
from av.packet import Packet

AUDIO = ("copy", "aac", "opus", "none")
"""What may become of the sound: copied where that can be, of this codec, or left out."""

_ENCODERS = {"aac": "aac", "opus": "libopus"}
_USUAL = {".webm": "opus"}
HOLDING = {"aac": (".mp4", ".mov", ".mkv"), "opus": (".webm", ".mkv", ".mp4")}
"""Containers that hold a codec of sound, in every player."""
# Those that every player of AAC and of Opus places alike, by the number of channels.
_LAYOUTS = {
    "aac": ("mono", "stereo", "3.0", "4.0", "5.0", "5.1"),
    "opus": ("mono", "stereo", "3.0", "quad", "5.0", "5.1", "6.1", "7.1"),
}
_BITS = {"aac": 96_000, "opus": 64_000}  # a second and channel: more than the ear asks for
_AAC_BITS_A_SAMPLE = 6  # at most, by the standard
# Time stamps are rounded (Matroska: to milliseconds) and jitter; only what is farther off than this is a gap.
_JITTER = Fraction(1, 50)
_BLOCK_SECONDS = 1  # of silence that are made at once


@dataclass(frozen=True)
class Span:
    """Where the sound of a part lies in the output: times of the input and `shift`, within `begin` <= t < `end`
    (None: no limit) of the output; all in seconds.
    """

    shift: Fraction
    begin: Fraction
    end: Fraction | None


def holds_sound(suffix: str, audio: str) -> bool:
    """Whether a container of this suffix can have what is asked for, one of `AUDIO`."""
    return suffix in HOLDING.get(audio, (suffix,))


def codec_for(suffix: str, audio: str) -> str:
    """The codec of sound that is encoded anew for a container of this suffix: aac or opus."""
    return audio if audio in _ENCODERS else _USUAL.get(suffix, "aac")


def codec_of(stream: AudioStream) -> str:
    """The codec's name, whatever decoder reads it; `unknown` where none does."""
    return "unknown" if stream.codec_context is None else stream.codec_context.codec.canonical_name


class SoundTrack:
    """A track of an output that is encoded from the sound of one or several inputs, all of them decodable."""

    def __init__(self, output: OutputContainer, codec: str, sources: Sequence[AudioStream]) -> None:
        contexts = [stream.codec_context for stream in sources]
        layouts = _LAYOUTS[codec]
        self._channels = min(max(context.layout.nb_channels for context in contexts), len(layouts))
        self._rate = _rate(codec, [context.sample_rate for context in contexts])
        self._layout = layouts[self._channels - 1]
        self.stream = output.add_stream(_ENCODERS[codec], rate=self._rate, layout=self._layout)
        most = _AAC_BITS_A_SAMPLE * self._rate if codec == "aac" else _BITS[codec]
        self.stream.bit_rate = self._channels * min(_BITS[codec], most)
        self.dropped = 0
        self._position: int | None = None  # the sample that the encoder gets next
        self._source: AudioStream | None = None
        self._resampler: AudioResampler | None = None
        self._kind: tuple[str, str, int] | None = None
        self._expected = Fraction(0)
        self._fed = 0  # samples since the last gap
        self._at = 0  # where the next one that comes out belongs

    def describe(self) -> str:
        """Such as `AAC, 48000 Hz, stereo`."""
        name = {"aac": "AAC", "libopus": "Opus"}[self.stream.codec_context.name]
        return f"{name}, {self._rate} Hz, {self._layout}"

    def take(self, packet: Packet, span: Span) -> Iterator[Packet]:
        """The packets that are ready when one of an input has gone in."""
        self._source = packet.stream
        unit = packet.time_base
        try:
            frames = packet.decode()
        except av.error.FFmpegError:
            self.dropped += 1
            return
        yield from self._place(frames, unit, span)

    def end_part(self, span: Span) -> Iterator[Packet]:
        """What decoder and resampler hold back of the input under way, none of which is left."""
        if self._source is not None:
            source, self._source = self._source, None
            yield from self._place(source.codec_context.decode(None), source.time_base, span)
        yield from self._drain(span)

    def silence(self, until: Fraction) -> Iterator[Packet]:
        """Nothing is heard up to this time of the output, in seconds."""
        yield from self._fill(round(until * self._rate))

    def flush(self) -> list[Packet]:
        return self.stream.encode(None)

    def _place(self, frames: Iterable[AudioFrame], unit: Fraction, span: Span) -> Iterator[Packet]:
        for frame in frames:
            kind = frame.format.name, frame.layout.name, frame.sample_rate
            time = self._expected if frame.pts is None else frame.pts * (frame.time_base or unit) + span.shift
            if self._resampler is None or kind != self._kind or abs(time - self._expected) > _JITTER:
                yield from self._drain(span)
                self._start(kind, time)
            self._expected += Fraction(frame.samples, frame.sample_rate)
            frame.pts, frame.time_base = self._fed, Fraction(1, frame.sample_rate)
            self._fed += frame.samples
            for block in self._resampler.resample(frame):
                yield from self._put(block, span)

    def _start(self, kind: tuple[str, str, int], time: Fraction) -> None:
        """From here on samples follow one another from `time` on."""
        self._kind, self._expected, self._fed, self._at = kind, time, 0, round(time * self._rate)
        # One channel is heard from two loudspeakers as loud as it was, where FFmpeg would take 3 dB off.
        layout = "mono" if kind[1] == "mono" and self._layout == "stereo" else self._layout
        self._resampler = AudioResampler(format="fltp", layout=layout, rate=self._rate)

    def _drain(self, span: Span) -> Iterator[Packet]:
        if self._resampler is not None:
            resampler, self._resampler = self._resampler, None
            for block in resampler.resample(None):
                yield from self._put(block, span)

    def _put(self, block: AudioFrame, span: Span) -> Iterator[Packet]:
        """The samples go where they belong, as far as that is within the span and still free."""
        samples, start = block.to_ndarray(), self._at
        self._at += samples.shape[1]
        first = max(start, round(span.begin * self._rate))
        last = self._at if span.end is None else min(self._at, round(span.end * self._rate))
        if self._position is None:
            self._position = min(first, round(span.begin * self._rate))
        first = max(first, self._position)
        if first < last:
            yield from self._fill(first)
            yield from self._encode(samples[:, first - start : last - start])

    def _fill(self, until: int) -> Iterator[Packet]:
        self._position = 0 if self._position is None else self._position
        while self._position < until:
            count = min(until - self._position, _BLOCK_SECONDS * self._rate)
            yield from self._encode(np.zeros((1, count), np.float32))

    def _encode(self, samples: np.ndarray) -> list[Packet]:
        whole = np.ascontiguousarray(np.broadcast_to(samples, (self._channels, samples.shape[1])))
        frame = AudioFrame.from_ndarray(whole, format="fltp", layout=self._layout)
        frame.sample_rate, frame.pts, frame.time_base = self._rate, self._position, Fraction(1, self._rate)
        self._position += samples.shape[1]
        return self.stream.encode(frame)


def _rate(codec: str, rates: Sequence[int]) -> int:
    """The largest of these, or the next one that the encoder has."""
    known = sorted(Codec(_ENCODERS[codec], "w").audio_rates)
    if codec == "opus":
        return known[-1]  # its decoders play at that
    return next((rate for rate in known if rate >= max(rates)), known[-1])
