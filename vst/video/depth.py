"""Pictures of more than 8 bits of a channel as 8 bits.

16 bits are scaled by their full range. Integers of 32 bits and floating point do not say what is white: it is the
smallest of 1 (floating point only), 255, 65,535 and the largest integer that is not below the brightest value. Where
that is no more than a sixteenth of white, unless white is the smallest, it cannot be told, and the picture is
refused; so are negative values, NaN and infinity.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image, UnidentifiedImageError

_BITS, _PHOTOMETRIC, _PLANES, _SAMPLES, _PROFILE, _ORIENTATION = 258, 262, 284, 339, 34675, 274  # tags of TIFF
_WHITE_IS_ZERO, _GREY, _RGB = 0, 1, 2
_SEPARATE = 2
_UNSIGNED = 1
_FLOAT_WHITES = (1, 255, 65535)
_OVERSHOOT = 0.02  # share of white by which a filter may pass black and white
_DARKEST = 16


class Refused(Exception):
    """A whole picture that is not read all the same; the text is the reason."""


def eight_bits(image: Image.Image) -> Image.Image:
    """A loaded picture of any depth as one of 8 bits. Raises Refused where its values cannot be told."""
    if image.mode != "F" and not image.mode.startswith("I"):
        return image
    values = np.asarray(image)
    grey = Image.fromarray(_grey(image, values))
    transparent = image.info.get("transparency")
    if isinstance(transparent, int):
        grey.putalpha(Image.fromarray(np.where(values == transparent, 0, 255).astype(np.uint8)))
    grey.info["icc_profile"] = image.info.get("icc_profile")
    return grey


def is_beyond_pillow(image: Image.Image) -> bool:
    """Whether Pillow, which opened it, would mix up its values: those of deep channels that lie one after the other."""
    tags = getattr(image, "tag_v2", {})
    return tags.get(_PLANES) == _SEPARATE and max(tags.get(_BITS, (8,))) > 8


def read_deep_tiff(path: str | Path, largest: int) -> Image.Image:
    """The first page of a TIFF that Pillow does not read, such as one of three channels in floating point, as 8 bits.

    Raises UnidentifiedImageError where it is no TIFF, Refused for more than `largest` pixels and for what cannot be
    told.
    """
    with Path(path).open("rb") as file:
        if file.read(4) not in (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+"):
            raise UnidentifiedImageError
    import tifffile  # late: only rare files need it

    with tifffile.TiffFile(path) as tiff:
        page = tiff.pages[0]
        if page.imagewidth * page.imagelength > largest:
            raise Refused(f"it has {page.imagewidth * page.imagelength / 1e6:,.0f} megapixels; scale it down")
        values, tags = page.asarray(), {code: page.tags.valueof(code) for code in (_PROFILE, _ORIENTATION)}
        axes, kind, extra = page.axes, int(page.photometric), len(page.extrasamples)
    if axes == "SYX":
        values = values.transpose(1, 2, 0)
    colours = {_WHITE_IS_ZERO: 1, _GREY: 1, _RGB: 3}.get(kind)
    if colours is None or axes not in ("YX", "YXS", "SYX"):
        raise Refused("it is a TIFF of a rare kind; save it as RGB of 8 or 16 bits")
    channels = values.reshape(*values.shape[:2], -1)
    whites = _FLOAT_WHITES if values.dtype.kind == "f" else (np.iinfo(values.dtype).max,)
    colour = _scaled(channels[..., :colours], whites)
    parts = [255 - colour if kind == _WHITE_IS_ZERO else colour]
    if extra:
        parts.append(_scaled(channels[..., colours : colours + 1], whites))
    stacked = np.dstack(parts)
    image = Image.fromarray(stacked[..., 0] if stacked.shape[2] == 1 else stacked)
    image.info["icc_profile"] = tags[_PROFILE]
    image.getexif()[_ORIENTATION] = int(tags[_ORIENTATION] or 1)
    return image


def _grey(image: Image.Image, values: np.ndarray) -> np.ndarray:
    tags = getattr(image, "tag_v2", {})
    bits, unsigned = tags.get(_BITS, (32,))[0], tags.get(_SAMPLES, (_UNSIGNED,))[0] == _UNSIGNED
    if image.mode == "F":
        whites = _FLOAT_WHITES
    elif image.mode.startswith("I;16"):
        whites = (2 ** min(bits, 16) - 1,)
    elif image.format in ("PNG", "PPM"):  # whose 16 bits Pillow may give as integers
        whites = (65535,)
    elif bits == 16:
        whites = (32767,)
    else:
        # Pillow reads integers of 32 bits as if all were signed.
        values = values.view(np.uint32) if tags and unsigned else values
        whites = (255, 65535, int(np.iinfo(values.dtype).max))
    grey = _scaled(values, whites)
    return 255 - grey if tags.get(_PHOTOMETRIC) == _WHITE_IS_ZERO else grey


def _scaled(values: np.ndarray, whites: tuple[int, ...]) -> np.ndarray:
    """Values as uint8; `whites` are what their white may be, rising. Raises Refused where none of them fits."""
    if not np.isfinite(values).all():
        raise Refused("it holds values that are not finite (NaN or infinity); repair it")
    lowest, top = float(values.min()), float(values.max())
    spare = _OVERSHOOT if values.dtype.kind == "f" else 0
    white = next((white for white in whites if top <= white * (1 + spare)), None)
    told = white is not None and (white == whites[0] or top > white / _DARKEST)
    if not told or lowest < -spare * white:
        ranges = " or ".join(f"0 to {white:,}" for white in whites)
        raise Refused(
            f"its values go from {lowest:g} to {top:g}, of which black and white cannot be told; scale them to {ranges}"
        )
    return np.clip(np.rint(values * (255 / white)), 0, 255).astype(np.uint8)
