"""Where pictures of the style come from: one picture, a folder, a WikiArt tree or the embedded painted collections.

Each source yields random square crops. A picture is first scaled so that its short side is `short_side`: this sets
the size of the brush strokes in the crops and so in the stylised video. At 256 a crop of 160 shows most of a
picture, with fine strokes; a larger `short_side` gives broader strokes and less of the composition.
"""

import os
import re
from collections import Counter, OrderedDict
from collections.abc import Callable, Sequence
from difflib import get_close_matches
from itertools import islice
from pathlib import Path

import cv2
import numpy as np
import torch
from torch import Tensor

from data_modules.painted import ARTISTS, CACHE_DIR, WORKS, painted_work
from vst.errors import UserError

SUFFIXES = (".jpg", ".jpeg", ".png", ".webp", ".bmp", ".tif", ".tiff")
ZOOM = (0.8, 1.25)
FEW_PICTURES = 10
DEFAULT_ARTIST = "swirl"
WIKIART_VARIABLE = "VST_WIKIART"
WIKIART_FOLDER = Path("data/wikiart")


class Unreadable(Exception):
    """A picture of a collection that cannot be decoded; its text is the reason, it is left out."""


class Pictures:
    """Random crops of a list of pictures, loaded when first needed and kept small; the base of every style source.

    Args:
        items: what `load` understands, one per picture.
        load: item -> uint8 RGB (h, w, 3); raises `Unreadable`.
        name: short slug for file names and the dashboard.
        origin: where the pictures come from, for the log.
        crop: side S of the crops, pixels.
        short_side: short side of a picture before the random zoom of 0.8 to 1.25, pixels.
        cache: pictures kept in memory, uint8 at `short_side`; a few hundred kB each.

    A picture or a zoom too small for the crop is scaled up until the crop fits.

    Raises:
        UserError: a number is too small, or no picture is left.
    """

    def __init__(
        self,
        items: Sequence,
        load: Callable[[object], np.ndarray],
        *,
        name: str,
        origin: str,
        crop: int,
        short_side: int,
        cache: int = 256,
    ) -> None:
        for key, value, least in (("crop", crop, 16), ("short_side", short_side, 16), ("cache", cache, 1)):
            if value < least:
                raise UserError(f"style.{key} is {value}, it has to be at least {least}")
        self.name = name
        self.crop = crop
        self.short_side = short_side
        self._origin = origin
        self._items = list(items)
        self._load = load
        self._cache_size = cache
        self._cache: OrderedDict[int, np.ndarray] = OrderedDict()
        self._bad: dict[int, str] = {}

    def __len__(self) -> int:
        return len(self._items) - len(self._bad)

    def sample(self, rng: np.random.Generator) -> Tensor:
        """Draw one crop (3, crop, crop), float32 RGB in [0, 1]: random picture, place, zoom and mirroring."""
        picture = self._draw(rng)
        h, w = picture.shape[:2]
        zoom = max(rng.uniform(*ZOOM), self.crop / min(h, w))
        side = min(round(self.crop / zoom), h, w)
        y, x = rng.integers(h - side + 1), rng.integers(w - side + 1)
        view = picture[y : y + side, x : x + side]
        if side != self.crop:
            way = cv2.INTER_AREA if side > self.crop else cv2.INTER_CUBIC
            view = cv2.resize(view, (self.crop, self.crop), interpolation=way)
        if rng.random() < 0.5:
            view = view[:, ::-1]
        return _tensor(view)

    def reference(self) -> Tensor:
        """The first readable picture, whole, (3, h, w), its short side at `short_side`."""
        for index in range(len(self._items)):
            picture = self._get(index)
            if picture is not None:
                return _tensor(picture)
        raise self._nothing_left()

    def origin(self) -> str:
        """Where the pictures come from, including a fallback."""
        return self._origin

    def describe(self) -> str:
        """One line for the log: origin, sizes, and whatever is unusual about the pictures."""
        notes = [self._origin, f"crops of {self.crop} px at short side {self.short_side}"]
        if self.crop > self.short_side:
            notes.append(f"pictures scaled up to {self.crop} px so that the crop fits")
        if self._bad:
            notes.append(self._skipped())
        return ", ".join(notes)

    def _draw(self, rng: np.random.Generator) -> np.ndarray:
        """A random readable picture. It depends on `rng` only, not on which pictures were found bad before."""
        for _ in range(8):
            picture = self._get(int(rng.integers(len(self._items))))
            if picture is not None:
                return picture
        start = int(rng.integers(len(self._items)))
        for index in (*range(start, len(self._items)), *range(start)):
            picture = self._get(index)
            if picture is not None:
                return picture
        raise self._nothing_left()

    def _get(self, index: int) -> np.ndarray | None:
        if index in self._bad:
            return None
        if index in self._cache:
            self._cache.move_to_end(index)
            return self._cache[index]
        try:
            picture = _shrink(self._load(self._items[index]), self.short_side)
        except Unreadable as error:
            self._bad[index] = str(error)
            return None
        self._cache[index] = picture
        if len(self._cache) > self._cache_size:
            self._cache.popitem(last=False)
        return picture
