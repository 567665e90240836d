"""What belongs together: finished videos and their clips, entries and their styles."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from vst.errors import UserError
from vst.evaluate.media import clip_name


def match_videos(videos: Sequence[Path], clips: Sequence[Path]) -> dict[Path, dict[str, Path]]:
    """For each clip the finished videos made of it, by the name of their maker.

    A video belongs to the clip whose name (without suffix) its own name begins with, the longest where several do. Its
    maker is called after its folder and what its name adds: `other/street_scream.mp4` of `street.mp4` is
    `other/scream`. Raises UserError for two clips of one name, two videos of one name, or where no video matches.
    """
    stems = [clip_name(clip) for clip in clips]
    for stem in stems:
        if stems.count(stem) > 1:
            raise UserError(f"clips: two are named '{stem}', and videos are matched by name; rename one")
    matched: dict[Path, dict[str, Path]] = {clip: {} for clip in clips}
    for video in videos:
        fitting = (clip for clip in clips if _begins(clip_name(video), clip_name(clip)))
        clip = max(fitting, key=lambda clip: len(clip_name(clip)), default=None)
        if clip is None:
            continue
        rest = clip_name(video)[len(clip_name(clip)) :].lstrip("_-. ")
        maker = "/".join(filter(None, [video.resolve().parent.name, rest]))
        if maker in matched[clip]:
            raise UserError(f"videos: {matched[clip][maker]} and {video} would both be '{maker}'; rename one")
        matched[clip][maker] = video
    if videos and not any(matched.values()):
        raise UserError(
            f"videos: none of {len(videos)} matches a clip; name them after their clip, "
            f"{stems[0]}.mp4 or {stems[0]}_anything.mp4 (given: {videos[0].name})"
        )
    return matched


def match_style(entry: str, stored: str, styles: Iterable[str]) -> str:
    """The one of several `styles` that an entry was painted in.

    It is the one that the checkpoint says (`stored`, empty for a video), else the one that the entry's name says: the
    same word, or the longest that is a part of it; letters and digits count. Raises UserError where none fits.
    """
    styles = list(styles)
    for said in (stored, entry):
        equal = [style for style in styles if _plain(style) == _plain(said)]
        within = sorted((style for style in styles if _plain(style) in _plain(said)), key=len)
        if equal or within:
            return (equal or within)[-1]
    told = f" (its checkpoint says '{stored}')" if stored else ""
    raise UserError(
        f"styles: none of {', '.join(styles)} fits {entry}{told}; call one so that it is a part of that name"
    )


def check_styles(styles: Mapping[str, object]) -> None:
    """Raise UserError for names of styles that cannot be found in another name."""
    for name in styles:
        if not _plain(name):
            raise UserError(f"styles: '{name}' is not a name; give letters or digits")


def _plain(name: str) -> str:
    return re.sub(r"[\W_]+", "-", str(name).lower()).strip("-")


def _begins(name: str, stem: str) -> bool:
    return name == stem or (name.startswith(stem) and not name[len(stem)].isalnum())
