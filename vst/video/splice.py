"""Several videos one after the other, at the size of the first one, with or without a cross-fade between them."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import replace
from fractions import Fraction
from itertools import islice

import numpy as np

from vst.video.excerpts import Excerpt
from vst.video.pictures import Fit
from vst.video.probe import VideoInfo
from vst.video.reader import Frame, VideoReader
from vst.video.spatial import NOTHING

_FINEST = 1_000_000  # parts of a second that a common time base may have
_USUAL = Fraction(1, 90_000)


class Splice:
    """Iterate over the frames of several readers in turn, upright and of the size of the first one.

    Another shape is fitted in and bordered in black. The readers' times begin at 0 (`start=0`); each video begins
    when the one before ends, or `crossfade` seconds earlier, while the end of that is mixed with it, frame by
    frame at its times. The frames of one fade are held in memory. The sound changes over in the middle of the
    fade. A context manager, used as a `VideoReader`; it closes the readers.
    """

    def __init__(self, readers: Sequence[VideoReader], crossfade: Fraction = Fraction(0)) -> None:
        self._readers = list(readers)
        # Copies: the readers' own say when they begin before their place in the whole is known.
        self.tracks: list[Excerpt] = [replace(track) for reader in readers for track in reader.tracks]
        self.info = _joined([reader.info for reader in readers], crossfade)
        self._fade = round(crossfade / self.info.time_base)

    @property
    def damaged(self) -> str | None:
        return "; ".join(reader.damaged for reader in self._readers if reader.damaged) or None

    @property
    def resized(self) -> str | None:
        whole = f"{self.info.width}x{self.info.height}"
        notes = [reader.resized for reader in self._readers if reader.resized]
        for reader in self._readers:
            if reader.info.upright_size != self._readers[0].info.upright_size:
                width, height = reader.info.upright_size
                notes.append(f"{reader.info.path} is {width}x{height}; it is fitted into {whole}, that of the first")
        spatial = {reader.info.spatial for reader in self._readers}
        if len(spatial) > 1:
            names = sorted({name for each in spatial for name in each.names})
            notes.append(f"not all of the videos are seen alike, so this is left out of the whole: {', '.join(names)}")
        return "; ".join(notes) or None

    def __enter__(self) -> Splice:
        return self

    def __exit__(self, *_: object) -> None:
        for reader in self._readers:
            reader.close()

    def __iter__(self) -> Iterator[Frame]:
        return self.read()

    def read(self, first: int = 0) -> Iterator[Frame]:
        """The frames from number `first` on."""
        return islice(self._read(), first, None)

    def _read(self) -> Iterator[Frame]:
        begin = 0
        tail: list[Frame] = []
        for number in range(len(self._readers)):
            frames = self._placed(number, begin)
            held: deque[Frame] = deque()
            hold = self._fade if number + 1 < len(self._readers) else 0
            end = begin
            for frame in _mixed(tail, frames, begin, self._fade) if tail else frames:
                held.append(frame)
                end = frame.pts + frame.duration
                while held and held[0].pts < end - hold:
                    yield held.popleft()
            tail = list(held)
            begin = tail[0].pts if tail else end

    def _placed(self, number: int, begin: int) -> Iterator[Frame]:
        """The frames of one reader, upright, fitted, at their times in the whole."""
        reader, base = self._readers[number], self.info.time_base
        fit = _Upright(reader.info, self.info)
        unit = reader.info.time_base / base
        first = True
        for frame in reader:
            if first:
                self._place_sound(number, begin)
            start, end = (begin + round(time * unit) for time in (frame.pts, frame.pts + frame.duration))
            cut = first and number > 0 and not self._fade
            alpha = None if frame.alpha is None else fit.alpha(frame.alpha)
            yield Frame(fit(frame.image), start, max(1, end - start), base, cut, fit.border, alpha)
            first = False

    def _place_sound(self, number: int, begin: int) -> None:
        read, track = self._readers[number].tracks[0], self.tracks[number]
        # What the first one's sound needs to begin with lies before the first frame.
        track.start = read.start if number else None
        track.shift = read.shift + begin * self.info.time_base
        # At last: from then on another thread takes its packets.
        track.begins = (begin + (self._fade / Fraction(2) if number else 0)) * self.info.time_base


def blacken(image: np.ndarray, border: np.ndarray) -> None:
    """Make the `border` of a `Frame` black again in `image` (H, W, 3) uint8, which was painted."""
    np.multiply(image, (255 - border)[..., None] / np.float32(255), out=image, casting="unsafe")


class _Upright:
    """Turns the pictures of a film upright and fits them into another size."""

    def __init__(self, info: VideoInfo, whole: VideoInfo) -> None:
        self._orientation = info.orientation
        stretch = _upright_aspect(info) / (whole.sample_aspect_ratio or 1)
        self._fit = Fit(info.upright_size, (whole.width, whole.height), stretch)
        self.border = self._fit.border

    def __call__(self, image: np.ndarray) -> np.ndarray:
        return self._fit(self._orientation.upright(image))

    def alpha(self, alpha: np.ndarray) -> np.ndarray:
        """The alpha (H, W) uint8 of such a picture, whose border hides what is behind it."""
        return self._fit.alpha(self._orientation.upright(alpha))


def _mixed(tail: list[Frame], frames: Iterator[Frame], begin: int, fade: int) -> Iterator[Frame]:
    """The frames of `tail`, each mixed with what the next video shows then, and the rest of the next video."""
    shown = next(frames, None)
    if shown is None:
        yield from tail
        return
    coming = next(frames, None)
    end = tail[-1].pts + tail[-1].duration
    for frame in tail:
        while coming is not None and coming.pts <= frame.pts:
            shown, coming = coming, next(frames, None)
        share = min(1.0, (frame.pts - begin + frame.duration / 2) / fade)
        borders = [np.uint8(0) if border is None else border for border in (frame.border, shown.border)]
        border = _blend(*borders, share) if any(b.ndim for b in borders) else None
        alphas = [np.uint8(255) if alpha is None else alpha for alpha in (frame.alpha, shown.alpha)]
        alpha = _blend(*alphas, share) if any(a.ndim for a in alphas) else None
        yield replace(frame, image=_blend(frame.image, shown.image, share), border=border, alpha=alpha)
    while coming is not None and coming.pts < end:
        coming = next(frames, None)
    if coming is not None:
        yield coming
        yield from frames


def _blend(first: np.ndarray, second: np.ndarray, share: float) -> np.ndarray:
    weight = round(256 * share)
    return ((first.astype(np.uint16) * (256 - weight) + second.astype(np.uint16) * weight + 128) >> 8).astype(np.uint8)


def _joined(infos: Sequence[VideoInfo], crossfade: Fraction) -> VideoInfo:
    first = infos[0]
    width, height = first.upright_size
    lost = float(crossfade) * (len(infos) - 1)
    lengths, counts = [info.duration for info in infos], [info.num_frames for info in infos]
    aspect = _upright_aspect(first)
    return replace(
        first,
        width=width,
        height=height,
        rotation=0,
        display_matrix=None,
        sample_aspect_ratio=None if aspect == 1 else aspect,
        time_base=_common([info.time_base for info in infos]),
        duration=None if None in lengths else sum(lengths) - lost,
        num_frames=None if None in counts else sum(counts) - round(lost * first.fps),
        has_audio=any(info.has_audio for info in infos),
        spatial=first.spatial if len({info.spatial for info in infos}) == 1 else NOTHING,
        alpha=any(info.alpha for info in infos),
        first=0,
    )


def _common(bases: Sequence[Fraction]) -> Fraction:
    """A unit of which all are multiples, or one that is fine enough."""
    if len(set(bases)) == 1:
        return bases[0]
    parts = math.lcm(*(base.denominator for base in bases))
    return Fraction(1, parts) if parts <= _FINEST else _USUAL


def _upright_aspect(info: VideoInfo) -> Fraction:
    return info.orientation.aspect(info.sample_aspect_ratio or Fraction(1))
