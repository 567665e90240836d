"""Videos that come as folders of numbered pictures, as the sequences of DAVIS do.

A folder is such a video if the names of its pictures are one text with a rising number (00000.jpg, 00001.jpg, ...)
whose step is the same throughout, or nearly: at the first gap the video breaks off.
"""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from itertools import pairwise
from pathlib import Path

import av

from data_modules.images import read_photo
from vst.video.formats import PICTURES, has_suffix, is_hidden
from vst.video.stills import PictureError

NAME = re.compile(r"(.*?)(\d+)(\.\w+)")
REGULAR = 0.9  # share of the steps that are alike; a camera's folder of photographs has numbers too
# DAVIS keeps masks beside the frames, with the same names, and may hold the frames in two resolutions.
MASKS = "Annotations"
FRAMES = "JPEGImages"
RESOLUTION = "480p"


def frame_folders(root: Path, other_videos: Iterable[Path]) -> list[Path]:
    """Sorted folders of numbered pictures, `root` and all below it, that hold none of `other_videos` themselves."""
    with_videos = {path.parent for path in other_videos}
    found = []
    for place, subfolders, names in os.walk(root):
        folder = Path(place)
        kept = [name for name in subfolders if not name.startswith((".", MASKS))]
        if folder.name == FRAMES and RESOLUTION in kept:
            kept = [RESOLUTION]
        subfolders[:] = kept
        if folder not in with_videos and _numbered(names):
            found.append(folder)
    return sorted(found)


def frame_files(folder: Path) -> list[Path]:
    """The pictures of a folder that `frame_folders` found, in the order of their numbers."""
    return [folder / name for _, name in _numbered(os.listdir(folder))]


def visit_frames(folder: Path, visit: Callable[[av.VideoFrame], None]) -> tuple[int, str | None]:
    """Call `visit` with every frame in turn; returns their number and why the video breaks off early, or None."""
    count, size = 0, None
    for path in _without_gaps(folder):
        if path is None:
            return count, "breaks off: numbers are missing"
        try:
            picture = read_photo(path)
        except PictureError as error:
            return count, f"breaks off: {path.name} is damaged ({error.reason})"
        size = size or picture.shape
        if picture.shape != size:
            return count, f"breaks off: {path.name} has another size"
        visit(av.VideoFrame.from_ndarray(picture, format="rgb24"))
        count += 1
    return count, None


def _without_gaps(folder: Path) -> Iterator[Path | None]:
    """The files up to the first irregular step of their numbers, in whose place comes None."""
    numbered = _numbered(os.listdir(folder))
    numbers = [number for number, _ in numbered]
    step = _usual_step(numbers)
    for position, (number, name) in enumerate(numbered):
        if position and number - numbers[position - 1] != step:
            yield None
            return
        yield folder / name


def _numbered(names: Iterable[str]) -> list[tuple[int, str]]:
    """Number and name of every picture among `names`, rising; empty unless they make a video."""
    pictures = [name for name in names if has_suffix(name, PICTURES) and not is_hidden(name)]
    matches = [NAME.fullmatch(name) for name in pictures]
    if len(pictures) < 2 or not all(matches) or len({(m[1], m[3]) for m in matches}) > 1:
        return []
    numbered = sorted((int(m[2]), m[0]) for m in matches)
    steps = [b - a for (a, _), (b, _) in pairwise(numbered)]
    usual = _usual_step([number for number, _ in numbered])
    return numbered if usual > 0 and steps.count(usual) >= REGULAR * len(steps) else []


def _usual_step(numbers: list[int]) -> int:
    return Counter(b - a for a, b in pairwise(numbers)).most_common(1)[0][0]
