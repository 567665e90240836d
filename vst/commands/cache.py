"""`vst cache`: what lies in the user's cache folder, and how to be rid of it."""

from __future__ import annotations

from omegaconf import DictConfig

from vst.cache import PARTS, cache_folder, cache_root, clear, in_words, size_of
from vst.config import command, plain
from vst.errors import UserError, suggest
from vst.schema import CacheConfig

ALL = "all"


@command("cache", CacheConfig)
def cache(cfg: DictConfig) -> None:
    """Show what the cache holds, or clear it."""
    asked = plain(cfg)["clear"]
    for part in chosen(asked):
        print(f"{part:<8}  {in_words(clear(part))} freed")
    if asked is None:
        show()


def chosen(asked: str | list | None) -> list[str]:
    """The parts that `clear` names; UserError for one that there is not."""
    names = [] if asked is None else [asked] if isinstance(asked, str) else [str(name) for name in asked]
    for name in names:
        if name not in (*PARTS, ALL):
            raise UserError(f"clear={name}: no such part{suggest(name, PARTS)}; allowed: {', '.join(PARTS)}, {ALL}")
    return list(PARTS) if ALL in names else list(dict.fromkeys(names))


def show() -> None:
    """Print each part with its size and place."""
    print(cache_root())
    for part, content in PARTS.items():
        print(f"{part:<8}  {in_words(size_of(cache_folder(part))):>7}  {content}")
    print(f"clear one: vst cache clear={next(iter(PARTS))}   or everything: vst cache clear={ALL}")
