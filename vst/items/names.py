"""What the output of an item is called: after the item, in a format that holds what is asked for."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from vst.errors import UserError
from vst.video.encoders import FORMATS, holds, holds_alpha
from vst.video.folders import Item
from vst.video.pictures import PictureReader, written_name
from vst.video.probe import probe
from vst.video.sound import holds_sound
from vst.video.source import DEFAULT_FPS

_CONTAINERS = (".mp4", ".mov", ".mkv")  # where that of the input does not do, the first that does


@dataclass(frozen=True)
class Naming:
    """What outputs have to hold, as for `vst.video.sink.open_sink`: films of `codec` and `pix_fmt`, their sound as
    `audio` says, transparency where it `keeps` it. With a `camera`, pictures become films.
    """

    codec: str | None = None
    pix_fmt: str | None = None
    audio: str = "copy"
    keeps: bool = False
    camera: bool = False

    def keeps_alpha_of(self, item: Item) -> bool:
        """Whether the item has transparency, and it is to be kept."""
        return self.keeps and _has_alpha(item)

    def names(self, item: Item, alpha: bool = False) -> list[str]:
        """What the output may be called, with its transparency where there is an `alpha`: the second is for where the
        first is taken.
        """
        name, suffix = item.name.name, item.name.suffix.lower()
        if item.kind == "frames":
            return [name]
        if item.kind == "picture" and not self.camera:
            new = written_name(name)
            if not new.lower().endswith(".png") and alpha:
                new = Path(new).with_suffix(".png").name
        elif suffix == ".gif" and item.kind == "film":
            new = name
        else:
            container = self._container(suffix, alpha)
            new = name if container == suffix else Path(name).with_suffix(container).name
        return [new] if new == name else [new, name + Path(new).suffix]

    def _container(self, suffix: str, alpha: bool) -> str:
        """The first that holds it all; where none holds the transparency, which is told in painting, all else."""
        known = [kind for kind in (suffix, *_CONTAINERS) if kind in FORMATS]
        fitting = [kind for kind in known if holds(kind, self.codec) and holds_sound(kind, self.audio)]
        seen_through = (kind for kind in fitting if alpha and holds_alpha(Path(f"x{kind}"), self.codec, self.pix_fmt))
        return next(seen_through, fitting[0])


def _has_alpha(item: Item) -> bool:
    """Of what cannot be read, which painting tells, it is not known."""
    try:
        if item.kind == "film":
            return probe(item.source).alpha
        return PictureReader(item.files or [item.source], DEFAULT_FPS, background=None).info.alpha
    except (UserError, OSError):
        return False
