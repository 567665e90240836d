"""Procedurally painted style collections: five painters of our own that need no download.

A painter looks at a motif (`data_modules.motifs`) and paints it with one palette and one hand: long strokes
along a swirling field, short dabs, tesserae, woodblock flats, dots. Strokes are laid coarse to fine where the
canvas differs from the motif, after the idea of Hertzmann, "Painterly Rendering with Curved Brush Strokes of
Multiple Sizes" (1998); the bands of the swirl come from line integral convolution (Cabral and Leedom, 1993);
the tesserae from a centroidal Voronoi diagram in a rotated Chebyshev metric (Hausner, "Simulating Decorative
Mosaics", 2001).
"""

from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from zlib import crc32

import cv2
import numpy as np

from data_modules.brush import Brush, detail, flow, smear, tangents, to_angle
from data_modules.motifs import LANDSCAPES, Motif, landscape, noise, photograph
from vst.cache import cache_folder, replacing
from vst.errors import UserError, suggest

WORKS = 10
VERSION = 1  # part of the cache key: raise it whenever a painter's hand changes
CACHE_DIR = "auto"  # the user's cache folder

_SUBJECTS = ("village", "cat", "field", "sea", "cup", "lake", "wave", "portrait", "orchard", "rocket")
_SUBJECTS += ("road", "motorcycle")


def paint(artist: str, index: int, size: int = 512) -> np.ndarray:
    """Paint work `index` (any integer >= 0; a collection has `WORKS`) of `artist`, deterministically.

    Returns uint8 RGB (H, W, 3) whose short side is `size` pixels (5:4 or square). Strokes are about 6 to 20
    pixels wide in a 512-pixel picture and scale with `size`.

    Raises:
        UserError: when `artist` is not one of `ARTISTS`.
    """
    hand = _hand(artist)
    rng = np.random.default_rng([crc32(artist.encode()), index, VERSION])
    subject = _SUBJECTS[index % len(_SUBJECTS)]
    h, w = size, size if index % 4 == 3 else round(1.25 * size)
    hour = _HOURS[artist][index % len(_HOURS[artist])]
    motif = landscape(subject, hour, h, w, rng) if subject in LANDSCAPES else photograph(subject, h, w, rng)
    return np.round(np.clip(hand(motif, rng), 0, 1) * 255).astype(np.uint8)


def painted_work(artist: str, index: int, size: int = 512, cache_dir: str | Path | None = CACHE_DIR) -> np.ndarray:
    """`paint`, kept as a PNG in `cache_dir` (auto: in the user's cache folder; None or a folder that cannot be written:
    painted in memory).
    """
    _hand(artist)
    if cache_dir is None:
        return paint(artist, index, size)
    folder = cache_folder("painted") if cache_dir == CACHE_DIR else Path(cache_dir).expanduser()
    path = folder / f"{artist}-{index:02d}-{size}-v{VERSION}.png"
    cached = cv2.imread(str(path), cv2.IMREAD_COLOR) if path.is_file() else None
    if cached is not None:
        return np.ascontiguousarray(cached[..., ::-1])
    picture = paint(artist, index, size)
    _store(path, picture)
    return picture


def _store(path: Path, picture: np.ndarray) -> None:
    # A read-only or full disk costs the cache, not the picture.
    with suppress(OSError), replacing(path) as part:
        part.write_bytes(cv2.imencode(".png", picture[..., ::-1])[1].tobytes())


def _hand(artist: str) -> Callable[[Motif, np.random.Generator], np.ndarray]:
    if artist not in _HANDS:
        raise UserError(f"no painted collection {artist!r}{suggest(artist, ARTISTS)}; there are: {', '.join(ARTISTS)}")
    return _HANDS[artist]


def _ramp(t: np.ndarray, colours: str) -> np.ndarray:
    stops = np.array([[int(c[i : i + 2], 16) for i in (0, 2, 4)] for c in colours.split()], np.float32) / 255
    at = np.linspace(0, 1, len(stops))
    return np.stack([np.interp(t, at, stops[:, c]) for c in range(3)], -1).astype(np.float32)


def _tone(image: np.ndarray) -> np.ndarray:
    """Luminance stretched to [0, 1] from its 1st to 99th percentile, its median moved to the middle."""
    gray = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)
    low, median, high = np.percentile(gray[::4, ::4], (1, 50, 99))
    stretched = ((gray - low) / max(high - low, 0.05)).clip(0, 1)
    middle = min(max((median - low) / max(high - low, 0.05), 0.05), 0.95)
    return stretched ** ((np.log(0.5) / np.log(middle)) ** 0.7)


def _grade(image: np.ndarray, tone: np.ndarray, bias: float, cool: str, warm: str, green: str) -> np.ndarray:
    """Recolour a motif with one luminance ramp (hex colours, dark to light) for each family of hues.

    The motif's mean hue is moved to `bias` (CIE b*, blue is negative), so that every work of a painter has
    the painter's balance of warm and cool, whatever its motif.
    """
    lab = cv2.cvtColor(image, cv2.COLOR_RGB2LAB)
    a = lab[..., 1] - 0.4 * lab[..., 1].mean()
    b = lab[..., 2] - 0.75 * lab[..., 2].mean() + bias
    families = np.stack([-b - 4, b + a - 12, b - 2.2 * a - 21], -1)
    weights = np.exp((families / 6).clip(-6, 6))
    weights /= weights.sum(-1, keepdims=True)
    ramps = (_ramp(tone, colours) for colours in (cool, warm, green))
    return sum(weights[..., k : k + 1] * ramp for k, ramp in enumerate(ramps))


def _swirl(motif: Motif, rng: np.random.Generator) -> np.ndarray:
    h, w = motif.image.shape[:2]
    unit = h / 512
    tangent, edge = tangents(motif.image, 9 * unit)
    angle = to_angle(tangent * edge[..., None] ** 2 * 1.5 + flow(motif, rng, 6) * (1.05 - edge[..., None]))
    bands = smear(noise(rng, h, w, 16 * unit, 1), angle, 110 * unit, 6 * unit)
    tone = (_tone(motif.image) * 0.88 + 0.03 + 0.15 * bands * (1 - 0.5 * edge)).clip(0, 1)
    target = _grade(
        motif.image, tone, -9,
        "060a24 0c1c58 173a92 2a62b8 5a98cc 9cc8d4 e6e8b4 fff2a0",
        "140f2a 4a2a28 9a5a20 d8981c f6c838 fff08c",
        "08142a 123c54 2a6a5c 4c8e5c d0c454 fcea80",
    )  # fmt: skip
    brush = Brush(h, w, (14, 22, 60), rng)
    brush.layer(target, angle, 15 * unit, 90 * unit, 0.05)
    brush.layer(target, angle, 8 * unit, 60 * unit, 0.08)
    brush.layer(target, angle, 5 * unit, 34 * unit, 0.08, where=0.12 + 0.88 * detail(target, 5 * unit))
    return brush.finish(0.5)


def _impasto(motif: Motif, rng: np.random.Generator) -> np.ndarray:
    h, w = motif.image.shape[:2]
    unit = h / 512
    tangent, edge = tangents(motif.image, 10 * unit)
    wind = 0.9 * noise(rng, h, w, 0.5 * h, 2) - 0.5
    breeze = np.stack([np.cos(2 * wind), np.sin(2 * wind)], -1)
    angle = to_angle(tangent * edge[..., None] + breeze * (1 - edge[..., None]))
    patches = noise(rng, h, w, 26 * unit, 2)
    tone = (_tone(motif.image) * 0.92 + 0.04 + 0.07 * patches).clip(0, 1)
    target = _grade(
        motif.image, tone, 4,
        "2c1e4e 463c86 4a6cae 5ca2b8 9accb4 dce4b8 fdf4d0",
        "3a1430 8a2c2c c85426 ea8a2c f6b848 fce08c fff6d4",
        "1c2a2e 2e5a38 5e8434 94a83c ccc458 f0e48c",
    )  # fmt: skip
    brush = Brush(h, w, (150, 84, 50), rng)
    brush.layer(target, angle, 18 * unit, 36 * unit, 0.05)
    loose = angle + 0.35 * noise(rng, h, w, 40 * unit, 1)
    brush.layer(target, loose, 11 * unit, 22 * unit, 0.075)
    brush.layer(target, angle, 6 * unit, 15 * unit, 0.07, density=1.4, where=detail(target, 5 * unit))
    return brush.finish(0.6)


def _pointillism(motif: Motif, rng: np.random.Generator) -> np.ndarray:
    h, w = motif.image.shape[:2]
    unit = h / 512
    tone = _tone(motif.image) * 0.85 + 0.12 + 0.05 * noise(rng, h, w, 60 * unit, 2)
    target = _grade(
        motif.image, tone.clip(0, 1), 0,
        "2a2670 3a4ea8 5a86cc 8cb4dc bcd8e4 eef2ea",
        "5a1c4c a83a58 dc6a54 f09a6c f8cc8c fff2d0",
        "1e4a58 2e7a64 62a668 a4c878 dce4a0 fbf8d8",
    )  # fmt: skip
    brush = Brush(h, w, (232, 220, 196), rng)
    angle = to_angle(tangents(motif.image, 10 * unit)[0])
    for size, density in ((10, 1.0), (8, 1.0), (5.5, 0.4)):
        brush.dots(target, angle, size * unit, density)
    return brush.finish(0.07)


def _mosaic(motif: Motif, rng: np.random.Generator) -> np.ndarray:
    h, w = motif.image.shape[:2]
    unit = h / 512
    tangent, edge = tangents(motif.image, 8 * unit)
    stream = flow(motif, rng, 2)
    angle = to_angle(tangent * edge[..., None] + stream * (1 - edge[..., None]) * 0.5)
    labels = _tesserae(angle, edge, 13 * unit, rng)
    target = _grade(
        motif.image, (_tone(motif.image) + 0.06 * noise(rng, h, w, 50 * unit, 2)).clip(0, 1), 2,
        "0e1e3c 1c4474 2c7a9c 58aeb4 a8d4c8 f0ecd8",
        "3c1418 882a24 c4542c dc9434 ecc868 f8ecc4",
        "12302c 245c48 4c8a54 8cb060 c8d08c f2ecc8",
    )  # fmt: skip
    count = np.maximum(np.bincount(labels.ravel()), 1)
    tiles = np.stack([np.bincount(labels.ravel(), target[..., c].ravel()) / count for c in range(3)], -1)
    tiles = tiles * (1 + 0.13 * rng.standard_normal((len(tiles), 1))) + 0.035 * rng.standard_normal(tiles.shape)
    y, x = np.mgrid[:h, :w]
    centre = [np.bincount(labels.ravel(), v.ravel()) / count for v in (x, y)]
    tilt = 0.16 * rng.standard_normal((2, len(tiles))) / (13 * unit)
    sheen = tilt[0][labels] * (x - centre[0][labels]) + tilt[1][labels] * (y - centre[1][labels])
    joint = np.ones((h, w), np.uint8)
    joint[:, 1:][labels[:, 1:] != labels[:, :-1]] = 0
    joint[1:][labels[1:] != labels[:-1]] = 0
    inside = cv2.distanceTransform(joint, cv2.DIST_L2, 5)
    dome = cv2.GaussianBlur(np.minimum(inside, 3.2 * unit), (0, 0), 0.7)
    bevel = (cv2.Sobel(dome, cv2.CV_32F, 1, 0) + cv2.Sobel(dome, cv2.CV_32F, 0, 1)).clip(-6, 6) * 0.03
    stone = tiles[labels] * (1 + sheen + bevel + 0.03 * noise(rng, h, w, 6 * unit, 2))[..., None]
    grout = np.array((74, 62, 56)) / 255 * (1 + 0.12 * noise(rng, h, w, 4 * unit, 2))[..., None]
    cover = cv2.GaussianBlur(((inside - 1.0 * unit) / unit).clip(0, 1), (0, 0), 0.5)[..., None]
    return grout + (stone - grout) * cover


def _tesserae(angle: np.ndarray, edge: np.ndarray, spacing: float, rng: np.random.Generator) -> np.ndarray:
    """Labels (h, w) of near-square cells `spacing` px wide, turned to `angle` and pushed off the edges."""
    h, w = angle.shape
    seeds = np.mgrid[spacing / 2 : h : spacing, spacing / 2 : w : spacing].reshape(2, -1).T
    seeds = seeds + rng.uniform(-0.35, 0.35, seeds.shape) * spacing
    reach = round(1.5 * spacing)
    oy, ox = (g.ravel() for g in np.mgrid[-reach : reach + 1, -reach : reach + 1])
    y, x = (g.ravel().astype(np.float64) for g in np.mgrid[:h, :w])
    weight = (1 - 0.9 * edge.ravel() ** 2).clip(0.05, 1)
    order = np.arange(len(seeds))[:, None]
    for _ in range(6):
        cell = np.floor(seeds).astype(int)
        py, px = cell[:, :1] + oy, cell[:, 1:] + ox
        turn = angle[cell[:, 0].clip(0, h - 1), cell[:, 1].clip(0, w - 1)][:, None]
        dy, dx, c, s = py - seeds[:, :1], px - seeds[:, 1:], np.cos(turn), np.sin(turn)
        far = np.maximum(np.abs(dx * c + dy * s), np.abs(dy * c - dx * s))
        seen = (py >= 0) & (py < h) & (px >= 0) & (px < w)
        nearest = np.full(h * w, np.iinfo(np.int64).max)
        key = (far * 256).astype(np.int64) << 32 | order
        np.minimum.at(nearest, (py * w + px)[seen], key[seen])
        labels = nearest & 0xFFFFFFFF
        labels[nearest == np.iinfo(np.int64).max] = 0
        mass = np.bincount(labels, weight, len(seeds)) + 1e-9
        moved = np.stack([np.bincount(labels, weight * v, len(seeds)) / mass for v in (y, x)], -1)
        seeds = np.where(mass[:, None] > 1, moved, seeds)
    return labels.reshape(h, w)


def _woodblock(motif: Motif, rng: np.random.Generator) -> np.ndarray:
    h, w = motif.image.shape[:2]
    unit = h / 512
    flat = (motif.image * 255).astype(np.uint8)
    for _ in range(3):
        flat = cv2.medianBlur(flat, 2 * round(4.5 * unit) + 1)
    flat = flat.astype(np.float32) / 255
    tangent, edge = tangents(flat, 9 * unit)
    angle = to_angle(tangent * edge[..., None] + flow(motif, rng, 1) * (1 - edge[..., None]) * 0.6)
    tone = cv2.GaussianBlur(_tone(flat), (0, 0), 1.5 * unit) ** 0.62 * 0.99
    steps = np.floor(tone * 5) / 4
    inks = (
        "16244e 22508c 5688b0 a8ccca f0e4c6",
        "3a2436 a04a3a d08a58 e8c48c f2e6c8",
        "1e3440 3c6a58 7e9c66 bec890 f0e4c6",
    )
    block = _grade(flat, steps, -5, *inks)
    block = cv2.medianBlur((block * 255).astype(np.uint8), 2 * round(2.5 * unit) + 1).astype(np.float32) / 255
    gradient = _ramp(tone, inks[0])
    block = block + 0.3 * (gradient - block) * (steps > 0.4)[..., None]
    y = np.linspace(0, 1, h)[:, None, None]
    deep = np.array((24, 44, 96)) / 255
    bokashi = 0.8 * np.exp(-((y / rng.uniform(0.08, 0.16)) ** 2))
    block = block * (1 - bokashi) + (block * 0.25 + deep * 0.75) * bokashi
    grooves = smear(rng.standard_normal((h, w), dtype=np.float32), angle, 60 * unit, 1.6 * unit)
    grooves = cv2.GaussianBlur(grooves, (0, 0), 0.8 * unit)
    carved = ((grooves / grooves.std() - 0.8) * 3).clip(0, 1)[..., None]
    dark = (steps < 0.3)[..., None]  # light lines in the dark blocks, dark lines in the light ones
    block = block + carved * np.where(dark, 0.38, 0.3) * (np.where(dark, (0.66, 0.8, 0.82), deep) - block)
    line = cv2.morphologyEx(np.round(steps * 4).astype(np.uint8), cv2.MORPH_GRADIENT, np.ones((2, 2), np.uint8)) > 0
    near = cv2.distanceTransform((~line).astype(np.uint8), cv2.DIST_L2, 5)
    pressure = 1.2 + 0.35 * noise(rng, h, w, 40 * unit, 2) + 0.9 * edge
    ink = cv2.GaussianBlur((pressure * unit - near).clip(0, 1), (0, 0), 0.6)[..., None]
    block = block + (np.array((26, 28, 48)) / 255 - block) * ink * 0.92
    fibre = cv2.resize(rng.standard_normal((h, 8), dtype=np.float32), (w, h), interpolation=cv2.INTER_CUBIC)
    grain = 0.02 * fibre + 0.02 * noise(rng, h, w, 3 * unit, 2)
    return block * (1 + grain[..., None]) * (1, 0.99, 0.96)


_HANDS = {
    "swirl": _swirl,
    "impasto": _impasto,
    "mosaic": _mosaic,
    "woodblock": _woodblock,
    "pointillism": _pointillism,
}
_HOURS = {
    "swirl": ("night", "night", "dusk"),
    "impasto": ("gold", "day", "dusk"),
    "mosaic": ("day", "dusk", "night", "gold"),
    "woodblock": ("day", "gold", "dusk"),
    "pointillism": ("dusk", "gold", "day"),
}
ARTISTS = tuple(_HANDS)
