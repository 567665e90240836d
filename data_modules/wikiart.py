"""Finding an artist's pictures in a local WikiArt folder, whatever its layout and spelling."""

import re
import shlex
import unicodedata
from collections.abc import Iterable
from difflib import get_close_matches
from pathlib import Path

from vst.errors import UserError


def pictures_of(root: Path, files: list[Path], artist: str | None) -> tuple[list[Path], str, str]:
    """The pictures by `artist` (None: all) among `files`, a name for them and where they come from.

    Folder names are looked at first, then the part of the file names before the first `_`.

    Raises:
        UserError: `artist` is unknown, or fits several names.
    """
    if artist is None:
        origin = f"all {len(files)} pictures below {root}, no style.artist chosen"
        return files, root.resolve().name, origin
    folders, prefixes = _groups(root, files)
    for groups in (folders, prefixes):
        found = _matching(artist, groups)
        if len(found) > 1:
            raise UserError(f"style.artist={artist!r} fits several in {root}: {_counted(found, groups)}; name one")
        if found:
            works = groups[found[0]]
            return works, found[0].replace(" ", "-"), f"{len(works)} pictures by {found[0]} below {root}"
    groups = prefixes | folders
    if not groups:
        raise UserError(
            f"no artist {artist!r} in {root}: its pictures say no artist, neither by folders nor as artist_title.jpg; "
            f"to take them all give style=folder {shlex.quote(f'style.root={root}')}"
        )
    near = get_close_matches(key(artist), _by_part(groups), n=5, cutoff=0.5)
    listed = list(dict.fromkeys(_by_part(groups)[part] for part in near))
    hint = "nearest" if listed else "there are, among others"
    listed = listed or sorted(groups, key=lambda name: -len(groups[name]))[:5]
    raise UserError(f"no artist {artist!r} in {root}; {hint}: {_counted(listed, groups)}")


def _groups(root: Path, files: list[Path]) -> tuple[dict[str, list[Path]], dict[str, list[Path]]]:
    """Pictures by the name of each folder they lie below, and by the part of the file name before `_`."""
    folders: dict[str, list[Path]] = {}
    prefixes: dict[str, list[Path]] = {}
    for path in files:
        for name in {key(part) for part in path.relative_to(root).parts[:-1]}:
            folders.setdefault(name, []).append(path)
        artist, underscore, _ = path.stem.partition("_")
        if underscore and key(artist):
            prefixes.setdefault(key(artist), []).append(path)
    return folders, prefixes


def _matching(artist: str, names: Iterable[str]) -> list[str]:
    """The name equal to `artist`, else those of which it is a run of whole words, as in `vangogh`."""
    wanted, names = key(artist).replace(" ", ""), sorted(names)
    exact = [name for name in names if name.replace(" ", "") == wanted]
    return exact or [name for name in names if wanted in _runs(name.split())]


def _runs(words: list[str]) -> set[str]:
    spans = ((i, j) for i in range(len(words)) for j in range(i + 1, len(words) + 1))
    return {"".join(words[i:j]) for i, j in spans}


def _by_part(names: Iterable[str]) -> dict[str, str]:
    """Whole names and their single words -> name, so that `mone` is near `claude monet`."""
    return {part: name for name in names for part in (*name.split(), name)}


def _counted(names: Iterable[str], groups: dict[str, list[Path]]) -> str:
    return ", ".join(f"{name.replace(' ', '-')} ({len(groups[name])})" for name in names)


def key(name: str) -> str:
    """`name` without accents and case; runs of `-`, `_`, `.` and space become one space."""
    plain = unicodedata.normalize("NFKD", name).encode("ascii", "ignore").decode() or name
    return re.sub(r"[-_\s.]+", " ", plain).strip().lower()
