"""What the painters of `data_modules.painted` look at: bundled photographs and composed landscapes.

The photographs are the colour pictures inside the scikit-image wheel, read as files, so nothing can start a
download. The landscapes (sky, sun or moon, clouds, hills, sea, houses, trees) are composed by this module.
"""

from dataclasses import dataclass
from importlib.resources import files

import cv2
import numpy as np

from vst.errors import UserError

PHOTOGRAPHS = {
    "cat": "chelsea.png",
    "cup": "coffee.png",
    "portrait": "astronaut.png",
    "motorcycle": "motorcycle_left.png",
    "rocket": "rocket.jpg",
}
LANDSCAPES = ("village", "field", "sea", "lake", "orchard", "wave", "road")

# top of the sky, its middle, the horizon; the light in it; the land in the distance and nearby
HOURS = {
    "night": ((10, 18, 66), (32, 66, 150), (120, 160, 205), (255, 226, 136), (40, 66, 120), (14, 26, 44)),
    "dusk": ((46, 52, 120), (206, 112, 110), (252, 198, 110), (255, 236, 160), (110, 80, 130), (46, 40, 48)),
    "day": ((46, 112, 200), (126, 180, 226), (232, 236, 216), (255, 250, 205), (112, 150, 180), (62, 96, 40)),
    "gold": (
        (96, 150, 190),
        (214, 212, 160),
        (255, 220, 120),
        (255, 250, 190),
        (150, 140, 110),
        (124, 98, 34),
    ),
}


@dataclass(frozen=True)
class Motif:
    """A picture to paint: `image` (h, w, 3) float32 RGB in [0, 1]; `lights` (x, y, radius) in pixels."""

    image: np.ndarray
    lights: tuple[tuple[float, float, float], ...] = ()


def noise(rng: np.random.Generator, h: int, w: int, cell: float, octaves: int = 3) -> np.ndarray:
    """Smooth random field (h, w) float32, zero mean, unit deviation; `cell` is the largest wavelength, px."""
    total = np.zeros((h, w), np.float32)
    for octave in range(octaves):
        rows, cols = (max(2, round(n * 2**octave / cell) + 2) for n in (h, w))
        grid = rng.standard_normal((rows, cols), dtype=np.float32)
        total += 0.55**octave * cv2.resize(grid, (w, h), interpolation=cv2.INTER_CUBIC)
    return (total - total.mean()) / (total.std() + 1e-6)


def photograph(name: str, h: int, w: int, rng: np.random.Generator) -> Motif:
    """One of `PHOTOGRAPHS`, cropped to the aspect h:w at a random offset, possibly mirrored."""
    path = files("skimage") / "data" / PHOTOGRAPHS[name]
    pixels = cv2.imread(str(path), cv2.IMREAD_COLOR)
    if pixels is None:
        raise UserError(f"scikit-image's bundled photograph {path} is missing: reinstall scikit-image")
    rows, cols = pixels.shape[:2]
    scale = min(rows / h, cols / w)
    ch, cw = int(h * scale), int(w * scale)
    y, x = (rows - ch) // 5, rng.integers(cols - cw + 1)  # heads are near the top
    crop = cv2.resize(pixels[y : y + ch, x : x + cw, ::-1], (w, h), interpolation=cv2.INTER_AREA)
    if rng.random() < 0.5:
        crop = crop[:, ::-1]
    return Motif(np.ascontiguousarray(crop, np.float32) / 255)


def landscape(kind: str, hour: str, h: int, w: int, rng: np.random.Generator) -> Motif:
    """A composed landscape, `kind` in `LANDSCAPES`, `hour` in `HOURS`; every position comes from `rng`."""
    scene = _Scene(hour, h, w, rng)
    getattr(scene, kind)()
    return Motif(np.clip(cv2.GaussianBlur(scene.image, (0, 0), h / 700), 0, 1), tuple(scene.lights))


class _Scene:
    """Canvas on which a landscape is composed from back to front."""

    def __init__(self, hour: str, h: int, w: int, rng: np.random.Generator) -> None:
        self.h, self.w, self.rng, self.night = h, w, rng, hour == "night"
        self.top, self.mid, self.low, self.light, self.far, self.near = (
            np.array(colour, np.float32) / 255 for colour in HOURS[hour]
        )
        self.y, self.x = np.mgrid[:h, :w].astype(np.float32)
        self.image = np.zeros((h, w, 3), np.float32)
        self.lights: list[tuple[float, float, float]] = []

    def village(self) -> None:
        self._sky(0.72)
        self._hills((0.62, 0.7, 0.78))
        for k in range(11):
            x = (k + self.rng.uniform(0, 0.8)) / 11
            self._house(x, 0.83 + 0.13 * self.rng.random(), self.rng.uniform(0.07, 0.12))
        self._house(self.rng.uniform(0.45, 0.6), 0.86, 0.09, spire=True)
        self._cypress(self.rng.choice([0.14, 0.86]), 1.02, 0.85)

    def field(self) -> None:
        self._sky(0.5)
        self._hills((0.42, 0.47))
        self._furrows(0.5, ((240, 196, 70), (200, 130, 40), (150, 150, 60)))
        for x in (0.12, 0.2, 0.85):
            self._cypress(x + self.rng.normal(0, 0.03), 0.68, self.rng.uniform(0.3, 0.55))
        self._house(0.55, 0.56, 0.1)

    def sea(self) -> None:
        self._sky(0.55)
        self._hills((0.53,))
        self._water(0.56)
        for _ in range(3):
            self._boat(self.rng.uniform(0.15, 0.85), self.rng.uniform(0.62, 0.85))
        self._near_bank(0.93)

    def lake(self) -> None:
        self._sky(0.5)
        self._mountain(self.rng.uniform(0.35, 0.65), 0.17, 0.55)
        self._hills((0.47, 0.51))
        self._water(0.56)
        for x in self.rng.uniform(0, 1, 6):
            self._cypress(float(x), 0.6 + 0.05 * self.rng.random(), 0.16)
        self._near_bank(0.88)
        self._cypress(self.rng.choice([0.08, 0.92]), 1.0, 0.55)

    def orchard(self) -> None:
        self._sky(0.45)
        self._hills((0.4, 0.46))
        self._furrows(0.48, ((206, 140, 60), (150, 90, 110), (120, 140, 60)))
        for k in range(9):
            y = 0.52 + 0.42 * k / 8
            self._tree(self.rng.uniform(0.05, 0.95), y, 0.1 + 0.2 * (y - 0.5))

    def wave(self) -> None:
        self._sky(0.62)
        self._mountain(self.rng.uniform(0.55, 0.7), 0.42, 0.66)
        self._water(0.66)
        for k in range(4):
            self._breaker(0.55 + 0.13 * k, 0.16 + 0.04 * k, self.rng.uniform(0, 6.3))

    def road(self) -> None:
        self._sky(0.55)
        self._hills((0.46, 0.52, 0.56))
        self._furrows(0.56, ((110, 140, 60), (150, 160, 70), (90, 110, 70)))
        vanish, foot = self.rng.uniform(0.35, 0.65), self.rng.uniform(0.3, 0.7)
        self._fill([(vanish - 0.01, 0.57), (vanish + 0.01, 0.57), (foot + 0.2, 1), (foot - 0.2, 1)],
                   (110, 104, 130) if self.night else (226, 196, 150))  # fmt: skip
        for k in range(6):
            t = (k + 0.6) / 6
            for side in (-1, 1):
                x = vanish + (foot - vanish) * t**1.5 + side * (0.06 + 0.3 * t**1.5)
                self._cypress(x, 0.58 + 0.38 * t**1.5, 0.14 + 0.5 * t**1.3)
        self._house(vanish + 0.15, 0.62, 0.07)

    def _sky(self, horizon: float) -> None:
        t = (self.y / (horizon * self.h))[..., None].clip(0, 1)
        self.image = np.where(
            t < 0.55,
            self.top + (self.mid - self.top) * t / 0.55,
            self.mid + (self.low - self.mid) * (t - 0.55) / 0.45,
        ).astype(np.float32)
        stretched = noise(self.rng, self.h, self.w, self.h / 2, 4) - 1.2 * (t[..., 0] - 0.5) ** 2
        cloud = (1 / (1 + np.exp(-4 * (stretched - 0.5))))[..., None] * (0.35 if self.night else 0.7)
        self.image += cloud * (0.35 * self.light + 0.65 * np.maximum(self.low, 0.75 * self.light) - self.image)
        self._lamp(self.rng.uniform(0.15, 0.85), self.rng.uniform(0.14, 0.3), 0.06)
        if self.night:
            for _ in range(9):
                self._lamp(
                    self.rng.uniform(0, 1),
                    self.rng.uniform(0.03, 0.75 * horizon),
                    self.rng.uniform(0.012, 0.022),
                )

    def _lamp(self, x: float, y: float, radius: float) -> None:
        cx, cy, r = x * self.w, y * self.h, radius * self.h
        d = np.hypot(self.x - cx, self.y - cy)
        glow = np.exp(-((d / (2.2 * r)) ** 2))[..., None] * 0.8
        self.image += glow * (self.light - self.image)
        self.image[d < r] = np.minimum(self.light * 1.1, 1)
        self.lights.append((cx, cy, r))

    def _ridge(self, level: float, height: float, cell: float) -> np.ndarray:
        line = noise(self.rng, 3, self.w, cell * self.h, 4)[1]
        return (level + height * line) * self.h

    def _hills(self, levels: tuple[float, ...]) -> None:
        for k, level in enumerate(levels):
            t = (k + 1) / (len(levels) + 1)
            colour = self.far + (self.near - self.far) * t
            ridge = self._ridge(level, 0.035 - 0.008 * k, 0.7)
            mask = self.y > ridge
            shade = (
                0.12 * noise(self.rng, self.h, self.w, 0.12 * self.h)[..., None]
                + 0.25 * np.exp(-(self.y - ridge) / (0.04 * self.h)).clip(0, 1)[..., None]
            )
            self.image = np.where(mask[..., None], colour * (1 + shade), self.image)

    def _mountain(self, x: float, peak: float, foot: float) -> None:
        slope = np.abs(self.x / self.w - x) ** 0.8 * 1.1 + 0.012 * noise(self.rng, self.h, self.w, 0.2 * self.h, 4)
        body = (self.y / self.h > peak + slope) & (self.y / self.h < foot)
        snow = body & (
            self.y / self.h < peak + 0.5 * slope + 0.09 + 0.02 * noise(self.rng, self.h, self.w, 0.1 * self.h)
        )
        lit = 0.15 * np.sign(self.x / self.w - x)[..., None]
        self.image = np.where(body[..., None], self.far * (1 - lit), self.image)
        self.image = np.where(snow[..., None], np.float32(0.93) - np.maximum(lit, 0) * 0.9, self.image)

    def _water(self, level: float) -> None:
        top = round(level * self.h)
        ripple = noise(self.rng, self.h, self.w, 0.06 * self.h, 2) * 0.02 * self.h * (self.y / self.h)
        upward = (2 * top - self.y + ripple).astype(np.float32)
        mirror = cv2.remap(self.image, self.x, upward, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT)
        bands = noise(self.rng, self.h, 4, 0.03 * self.h, 2)[:, :1]
        tinted = (0.72 * mirror + 0.28 * self.top) * (0.92 + 0.1 * bands[..., None])
        if self.lights:
            cx = self.lights[0][0]
            spread = 0.03 * self.w + 0.25 * (self.y - top)
            sparkle = np.exp(-(((self.x - cx) / np.maximum(spread, 1)) ** 2)) * (bands > 0.1)
            tinted = tinted + 0.75 * sparkle[..., None] * (self.light - tinted)
        self.image = np.where((self.y >= top)[..., None], tinted, self.image).astype(np.float32)

    def _furrows(self, level: float, colours: tuple[tuple[int, int, int], ...]) -> None:
        a, b, c = (np.array(colour, np.float32) / 255 * (0.55 if self.night else 1) for colour in colours)
        depth = (self.y / self.h - level).clip(1e-3, None)
        across = (self.x / self.w - self.rng.uniform(0.2, 0.8)) / (depth + 0.05)
        rows = 0.5 + 0.5 * np.sin(9 * across + 0.5 * noise(self.rng, self.h, self.w, 0.2 * self.h))
        patch = (noise(self.rng, self.h, self.w, 0.3 * self.h, 2) > 0.6)[..., None]
        ground = np.where(patch, c, b + (a - b) * rows[..., None])
        self.image = np.where((self.y / self.h > level)[..., None], ground, self.image).astype(np.float32)

    def _near_bank(self, level: float) -> None:
        mask = self.y > self._ridge(level, 0.03, 0.5)
        grass = self.near * (1.2 + 0.4 * noise(self.rng, self.h, self.w, 0.05 * self.h)[..., None])
        self.image = np.where(mask[..., None], grass, self.image).astype(np.float32)

    def _breaker(self, level: float, height: float, phase: float) -> None:
        u = self.x / self.w * 2 * np.pi * self.rng.uniform(0.9, 1.3) + phase
        crest = (
            level - height * np.maximum(0, np.sin(u)) ** 1.5 + 0.012 * noise(self.rng, self.h, self.w, 0.09 * self.h)
        )
        depth = self.y / self.h - crest
        body = np.array((28, 78, 140), np.float32) / 255
        stripe = (0.5 + 0.5 * np.sin(depth * 70 + 2 * np.cos(u)))[..., None] * (depth[..., None] < 0.25)
        sea = body * (0.75 + 0.7 * stripe)
        foam = depth < 0.035 * np.maximum(0, np.sin(u)) + 0.012
        sea = np.where(foam[..., None], np.float32(0.95), sea)
        self.image = np.where((depth > 0)[..., None], sea, self.image).astype(np.float32)

    def _fill(self, points: list[tuple[float, float]], rgb: tuple[float, float, float]) -> None:
        """Fill a polygon; `points` as fractions of width and height, `rgb` in 0..255."""
        pixels = np.round(np.array(points) * (self.w, self.h)).astype(np.int32)
        cv2.fillPoly(self.image, [pixels], [float(c) / 255 for c in rgb])

    def _house(self, x: float, y: float, size: float, spire: bool = False) -> None:
        tone = 0.45 if self.night else 1.0
        wall = np.array([(230, 214, 180), (214, 170, 120), (236, 226, 214)][self.rng.integers(3)]) * tone
        roof = np.array([(176, 70, 44), (96, 84, 110), (150, 100, 60)][self.rng.integers(3)]) * tone
        s, d, half = size, size * 0.75, size / 2
        self._fill([(x - half, y), (x - half, y - d), (x + half, y - d), (x + half, y)], tuple(wall))
        self._fill(
            [(x + half, y), (x + half, y - d), (x + half * 1.5, y - d * 0.9), (x + half * 1.5, y)],
            tuple(wall * 0.6),
        )
        self._fill([(x - half * 1.1, y - d), (x, y - d * 1.7), (x + half * 1.6, y - d * 0.9)], tuple(roof))
        for k in (-0.25, 0.2):
            lit = (255, 214, 96) if self.night else tuple(wall * 0.35)
            self._fill([(x + k * s, y - d * 0.3), (x + k * s, y - d * 0.75), (x + (k + 0.16) * s, y - d *
            0.75),
                        (x + (k + 0.16) * s, y - d * 0.3)], lit)  # fmt: skip
        if spire:
            self._fill(
                [(x - 0.02, y - d), (x - 0.004, y - 3.6 * d), (x + 0.004, y - 3.6 * d), (x + 0.02, y - d)],
                tuple(roof * 0.8),
            )

    def _cypress(self, x: float, foot: float, height: float) -> None:
        t = np.linspace(0, 1, 40)
        half = height * 0.13 * np.sin(np.pi * np.clip(t * 0.92 + 0.06, 0, 1)) ** 0.7 * (1 - 0.55 * t)
        sway = 0.02 * height * np.sin(7 * t + self.rng.uniform(0, 6))
        for side, gain in ((1.0, 1.0), (0.45, 1.7)):
            jag = 1 + 0.25 * self.rng.standard_normal(40)
            left = [(x + sway[i] - half[i] * jag[i] * side, foot - height * t[i]) for i in range(40)]
            right = [(x + sway[i] + half[i] * jag[-i] * side, foot - height * t[i]) for i in range(39, -1, -1)]
            self._fill(left + right, tuple(np.array((22, 52, 34)) * gain * (0.75 if self.night else 1)))

    def _tree(self, x: float, foot: float, size: float) -> None:
        self._fill([(x - 0.08 * size, foot), (x - 0.04 * size, foot - size), (x + 0.05 * size, foot - size),
                    (x + 0.1 * size, foot)], (74, 52, 50))  # fmt: skip
        for k in range(26):
            u, v = self.rng.normal(0, 0.36, 2) * size
            green = np.array((74, 118, 52)) * (1.35 - 0.5 * k / 26 - 1.1 * u / size * 0.4)
            centre = (round((x + v) * self.w), round((foot - 1.25 * size + 0.7 * u) * self.h))
            tone = 0.5 if self.night else 1.0
            cv2.circle(self.image, centre, round(0.2 * size * self.h), [float(c) * tone / 255 for c in green], -1)

    def _boat(self, x: float, y: float) -> None:
        s = 0.07 * (y / 0.7) ** 2
        self._fill(
            [
                (x - s, y - 0.15 * s),
                (x + s, y - 0.2 * s),
                (x + 0.7 * s, y + 0.25 * s),
                (x - 0.7 * s, y + 0.25 * s),
            ],
            (70, 44, 46),
        )
        self._fill([(x - 0.05 * s, y - 0.3 * s), (x, y - 2.4 * s), (x + 0.8 * s, y - 0.35 * s)], (236, 190, 120))
        self._fill(
            [(x - 0.1 * s, y - 0.3 * s), (x - 0.05 * s, y - 2.0 * s), (x - 0.7 * s, y - 0.3 * s)],
            (190, 80, 50),
        )
