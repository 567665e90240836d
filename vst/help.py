"""The help of a command, out of the comments of the YAML that declares its keys.

The comment on top of `conf/<command>.yaml` says what the command does, and its examples; the comment beside a key, or
beside a group in a defaults list, is its sentence. It may go on in the lines below. A key without
one has that of the file that its file builds on.
"""

from __future__ import annotations

import re
import shutil
import sys
import textwrap
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

SHOWN = ("data", "style", "trainer")  # groups whose keys are shown without being asked for
WIDTH, COLUMN = 118, 30
FLAGS = {
    "-m, --multirun": "a sweep: values separated by commas (seed=1,2), one job after the other for each combination",
    "--cfg job --resolve": "show the whole configuration, and run nothing",
    "--config-dir FOLDER": "a folder with further choices of groups, in YAML",
    "-h, --help": "this text{example}",
    "--version": "the version of vst",
    "--hydra-help": "the flags of Hydra, which reads the command line",
}


def program(command: str) -> str:
    """What was typed to start `command`: `python train.py`, or `vst train`."""
    script = Path(sys.argv[0]).name
    return f"python {script}" if script == f"{command}.py" else f"vst {command}"


def about(text: str) -> tuple[str, list[str]]:
    """The sentence and the examples in the comment that a YAML file begins with; indented lines are neither."""
    head = re.match(r"(#.*\n)*", text)[0].splitlines()
    lines = [line.lstrip("# ") for line in head if not line.startswith(("# @", "#  "))]
    examples = [line for line in lines if line.startswith(("python ", "vst "))]
    return " ".join(line for line in lines if line not in examples), examples


def comments(text: str) -> dict[str, str]:
    """Dotted key -> the comment beside it in a YAML file; groups of its defaults list are below `defaults.`."""
    lines, found = text.splitlines(), {}

    def beside(line: int, column: int, indent: int) -> str:
        match = re.match(r"[\s:,]*(#\s*(.*))?$", lines[line][column:])
        if not match or match[1] is None:
            return ""
        column += match.start(1)
        sentence = [match[2]]
        for below in lines[line + 1 :]:
            if not re.match(rf"\s{{{indent + 3},}}#", below):  # deeper than what is inside the key
                break
            sentence.append(below.lstrip("# "))
        return " ".join(sentence)

    def walk(node: yaml.Node, path: str) -> None:
        if isinstance(node, yaml.SequenceNode) and path == "defaults":
            for item in node.value:
                walk(item, path)
        if not isinstance(node, yaml.MappingNode):
            return
        for key, value in node.value:
            where = f"{path}.{key.value}".strip(".")
            block = isinstance(value, yaml.CollectionNode) and not value.flow_style
            mark = key.end_mark if block or value.start_mark.line > key.end_mark.line else value.end_mark
            if sentence := beside(mark.line, mark.column, key.start_mark.column):
                found[where] = sentence
            walk(value, where)

    if (node := yaml.compose(text)) is not None:
        walk(node, "")
    return found


class Explained:
    """The YAML files of groups and commands, in `folders`, of which the first one that has a file counts."""

    def __init__(self, folders: Sequence[Any]) -> None:
        self._folders = folders

    def text(self, name: str) -> str:
        """The file of `train` or `data/video`."""
        files = (folder.joinpath(f"{name}.yaml") for folder in self._folders)
        return next(file.read_text(encoding="utf-8") for file in files if file.is_file())

    def comments(self, name: str) -> dict[str, str]:
        """Those of a file, and of the files that it builds on where it has none."""
        text, found = self.text(name), {}
        for base in _bases(text):
            found |= self.comments(base.lstrip("/") if base.startswith("/") else f"{name.rpartition('/')[0]}/{base}")
        return found | comments(text)

    def sentence(self, name: str) -> str:
        """What the file says of itself."""
        return about(self.text(name))[0]

    def choices(self, group: str) -> list[str]:
        """Files of a group, also below: `ablation/a0`."""
        found: set[str] = set()
        for folder in self._folders:
            if (inside := folder.joinpath(group)).is_dir():
                found |= {file.name[:-5] for file in inside.iterdir() if file.name.endswith(".yaml")}
        return sorted(found)


def _bases(text: str) -> list[str]:
    listed = (yaml.safe_load(text) or {}).get("defaults", [])
    return [entry.partition("@")[0] for entry in listed if isinstance(entry, str) and entry != "_self_"]


def help_text(
    command: str, tree: Mapping[str, Any], choices: Mapping[str, Any], asked: Sequence[str], folders: Sequence[Any]
) -> str:
    """The help of `command`.

    Args:
        tree: its composed configuration, interpolations as they are written.
        choices: group -> its choice in `tree`, as Hydra keeps them.
        asked: groups and overrides beside --help; the keys of the groups among them are shown.
        folders: of YAML files.
    """
    files, typed = Explained(folders), program(command)
    chosen = _in_order(files, choices)
    sentence, examples = about(files.text(command))
    wanted = [word.partition("=")[0] for word in asked]
    shown = [group for group in chosen if group in wanted] or [group for group in chosen if group in SHOWN]
    roots = {group.partition("/")[0] for group in chosen}
    own = {key: value for key, value in tree.items() if key not in roots}
    blocks = [
        _wrapped(sentence, 0),
        f"usage: {typed} {'[group=choice ...] ' if chosen else ''}[key=value ...] [flags]",
        _block("examples:", (f"  {example}" for example in examples)),
    ]
    if chosen:
        blocks.append(_block("groups, with the choice that is taken by itself:", _groups(files, command, chosen)))
    blocks.append(_block("keys, with their defaults (???: needed):", _keys(own, files.comments(command))))
    blocks += [_part(files, group, chosen, tree) for group in shown]
    example = f"; with a group beside it, its choices and keys: {typed} {next(iter(chosen))} --help" if chosen else ""
    flags = (row for flag, text in FLAGS.items() for row in _row(flag, text.format(example=example)))
    return "\n\n".join([*blocks, _block("flags:", flags)]).replace(f"python {command}.py", typed)


def _in_order(files: Explained, choices: Mapping[str, Any]) -> dict[str, str]:
    """The groups that a command has itself, as its defaults list names them, each before those within it."""
    groups = [group for group in reversed([*choices]) if group.partition("/")[0] != "hydra" and files.choices(group)]
    roots = list(dict.fromkeys(group.partition("/")[0] for group in groups))
    ordered = sorted(groups, key=lambda group: (roots.index(group.partition("/")[0]), group.count("/")))
    return {group: str(choices[group]) for group in ordered}


def overview(commands: Sequence[str], folders: Sequence[Any]) -> str:
    """The commands, with the sentence of each."""
    files = Explained(folders)
    rows = (row for command in commands for row in _row(f"vst {command}", files.sentence(command)))
    blocks = [_block("usage: vst COMMAND [key=value ...] [flags]", []), _block("commands:", rows)]
    return "\n\n".join([*blocks, "The keys of a command: vst COMMAND --help. The version: vst --version."])


def _groups(files: Explained, command: str, chosen: Mapping[str, str]) -> Iterator[str]:
    said = files.comments(command)
    for group, choice in chosen.items():
        parent, _, name = group.rpartition("/")
        sentence = (files.comments(f"{parent}/{chosen[parent]}") if parent else said).get(f"defaults.{name}", "")
        others = [other for other in files.choices(group) if other != choice]
        yield from _row(f"{group}={choice}", f"{sentence}; or {', '.join(others)}")


def _part(files: Explained, group: str, chosen: Mapping[str, str], tree: Any) -> str:
    """What the choices of a group are, and the keys of the one that is taken, without those of groups within."""
    choice = chosen[group]
    rows = [row for name in files.choices(group) for row in _row(f"{group}={name}", files.sentence(f"{group}/{name}"))]
    path = group.replace("/", ".")
    for name in group.split("/"):
        tree = tree.get(name, {})
    inner = {name: value for name, value in tree.items() if f"{group}/{name}" not in chosen}
    own = {key: value for key, value in _leaves(inner, path) if _is_set_here(value)}
    # A file of the package _global_ names its group itself.
    said = {key.removeprefix(f"{group}."): text for key, text in files.comments(f"{group}/{choice}").items()}
    keys = [*_keys(own, {f"{path}.{key}": text for key, text in said.items()})]
    return _block(f"{group}:", [*rows, *([f"keys of {group}={choice}:", *keys] if keys else [])])


def _leaves(tree: Mapping[str, Any], path: str = "") -> Iterator[tuple[str, Any]]:
    """Dotted keys and their values, without what only tells Hydra what to build."""
    for key, value in tree.items():
        where = f"{path}.{key}".strip(".")
        if isinstance(value, Mapping) and value:
            yield from _leaves(value, where)
        elif key not in ("_target_", "_partial_"):
            yield where, value


def _is_set_here(value: Any) -> bool:
    """Whether a key is meant to be set: others follow another one, or name parts of a class."""
    follows = isinstance(value, str) and re.fullmatch(r"\$\{.*\}", value)
    return not follows and not (isinstance(value, list) and any(isinstance(item, Mapping) for item in value))


def _keys(tree: Mapping[str, Any], said: Mapping[str, str]) -> Iterator[str]:
    """Rows of keys; the sentence of a mapping has a row above those that lie in it."""
    above: set[str] = set()
    for key, value in _leaves(tree):
        parents = [key[: dot.start()] for dot in re.finditer(r"\.", key)]
        for parent in parents:
            if parent in said and parent not in above:
                above.add(parent)
                yield from _row(parent, said[parent])
        yield from _row(f"{key}={_value(value)}", said.get(key, ""))


def _value(value: Any) -> str:
    if isinstance(value, list):
        return f"[{', '.join(map(_value, value))}]"
    if isinstance(value, bool) or value is None:
        return {True: "true", False: "false", None: "null"}[value]
    return '""' if value == "" else str(value)


def _block(title: str, rows: Iterable[str]) -> str:
    return "\n".join([title, *rows])


def _row(name: str, text: str) -> list[str]:
    """Two columns; a long name has a line for itself."""
    lines = _wrapped(text, COLUMN).splitlines()
    if len(name) + 4 > COLUMN or not lines:
        return [f"  {name}", *lines]
    return [f"  {name}".ljust(COLUMN) + lines[0].lstrip(), *lines[1:]]


def _wrapped(text: str, indent: int) -> str:
    width = max(60, min(WIDTH, shutil.get_terminal_size((WIDTH, 24)).columns))
    margin = " " * indent
    wrap = textwrap.wrap(text, width, initial_indent=margin, subsequent_indent=margin, break_on_hyphens=False)
    return "\n".join(wrap)
