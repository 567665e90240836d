"""Procedurally painted style collections: five painters of our own that need no download.

A painter looks at a motif (`data_modules.motifs`) and paints it with one palette and one hand: long strokes along a
swirling field, short dabs, tesserae, woodblock flats, dots. Strokes are laid coarse to fine where the canvas differs
from the motif, after the idea of Hertzmann, "Painterly Rendering with Curved Brush Strokes of Multiple Sizes" (1998);
the bands of the swirl come from line integral convolution (Cabral and Leedom, 1993); the tesserae from a centroidal
Voronoi diagram in a rotated Chebyshev metric (Hausner, "Simulating Decorative Mosaics", 2001).
"""

import os
import tempfile
from collections.abc import Callable
from pathlib import Path
from zlib import crc32

import cv2
import numpy as np

from data_modules.motifs import LANDSCAPES, Motif, landscape, noise, photograph
from vst.errors import UserError, suggest

WORKS = 10
VERSION = 1  # part of the cache key: raise it whenever a painter's hand changes
CACHE_DIR = Path("~/.cache/vst/painted")

_SUBJECTS = ("village", "cat", "field", "sea", "cup", "lake", "wave", "portrait", "orchard", "rocket")


def paint(artist: str, index: int, size: int = 512) -> np.ndarray:
    """Paint work `index` (any integer >= 0; a collection has `WORKS`) of `artist`, deterministically.

    Returns uint8 RGB (H, W, 3) whose short side is `size` pixels (5:4 or square). Strokes are about 6 to 20 pixels
    wide in a 512-pixel picture and scale with `size`.

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
    """`paint`, kept as a PNG in `cache_dir` (None or a folder that cannot be written: painted in memory)."""
    _hand(artist)
    if cache_dir is None:
        return paint(artist, index, size)
    path = Path(cache_dir).expanduser() / f"{artist}-{index:02d}-{size}-v{VERSION}.png"
    cached = cv2.imread(str(path), cv2.IMREAD_COLOR) if path.is_file() else None
    if cached is not None:
        return np.ascontiguousarray(cached[..., ::-1])
    picture = paint(artist, index, size)
    _store(path, picture)
    return picture


def _store(path: Path, picture: np.ndarray) -> None:
    temporary = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, temporary = tempfile.mkstemp(suffix=".png", dir=path.parent)
        with os.fdopen(handle, "wb") as stream:
            stream.write(cv2.imencode(".png", picture[..., ::-1])[1].tobytes())
        os.replace(temporary, path)
    except OSError:  # a read-only or full disk costs the cache, not the picture
        if temporary is not None:
            Path(temporary).unlink(missing_ok=True)


def _hand(artist: str) -> Callable[[Motif, np.random.Generator], np.ndarray]:
    if artist not in _HANDS:
        raise UserError(f"no painted collection {artist!r}{suggest(artist, ARTISTS)}; there are: {', '.join(ARTISTS)}")
    return _HANDS[artist]


# ---- palette: luminance ramps for the cool, warm and green parts of a motif --------------------------------------


def _ramp(t: np.ndarray, colours: str) -> np.ndarray:
    stops = np.array([[int(c[i : i + 2], 16) for i in (0, 2, 4)] for c in colours.split()], np.float32) / 255
    return np.stack([np.interp(t, np.linspace(0, 1, len(stops)), stops[:, c]) for c in range(3)], -1).astype(np.float32)


def _tone(image: np.ndarray) -> np.ndarray:
    """Luminance stretched to [0, 1] between its 1st and 99th percentile, its median moved towards the middle."""
    gray = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)
    low, median, high = np.percentile(gray[::4, ::4], (1, 50, 99))
    stretched = ((gray - low) / max(high - low, 0.05)).clip(0, 1)
    middle = min(max((median - low) / max(high - low, 0.05), 0.05), 0.95)
    return stretched ** ((np.log(0.5) / np.log(middle)) ** 0.7)


def _grade(image: np.ndarray, tone: np.ndarray, bias: float, cool: str, warm: str, green: str) -> np.ndarray:
    """Recolour a motif with one luminance ramp (hex colours, dark to light) for each family of hues.

    The motif's mean hue is moved to `bias` (CIE b*, blue is negative), so that every work of a painter has the
    painter's balance of warm and cool, whatever its motif.
    """
    lab = cv2.cvtColor(image, cv2.COLOR_RGB2LAB)
    a = lab[..., 1] - 0.4 * lab[..., 1].mean()
    b = lab[..., 2] - 0.75 * lab[..., 2].mean() + bias
    weights = np.stack([np.exp(np.clip(v, -6, 6)) for v in ((-b - 4) / 6, (b + a - 12) / 6, (b - 2.2 * a - 21) / 6)], -1)
    weights /= weights.sum(-1, keepdims=True)
    ramps = (_ramp(tone, colours) for colours in (cool, warm, green))
    return sum(weights[..., k : k + 1] * ramp for k, ramp in enumerate(ramps))


# ---- direction fields, as double angles so that opposite directions are the same --------------------------------


def _tangents(image: np.ndarray, sigma: float) -> tuple[np.ndarray, np.ndarray]:
    """Edge direction of the smoothed structure tensor: unit double angle (h, w, 2) and edge strength in [0, 1]."""
    gray = cv2.GaussianBlur(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY), (0, 0), 0.35 * sigma)
    gx, gy = cv2.Sobel(gray, cv2.CV_32F, 1, 0), cv2.Sobel(gray, cv2.CV_32F, 0, 1)
    double = cv2.GaussianBlur(np.stack([gy * gy - gx * gx, -2 * gx * gy], -1), (0, 0), sigma)
    size = np.linalg.norm(double, axis=-1)
    return double / (size[..., None] + 1e-9), np.sqrt(size / (np.percentile(size[::4, ::4], 92) + 1e-9)).clip(0, 1)


def _flow(motif: Motif, rng: np.random.Generator, vortices: int) -> np.ndarray:
    """Direction of a drifting stream with eddies, and rings around the lights: unit double angle (h, w, 2)."""
    h, w = motif.image.shape[:2]
    y, x = np.mgrid[:h, :w].astype(np.float32)
    u, v = np.ones((h, w), np.float32), 0.5 * noise(rng, h, w, 0.7 * h, 2)
    eddies = [(rng.uniform(0, w), rng.uniform(0, h), rng.uniform(0.09, 0.17) * h, 3.0) for _ in range(vortices)]
    eddies += [(cx, cy, 2.2 * r, 12.0) for cx, cy, r in motif.lights]
    for cx, cy, r, strength in eddies:
        dx, dy = (x - cx) / r, (y - cy) / r
        push = strength * rng.choice([-1, 1]) * np.exp(-(dx * dx + dy * dy) / 1.6)
        u, v = u - push * (dy + 0.3 * dx), v + push * (dx - 0.3 * dy)
    size = u * u + v * v + 1e-6
    return np.stack([(u * u - v * v) / size, 2 * u * v / size], -1)


def _angle(double: np.ndarray) -> np.ndarray:
    return 0.5 * np.arctan2(double[..., 1], double[..., 0])


def _smear(texture: np.ndarray, angle: np.ndarray, length: float, step: float) -> np.ndarray:
    """Line integral convolution of `texture` (h, w) over `length` px along `angle`; zero mean, unit deviation."""
    h, w = texture.shape
    y, x = np.mgrid[:h, :w].astype(np.float32)
    dx0, dy0 = np.cos(angle).astype(np.float32), np.sin(angle).astype(np.float32)
    total = texture.copy()
    for sign in (1, -1):
        px, py, lx, ly = x, y, sign * dx0, sign * dy0
        for _ in range(int(length / step / 2)):
            px, py = px + step * lx, py + step * ly
            dx, dy = (cv2.remap(d, px, py, cv2.INTER_NEAREST, borderMode=cv2.BORDER_REPLICATE) for d in (dx0, dy0))
            turn = np.sign(dx * lx + dy * ly + 1e-9)
            lx, ly = dx * turn, dy * turn
            total += cv2.remap(texture, px, py, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT)
    return (total - total.mean()) / (total.std() + 1e-6)


# ---- the brush ---------------------------------------------------------------------------------------------------


class _Brush:
    """Lays bristle strokes on a canvas of three colour channels and one of paint thickness."""

    def __init__(self, h: int, w: int, ground: tuple[int, int, int], rng: np.random.Generator) -> None:
        self.canvas = np.full((h, w, 4), (*ground, 0), np.uint8)
        self.rng = rng

    def layer(
        self,
        target: np.ndarray,
        angle: np.ndarray,
        width: float,
        length: float,
        jitter: float = 0.05,
        density: float = 1.0,
        miss: np.ndarray | None = None,
    ) -> None:
        """Cover the canvas with strokes `width` x `length` px in the colours of `target` (h, w, 3).

        `jitter` varies a stroke's lightness and hue; where `miss` (h, w) is given it is the probability of a stroke.
        """
        h, w = angle.shape
        spacing = (width * max(width, 0.45 * length) / (2.2 * density)) ** 0.5
        grid = np.mgrid[0 : h + spacing : spacing, 0 : w + spacing : spacing].reshape(2, -1).T
        centres = self.rng.permutation(grid + self.rng.uniform(-0.7, 0.7, grid.shape) * spacing)[:, ::-1]
        rows, cols = self._pixels(centres, h, w)
        if miss is not None:
            keep = self.rng.random(len(rows)) < miss[rows, cols]
            centres, rows, cols = centres[keep], rows[keep], cols[keep]
        colour = target[rows, cols]
        colour = colour * (1 + 2 * jitter * self.rng.standard_normal((len(rows), 1)))
        colour = colour + jitter * self.rng.standard_normal(colour.shape) * (0.7, 0.5, 0.8)
        paths, counts = self._trace(centres, angle, target, length)
        self._draw(paths, counts, colour, width)

    @staticmethod
    def _pixels(points: np.ndarray, h: int, w: int) -> tuple[np.ndarray, np.ndarray]:
        return points[:, 1].astype(int).clip(0, h - 1), points[:, 0].astype(int).clip(0, w - 1)

    def _trace(
        self, start: np.ndarray, angle: np.ndarray, target: np.ndarray, length: float
    ) -> tuple[np.ndarray, np.ndarray]:
        """Follow `angle` from each start until `length`, or earlier where the motif's colour changes."""
        h, w = angle.shape
        steps, points = max(4, min(14, round(length / 5))), start
        rows, cols = self._pixels(points, h, w)
        first, heading = target[rows, cols], self.rng.choice([-1.0, 1.0], (len(start), 1))
        direction = heading * np.stack([np.cos(angle[rows, cols]), np.sin(angle[rows, cols])], -1)
        stride = (length / steps) * self.rng.uniform(0.7, 1.3, (len(start), 1))
        path, alive, counts = [points], np.ones(len(start), bool), np.ones(len(start), int)
        for _ in range(steps):
            points = points + stride * direction
            rows, cols = self._pixels(points, h, w)
            alive &= np.abs(target[rows, cols] - first).sum(-1) < 0.55
            counts += alive
            path.append(points)
            turn = np.stack([np.cos(angle[rows, cols]), np.sin(angle[rows, cols])], -1)
            direction = turn * np.sign((turn * direction).sum(-1, keepdims=True) + 1e-9)
        return np.stack(path, 1), np.maximum(counts, 3)

    def _draw(self, paths: np.ndarray, counts: np.ndarray, colour: np.ndarray, width: float) -> None:
        bristles = max(3, round(width / 2.2))
        thickness = max(1, round(1.4 * width / bristles))
        heading = np.gradient(paths, axis=1)
        normal = np.stack([-heading[..., 1], heading[..., 0]], -1)
        normal /= np.linalg.norm(normal, axis=-1, keepdims=True) + 1e-9
        offsets = np.linspace(-0.5, 0.5, bristles) * (width - thickness)
        tracks = np.round((paths[:, None] + offsets[None, :, None, None] * normal[:, None]) * 8).astype(np.int32)
        shade = 1 + 0.05 * self.rng.standard_normal((len(paths), bristles, 1))
        paint = np.empty((len(paths), bristles, 4))
        paint[..., :3] = (colour[:, None] * shade).clip(0, 1) * 255
        load = self.rng.uniform(120, 200, (len(paths), 1)) + self.rng.uniform(-22, 22, (len(paths), bristles))
        round_off = np.abs(np.linspace(-1, 1, bristles)) ** 3
        paint[..., 3] = load - 90 * round_off
        ragged = 0.13 * paths.shape[1] * (0.6 * round_off + self.rng.random((2, len(paths), bristles)))
        first = np.minimum(ragged[0].astype(int), counts[:, None] - 2)
        last = np.maximum(counts[:, None] - ragged[1].astype(int), first + 2)
        for stroke, colours, begin, end in zip(tracks, paint.tolist(), first.tolist(), last.tolist(), strict=True):
            for bristle, rgba, a, b in zip(stroke, colours, begin, end, strict=True):
                cv2.polylines(self.canvas, [bristle[a:b]], False, rgba, thickness, cv2.LINE_AA, 3)

    def dots(self, target: np.ndarray, angle: np.ndarray, size: float, density: float) -> None:
        """Scatter round dabs `size` px wide whose hues are broken up: purer, scattered, some complementary."""
        h, w = angle.shape
        spacing = 0.95 * size / density**0.5
        grid = np.mgrid[0 : h + spacing : spacing, 0 : w + spacing : spacing].reshape(2, -1).T
        centres = self.rng.permutation(grid + self.rng.uniform(-0.4, 0.4, grid.shape) * spacing)[:, ::-1]
        rows, cols = self._pixels(centres, h, w)
        lab = cv2.cvtColor(target[rows, cols][None].astype(np.float32), cv2.COLOR_RGB2LAB)[0]
        opposite = self.rng.random(len(lab)) < 0.14
        lab[:, 1:] *= np.where(opposite, -0.9, 1.25)[:, None]
        lab += self.rng.standard_normal(lab.shape) * (7, 12, 15)
        colour = cv2.cvtColor(lab[None].astype(np.float32), cv2.COLOR_LAB2RGB)[0].clip(0, 1) * 255
        paint = np.concatenate([colour, self.rng.uniform(90, 220, (len(lab), 1))], 1)
        half = 0.22 * size * np.stack([np.cos(angle[rows, cols]), np.sin(angle[rows, cols])], -1)
        ends = np.round(np.stack([centres - half, centres + half], 1) * 8).astype(int).tolist()
        thickness = max(1, round(0.8 * size))
        for (a, b), rgba in zip(ends, paint.tolist(), strict=True):
            cv2.line(self.canvas, a, b, rgba, thickness, cv2.LINE_AA, 3)

    def finish(self, relief: float) -> np.ndarray:
        """The picture (h, w, 3) in [0, 1], its paint lit from the upper left."""
        thick = cv2.GaussianBlur(self.canvas[..., 3].astype(np.float32) / 255, (0, 0), 0.7)
        slope = cv2.Sobel(thick, cv2.CV_32F, 1, 0) + cv2.Sobel(thick, cv2.CV_32F, 0, 1)
        light = (relief * slope).clip(-0.5, 0.5)[..., None]
        return self.canvas[..., :3].astype(np.float32) / 255 * (1 + light) + 0.12 * light.clip(0, None)


def _detail(target: np.ndarray, sigma: float) -> np.ndarray:
    """Where broad strokes would lose the motif: probability (h, w) of a fine stroke."""
    lost = np.abs(target - cv2.GaussianBlur(target, (0, 0), sigma)).sum(-1)
    return (cv2.GaussianBlur(lost, (0, 0), sigma / 2) * 7).clip(0, 1)


# ---- the painters ------------------------------------------------------------------------------------------------


def _swirl(motif: Motif, rng: np.random.Generator) -> np.ndarray:
    h, w = motif.image.shape[:2]
    unit = h / 512
    tangent, edge = _tangents(motif.image, 9 * unit)
    angle = _angle(tangent * edge[..., None] ** 2 * 1.5 + _flow(motif, rng, 6) * (1.05 - edge[..., None]))
    bands = _smear(noise(rng, h, w, 16 * unit, 1), angle, 110 * unit, 6 * unit)
    tone = (_tone(motif.image) * 0.88 + 0.03 + 0.15 * bands * (1 - 0.5 * edge)).clip(0, 1)
    target = _grade(
        motif.image, tone, -9,
        "060a24 0c1c58 173a92 2a62b8 5a98cc 9cc8d4 e6e8b4 fff2a0",
        "140f2a 4a2a28 9a5a20 d8981c f6c838 fff08c",
        "08142a 123c54 2a6a5c 4c8e5c d0c454 fcea80",
    )  # fmt: skip
    brush = _Brush(h, w, (14, 22, 60), rng)
    brush.layer(target, angle, 15 * unit, 90 * unit, 0.05)
    brush.layer(target, angle, 8 * unit, 60 * unit, 0.08)
    brush.layer(target, angle, 5 * unit, 34 * unit, 0.08, miss=0.12 + 0.88 * _detail(target, 5 * unit))
    return brush.finish(0.5)


def _impasto(motif: Motif, rng: np.random.Generator) -> np.ndarray:
    h, w = motif.image.shape[:2]
    unit = h / 512
    tangent, edge = _tangents(motif.image, 10 * unit)
    wind = 0.9 * noise(rng, h, w, 0.5 * h, 2) - 0.5
    breeze = np.stack([np.cos(2 * wind), np.sin(2 * wind)], -1)
    angle = _angle(tangent * edge[..., None] + breeze * (1 - edge[..., None]))
    patches = noise(rng, h, w, 26 * unit, 2)
    tone = (_tone(motif.image) * 0.92 + 0.04 + 0.07 * patches).clip(0, 1)
    target = _grade(
        motif.image, tone, 4,
        "2c1e4e 463c86 4a6cae 5ca2b8 9accb4 dce4b8 fdf4d0",
        "3a1430 8a2c2c c85426 ea8a2c f6b848 fce08c fff6d4",
        "1c2a2e 2e5a38 5e8434 94a83c ccc458 f0e48c",
    )  # fmt: skip
    brush = _Brush(h, w, (150, 84, 50), rng)
    brush.layer(target, angle, 18 * unit, 36 * unit, 0.05)
    loose = angle + 0.35 * noise(rng, h, w, 40 * unit, 1)
    brush.layer(target, loose, 11 * unit, 22 * unit, 0.075)
    brush.layer(target, angle, 6 * unit, 15 * unit, 0.07, density=1.4, miss=_detail(target, 5 * unit))
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
    brush = _Brush(h, w, (232, 220, 196), rng)
    angle = _angle(_tangents(motif.image, 10 * unit)[0])
    for size, density in ((10, 1.0), (8, 1.0), (5.5, 0.4)):
        brush.dots(target, angle, size * unit, density)
    return brush.finish(0.07)


def _mosaic(motif: Motif, rng: np.random.Generator) -> np.ndarray:
    h, w = motif.image.shape[:2]
    unit = h / 512
    tangent, edge = _tangents(motif.image, 8 * unit)
    stream = _flow(motif, rng, 2)
    angle = _angle(tangent * edge[..., None] + stream * (1 - edge[..., None]) * 0.5)
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
    """Labels (h, w) of near-square cells about `spacing` px wide, turned to `angle` and pushed off the edges."""
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
    tangent, edge = _tangents(flat, 9 * unit)
    angle = _angle(tangent * edge[..., None] + _flow(motif, rng, 1) * (1 - edge[..., None]) * 0.6)
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
    grooves = _smear(rng.standard_normal((h, w), dtype=np.float32), angle, 60 * unit, 1.6 * unit)
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
