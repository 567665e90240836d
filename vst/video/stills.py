"""Reading still pictures: one reader for every door, so that a picture looks the same in all of them.

What comes out is upright sRGB of 8 bits, by these rules:

- **Orientation**: that of the EXIF tag, all eight, is applied.
- **Colour**: an embedded ICC profile is converted to sRGB; without one, values are taken for sRGB.
- **Transparency** is laid on white, or on another colour that is asked for, or kept beside the picture.
- **Depth**: more than 8 bits are scaled to 8 (`vst.video.depth` says how white is told).
- **Frames**: of several frames or pages the first one is taken, which `Still.note` says.
- **Size**: at most `LARGEST` pixels are decoded, which takes 3 GB, and 4 with transparency. A JPEG is decoded at a
  half, a quarter or an eighth of its size where less is asked for, up to `LARGEST_REDUCED` pixels.
"""

from __future__ import annotations

import functools
import io
import math
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import BinaryIO

import numpy as np
from PIL import Image, ImageCms, ImageOps, UnidentifiedImageError

from vst.errors import UserError
from vst.video.depth import Refused, eight_bits, is_beyond_pillow, read_deep_tiff
from vst.video.formats import COMMON_PICTURES, PICTURES, PLUGINS, has_suffix
from vst.video.pixels import WHITE, Color, laid_onto, with_hidden_filled

LARGEST = 2**28
LARGEST_REDUCED = 2**30

# Pillow would start other programs for some of its formats (EPS); these are what is read here.
_FORMATS = ("JPEG", "PNG", "WEBP", "TIFF", "AVIF", "GIF", "BMP", "DIB", "JPEG2000", "PPM", "PSD", "QOI", "SGI", "HEIF")
_FORMATS += ("JXL", "PCX", "TGA")
_JPEGS = ("JPEG", "MPO")
_ANIMATED = ("WEBP", "AVIF", "PNG", "GIF")
_ORIENTATION = 0x0112  # of EXIF
_ON_ITS_SIDE = (5, 6, 7, 8)
_OPENING = threading.Lock()

# Pillow warns of what is either harmless or told here.
warnings.filterwarnings("ignore", module=r"PIL\.")


class PictureError(UserError):
    """A picture that cannot be read; `reason` says why without its name."""

    def __init__(self, path: str | Path, reason: str) -> None:
        super().__init__(f"{path} cannot be read: {reason}")
        self.reason = reason


@dataclass(frozen=True)
class Still:
    """A picture: `image` (H, W, 3) uint8 sRGB, upright, and what was left out or assumed in reading it, or None.

    `alpha` (H, W) uint8 is its transparency where that was to be kept, None for none; `flattened` says that it had any
    and that it was laid on a colour.
    """

    image: np.ndarray
    note: str | None
    alpha: np.ndarray | None = None
    flattened: bool = False


@dataclass(frozen=True)
class Header:
    """What a picture's header says: upright `width` and `height` in pixels, Pillow's name of its `format`, whether it
    holds several frames that play one after the other, and whether it has room for transparency.
    """

    width: int
    height: int
    format: str
    animated: bool
    transparent: bool


def read_still(path: str | Path, least: int | None = None, background: Color | None = WHITE) -> Still:
    """Decode a picture; a JPEG may come reduced to a short side of `least` pixels or more.

    Transparency is laid on `background`; with None it is kept, and what it hides takes on the colours around it.

    Raises PictureError where it is none, is damaged, too large, or its values cannot be told.
    """
    with _told(path):
        try:
            with _opened(path) as image:
                left_out = _frames_left_out(image)
                _limit(image, least)
                image.load()
                lying = _turn(image)
                image = eight_bits(image)
        except UnidentifiedImageError:
            image, left_out = read_deep_tiff(path, LARGEST), None
            lying = _turn(image)
        alpha = np.array(image.convert("RGBA").getchannel("A")) if image.has_transparency_data else None
        pixels, assumed = _to_srgb(image)
    # What Pillow gives cannot be written to, and frames belong to who receives them.
    pixels = np.require(pixels, requirements=["C", "W"])
    note = "; ".join(filter(None, (left_out, lying, assumed))) or None
    if alpha is None or alpha.min() == 255:
        return Still(pixels, note)
    if background is None:
        return Still(with_hidden_filled(pixels, alpha), note, alpha)
    return Still(laid_onto(pixels, alpha, background), note, flattened=True)


def read_header(path: str | Path) -> Header:
    """What a picture is, without decoding it where that can be. Raises PictureError where it is none."""
    with _told(path):
        try:
            with _opened(path) as image:
                width, height = image.size
                # Pillow applies the orientation of a TIFF by itself.
                if image.format != "TIFF" and _orientation(image) in _ON_ITS_SIDE:
                    width, height = height, width
                return Header(width, height, image.format or "", _plays(image), image.has_transparency_data)
        except UnidentifiedImageError:
            image = read_deep_tiff(path, LARGEST)
            _turn(image)
            return Header(*image.size, "TIFF", False, image.has_transparency_data)


def is_animation(path: str | Path) -> bool:
    """Whether a file with a picture's name holds several frames that play one after the other."""
    if not has_suffix(path, PICTURES) or not Path(path).is_file():
        return False
    try:
        with _told(path), _opened(path) as image:
            return _plays(image)
    except PictureError:
        return False


@contextmanager
def open_frames(path: str | Path) -> Iterator[Image.Image]:
    """An animation as Pillow opens it, for who wants all of its frames. Raises PictureError."""
    with _told(path), _opened(path) as image:
        _limit(image, None)
        yield image


# ----------------------------------------------------------------------------------------------------
# Opening


@contextmanager
def _opened(path: str | Path) -> Iterator[Image.Image]:
    """The picture with its header read. Raises UnidentifiedImageError for what Pillow does not read rightly."""
    # As an open file: what Pillow opens by name it may map into memory, and then it mixes up TIFFs that lie on a side.
    with Path(path).open("rb") as file, _open(file) as image:
        if is_beyond_pillow(image):
            raise UnidentifiedImageError
        yield image


def _open(file: BinaryIO) -> Image.Image:
    formats = _formats()
    with _OPENING:
        # Pillow's own limit does not know that a JPEG can be decoded reduced; `_limit` is ours.
        limit, Image.MAX_IMAGE_PIXELS = Image.MAX_IMAGE_PIXELS, None
        try:
            return Image.open(file, formats=formats)
        finally:
            Image.MAX_IMAGE_PIXELS = limit


@functools.cache
def _formats() -> tuple[str, ...]:
    """Those of `_FORMATS` that this installation reads."""
    for module in PLUGINS:
        if find_spec(module) is not None:
            plugin = import_module(module)
            if hasattr(plugin, "register_heif_opener"):
                plugin.register_heif_opener()
    Image.init()
    return tuple(name for name in _FORMATS if name in Image.OPEN)


@contextmanager
def _told(path: str | Path) -> Iterator[None]:
    """Turn whatever a decoder raises, and Refused, into a PictureError."""
    try:
        yield
    except PictureError:
        raise
    except UnidentifiedImageError:
        reason = f"it is not a picture that can be read (cannot identify its kind); give {COMMON_PICTURES}"
        if Path(path).stat().st_size == 0:
            reason = "it is empty (0 bytes); copy or download it again"
        raise PictureError(path, reason) from None
    except FileNotFoundError:
        raise PictureError(path, "there is no such file; check the path") from None
    except MemoryError:
        raise PictureError(path, "there is not enough memory for it; scale it down") from None
    except Refused as error:
        raise PictureError(path, str(error)) from None
    except Exception as error:  # decoders raise nearly everything on damaged files
        fault = str(error).split("\n")[0] or type(error).__name__
        stated = getattr(error, "strerror", None)  # of the system, such as a lack of permission
        raise PictureError(path, stated or f"it is damaged ({fault}); give another one") from error


# ----------------------------------------------------------------------------------------------------
# Size and frames


def _limit(image: Image.Image, least: int | None) -> None:
    """Have a JPEG decoded reduced where less is asked for; raise Refused for what is too large all the same."""
    pixels = image.width * image.height
    if image.format in _JPEGS and pixels <= LARGEST_REDUCED and least is not None and least < min(image.size):
        share = least / min(image.size)
        image.draft(image.mode, tuple(math.ceil(side * share) for side in image.size))
        if not image.info.get("progressive"):  # which is kept whole while it is decoded, whatever comes out
            pixels = image.width * image.height
    if pixels > LARGEST:
        raise Refused(
            f"it has {pixels / 1e6:,.0f} megapixels, and at most {LARGEST / 1e6:.0f} are decoded, which takes 3 to "
            "4 GB of memory; scale it down"
        )


def _plays(image: Image.Image) -> bool:
    return image.format in _ANIMATED and getattr(image, "n_frames", 1) > 1


def _frames_left_out(image: Image.Image) -> str | None:
    count = getattr(image, "n_frames", 1)
    if count == 1 or image.format not in (*_ANIMATED, "TIFF"):
        return None
    return f"the first of its {count} {'pages' if image.format == 'TIFF' else 'frames'} is taken"


# ----------------------------------------------------------------------------------------------------
# Orientation and colour


def _orientation(image: Image.Image) -> int:
    try:
        return image.getexif().get(_ORIENTATION, 1)
    except Exception:  # damaged EXIF data is no reason to refuse a picture
        return 1


def _turn(image: Image.Image) -> str | None:
    """Make it upright, in place."""
    if _orientation(image) == 1:
        return None
    try:
        ImageOps.exif_transpose(image, in_place=True)
    except Exception:
        return "its EXIF data is damaged, so it may lie on its side"
    return None


def _to_srgb(image: Image.Image) -> tuple[np.ndarray, str | None]:
    """(H, W, 3) uint8 sRGB without regard to transparency, and what was assumed."""
    profile = image.info.get("icc_profile")
    if image.mode in ("1", "L", "LA", "La"):
        image = image.convert("LA").getchannel("L")
    elif image.mode not in ("RGB", "CMYK", "LAB"):
        image = image.convert("RGBA").convert("RGB")
    if not profile or image.mode == "LAB":
        return np.asarray(image if image.mode == "RGB" else image.convert("RGB")), None
    try:
        transform = _transform(profile, image.mode)
        return np.asarray(transform.apply(image.convert(transform.input_mode))), None
    except (ImageCms.PyCMSError, OSError, ValueError):
        return np.asarray(image.convert("RGB")), "its colour profile does not fit it, so its colours are taken for sRGB"


@functools.lru_cache(maxsize=8)
def _transform(profile: bytes, mode: str) -> ImageCms.ImageCmsTransform:
    """From `profile` to sRGB, for pictures of `mode`, or of RGB where a grey one comes with a profile of colours."""
    source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
    if mode == "L" and source.profile.xcolor_space.strip() == "RGB":
        mode = "RGB"
    return ImageCms.buildTransform(
        source, ImageCms.createProfile("sRGB"), mode, "RGB",
        renderingIntent=ImageCms.Intent.RELATIVE_COLORIMETRIC, flags=ImageCms.Flags.BLACKPOINTCOMPENSATION,
    )  # fmt: skip
