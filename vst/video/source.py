"""One face for everything that frames come from: files, folders, pictures, addresses, standard input."""

from __future__ import annotations

import functools
import glob
import logging
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import replace
from fractions import Fraction
from itertools import islice
from pathlib import Path
from types import TracebackType
from typing import Any, Protocol

from vst.errors import UserError
from vst.video.decoder import check_deinterlace
from vst.video.excerpts import Excerpt
from vst.video.folders import same_size
from vst.video.formats import COMMON_PICTURES, PICTURES, has_suffix, is_hidden, passed_over, reason_unread
from vst.video.pictures import PictureReader, has_number, is_picture, matching, natural_order
from vst.video.pixels import WHITE, Color
from vst.video.probe import STDIN, VideoInfo, is_stream
from vst.video.reader import Frame, VideoReader
from vst.video.splice import Splice

DEFAULT_FPS = Fraction(25)
_MAX_FPS = 1000

_log = logging.getLogger(__name__)

Location = str | Path
Seconds = str | float | int | Fraction


class Source(Protocol):
    """What `open_source` returns: a context manager that iterates over `vst.video.Frame`.

    `info` describes the frames: their size as stored and the orientation that makes them upright, their time base.
    `damaged` and `resized` are None or one line, from the moment it is known. `tracks` are the inputs whose
    sound belongs to the frames, for `open_sink`. A source may also have `names`, those of the pictures that it is made
    of, by the times of its frames, and `planes`, the `PlaneFormat` of the frames
    that `read(first, planes=True)` gives, None where it gives RGB only.
    """

    info: VideoInfo

    @property
    def damaged(self) -> str | None: ...
    @property
    def resized(self) -> str | None: ...
    @property
    def tracks(self) -> list[Excerpt]: ...

    def __enter__(self) -> Source: ...
    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...
    def __iter__(self) -> Iterator[Frame]: ...

    def read(self, first: int = 0) -> Iterator[Frame]:
        """The frames from number `first` on."""
        ...


def open_source(
    inputs: Location | Sequence[Location],
    *,
    start: Seconds | None = None,
    end: Seconds | None = None,
    fps: float | Fraction | None = None,
    crossfade: Seconds = 0,
    hwaccel: str | None = None,
    deinterlace: str = "auto",
    background: Color | None = WHITE,
) -> Source:
    """Open what frames come from.

    `inputs` is a video file (an animated GIF is one), an address that FFmpeg reads (rtsp://...), `-` for a
    container on standard input, a picture, a folder of pictures or a pattern of them (frames/%05d.png), a glob
    pattern in quotes, or a list of files. Pictures become frames in natural order, `fps` a second (25). Several
    videos are spliced: upright, at the size of the first one, `crossfade` seconds of it mixed into the next.

    `start` and `end`, in seconds or H:M:S.f from the first frame, keep the frames shown from `start` up to, not
    including, `end`; times then begin at 0. `fps` gives a video a constant frame rate: frames are repeated or
    left out. `hwaccel` names a device of FFmpeg that decodes, such as cuda. `deinterlace` (auto, yes, none) is for film
    of two fields a frame, `background` the colour that transparency is laid onto, or None where it is wanted as
    `Frame.alpha`; see `vst.video.reader.VideoReader`.

    Raises UserError for what does not exist, is no video, or for values that are not allowed.
    """
    begin, stop = parse_seconds(start, "start"), parse_seconds(end, "end")
    fade, rate = parse_seconds(crossfade, "crossfade") or Fraction(0), _parse_fps(fps)
    if stop is not None and stop <= (begin or 0):
        raise UserError(f"end={end} is not after start={start if start is not None else 0}; give a later end")
    check_deinterlace(deinterlace)
    reading = {"hwaccel": hwaccel, "deinterlace": deinterlace, "background": background}
    found = find_inputs(inputs)
    for location in found:
        if not is_stream(location) and Path(location).is_file() and (reason := reason_unread(location)):
            raise UserError(f"{location} is not read ({reason})")
    if are_pictures(found):
        _check_several(fade, crossfade)
        paths = [Path(location) for location in found]
        chosen = _cut(paths, rate or DEFAULT_FPS, begin, stop)
        return PictureReader(chosen, rate or DEFAULT_FPS, background, stills=not same_size(chosen))
    pictures = [location for location in found if not is_stream(location) and is_picture(location)]
    if pictures:
        raise UserError(f"{pictures[0]} is a picture among videos; give either videos or pictures")
    if len(found) == 1:
        _check_several(fade, crossfade)
        source: Source = VideoReader(found[0], start=begin, end=stop, **reading)
    else:
        if begin is not None or stop is not None:
            raise UserError("start and end cut one input and there are several; cut them one by one, then splice them")
        source = _open_splice(found, fade, reading)
    return source if rate is None else _Resampled(source, rate)


def find_inputs(inputs: Location | Sequence[Location]) -> list[Location]:
    """The files and addresses that `inputs` stands for: folders, number and glob patterns resolved, in order."""
    given = [inputs] if isinstance(inputs, str | Path) else list(inputs)
    if not given:
        raise UserError("the list of inputs is empty; give at least one file")
    return [location for each in given for location in _resolve(each)]


def are_pictures(locations: Sequence[Location]) -> bool:
    """Whether they are read as pictures: an animation among others counts as its first frame, by itself as a film."""
    named = all(not is_stream(location) and has_suffix(location, PICTURES) for location in locations)
    return named and any(map(is_picture, locations))


def parse_seconds(value: Seconds | None, name: str) -> Fraction | None:
    """Seconds of a number or a text such as 90, 1:30 or 0:01:30.5; None for None. UserError for anything else."""
    if value is None:
        return None
    text = str(value)
    if re.fullmatch(r"(\d+:){0,2}\d*\.?\d+", text) or re.fullmatch(r"\d+/\d+", text):
        seconds = Fraction(0)
        for part in text.split(":"):
            seconds = seconds * 60 + Fraction(part)
        return seconds
    raise UserError(f"{name}={value} is no time; give seconds, or hours, minutes and seconds as 1:02:03.5")


def _parse_fps(fps: float | Fraction | None) -> Fraction | None:
    if fps is None:
        return None
    rate = Fraction(fps).limit_denominator(1001)
    if not 0 < rate <= _MAX_FPS:
        raise UserError(f"fps={fps} is not between 0 and {_MAX_FPS} frames a second")
    return rate


def _resolve(location: Location) -> list[Location]:
    path = Path(location)
    if is_stream(location) or path.is_file():
        return [location]
    if path.is_dir():
        children = [child for child in sorted(path.iterdir()) if child.is_file() and not is_hidden(child)]
        found = [child for child in children if has_suffix(child, PICTURES)]
        others = passed_over(child for child in children if not has_suffix(child, PICTURES))
        if not found:
            told = f", {others}" if others else ""
            raise UserError(f"{path} holds no pictures ({COMMON_PICTURES}){told}; for videos write '{path}/*.mp4'")
        if others:
            _say_once(f"{path}: {others}")
        return sorted(found, key=natural_order)
    if has_number(path.name):
        found = matching(path)
    elif glob.has_magic(str(path)):
        found = [Path(name) for name in glob.glob(str(path), recursive=True) if Path(name).is_file()]
        found.sort(key=natural_order)
    else:
        return [location]  # whose opening tells what is wrong
    if not found:
        raise UserError(f"{location} matches no file; check the pattern")
    return found


@functools.cache
def _say_once(line: str) -> None:
    """A folder is looked through more than once in a run."""
    _log.warning(line)


def _cut(paths: list[Path], fps: Fraction, begin: Fraction | None, stop: Fraction | None) -> list[Path]:
    last = len(paths) if stop is None else min(len(paths), round(stop * fps))
    chosen = paths[round((begin or 0) * fps) : last]
    if not chosen:
        raise UserError(f"no picture lies between start and end; there are {len(paths)}, {float(fps):g} a second")
    return chosen


def _check_several(fade: Fraction, given: Seconds) -> None:
    if fade:
        raise UserError(f"crossfade={given} mixes one video into the next and there is no other; leave it out")


def _open_splice(locations: Iterable[Location], fade: Fraction, reading: Mapping[str, Any]) -> Splice:
    with ExitStack() as stack:
        readers = []
        for location in locations:
            if is_stream(location):
                kind = "standard input" if location == STDIN else location
                raise UserError(f"{kind} cannot be spliced with files; save it to a file first")
            readers.append(stack.enter_context(VideoReader(location, start=Fraction(0), **reading)))
        for reader in readers:
            if reader.info.duration is not None and reader.info.duration < 2 * fade:
                limit = f"crossfade={float(fade):g} is more than half of {reader.info.path}"
                raise UserError(f"{limit}, which lasts {reader.info.duration:.2f} s; give a shorter one")
        stack.pop_all()
        return Splice(readers, fade)


class _Resampled:
    """A source at a constant frame rate: at each time the frame that is shown then."""

    def __init__(self, source: Source, fps: Fraction) -> None:
        self._source, self._fps = source, fps
        info = source.info
        count = None if info.duration is None else max(1, round(info.duration * fps))
        self.info = replace(
            info, fps=fps, time_base=1 / fps, num_frames=count, first=round(info.first * info.time_base * fps)
        )

    @property
    def damaged(self) -> str | None:
        return self._source.damaged

    @property
    def resized(self) -> str | None:
        return self._source.resized

    @property
    def tracks(self) -> list[Excerpt]:
        return self._source.tracks

    def __enter__(self) -> _Resampled:
        return self

    def __exit__(self, *error: object) -> None:
        self._source.__exit__(None, None, None)

    def __iter__(self) -> Iterator[Frame]:
        return self.read()

    def read(self, first: int = 0) -> Iterator[Frame]:
        """The frames from number `first` on."""
        return islice(self._read(), first, None)

    def _read(self) -> Iterator[Frame]:
        """Frame n of the new rate is the one shown in the middle of its time."""
        number: int | None = None
        cut = False
        for frame in self._source:
            begin, end = (stamp * frame.time_base * self._fps for stamp in (frame.pts, frame.pts + frame.duration))
            number = round(begin) if number is None else number
            cut = cut or frame.cut
            while number + Fraction(1, 2) < end:
                yield replace(frame, pts=number, duration=1, time_base=1 / self._fps, cut=cut)
                number, cut = number + 1, False
