"""Videos that come as folders of numbered pictures, as the sequences of DAVIS do.

`vst.video.folders` tells them from photographs by their names. At the first gap of the numbers the video breaks off.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import av

from data_modules.images import read_photo
from vst.video.folders import numbered, usual_step
from vst.video.stills import PictureError

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
        if folder not in with_videos and numbered(names):
            found.append(folder)
    return sorted(found)


def frame_files(folder: Path) -> list[Path]:
    """The pictures of a folder that `frame_folders` found, in the order of their numbers."""
    return [folder / name for _, name in numbered(os.listdir(folder))]


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
    pictures = numbered(os.listdir(folder))
    numbers = [number for number, _ in pictures]
    step = usual_step(numbers)
    for position, (number, name) in enumerate(pictures):
        if position and number - numbers[position - 1] != step:
            yield None
            return
        yield folder / name
