"""`data=synthetic`: photographs out of scikit-image's wheel, in synthetic motion. Nothing is downloaded."""

from __future__ import annotations

from importlib.resources import files
from typing import Any, Protocol

import numpy as np
from PIL import Image

from data_modules.base import ClipDataModule, StyleSource
from data_modules.motion import MAX_SPEED, Photo, synthesise_clip
from data_modules.sensor import CAMERA, IN_FOCUS, Sensor
from vst.batch import Clip
from vst.errors import UserError

# Colour photographs of everyday things. The wheel's star field, microscopy and charts teach nothing about
# video, and the second view of the motorcycle is nearly the first.
TRAIN_PHOTOS = ("astronaut.png", "coffee.png", "motorcycle_left.png", "rocket.jpg")
VAL_PHOTOS = ("chelsea.png",)
# The first is held out, the others are trained on: five photographs are too few to hold more out.
PREVIEW_PHOTOS = (*VAL_PHOTOS, "coffee.png", "astronaut.png", "rocket.jpg")
# How often a moving object is cut from another photograph than the background.
FOREIGN_OBJECT = 0.5
HIGHEST_SPEED = 32


class Photos(Protocol):
    """A numbered collection of photographs; `place` says where they are."""

    place: str

    def __len__(self) -> int: ...

    def load(self, index: int) -> tuple[Photo, str]:
        """The photograph (H, W, 3) uint8 RGB with its name; always the same for an index."""
        ...


class PhotoClips:
    """A `ClipSource`: clips of `length` frames of `size` x `size` pixels, made by moving `photos`.

    `kind` is what `describe` calls them. `camera_only`: a moving camera over the whole photograph, and no objects;
    for people to look at. `speed` and `sensor`: see `data_modules.motion.synthesise_clip`.
    """

    def __init__(
        self,
        photos: Photos,
        length: int,
        size: int,
        kind: str = "photograph",
        camera_only: bool = False,
        speed: float = MAX_SPEED,
        sensor: Sensor = CAMERA,
    ) -> None:
        self.photos = photos
        self.length = length
        self.size = size
        self.kind = kind
        self.options = {"camera_only": camera_only, "speed": speed, "sensor": sensor}

    def sample(self, rng: np.random.Generator, length: int | None = None) -> Clip:
        photo, name = self._draw(rng)

        def draw_object(rng: np.random.Generator) -> Photo:
            return self._draw(rng)[0] if rng.random() < FOREIGN_OBJECT else photo

        return synthesise_clip(
            photo, rng, length or self.length, self.size, draw_object=draw_object, source=name, **self.options
        )

    def describe(self) -> str:
        count = len(self.photos)
        return f"{count:,} {self.kind}{'' if count == 1 else 's'} of {self.photos.place} in synthetic motion"

    def _draw(self, rng: np.random.Generator) -> tuple[Photo, str]:
        return self.photos.load(int(rng.integers(len(self.photos))))


class BundledPhotos:
    """Photographs of scikit-image's wheel, by file name, held in memory (about 1 MB each)."""

    place = "scikit-image"

    def __init__(self, names: tuple[str, ...]) -> None:
        self._photos = [(_read_bundled(name), f"scikit-image/{name}") for name in names]

    def __len__(self) -> int:
        return len(self._photos)

    def load(self, index: int) -> tuple[Photo, str]:
        return self._photos[index]


def bundled_photos() -> tuple[BundledPhotos, BundledPhotos]:
    """The bundled photographs to train on, and those that are held out."""
    return BundledPhotos(TRAIN_PHOTOS), BundledPhotos(VAL_PHOTOS)


class SyntheticDataModule(ClipDataModule):
    """Clips of the bundled photographs; validation moves a photograph that training never sees.

    Args:
        style: pictures of the style.
        speed: largest speed of camera and objects in training clips, pixels per frame; turns, zoom and elasticity go
            in proportion, and 0 keeps everything still. Validation and previews keep to the default.

    Other arguments and errors: see `ClipDataModule`. UserError also if scikit-image comes without its photographs.
    """

    def __init__(self, style: StyleSource, *, speed: float = MAX_SPEED, **kwargs: Any) -> None:
        super().__init__(style, **kwargs)
        self.speed = check_speed(speed)
        self._collections: tuple[Photos, Photos] | None = None

    def train_source(self) -> PhotoClips:
        photos = self.photos()[0]
        return PhotoClips(photos, self.clip_length, self.size, speed=self.speed, sensor=self.sensor)

    def val_source(self) -> PhotoClips:
        return PhotoClips(self.photos()[1], self.clip_length, self.size, "held-out photograph")

    def preview_source(self, index: int, length: int, size: int) -> PhotoClips:
        return PhotoClips(self.preview_photo(index, size), length, size, camera_only=True, sensor=IN_FOCUS)

    def photos(self) -> tuple[Photos, Photos]:
        """The photographs to train on and those that are held out, looked for once."""
        if self._collections is None:
            self._collections = self.find_photos()
        return self._collections

    def find_photos(self) -> tuple[Photos, Photos]:
        """The photographs to train on and those that are held out."""
        return bundled_photos()

    def preview_photo(self, index: int, size: int) -> Photos:
        """The one photograph of preview clip `index`, for frames of `size` pixels."""
        return BundledPhotos((PREVIEW_PHOTOS[index % len(PREVIEW_PHOTOS)],))


def check_speed(speed: float) -> float:
    """Return `speed`; UserError where motion would fold the picture or run backwards."""
    if not 0 <= speed <= HIGHEST_SPEED:
        raise UserError(f"data.speed is {speed}, it has to lie between 0 and {HIGHEST_SPEED} pixels per frame")
    return speed


def _read_bundled(name: str) -> Photo:
    # By path: `skimage.data.<name>()` downloads what it does not find.
    path = files("skimage") / "data" / name
    if not path.is_file():
        raise UserError(f"scikit-image lacks {name}; reinstall it, or use data=images data.root=FOLDER")
    with path.open("rb") as stream, Image.open(stream) as image:
        return np.asarray(image.convert("RGB"))
