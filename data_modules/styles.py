"""Where pictures of the style come from: a picture, a folder, a WikiArt tree or an embedded collection.

Every source yields random square crops. A picture is first scaled down so that its short side is
`short_side`: this sets the size of the brush strokes in the crops and so in the stylised video. At 256 a crop
of 160 shows most of the composition with fine strokes; 320 (the default) and more give broader strokes and
less of the composition.
"""

import logging
import os
import re
from collections import OrderedDict
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from itertools import chain
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from torch import Tensor

from data_modules.painted import ARTISTS, CACHE_DIR, WORKS, painted_work
from data_modules.wikiart import key, pictures_of
from vst.errors import UserError, suggest
from vst.video.formats import COMMON_PICTURES, PICTURES, has_suffix, is_hidden, passed_over
from vst.video.stills import PictureError, Still, read_still

ZOOM = (0.8, 1.25)
GREY = 3.0  # mean difference between the largest and the smallest channel, of 255: that of a grey JPEG is below
FLAT = 1.5  # deviation of every channel, in levels of 256, below which a picture is of one colour
DEFAULT_ARTIST = "swirl"
WIKIART_VARIABLE = "VST_WIKIART"
WIKIART_FOLDER = Path("data/wikiart")

_log = logging.getLogger(__name__)


class Pictures:
    """Random crops of a list of pictures, a `data_modules.base.StyleSource`; the base of all style sources.

    Pictures are kept in memory as uint8 at reduced size, at most `cache` of them (about 0.5 MB each). A
    collection of files that fits is loaded at once, a bigger one and the painted ones when first drawn.

    Args:
        items: one entry per picture, understood by `load`.
        load: item -> the picture; raises PictureError.
        name: short slug for file names and the dashboard.
        origin: where the pictures come from, for the log.
        crop: side S of the crops, pixels.
        short_side: short side of a larger picture before the random zoom of 0.8 to 1.25, pixels. A smaller
            picture keeps its size; one smaller than the crop is scaled up so that the crop fits.
        cache: how many pictures are kept in memory.

    Raises:
        UserError: a number is too small, or there is no readable picture.
    """

    def __init__(
        self,
        items: Sequence[Any],
        load: Callable[[Any], Still],
        name: str,
        origin: str,
        crop: int,
        short_side: int,
        cache: int,
    ) -> None:
        for option, value, least in (("crop", crop, 16), ("short_side", short_side, 16), ("cache", cache, 1)):
            if value < least:
                raise UserError(f"style.{option} is {value}, it has to be at least {least}")
        self.name = name
        self.crop = crop
        self.short_side = short_side
        self._origin = origin
        self._items = list(items)
        self._load = load
        self._limit = cache
        self._kept: OrderedDict[int, np.ndarray] = OrderedDict()
        self._bad: dict[int, str] = {}
        self._notes: dict[int, str] = {}
        self._enlarged: set[int] = set()
        self._colourful: dict[int, bool] = {}
        self._flat: dict[int, bool] = {}

    @property
    def count(self) -> int:
        """How many pictures there are, without those known to be unreadable."""
        return len(self._items) - len(self._bad)

    def sample(self, rng: np.random.Generator) -> Tensor:
        """Draw one crop (3, crop, crop), float32 RGB in [0, 1]: random picture, place, zoom and mirroring."""
        picture = self._picture(int(rng.integers(len(self._items))))
        h, w = picture.shape[:2]
        side = min(round(self.crop / rng.uniform(*ZOOM)), h, w)
        y, x = rng.integers(h - side + 1), rng.integers(w - side + 1)
        view = _resize(picture[y : y + side, x : x + side], self.crop, self.crop)
        return _tensor(view[:, ::-1] if rng.random() < 0.5 else view)

    def reference(self) -> Tensor:
        """The first readable picture, whole: (3, h, w) float32 RGB in [0, 1], scaled as for the crops."""
        return _tensor(self._picture(0))

    def gallery(self, most: int = 64) -> list[Tensor]:
        """At most `most` of the pictures, spread evenly over the collection; each as `reference` gives it."""
        places = np.linspace(0, len(self._items) - 1, min(most, len(self._items))).round().astype(int)
        return [_tensor(picture) for picture in map(self._get, places) if picture is not None]

    def origin(self) -> str:
        """Where the pictures come from; says so when it is a fallback."""
        return self._origin

    def describe(self) -> str:
        """One line for the log: origin, scale, and what is unusual about the pictures known so far."""
        notes = [self._origin, f"crops of {self.crop} px at short side {max(self.short_side, self.crop)} px"]
        if self._enlarged:
            small = _names(self._items[k] for k in sorted(self._enlarged))
            notes.append(f"scaled up so that the crop fits: {small}")
        if self._bad:
            notes.append(self._skipped())
        return "; ".join(notes)

    def load_files(self) -> None:
        """Load a collection that fits the memory, else one picture; warn of unreadable ones and of no colour at all."""
        if len(self._items) <= self._limit:
            for index in range(len(self._items)):
                self._get(index)
            if self._bad:
                _log.warning("style pictures: %s", self._skipped())
        self._picture(0)
        if self._notes:
            notes = [f"{_label(self._items[k])}: {note}" for k, note in sorted(self._notes.items())]
            rest = f" and {len(notes) - 5} more" if len(notes) > 5 else ""
            _log.warning("style pictures: %s%s", ", ".join(notes[:5]), rest)
        if self.count == 1 and any(self._flat.values()):
            _log.warning("style pictures: %s is of one colour all over, there are no strokes to learn", self._origin)
        if len(self._colourful) == self.count and not any(self._colourful.values()):
            _log.warning(
                "style pictures: no picture has colour (%s), so results will have little; give coloured ones if that "
                "is not meant",
                self._origin,
            )

    def _picture(self, first: int) -> np.ndarray:
        """Picture `first` or, where that is unreadable, the next one: the same whatever was drawn before."""
        for index in chain(range(first, len(self._items)), range(first)):
            known_bad = index in self._bad
            picture = None if known_bad else self._get(index)
            if picture is not None:
                return picture
            if not known_bad:
                _log.warning("style pictures: %s skipped (%s)", self._items[index], self._bad[index])
        raise UserError(f"{self._origin}: no readable picture; {self._skipped()}")

    def _get(self, index: int) -> np.ndarray | None:
        if index in self._kept:
            self._kept.move_to_end(index)
            return self._kept[index]
        try:
            still = self._load(self._items[index])
        except PictureError as error:
            self._bad[index] = error.reason.partition(";")[0]
            return None
        picture = still.image
        if still.note is not None:
            self._notes[index] = still.note
        self._colourful[index] = float(np.ptp(picture, axis=2).mean()) >= GREY
        self._flat[index] = float(picture.std(axis=(0, 1)).max()) < FLAT
        short = min(picture.shape[:2])
        if short < self.crop:
            self._enlarged.add(index)
        scale = max(min(self.short_side, short), self.crop) / short
        height, width = (max(self.crop, round(n * scale)) for n in picture.shape[:2])
        self._kept[index] = picture = _resize(picture, height, width)
        if len(self._kept) > self._limit:
            self._kept.popitem(last=False)
        return picture

    def _skipped(self) -> str:
        reasons = (f"{self._items[k]} ({why})" for k, why in sorted(self._bad.items())[:5])
        more = ", ..." if len(self._bad) > 5 else ""
        return f"{len(self._bad)} of {len(self._items)} unreadable, skipped: {', '.join(reasons)}{more}"


class ImageStyle(Pictures):
    """The style of one picture.

    Raises:
        UserError: `image` is missing, a folder or not a picture.
    """

    def __init__(self, image: str | Path | None, crop: int = 160, short_side: int = 320) -> None:
        if image is None:
            raise UserError("style.image is not given: name the picture, style.image=/path/to/picture.jpg")
        path = Path(image).expanduser()
        if path.is_dir():
            raise UserError(
                f"style.image={image} is a folder: use style=folder style.root={image}, or name one picture"
            )
        if not path.is_file():
            raise UserError(f"style.image={image}: there is no such file")
        load = partial(read_still, least=2 * max(crop, short_side))
        try:
            load(path)
        except PictureError as error:
            raise UserError(f"style.image={image} is not a readable picture: {error.reason}") from None
        super().__init__([path], load, slug(path.stem), f"the picture {path}", crop, short_side, cache=1)
        self.load_files()


class FolderStyle(Pictures):
    """The style of all pictures below a folder.

    Args:
        root: the folder, searched recursively.
        crop, short_side, cache: see `Pictures`.

    Raises:
        UserError: `root` is missing, a file, or holds no readable picture.
    """

    def __init__(self, root: str | Path | None, crop: int = 160, short_side: int = 320, cache: int = 256) -> None:
        if root is None:
            raise UserError("style.root is not given: name a folder with pictures, style.root=/path/to/folder")
        folder = _folder(root, "style.root")
        files = _pictures_below(folder)
        load = partial(read_still, least=2 * max(crop, short_side))
        origin = f"{len(files)} picture{'s' * (len(files) > 1)} below {folder}"
        super().__init__(files, load, slug(folder.resolve().name), origin, crop, short_side, cache)
        self.load_files()


class PaintedStyle(Pictures):
    """An embedded collection, painted by `data_modules.painted`; needs no file and no download.

    Args:
        artist: one of `data_modules.painted.ARTISTS`.
        crop, short_side: see `Pictures`.
        works: number of pictures.
        size: short side at which they are painted, pixels.
        cache_dir: where painted pictures are kept for the next run; auto: in the user's cache folder, None: in
            memory only.

    Raises:
        UserError: unknown artist, or a number too small.
    """

    def __init__(
        self,
        artist: str = DEFAULT_ARTIST,
        crop: int = 160,
        short_side: int = 320,
        works: int = WORKS,
        size: int = 512,
        cache_dir: str | Path | None = CACHE_DIR,
    ) -> None:
        if artist not in ARTISTS:
            raise UserError(f"no painted collection {artist!r}{suggest(artist, ARTISTS)}; known: {', '.join(ARTISTS)}")
        for name, value, least in (("works", works, 1), ("size", size, 64)):
            if value < least:
                raise UserError(f"style.{name} is {value}, it has to be at least {least}")
        load = partial(_painted, artist=artist, size=size, cache_dir=cache_dir)
        super().__init__(range(works), load, artist, _embedded(artist, works), crop, short_side, cache=works)


class WikiArtStyle(Pictures):
    """The pictures of one artist in a local WikiArt folder, or else an embedded painted collection.

    Folders of these shapes are understood: `<artist>/*.jpg`, `<movement>/<artist>_<title>.jpg` and
    `**/<artist>/**/*.jpg`. Names are compared without case and accents, with `-`, `_` and space equal; a part
    of a name is enough (`monet`, `van gogh`) where it fits one artist only. The name of a movement's folder
    works too.

    Args:
        root: the WikiArt folder. None: `$VST_WIKIART`, else `data/wikiart` below the working directory, else the
            embedded collection; `origin()` and `describe()` say which it is.
        artist: whose pictures; None: all pictures of the folder. With no `root`, one of the embedded artists
            chooses that collection.
        crop, short_side, cache: see `Pictures`.
        cache_dir: where embedded painted pictures are kept, see `PaintedStyle`.

    Raises:
        UserError: a folder was named and is missing or empty; `artist` is unknown or fits several.
    """

    def __init__(
        self,
        root: str | Path | None = None,
        artist: str | None = None,
        crop: int = 160,
        short_side: int = 320,
        cache: int = 256,
        cache_dir: str | Path | None = CACHE_DIR,
    ) -> None:
        folder = None if root is None and artist in ARTISTS else _wikiart_folder(root)
        if folder is not None:
            files, name, origin = pictures_of(folder, _pictures_below(folder), artist)
            load = partial(read_still, least=2 * max(crop, short_side))
            super().__init__(files, load, slug(name), origin, crop, short_side, cache)
            self.load_files()
            return
        missing = f"no WikiArt folder found (style.root=..., ${WIKIART_VARIABLE} or {WIKIART_FOLDER})"
        if artist is not None and artist not in ARTISTS:
            raise UserError(
                f"{missing}, so there are no pictures by {artist!r}: name the folder with style.root=..., "
                f"or choose an embedded collection, style.artist={'|'.join(ARTISTS)}"
            )
        name = artist or DEFAULT_ARTIST
        origin = _embedded(name, WORKS) if artist else f"{missing}: using the {_embedded(name, WORKS)}"
        load = partial(_painted, artist=name, size=512, cache_dir=cache_dir)
        super().__init__(range(WORKS), load, name, origin, crop, short_side, cache=WORKS)


def _embedded(artist: str, works: int) -> str:
    return f"embedded painted collection '{artist}', {works} works"


def _wikiart_folder(root: str | Path | None) -> Path | None:
    if root is not None:
        return _folder(root, "style.root")
    if os.environ.get(WIKIART_VARIABLE):
        return _folder(os.environ[WIKIART_VARIABLE], f"${WIKIART_VARIABLE}")
    return WIKIART_FOLDER if WIKIART_FOLDER.is_dir() else None


def slug(name: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", key(name)).strip("-") or "style"


def _names(items: Iterable[Any]) -> str:
    names = [_label(item) for item in items]
    return ", ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")


def _label(item: Any) -> str:
    if isinstance(item, Path):
        return item.name
    return f"work {item}" if isinstance(item, int) else str(item)


def _folder(root: str | Path, key: str) -> Path:
    folder = Path(root).expanduser()
    if folder.is_file():
        raise UserError(f"{key}={root} is a file, a folder with pictures is needed; for one picture use style=image")
    if not folder.is_dir():
        raise UserError(f"{key}={root}: there is no such folder")
    return folder


def _pictures_below(folder: Path) -> list[Path]:
    files = []
    for place, subfolders, names in os.walk(folder):
        subfolders[:] = [name for name in subfolders if not is_hidden(name)]
        files += [Path(place, name) for name in names if not is_hidden(name)]
    pictures = sorted(path for path in files if has_suffix(path, PICTURES))
    others = passed_over(sorted(path for path in files if not has_suffix(path, PICTURES)))
    if not pictures:
        told = f"; {others}" if others else ""
        raise UserError(f"no picture below {folder}: {COMMON_PICTURES} are looked for{told}")
    if others:
        _log.warning("style pictures: %s", others)
    return pictures


def _painted(index: int, artist: str, size: int, cache_dir: str | Path | None) -> Still:
    return Still(painted_work(artist, index, size, cache_dir), None)


def _resize(picture: np.ndarray, height: int, width: int) -> np.ndarray:
    if picture.shape[:2] == (height, width):
        return picture
    smaller = height < picture.shape[0]
    return cv2.resize(picture, (width, height), interpolation=cv2.INTER_AREA if smaller else cv2.INTER_CUBIC)


def _tensor(picture: np.ndarray) -> Tensor:
    return torch.from_numpy(np.ascontiguousarray(picture.transpose(2, 0, 1), dtype=np.float32) / 255)
