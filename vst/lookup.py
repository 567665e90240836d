"""Reading resolved configurations, plain dicts in which any key may be absent or of a wrong type."""

from __future__ import annotations

from typing import Any


def at(cfg: Any, path: str) -> Any:
    """What stands at the dotted `path`, or None."""
    for key in path.split("."):
        cfg = cfg.get(key) if isinstance(cfg, dict) else None
    return cfg


def number(cfg: dict, path: str) -> float | None:
    """The number there, or None."""
    value = at(cfg, path)
    return value if isinstance(value, int | float) and not isinstance(value, bool) else None


def is_integer(value: Any) -> bool:
    """Whether it is one, and not true or false."""
    return isinstance(value, int) and not isinstance(value, bool)


def is_part(node: Any) -> bool:
    """Whether it is a `_target_` node, and not that of the choice `none`."""
    return isinstance(node, dict) and node.get("_target_", "types.NoneType") != "types.NoneType"


def class_name(node: dict) -> str:
    """The last name of its `_target_`."""
    return str(node["_target_"]).rpartition(".")[2]


def terms_of(cfg: dict, kind: str) -> list[str]:
    """Names of the loss terms of the class `kind`."""
    terms = at(cfg, "loss.terms")
    items = terms.items() if isinstance(terms, dict) else ()
    return [name for name, node in items if is_part(node) and class_name(node) == kind]
