"""Whether a tree of plain dicts and lists fits a dataclass of keys and the signatures of its `_target_`s.

Targets are imported, never called. Every check yields one line for each mistake: where, what was given, what
is allowed.
"""

from __future__ import annotations

import inspect
import types
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import is_dataclass
from importlib import import_module
from pathlib import Path
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

from vst.errors import suggest
from vst.schema import Part


class _Unknown:
    """Stands for a value that could not be resolved and has been reported."""


UNKNOWN = _Unknown()
KINDS = {
    **{int: "an integer", float: "a number", bool: "true or false", str: "text", Path: "text", type(None): "null"},
    **dict.fromkeys((list, tuple, Sequence), "a list"),
    **dict.fromkeys((dict, Mapping), "a mapping"),
}
NODE_KEYS = ("_target_", "_partial_", "_args_", "_recursive_", "_convert_")


def check_fields(tree: dict, schema: type, path: str = "") -> Iterator[str]:
    """Keys and types of `tree` against the fields of the dataclass `schema`, which may be dataclasses too."""
    hints = get_type_hints(schema)
    for key, value in tree.items():
        where = f"{path}{key}"
        if key not in hints:
            yield no_such_key(where, hints)
        elif is_dataclass(hints[key]) and isinstance(value, dict):
            yield from check_fields(value, hints[key], f"{where}.")
        elif get_origin(hints[key]) is dict and isinstance(value, dict):
            for name, node in value.items():
                if node is None:
                    yield f"{where}.{name}: null is not a part; drop it with ~{where}.{name}"
                else:
                    yield from _check_part(node, f"{where}.{name}")
        elif is_dataclass(hints[key]) and Part not in get_type_hints(hints[key]).values():
            names = ", ".join(f"{where}.{name}" for name in get_type_hints(hints[key]))
            yield f"{where}: {_shown(value)} is no value for all of it; give {names}"
        elif hints[key] is Part or is_dataclass(hints[key]):
            yield from _check_part(value, where)
        elif not _accepts(hints[key], value):
            yield _wrong_type(where, value, hints[key])
    yield from (f"{path}{key}: missing" for key in hints if key not in tree)


def _check_part(node: Any, where: str) -> Iterator[str]:
    if isinstance(node, dict) and "_target_" not in node:
        yield f"{where}: no _target_; is the name right? (given: {_listed(node)})"
    elif not isinstance(node, dict) and node is not UNKNOWN:
        yield f"{where}: {_shown(node)} is not a part; choose one with {where.replace('.', '/')}=<name>"


def check_targets(tree: Any, passed_in_code: Mapping[str, set[str]], path: str = "") -> Iterator[str]:
    """Every `_target_` node of `tree`: importable, arguments known, present and of a fitting type.

    `passed_in_code`: path of a node -> arguments that need not stand in it. `_partial_` nodes need none.
    """
    children = tree.items() if isinstance(tree, dict) else enumerate(tree) if isinstance(tree, list) else ()
    if isinstance(tree, dict) and isinstance(tree.get("_target_"), str):
        yield from _check_call(tree, path, passed_in_code.get(path, set()))
    for key, child in children:
        yield from check_targets(child, passed_in_code, f"{path}.{key}" if path else str(key))


def argument_names(target: Any) -> list[str]:
    """Names of the arguments of a dotted name; none where there is no such object or it takes any."""
    try:
        named, _, takes_anything = _arguments(_locate(str(target)))
    except (LookupError, TypeError, ValueError):
        return []
    return [] if takes_anything else list(named)


def argument_hints(target: Any) -> dict[str, Any]:
    """Annotations of the arguments of a dotted name; none where there is no such object."""
    try:
        return _arguments(_locate(str(target)))[1]
    except (LookupError, TypeError, ValueError):
        return {}


def explain_path(line: str, path: str, tree: Any) -> str | None:
    """Why the override `line` cannot change the dotted `path` of `tree`, or None if `path` is there."""
    names = path.split(".")
    for depth, name in enumerate(names):
        if not isinstance(tree, dict):
            return f"{line}: '{'.'.join(names[:depth])}' is a single value, it has no key '{name}'"
        if name not in tree:
            arguments = argument_names(tree.get("_target_"))
            if name in arguments and depth == len(names) - 1:
                return f"{line}: '{name}' is not set there yet; write +{line}"
            if name in arguments:
                return f"{line}: '{'.'.join(names[: depth + 1])}' is not set there yet"
            return no_such_key(".".join(names[: depth + 1]), arguments or [n for n in tree if n != "hydra"])
        tree = tree[name]
    return None


def _check_call(node: dict, path: str, passed_in_code: set[str]) -> Iterator[str]:
    target = node["_target_"]
    try:
        function = _locate(target)
    except LookupError as error:
        yield f"{path}._target_: {error.args[0]}"
        return
    try:
        named, hints, takes_anything = _arguments(function)
    except (TypeError, ValueError):
        return  # builtins without a signature
    for name, value in node.items():
        if name in NODE_KEYS:
            continue
        if name not in named:
            if not takes_anything:
                hint = suggest(name, named)
                yield f"{path}.{name}: {target} has no argument '{name}'{hint}; it takes {_listed(named)}"
        elif value is not named[name].default and not _accepts(hints.get(name, Any), value):
            yield _wrong_type(f"{path}.{name}", value, hints[name])
    if not node.get("_partial_") and "_args_" not in node:
        given = node.keys() | passed_in_code
        for name, parameter in named.items():
            if parameter.default is parameter.empty and name not in given:
                yield f"{path}.{name}: missing; {target} needs it"


def _arguments(function: Any) -> tuple[dict[str, inspect.Parameter], dict[str, Any], bool]:
    """Parameters that can be named, their type hints, and whether `function` takes any others too.

    The **kwargs of a class are the arguments of its base, where both are of one package: it passes them on.
    """
    parameters = inspect.signature(function).parameters.values()
    named = {p.name: p for p in parameters if p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY)}
    hints, open_ended = _hints(function), any(p.kind is p.VAR_KEYWORD for p in parameters)
    base = _base_with_init(function) if open_ended else None
    if base is None:
        return named, hints, open_ended
    inherited, inherited_hints, open_ended = _arguments(base)
    return inherited | named, inherited_hints | hints, open_ended


def _base_with_init(function: Any) -> type | None:
    """The next class whose `__init__` a class of the same package calls."""
    classes = [cls for cls in getattr(function, "__mro__", ()) if "__init__" in vars(cls)]
    packages = {cls.__module__.partition(".")[0] for cls in classes[:2]}
    return classes[1] if len(classes) > 1 and len(packages) == 1 else None


def _hints(function: Any) -> dict[str, Any]:
    try:
        return get_type_hints(function.__init__ if inspect.isclass(function) else function)
    except Exception:  # a name that is only imported for type checkers; then its types are not checked
        return {}


def _locate(target: str) -> Any:
    """The object of a dotted name. Raises LookupError(one line)."""
    names = target.split(".")
    if len(names) < 2 or not all(names):
        raise LookupError(f"{_shown(target)} is not a dotted name such as package.module.Class")
    found, depth = None, 0
    for depth in range(1, len(names)):
        try:
            found = import_module(".".join(names[:depth]))
        except Exception as error:  # importing runs foreign code: whatever it raises is the reason
            if isinstance(error, ModuleNotFoundError) and error.name == ".".join(names[:depth]) and found:
                depth -= 1
                break  # not a module: an attribute of the last one
            raise LookupError(f"cannot import '{'.'.join(names[:depth])}': {one_line(error)}") from error
    for name in names[depth:]:
        if not hasattr(found, name):
            public = [n for n in vars(found) if not n.startswith("_")]
            where = getattr(found, "__name__", target)
            raise LookupError(f"'{where}' has no '{name}'{suggest(name, public)} (given: {target})")
        found = getattr(found, name)
    return found


def _accepts(hint: Any, value: Any) -> bool:
    """Whether a value out of YAML can be meant for an argument annotated `hint`; in doubt, yes."""
    origin, args = get_origin(hint), get_args(hint)
    if value is UNKNOWN or hint is Any or (isinstance(value, dict) and "_target_" in value):
        return True
    if origin in (Union, types.UnionType):
        return any(_accepts(member, value) for member in args)
    if origin is Literal:
        return any(value == arg and type(value) is type(arg) for arg in args)
    if hint in (None, type(None)):
        return value is None
    if hint in (bool, str):
        return isinstance(value, hint)
    if hint is Path:
        return not isinstance(value, int | float | list | dict)
    if hint in (int, float):
        return isinstance(value, hint | int) and not isinstance(value, bool)
    if origin in (list, tuple, Sequence) or hint in (list, tuple, Sequence):
        return isinstance(value, list)
    if origin in (dict, Mapping) or hint in (dict, Mapping):
        return isinstance(value, dict)
    # Only a node makes a tensor; other classes may well be made from text or a number (a path, a dtype).
    return getattr(hint, "__name__", "") != "Tensor"


def _kind(hint: Any) -> str:
    kinds = members(hint)
    literals = [str(value) for member in kinds if get_origin(member) is Literal for value in get_args(member)]
    names = ["one of " + ", ".join(dict.fromkeys(literals))] if literals else []
    for member in kinds:
        base = get_origin(member) or member
        if base is not Literal:
            names.append(KINDS.get(base) or f"a {getattr(base, '__name__', base)}")
    return " or ".join(dict.fromkeys(names))


def members(hint: Any) -> list[Any]:
    """The members of a union, of unions in it too; otherwise `hint` alone."""
    if get_origin(hint) in (Union, types.UnionType):
        return [member for arg in get_args(hint) for member in members(arg)]
    return [hint]


def _wrong_type(where: str, value: Any, hint: Any) -> str:
    kinds = [get_origin(kind) or kind for kind in members(hint)]
    single = isinstance(value, str | int | float) and list in kinds and not isinstance(value, bool)
    remedy = f"; write {where}=[{value}]" if single else ""
    return f"{where}: {_shown(value)} is not {_kind(hint)}{remedy}"


def no_such_key(where: str, keys: Iterable[str]) -> str:
    """The line for the unknown last name of the dotted path `where`."""
    keys, (parent, _, name) = list(keys), where.rpartition(".")
    if not keys:
        return f"{where}: no such key; {parent} is empty"
    near = suggest(name, keys)
    return f"{where}: no such key{near}" + ("" if near and len(keys) > 20 else f"; allowed: {_listed(keys)}")


def _shown(value: Any) -> str:
    text = "null" if value is None else repr(value)
    return text if len(text) <= 60 else text[:57] + "..."


def _listed(names: Iterable[str]) -> str:
    names = sorted(map(str, names))
    return ", ".join(names[:20]) + (", ..." if len(names) > 20 else "")


def one_line(error: BaseException) -> str:
    """An exception's text, with its cause, in one line."""
    causes = [error, *([error.__cause__] if error.__cause__ else [])]
    return " ".join(" ".join(str(e) for e in causes).split()) or type(error).__name__
