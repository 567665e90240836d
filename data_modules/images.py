"""`data=images`: a folder of photographs, COCO for example, in synthetic motion."""

from __future__ import annotations

import logging
import os
import re
from collections import OrderedDict
from collections.abc import Sequence
from hashlib import sha1
from pathlib import Path
from typing import Any

import cv2

from data_modules.base import StyleSource
from data_modules.motion import Photo
from data_modules.synthetic import SyntheticDataModule
from vst.errors import UserError
from vst.video.formats import COMMON_PICTURES, PICTURES, has_suffix, is_hidden, passed_over
from vst.video.stills import PictureError, read_header, read_still

log = logging.getLogger(__name__)

MIN_SIDE = 32
TRAIN_FOLDER = re.compile(r"train(ing)?[-_ ]?\d*", re.IGNORECASE)
VAL_FOLDER = re.compile(r"val(id(ation)?)?[-_ ]?\d*", re.IGNORECASE)
# One photograph in so many is held out.
HELD_OUT = 20
CACHED_PHOTOS = 64
# A clip looks at a third of the short side or more, so nothing is lost by keeping three times its size.
KEPT_SIZES = 3
NAMED_IN_WARNING = 5


class FolderPhotos:
    """Photographs of a folder, decoded when asked for; a bounded number of them stays in memory.

    Args:
        root: the folder.
        names: paths of the photographs relative to it.
        short_side: larger photographs are reduced to this length of the shorter side, pixels.
        place: where they are, in words; by default `root`.
        key: the option that named `root`.
    """

    def __init__(
        self, root: Path, names: Sequence[str], short_side: int, place: str | None = None, key: str = "data.root"
    ) -> None:
        self.root = root
        self.names = list(names)
        self.short_side = short_side
        self.place = place or str(root)
        self.key = key
        self._cache: OrderedDict[int, Photo] = OrderedDict()
        self._damaged: set[int] = set()

    def __len__(self) -> int:
        return len(self.names)

    def load(self, index: int) -> tuple[Photo, str]:
        """The photograph (H, W, 3) uint8 RGB and its relative path.

        One that turns out to be damaged is named in the log, once, and the next one stands in for it; so the
        answer depends on `index` alone. Raises UserError if none can be decoded.
        """
        for position in (*range(index, len(self)), *range(index)):
            photo = self._get(position)
            if photo is not None:
                return photo, self.names[position]
        raise UserError(f"{self.key}={self.root}: not one of its {len(self)} photographs can be decoded")

    def _get(self, index: int) -> Photo | None:
        if index in self._damaged:
            return None
        if index in self._cache:
            self._cache.move_to_end(index)
            return self._cache[index]
        path = self.root / self.names[index]
        try:
            photo = read_photo(path, self.short_side)
        except PictureError as error:
            log.warning("%s is damaged or unfit (%s); another photograph stands in", path, error.reason)
            self._damaged.add(index)
            return None
        self._cache[index] = photo
        if len(self._cache) > CACHED_PHOTOS:
            self._cache.popitem(last=False)
        return photo


class ImagesDataModule(SyntheticDataModule):
    """Clips of the photographs below a folder, some of which are held out for validation: see `folder_photos`.

    Args:
        style: pictures of the style.
        root: folder that is searched to any depth for pictures (`vst.video.formats`), except hidden ones.

    Other arguments: see `SyntheticDataModule`. UserError also if `root` is no folder or holds no readable
    photograph of at least 32 pixels a side.
    """

    def __init__(self, style: StyleSource, *, root: str | Path, **kwargs: Any) -> None:
        super().__init__(style, **kwargs)
        self.root = root

    def find_photos(self) -> tuple[FolderPhotos, FolderPhotos]:
        return folder_photos(self.root, self.size)

    def preview_photo(self, index: int, size: int) -> FolderPhotos:
        held_out = self.photos()[1]
        return FolderPhotos(held_out.root, [held_out.names[index % len(held_out)]], KEPT_SIZES * size)


def folder_photos(root: str | Path, size: int, key: str = "data.root") -> tuple[FolderPhotos, FolderPhotos]:
    """The photographs below `root` to train on and to validate on, for frames of `size` pixels.

    Where they lie in folders named train... and val..., as in COCO, these say which is which, and what lies outside
    of them is left alone. Otherwise one in twenty is held out, chosen by a hash of its path. UserErrors name the
    option `key`.
    """
    root = Path(root).expanduser()
    names = readable_photos(root, key)
    train, val = (_in_folders(names, pattern) for pattern in (TRAIN_FOLDER, VAL_FOLDER))
    if train and val:
        places = [f"{root} ({_folders(part, pattern)})" for part, pattern in ((train, TRAIN_FOLDER), (val, VAL_FOLDER))]
    else:
        (train, val), places = split_names(names), [str(root)] * 2
        if train == val:
            log.warning("%s=%s holds a single photograph: validation sees it too", key, root)
    parts = zip((train, val), places, strict=True)
    training, held_out = (FolderPhotos(root, part, KEPT_SIZES * size, place, key) for part, place in parts)
    return training, held_out


def readable_photos(root: Path, key: str = "data.root") -> list[str]:
    """Sorted relative paths (with /) of the photographs below `root` whose headers can be read.

    The others are named in one warning. Raises UserError if `root`, of the option `key`, is no folder or nothing is
    left.
    """
    if not root.exists():
        raise UserError(f"{key}={root}: no such folder; give a folder of photographs")
    if not root.is_dir():
        raise UserError(f"{key}={root} is a file; give the folder of the photographs")
    names, others = _find(root)
    if not names:
        told = f", {others}" if others else ""
        raise UserError(f"{key}={root} holds no photographs ({COMMON_PICTURES}){told}; give another folder")
    if others:
        log.warning("%s=%s: %s", key, root, others)
    animated: list[str] = []
    faults = {name: fault for name in names if (fault := _fault(root / name, animated))}
    if animated:
        log.warning("%s=%s: of %s, the first frame is taken", key, root, _listed(animated))
    if faults:
        shown = _listed([f"{name} ({fault})" for name, fault in faults.items()])
        summary = f"{len(faults)} of {len(names)} photographs: {shown}"
        if len(faults) == len(names):
            raise UserError(f"{key}={root}: none is usable, {summary}; give another folder")
        log.warning("%s=%s: left out %s", key, root, summary)
    return [name for name in names if name not in faults]


def split_names(names: Sequence[str]) -> tuple[list[str], list[str]]:
    """Split into training and validation by a hash of each name, so that new files do not move old ones.

    Neither part is empty; a single name is in both.
    """
    ranked = sorted(names, key=_hash)
    held_out = sum(_hash(name) % HELD_OUT == 0 for name in names)
    ranked.sort(key=lambda name: _hash(name) % HELD_OUT != 0)
    cut = min(max(held_out, 1), max(len(names) - 1, 1))
    return sorted(ranked[cut:]) or sorted(names), sorted(ranked[:cut])


def read_photo(path: Path, short_side: int | None = None) -> Photo:
    """Decode a picture as `vst.video.stills` says, its shorter side reduced to `short_side` if given and larger.

    Returns RGB (H, W, 3) uint8. Raises PictureError if it cannot be read.
    """
    pixels = read_still(path, short_side).image
    reduction = 1 if short_side is None else short_side / min(pixels.shape[:2])
    if reduction >= 1:
        return pixels
    height, width = (round(side * reduction) for side in pixels.shape[:2])
    return cv2.resize(pixels, (width, height), interpolation=cv2.INTER_AREA)


def _in_folders(names: Sequence[str], pattern: re.Pattern[str]) -> list[str]:
    """Those of `names` that lie below a folder whose whole name fits `pattern`."""
    return [name for name in names if _folder(name, pattern)]


def _folders(names: Sequence[str], pattern: re.Pattern[str]) -> str:
    return ", ".join(sorted({_folder(name, pattern) for name in names}))


def _folder(name: str, pattern: re.Pattern[str]) -> str | None:
    return next((part for part in name.split("/")[:-1] if pattern.fullmatch(part)), None)


def _find(root: Path) -> tuple[list[str], str | None]:
    """The pictures below `root`, relative to it, and a line on other pictures and films, which are passed over."""
    found, others = [], []
    for folder, subfolders, names in os.walk(root):
        subfolders[:] = [name for name in subfolders if not is_hidden(name)]
        for name in names:
            if not is_hidden(name):
                kind = found if has_suffix(name, PICTURES) else others
                kind.append((Path(folder) / name).relative_to(root).as_posix())
    return sorted(found), passed_over(sorted(others))


def _fault(path: Path, animated: list[str]) -> str | None:
    """Why a file cannot be used, from its header alone; None if it can. `animated` receives the names of animations."""
    try:
        header = read_header(path)
    except PictureError as error:
        return error.reason.partition(";")[0]
    if header.animated:
        animated.append(path.name)
    return f"smaller than {MIN_SIDE} pixels" if min(header.width, header.height) < MIN_SIDE else None


def _listed(items: Sequence[str]) -> str:
    rest = f" and {len(items) - NAMED_IN_WARNING} more" if len(items) > NAMED_IN_WARNING else ""
    return ", ".join(items[:NAMED_IN_WARNING]) + rest


def _hash(name: str) -> int:
    return int.from_bytes(sha1(name.encode(errors="surrogateescape")).digest()[:8], "big")
