"""Whether an input is painted as one film or item by item, and under which names."""

from __future__ import annotations

import glob
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from vst.errors import UserError
from vst.items.names import Naming
from vst.video.folders import Item, Survey, are_frames, nothing_in, survey_folder, survey_pattern
from vst.video.pictures import has_number, is_picture
from vst.video.probe import STDIN, is_stream

ITEMS = ("auto", "each", "frames", "join")
"""What of a folder, a pattern or a list is one item: see `plan_items`."""

_WORDS = {
    "film": ("film", "films"),
    "picture": ("photograph", "photographs"),
    "frames": ("folder of frames", "folders of frames"),
}

Given = str | Path | Sequence[str | Path]


@dataclass(frozen=True)
class Task:
    """An item and what becomes of it. `alpha`: it has transparency, and that is to be kept by all means."""

    item: Item
    output: Path
    alpha: bool = False


@dataclass(frozen=True)
class Plan:
    """Either `tasks`, each by itself, or `input` as one film. `notes` say in a line each what was decided."""

    input: Given
    tasks: tuple[Task, ...] = ()
    notes: tuple[str, ...] = ()


def plan_items(
    input: Given,
    output: str | Path,
    items: str = "auto",
    *,
    codec: str | None = None,
    pix_fmt: str | None = None,
    audio: str = "copy",
    transparency: str = "auto",
    camera: bool = False,
) -> Plan:
    """What is painted: one film, or each item by itself.

    A folder, a glob pattern or a list into a folder (a name without an extension) is painted item by item: films and
    GIFs as films of their names, photographs as photographs of theirs (as PNG where their format is not written, as
    films if a `camera` makes films of them), below a folder in the same subfolders. The container of a film is its own
    or the first of mp4, mov and mkv that holds what `codec`, `pix_fmt`, `audio` and `transparency` (keep) ask for, as
    far as the film has it. Pictures that are frames by `vst.video.folders` are one film, with memory. Into a film file,
    the pictures right in a folder, or those of a list or pattern, become one film, and the films of a list or pattern
    are joined.

    `items` decides otherwise: `each` makes even numbered frames photographs, `frames` makes one film of any pictures,
    `join` joins the films of a folder.

    Raises UserError for an input that holds nothing, for several items and an output that is no folder, and for two
    items of one name.
    """
    if items not in ITEMS:
        raise UserError(f"items={items} is not one of {', '.join(ITEMS)}")
    naming = Naming(codec, pix_fmt, audio, transparency == "keep", camera)
    many, where = _is_folder(output), ", ".join(map(str, _listed(input)))
    survey = _survey(input, Path(output) if many else None, alone=camera or items != "each")
    if survey is None or items == "frames":
        return Plan(input)
    if not survey.items:
        raise nothing_in(where, survey)
    notes = [said for said in [survey.passed_over()] if said]
    if items == "join":
        return _joined(survey, where, notes)
    if items == "each" or camera:  # which moves over each picture
        survey.items = [single for item in survey.items for single in (item.pictures() or [item])]
    if many:
        notes += _photographs_beside_films(survey) if items == "auto" and not camera else []
        return _tasks(input, survey, Path(output), notes, naming)
    if items == "each" and len(survey.items) > 1:
        raise UserError(f"items=each: {where} holds {_counted(survey.items)} and {output} is one file; give a folder")
    return _one_film(input, survey, where, output)


def _survey(input: Given, output: Path | None, alone: bool) -> Survey | None:
    """What `input` holds; None for what is one film whatever the output is: an address, a numbered pattern and, where
    it may stand `alone`, a film.
    """
    given = _listed(input)
    if not given or any(is_stream(location) or has_number(Path(location).name) for location in given):
        return None
    survey = Survey()
    for location in given:
        path = Path(location)
        if path.is_dir():
            if output is not None and output.resolve() == path.resolve():
                raise UserError(f"input and output are the same folder, {path}; choose another one for the output")
            found = survey_folder(path, output)
        elif glob.has_magic(str(path)) and not path.exists():
            found = survey_pattern(str(path), output)
        elif len(given) == 1 and alone and not (is_picture(path) and output is not None):
            return None
        else:
            found = Survey([Item("picture" if is_picture(path) else "film", path, Path(path.name))])
        for name in ("items", "hidden", "others", "unreadable"):
            getattr(survey, name).extend(getattr(found, name))
    return survey


def _joined(survey: Survey, where: str, notes: list[str]) -> Plan:
    films = [item for item in survey.items if item.kind == "film"]
    if not films:
        raise UserError(f"items=join joins films, and {where} holds {_counted(survey.items)}; leave it out")
    left = [item for item in survey.items if item.kind != "film"]
    if left:
        notes = [*notes, f"left out of the film: {_counted(left)}"]
    return Plan([item.source for item in films], notes=(*notes, _order_of(films)))


def _one_film(input: Given, survey: Survey, where: str, output: str | Path) -> Plan:
    read, below = _read_as_one(input, survey.items)
    films = [item for item in survey.items if item.kind == "film"]
    if films and any(Path(location).is_dir() for location in _listed(input)):
        frames = any(item.kind != "film" for item in read)
        raise UserError(
            f"{where} holds {_counted(survey.items)} and {output} is one file; give a folder as the output, or "
            f"items=join to join the films"
            f"{', or items=frames to make one film of the pictures right in it' if frames else ''}"
        )
    if films:
        ordered = len(films) == len(survey.items) > 1 and isinstance(input, str | Path)
        return Plan(input, notes=(_order_of(films),) if ordered else ())
    if not read:
        raise UserError(
            f"{where} itself holds no picture, and folders below it hold {_counted(below)}; give one of these folders, "
            f"or a folder as the output"
        )
    given, notes = _as_read(input, read, survey), []
    if given is not input:  # otherwise the reader says it
        notes += filter(None, [survey.passed_over()])
    if below:
        notes.append(f"left out of the film, in folders below: {_counted(below)}")
    if len(read) == 1 and read[0].kind == "frames":
        notes.append(_frames_note(read[0]))
    elif len(read) > 1 and isinstance(input, str | Path):
        told = f"{_counted(read)} become one film, one after the other"
        notes.append(f"{told}; into a folder each is painted by itself")
    return Plan(given, notes=tuple(notes))


def _read_as_one(input: Given, items: Sequence[Item]) -> tuple[list[Item], list[Item]]:
    """What `vst.video.source.open_source` reads of the items, and what lies below the folders that are given."""
    given = list(map(Path, _listed(input)))
    folders = [path for path in given if path.is_dir()]
    read, below = [], []
    for item in items:
        place = item.source if item.kind == "frames" else item.source.parent
        deep = any(folder in place.parents for folder in folders)
        (below if deep and place not in folders and item.source not in given else read).append(item)
    return read, below


def _as_read(input: Given, read: Sequence[Item], survey: Survey) -> Given:
    """A pattern may match what is passed over, and stands for the rest then."""
    if any(Path(location).is_dir() for location in _listed(input)) or not survey.others:
        return input
    return [file for item in read for file in item.files or (item.source,)]


def _photographs_beside_films(survey: Survey) -> list[str]:
    """A line for each folder whose pictures are numbered as frames, and are none because a film lies among them."""
    pictures: dict[Path, list[Path]] = defaultdict(list)
    for item in survey.items:
        if item.kind == "picture":
            pictures[item.source.parent].append(item.source)
    return [
        f"{len(files)} pictures in {folder}, numbered evenly, lie beside a film and are photographs; with {folder} as "
        f"the input, items=frames makes one film of them"
        for folder, files in pictures.items()
        if are_frames(files)
    ]


def _frames_note(item: Item) -> str:
    count = len(item.files)
    return (
        f"{count} pictures of one size, numbered evenly, are the frames of one film; items=each paints each by itself"
    )


def _order_of(films: Sequence[Item]) -> str:
    return f"joined in this order: {', '.join(str(item.name) for item in films)}"


def _tasks(input: Given, survey: Survey, output: Path, notes: list[str], naming: Naming) -> Plan:
    only = survey.items[0]
    if len(survey.items) == 1 and only.kind == "frames" and only.name == Path():
        return Plan(_as_read(input, [only], survey), notes=(*notes, _frames_note(only)))
    if not output.parent.is_dir():
        raise UserError(f"{output}: the folder {output.parent} does not exist; create it first")
    taken: dict[str, Item] = {}
    tasks: dict[Item, Task] = {}
    alphas = {item: naming.keeps_alpha_of(item) for item in survey.items}
    names = {item: naming.names(item, alphas[item]) for item in survey.items}
    for item in sorted(names, key=lambda item: names[item][0] != item.name.name):  # who keeps a name has it first
        outputs = [output / item.name.parent / name for name in names[item]]
        free = next((path for path in outputs if str(path).lower() not in taken), None)
        if free is None:
            other = taken[str(outputs[0]).lower()].source
            raise UserError(
                f"{other} and {item.source} would both become {outputs[0]}; give the folder that holds both"
            )
        taken[str(free).lower()] = item
        tasks[item] = Task(item, free, alphas[item])
    notes = (*notes, f"each by itself: {_counted(survey.items)}")
    return Plan(input, tuple(tasks[item] for item in names), notes)


def _counted(items: Sequence[Item]) -> str:
    told = []
    for kind, (one, several) in _WORDS.items():
        count = sum(item.kind == kind for item in items)
        told += [f"{count} {one if count == 1 else several}"] if count else []
    return ", ".join(told)


def _is_folder(output: str | Path) -> bool:
    path = Path(output)
    return (
        output != STDIN and not is_stream(output) and not has_number(path.name) and (path.is_dir() or not path.suffix)
    )


def _listed(input: Given) -> list[str | Path]:
    return [input] if isinstance(input, str | Path) else list(input)
