"""Looks over time: numbers with key frames, and styles that fade into each other.

Times are seconds of the film that is written. A number over time is one of

    0.7                              at all times
    "0:0,2:1,5:0.3"                  0 at 0 s, 1 at 2 s, 0.3 from 5 s on, a straight line between
    ["0:0", "2:1", [5, 0.3]]         the same as a list

and a style over time

    "scream"                         at all times
    "scream,5:wave:1,9:scream"       another from 5 s on, faded in over 1 s; back at 9 s, at once
    [{style: scream}, {at: 5, style: wave, fade: 1}]
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from itertools import pairwise
from math import isfinite
from typing import Any

import numpy as np

from vst.errors import UserError, suggest
from vst.painting.look import Look

KEYED = ("strength", "calm", "preserve_color", "palette_strength")
"""Numbers of a `Look` that may have key frames."""

_NUMBER_FORM = "give a number, or times in seconds with values as [0:0,2:1,5:0.3]"
_STYLE_FORM = "give a name, or names from times on with seconds of fading as [scream,5:wave:1]"


@dataclass(frozen=True)
class Numbers:
    """A number over time: straight lines between key frames, held before the first and after the last."""

    times: tuple[float, ...]
    values: tuple[float, ...]

    def __call__(self, seconds: float) -> float:
        return float(np.interp(seconds, self.times, self.values))


@dataclass(frozen=True)
class Styles:
    """Style over time: `names[i]` from `times[i]` on, faded in over `fades[i]` seconds."""

    times: tuple[float, ...]
    names: tuple[str, ...]
    fades: tuple[float, ...]

    def __call__(self, seconds: float) -> tuple[str, tuple[str, float] | None]:
        """The style, and another one with its share while that fades in."""
        now = max(bisect_right(self.times, seconds) - 1, 0)
        since = seconds - self.times[now]
        if now == 0 or since >= self.fades[now]:
            return self.names[now], None
        return self.names[now - 1], (self.names[now], since / self.fades[now])


@dataclass(frozen=True)
class Timeline:
    """`timeline(seconds) -> Look`: `base` with what changes."""

    base: Look
    numbers: Mapping[str, Numbers]
    styles: Styles

    def __call__(self, seconds: float) -> Look:
        values: dict[str, Any] = {name: number(seconds) for name, number in self.numbers.items()}
        values["style"], values["blend"] = self.styles(seconds)
        return replace(self.base, **values)


def read_look(settings: Mapping[str, Any], styles: Iterable[str]) -> tuple[Look, Callable[[float], Look] | None]:
    """The look of the begin, and the timeline if anything changes over time.

    Args:
        settings: `stroke` and `palette`, and what may be over time: `use`, which is the style, and those of `KEYED`.
        styles: names that there are; none of them are checked if it is empty.

    Raises:
        UserError: what cannot be read, is out of range, or a style that is not there.
    """
    known = list(styles)
    palette = tuple(tuple(color) if isinstance(color, list | tuple) else color for color in settings["palette"])
    base = Look(palette=palette, stroke=settings["stroke"]).checked()
    numbers = {name: read_numbers(name, settings[name]) for name in KEYED}
    for name, number in numbers.items():
        for value in number.values:
            replace(base, **{name: value}).checked()
    names = read_styles(settings["use"], known)
    timeline = Timeline(base, numbers, names)
    moves = any(len(over_time.times) > 1 for over_time in (names, *numbers.values()))
    return timeline(0.0), timeline if moves else None


def read_numbers(name: str, given: Any) -> Numbers:
    """Read a number over time. Raises UserError, beginning with `name`, for anything else."""
    if _is_number(given):
        return Numbers((0.0,), (given,))
    pairs = [_pair(name, item) for item in _items(given)]
    if not pairs:
        raise UserError(f"{name}={given}: {_NUMBER_FORM}")
    times, values = zip(*pairs, strict=True)
    _check_order(name, times)
    return Numbers(times, values)


def read_styles(given: Any, known: Iterable[str] = ()) -> Styles:
    """Read a style over time. Raises UserError for anything else, or a name that is not among those `known`."""
    known = list(known)
    if given in ("", None) or given in known:
        return Styles((0.0,), (given or "",), (0.0,))
    spans = [_span(item, first=i == 0) for i, item in enumerate(_items(given))]
    if not spans:
        raise UserError(f"use={given}: {_STYLE_FORM}")
    times, names, fades = zip(*spans, strict=True)
    _check_order("use", times)
    for name in names:
        if known and name not in known:
            raise UserError(f"use={name}: no such style{suggest(name, known)}; styles: {', '.join(known)}")
    for (begin, end), fade in zip(pairwise(times), fades[:-1], strict=True):
        if begin + fade > end:
            raise UserError(f"use: what fades in at {begin:g} s over {fade:g} s is not whole at {end:g} s")
    return Styles(times, names, fades)


def _items(given: Any) -> list[Any]:
    if isinstance(given, str):
        return given.replace(",", " ").split()
    return list(given) if isinstance(given, list | tuple) else [given]


def _pair(name: str, item: Any) -> tuple[float, float]:
    parts = item.split(":") if isinstance(item, str) else item
    numbers = [_number(part) for part in parts] if isinstance(parts, list | tuple) else []
    if len(numbers) == 2 and None not in numbers:
        return numbers[0], numbers[1]
    raise UserError(f"{name}: {item} is no key frame; {_NUMBER_FORM}")


def _span(item: Any, first: bool) -> tuple[float, str, float]:
    """(time, name, seconds of fading)."""
    begin = 0 if first else None
    at: Any = None
    name, fade = None, 0
    if isinstance(item, Mapping) and item.keys() <= {"at", "style", "fade"}:
        at, name, fade = item.get("at", begin), item.get("style"), item.get("fade", 0)
    elif isinstance(item, str):
        parts = item.split(":")
        at, name, fade = {1: (begin, *parts, 0), 2: (*parts, 0), 3: parts}.get(len(parts), (None, None, 0))
    time, seconds = _number(at), _number(fade)
    if time is None or seconds is None or seconds < 0 or not isinstance(name, str) or not name:
        raise UserError(f"use: {item} cannot be read; {_STYLE_FORM}")
    return time, name, seconds


def _check_order(name: str, times: tuple[float, ...]) -> None:
    if times[0] < 0 or any(after <= before for before, after in pairwise(times)):
        raise UserError(f"{name}: its times {', '.join(f'{time:g}' for time in times)} do not rise from 0 s on")


def _number(given: Any) -> float | None:
    try:
        number = float(given) if _is_number(given) or isinstance(given, str) else None
    except ValueError:
        return None
    return number if number is not None and isfinite(number) else None


def _is_number(given: Any) -> bool:
    return isinstance(given, int | float) and not isinstance(given, bool)
