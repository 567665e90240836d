"""Names for checkpoints, out of where they lie."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from vst.errors import UserError

PLAIN_NAMES = ("stylizer", "last", "best")  # file names that say less than their folder's
PLAIN_FOLDERS = ("checkpoints",)


def model_names(paths: Sequence[Path]) -> list[str]:
    """Names that tell checkpoints apart. A `stylizer.pt` is called after its folder, others after the file.

    Where two would be equal, as many folders above are added as it takes: `first/0` and `second/0`.
    """
    ways = [_way(path) for path in paths]
    names = ["/".join(way[-1:]) for way in ways]
    for depth in range(2, max(map(len, ways), default=0) + 1):
        equal = {name for name in names if names.count(name) > 1}
        names = ["/".join(way[-depth:]) if name in equal else name for way, name in zip(ways, names, strict=True)]
    return [
        name if names.count(name) == 1 else f"{name} #{names[: index + 1].count(name)}"
        for index, name in enumerate(names)
    ]


def named_files(given: str | Sequence[str] | Mapping[str, str], key: str) -> dict[str, Path]:
    """Name -> file of checkpoints `given` as the option `key`. Raises UserError where there is none."""
    if isinstance(given, Mapping):
        named = {str(name): Path(file) for name, file in given.items()}
    else:
        files = [Path(str(file)) for file in ([given] if isinstance(given, str) else given)]
        named = dict(zip(model_names(files), files, strict=True))
    if not named:
        raise UserError(f"{key}: give at least one, as {key}=[stylizer.pt]")
    return named


def _way(path: Path) -> list[str]:
    path = path.resolve()
    folders = [part for part in path.parts[1:-1] if part not in PLAIN_FOLDERS]
    return folders if path.stem in PLAIN_NAMES and folders else [*folders, path.stem]
