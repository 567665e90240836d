"""Overrides as the user means them, before Hydra's grammar reads them.

The grammar takes `input=2024_01` for the number 202401, `style.root=Van Gogh, Vincent` for a sweep, and cannot read
`input=video (1).mp4`. What a key takes is known from its annotation: where that is text, such as the path of a file,
the text stays as it was given. And a path that exists is one value, whatever its name is.
"""

from __future__ import annotations

import os
import re
import shlex
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, is_dataclass
from pathlib import Path
from typing import Any, Literal, get_args, get_origin, get_type_hints
from urllib.parse import quote, unquote

from hydra._internal.config_loader_impl import ConfigLoaderImpl
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import IntervalSweep, Override, Quote, QuotedString
from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf

from vst.signatures import argument_hints, members

OVERRIDE = re.compile(r"(?P<plus>\+{0,2})(?P<key>[\w./@]+)=(?P<value>.*)", re.DOTALL)
CHOICE = re.compile(r"choice\((.*)\)", re.DOTALL)
NAME = re.compile(r"""(?P<name>'[^']*'|"[^"]*"|(?:\\.|[^:\\])*?)\s*:\s*(?P<rest>.*)""", re.DOTALL)
"""What stands before a text that has a name, in braces."""

ENCODED = "%text/"
"""The begin of a name that the grammar, which has no quotes there, would read as a number or not at all. Percent signs
and codes follow for what it cannot read.
"""

FUNCTION = re.compile(r"(range|interval|glob|sort|shuffle|tag|extend_list|str|json_str)\(.*\)", re.DOTALL)
WRITTEN = ("output", "output_dir", "hydra.run.dir", "hydra.sweep.dir")
"""Paths that are there only afterwards: a comma in one is part of its name."""

MAX_SWEEP_VALUES = 16  # values of one swept key that are checked before a sweep starts; each costs about 0.1 s
OF_HYDRA = ("hydra.run.dir", "hydra.sweep.dir", "hydra.sweep.subdir")
"""Keys of Hydra's own that take text."""

UNREADABLE = object()


@dataclass(frozen=True)
class Takes:
    """What a key takes: text, which excludes numbers; a list of texts; texts by name; a list of anything."""

    text: bool
    texts: bool
    named: bool
    lists: bool

    @classmethod
    def of(cls, hints: Iterable[Any]) -> Takes:
        """By the annotations of the key, one for each place that declares it."""
        kinds = [kind for hint in hints for kind in members(hint)]
        reads = any(kind in (int, float, bool) or get_origin(kind) is Literal for kind in kinds)
        text = not reads and any(kind in (str, Path) for kind in kinds)
        lists = any(kind is list or get_origin(kind) is list for kind in kinds)
        return cls(text, *(_holds_text(kinds, container, text) for container in (list, dict)), lists)


def _holds_text(kinds: Sequence[Any], container: type, text: bool) -> bool:
    """Whether `list[str]` is among them, or `list` beside text; the same of a dict."""
    return any(
        (kind is container and text) or (get_origin(kind) is container and get_args(kind)[-1] is str) for kind in kinds
    )


def as_meant(overrides: Sequence[str], schema: type, loader: ConfigLoaderImpl, sweep: bool) -> list[str]:
    """`overrides` with quotes around what the grammar would read differently from what is meant.

    Args:
        overrides: as on the command line; what is none, such as `-m`, stays.
        schema: dataclass of the command's keys.
        loader: of the groups, whose nodes say by their signatures what they take.
        sweep: whether `a,b` is two values, each for a job of its own.
    """
    return [_as_meant(line, schema, loader, sweep) for line in overrides]


def wants_sweep(overrides: Sequence[str]) -> bool:
    """Whether they ask for one themselves."""
    return any(line.lstrip("+").upper() == "HYDRA.MODE=MULTIRUN" for line in overrides)


def parsed_overrides(overrides: Sequence[str], loader: ConfigLoaderImpl) -> tuple[list[Override], list[str]]:
    """What the grammar reads, and a line for each of the others."""
    parser = OverridesParser.create(config_loader=loader)
    parsed, mistakes = [], []
    for line in overrides:
        try:
            parsed += parser.parse_overrides([line])
        except HydraException:
            key, given, value = line.partition("=")
            quoted = f"{for_shell(key, value)} (with both kinds of quotes)"
            mistakes.append(f"{line}: cannot be read; write it as {quoted if given else 'key=value'}")
    return parsed, mistakes


def needs_flag(override: Override, schema: type, loader: ConfigLoaderImpl) -> str:
    """The line for several values where none are swept over; one name with commas is the other thing it may be."""
    key, _, value = override.input_line.partition("=")
    line = f"{override.input_line}: several values need -m"
    if loader.repository.group_exists(key.lstrip("+")):
        return line
    kinds = takes(key.lstrip("+"), schema, loader)
    others = [f"several for one job are {shlex.quote(f'{key}=[{value}]')}"] if kinds.lists else []
    others += [f"one name with commas is {for_shell(key, value)}"] if kinds.text else []
    return "; ".join([line, *([", ".join(others)] if others else [])])


def sweep_values(override: Override) -> list[str]:
    """The first values of a sweep; of an interval its ends."""
    if isinstance(override.value(), IntervalSweep):
        return [str(override.value().start), str(override.value().end)]
    return list(override.sweep_string_iterator())[:MAX_SWEEP_VALUES]


def takes(key: str, schema: type, loader: ConfigLoaderImpl) -> Takes:
    """What the dotted `key` takes."""
    return Takes.of([str] if key in OF_HYDRA else _hints(key.partition("@")[0].split("."), schema, loader))


def for_shell(key: str, value: str) -> str:
    """`key=value` as it is typed into a shell where `value` is one text."""
    return shlex.quote(f"{key}={QuotedString(value, Quote.double).with_quotes()}")


def quoted(text: str) -> str:
    """A text in quotes, which the grammar reads as it is."""
    if _exists(text):
        text = text.replace("${", "\\${")
    return QuotedString(text, Quote.single).with_quotes()


def names_as_given(tree: Any) -> Any:
    """A plain tree of a configuration with the names in its mappings as they were before `as_meant` encoded them."""
    if isinstance(tree, list):
        return [names_as_given(item) for item in tree]
    if not isinstance(tree, dict):
        return tree
    return {
        unquote(key[len(ENCODED) :]) if isinstance(key, str) and key.startswith(ENCODED) else key: names_as_given(item)
        for key, item in tree.items()
    }


def _as_meant(line: str, schema: type, loader: ConfigLoaderImpl, sweep: bool) -> str:
    found = OVERRIDE.fullmatch(line)
    if not found or loader.repository.group_exists(found["key"]):
        return line
    key, value = found["key"], _at_home(found["value"])
    read = _read(value)
    if read != value or "," in value or "${" in value:  # otherwise nothing can go wrong, and nothing is imported
        kinds = takes(key, schema, loader)
        if kinds.text or kinds.texts or kinds.named:
            value = _kept(value, kinds, sweep, one=not sweep and (key in WRITTEN or read is UNREADABLE))
        elif read is UNREADABLE:
            value = quoted(value)
    return f"{found['plus']}{key}={value}"


def _hints(names: list[str], schema: type, loader: ConfigLoaderImpl) -> Iterator[Any]:
    """Annotations of a key: in the schema, or at every choice of its group that has it."""
    holder: Any = schema
    for name in names[:-1]:
        holder = get_type_hints(holder).get(name) if is_dataclass(holder) else None
    if is_dataclass(holder):
        yield from filter(None, [get_type_hints(holder).get(names[-1])])
    for depth in range(1, len(names)):
        group, inner = "/".join(names[:depth]), ".".join(names[depth:-1])
        for choice in loader.get_group_options(group) if loader.repository.group_exists(group) else ():
            node = loader.repository.load_config(f"{group}/{choice}").config
            node = OmegaConf.select(node, inner) if inner else node
            if isinstance(node, DictConfig) and "_target_" in node:
                target = OmegaConf.to_container(node, resolve=False)["_target_"]
                yield from filter(None, [argument_hints(target).get(names[-1])])


def _kept(value: str, kinds: Takes, sweep: bool, one: bool) -> str:
    """`value` so that the grammar reads the texts that are meant. `one`: that are not in brackets are one text."""
    if _exists(value):
        return quoted(value)
    if kinds.texts and value[:1] + value[-1:] == "[]":
        return f"[{','.join(map(_text, _parts(value[1:-1])))}]"
    if kinds.named and value[:1] + value[-1:] == "{}" and len(list(_parts(value))) == 1:
        return f"{{{','.join(_named(value[1:-1].strip(), kinds))}}}"
    if sweep and (function := CHOICE.fullmatch(value)):
        return f"choice({_kept(function[1], kinds, sweep, one)})"
    if not kinds.text or (sweep and FUNCTION.fullmatch(value)):
        return value
    parts = list(_parts(value))
    if one or (len(parts) < 2 and not isinstance(_read(value), list | dict)):  # a list is a mistake, a node is not
        return _text(value)
    return ",".join(_kept(part, kinds, False, True) for part in parts) if sweep and len(parts) > 1 else value


def _text(text: str) -> str:
    """One text; what has quotes already, `null` and `???` mean what they mean to the grammar."""
    text = _at_home(text)
    given = not text or text.lower() == "null" or text == "???" or (text[0] in "'\"" and text[0] == text[-1])
    usual = _read(text) == text and "," not in text
    return text if not _exists(text) and (given or usual) else quoted(text)


def _named(rest: str, kinds: Takes) -> Iterator[str]:
    """The pairs of a name and what has it; what is no pair stays, and the grammar refuses it."""
    while found := NAME.fullmatch(rest):
        part, rest = _first_part(found["rest"])
        yield f"{_name(found['name'])}:{_kept(part, kinds, False, True)}"
    yield from filter(None, [rest])


def _name(name: str) -> str:
    """A name that the grammar reads as this text, or as one that `names_as_given` makes it of."""
    text = name[1:-1] if len(name) > 1 and name[0] == name[-1] and name[0] in "'\"" else name
    read = _read(f"{{{text}: file}}")
    known = list(read) if isinstance(read, dict) else []
    escaped = "\\" in text and len(known) == 1 and isinstance(known[0], str)
    if not text or ((known == [text] or escaped) and not text.startswith(ENCODED)):
        return text
    return ENCODED + quote(text, safe="").replace("~", "%7E")


def _parts(value: str) -> Iterator[str]:
    """The parts between commas. None is between brackets, between quotes, or in the name of a path that exists."""
    rest = value.strip()
    while rest:
        part, rest = _first_part(rest)
        yield part


def _first_part(rest: str) -> tuple[str, str]:
    """The first of the parts between commas, and what is behind its comma."""
    ends = [found.start() for found in re.finditer(",|$", rest)]
    there = [end for end in ends if _exists(rest[:end].strip())]
    end = there[-1] if there else next(end for end in ends if end == len(rest) or _is_whole(rest[:end]))
    return rest[:end].strip(), rest[end + 1 :].strip()


def _is_whole(part: str) -> bool:
    """Whether no bracket and no quotes are open at the end of it."""
    if part[:1] in ("'", '"'):
        return len(part) > 1 and part.endswith(part[0])
    return all(part.count(opened) <= part.count(closed) for opened, closed in ("[]", "{}", "()"))


def _exists(path: str) -> bool:
    return path != "" and os.path.exists(path)


def _at_home(value: str) -> str:
    """A leading ~/ stands for the home folder, which shells do not expand behind an equals sign."""
    return os.path.expanduser(value) if value.startswith("~/") else value


def _read(value: str) -> Any:
    """What the grammar makes of it."""
    try:
        return OverridesParser.create().parse_override(f"key={value}").value()
    except HydraException:
        return UNREADABLE
