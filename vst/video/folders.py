"""What a folder or a pattern holds: films, photographs, films as numbered frames; and what is passed over.

Pictures are the frames of one film if their names are one text with a rising number (00000.jpg, 00001.jpg, ...) whose
step is the same throughout, or nearly, and if they are of one size. Otherwise they are photographs.
"""

from __future__ import annotations

import glob
import os
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Literal

import av

from vst.errors import UserError
from vst.video.formats import (
    COMMON_FILMS,
    COMMON_PICTURES,
    PICTURES,
    has_suffix,
    is_hidden,
    passed_over,
    reason_against,
    some,
)  # fmt: skip
from vst.video.pictures import is_film, is_picture, natural_order
from vst.video.probe import moving_streams, open_input
from vst.video.stills import read_header, read_still

_NUMBERED = re.compile(r"(.*?)(\d+)(\.\w+)")
_REGULAR = 0.9  # share of the steps that are alike; a camera's folder of photographs has numbers too
_LOOKED_AT = 32  # pictures whose size is compared
_SLACK_SECONDS = 0.5  # between a film's length as stated and its last packet

Kind = Literal["film", "picture", "frames"]


@dataclass(frozen=True)
class Item:
    """What becomes one output: a film, a photograph, or a folder whose `files` are frames; `name` is relative to what
    was given.
    """

    kind: Kind
    source: Path
    name: Path
    files: tuple[Path, ...] = ()

    def pictures(self) -> list[Item]:
        """The frames as photographs of their own."""
        return [Item("picture", path, self.name / path.name) for path in self.files]


@dataclass
class Survey:
    """The items in natural order, and the names of what is none: hidden, of another kind, or unreadable."""

    items: list[Item] = field(default_factory=list)
    hidden: list[str] = field(default_factory=list)
    others: list[str] = field(default_factory=list)
    unreadable: list[str] = field(default_factory=list)

    def passed_over(self) -> str | None:
        """One line, or None for nothing: what is a picture or a film with the reason, the rest by kind."""
        told = [name for name in self.others if reason_against(name)]
        left = [name for name in self.others if name not in told]
        kinds = [("hidden", self.hidden), ("of another kind", left), ("unreadable", self.unreadable)]
        rest = ", ".join(f"{len(names)} {kind} ({some(names)})" for kind, names in kinds if names)
        line = passed_over(told, Path())
        return f"{line}; also {rest}" if line and rest else line or (f"passed over: {rest}" if rest else None)


def numbered(names: Iterable[str]) -> list[tuple[int, str]]:
    """Number and name of every picture among `names`, rising; empty unless all of them are named as frames."""
    pictures = [name for name in names if has_suffix(name, PICTURES) and not is_hidden(name)]
    matches = [_NUMBERED.fullmatch(name) for name in pictures]
    if len(pictures) < 2 or not all(matches) or len({(m[1], m[3]) for m in matches}) > 1:
        return []
    found = sorted((int(m[2]), m[0]) for m in matches)
    steps = [b - a for (a, _), (b, _) in pairwise(found)]
    usual = usual_step([number for number, _ in found])
    return found if usual > 0 and steps.count(usual) >= _REGULAR * len(steps) else []


def usual_step(numbers: Sequence[int]) -> int:
    return Counter(b - a for a, b in pairwise(numbers)).most_common(1)[0][0]


def same_size(paths: Sequence[Path]) -> bool:
    """Whether pictures are of one size as shown, by a few of them spread over all, as far as these can be read."""
    step = max(1, len(paths) // _LOOKED_AT)
    sizes = {size for size in map(_shown_size, paths[::step]) if size is not None}
    return len(sizes) < 2


def are_frames(paths: Sequence[Path]) -> bool:
    """Whether pictures are the frames of one film."""
    return bool(numbered([path.name for path in paths])) and same_size(paths)


def survey_folder(folder: Path, but: Path | None = None) -> Survey:
    """What lies in `folder` and below it, without the folder `but`. Linked folders are not followed."""
    survey = Survey()
    avoided = None if but is None else but.resolve()
    places = os.walk(folder, onerror=lambda error: survey.unreadable.append(str(error.filename)))
    for place, below, names in places:
        here = Path(place)
        for name in sorted(below):
            if name.startswith("."):
                survey.hidden.append(str((here / name).relative_to(folder)) + "/")
            elif (here / name).is_symlink():
                survey.others.append(str((here / name).relative_to(folder)) + "/")
        kept = [name for name in below if not name.startswith(".") and (here / name).resolve() != avoided]
        below[:] = sorted(kept, key=natural_order)
        _add_files(survey, folder, [here / name for name in names])
    return survey


def survey_pattern(pattern: str, but: Path | None = None) -> Survey:
    """The files that a glob pattern matches, named from its first wildcard on, without those below `but`."""
    base, survey, avoided = _fixed_part(pattern), Survey(), None if but is None else but.resolve()
    files: dict[Path, list[Path]] = {}
    for path in map(Path, glob.glob(pattern, recursive=True)):
        if path.is_file() and avoided not in path.resolve().parents:
            files.setdefault(path.parent, []).append(path)
    for folder in sorted(files, key=natural_order):
        _add_files(survey, base, files[folder])
    return survey


def is_whole(path: Path) -> bool:
    """Whether a film holds as much as its header states, by its packets; whether a picture can be decoded."""
    try:
        if is_picture(path):
            return read_still(path) is not None
        with open_input(path) as container:
            stream = moving_streams(container, path)[0]
            count, end = 0, 0.0
            for packet in container.demux():  # the header's length is that of the longest track
                count += packet.size > 0 and packet.stream.index == stream.index
                if packet.pts is not None:
                    end = max(end, float((packet.pts + (packet.duration or 0)) * packet.time_base))
            if stream.frames:
                return count >= stream.frames
            stated = 0.0 if container.duration is None else container.duration / av.time_base
            return count > 0 and end >= stated - _SLACK_SECONDS
    except (UserError, av.error.FFmpegError, OSError):
        return False


def _add_files(survey: Survey, base: Path, paths: Sequence[Path]) -> None:
    """The files of one folder."""
    paths = sorted(paths, key=natural_order)
    shown = [path for path in paths if not path.name.startswith(".")]
    films, pictures = ([path for path in shown if of_kind(path)] for of_kind in (is_film, is_picture))
    survey.hidden += [str(path.relative_to(base)) for path in paths if path not in shown]
    survey.others += [str(path.relative_to(base)) for path in shown if path not in films and path not in pictures]
    survey.items += [Item("film", path, path.relative_to(base)) for path in films]
    if not films and are_frames(pictures):
        folder = pictures[0].parent
        survey.items.append(Item("frames", folder, folder.relative_to(base), tuple(pictures)))
    else:
        survey.items += [Item("picture", path, path.relative_to(base)) for path in pictures]


def _shown_size(path: Path) -> tuple[int, int] | None:
    try:
        header = read_header(path)
    except UserError:
        return None
    return header.width, header.height


def _fixed_part(pattern: str) -> Path:
    """The folder of a pattern above its first part with a wildcard."""
    parts = Path(pattern).parts
    first = next(number for number, part in enumerate(parts) if glob.has_magic(part))
    return Path(*parts[:first])


def nothing_in(where: str | Path, survey: Survey) -> UserError:
    """What to tell of a place without an item."""
    kinds = f"no film ({COMMON_FILMS}) and no picture ({COMMON_PICTURES})"
    return UserError("; ".join(filter(None, [f"{where} holds {kinds}", survey.passed_over()])))
