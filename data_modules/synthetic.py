"""`data=synthetic`: photographs out of scikit-image's wheel, in synthetic motion. Nothing is downloaded."""

from __future__ import annotations

from importlib.resources import files
from typing import Protocol

import numpy as np
from PIL import Image

from data_modules.base import ClipDataModule
from data_modules.motion import Photo, synthesise_clip
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


class Photos(Protocol):
    """A numbered collection of photographs."""

    def __len__(self) -> int: ...

    def load(self, index: int) -> tuple[Photo, str]:
        """The photograph (H, W, 3) uint8 RGB with its name; always the same for an index."""
        ...


class PhotoClips:
    """A `ClipSource`: clips of `length` frames of `size` x `size` pixels, made by moving `photos`.

    `kind` and `place` complete the sentence of `describe`, for example `photograph` and `scikit-image`.
    `camera_only`: a moving camera over the whole photograph, and no objects; for people to look at.
    """

    def __init__(
        self, photos: Photos, length: int, size: int, kind: str, place: str, camera_only: bool = False
    ) -> None:
        self.photos = photos
        self.length = length
        self.size = size
        self.kind = kind
        self.place = place
        self.camera_only = camera_only

    def sample(self, rng: np.random.Generator) -> Clip:
        photo, name = self._draw(rng)

        def draw_object(rng: np.random.Generator) -> Photo:
            return self._draw(rng)[0] if rng.random() < FOREIGN_OBJECT else photo

        return synthesise_clip(
            photo, rng, self.length, self.size, draw_object=draw_object, source=name, camera_only=self.camera_only
        )

    def describe(self) -> str:
        count = len(self.photos)
        return f"{count} {self.kind}{'' if count == 1 else 's'} of {self.place} in synthetic motion"

    def _draw(self, rng: np.random.Generator) -> tuple[Photo, str]:
        return self.photos.load(int(rng.integers(len(self.photos))))


class BundledPhotos:
    """Photographs of scikit-image's wheel, by file name, held in memory (about 1 MB each)."""

    def __init__(self, names: tuple[str, ...]) -> None:
        self._photos = [(_read_bundled(name), f"scikit-image/{name}") for name in names]

    def __len__(self) -> int:
        return len(self._photos)

    def load(self, index: int) -> tuple[Photo, str]:
        return self._photos[index]


class SyntheticDataModule(ClipDataModule):
    """Clips of the bundled photographs; validation moves a photograph that training never sees.

    Arguments and errors: see `ClipDataModule`. UserError also if scikit-image comes without its photographs.
    """

    def train_source(self) -> PhotoClips:
        return self._clips(TRAIN_PHOTOS, "photograph", self.clip_length, self.size)

    def val_source(self) -> PhotoClips:
        return self._clips(VAL_PHOTOS, "held-out photograph", self.clip_length, self.size)

    def preview_source(self, index: int, length: int, size: int) -> PhotoClips:
        name = PREVIEW_PHOTOS[index % len(PREVIEW_PHOTOS)]
        return self._clips((name,), "photograph", length, size, camera_only=True)

    def _clips(
        self, names: tuple[str, ...], kind: str, length: int, size: int, camera_only: bool = False
    ) -> PhotoClips:
        return PhotoClips(BundledPhotos(names), length, size, kind, "scikit-image", camera_only)


def _read_bundled(name: str) -> Photo:
    # By path: `skimage.data.<name>()` downloads what it does not find.
    path = files("skimage") / "data" / name
    if not path.is_file():
        raise UserError(f"scikit-image lacks {name}; reinstall it, or use data=images data.root=FOLDER")
    with path.open("rb") as stream, Image.open(stream) as image:
        return np.asarray(image.convert("RGB"))
