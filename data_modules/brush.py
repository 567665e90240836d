"""Direction fields and the bristle brush of the painters in `data_modules.painted`.

A brush stroke follows a field of directions until the motif's colour changes, after Hertzmann, "Painterly
Rendering with Curved Brush Strokes of Multiple Sizes" (1998), sections 2.1 and 2.2; smearing is line integral
convolution (Cabral and Leedom, 1993).
"""

import cv2
import numpy as np

from data_modules.motifs import Motif, noise

# Directions are stored as double angles, so that opposite directions are the same and can be averaged.


def tangents(image: np.ndarray, sigma: float) -> tuple[np.ndarray, np.ndarray]:
    """Edge direction of the smoothed structure tensor: unit double angle (h, w, 2), edge strength (h, w)."""
    gray = cv2.GaussianBlur(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY), (0, 0), 0.35 * sigma)
    gx, gy = cv2.Sobel(gray, cv2.CV_32F, 1, 0), cv2.Sobel(gray, cv2.CV_32F, 0, 1)
    double = cv2.GaussianBlur(np.stack([gy * gy - gx * gx, -2 * gx * gy], -1), (0, 0), sigma)
    size = np.linalg.norm(double, axis=-1)
    strong = np.percentile(size[::4, ::4], 92) + 1e-9
    return double / (size[..., None] + 1e-9), np.sqrt(size / strong).clip(0, 1)


def flow(motif: Motif, rng: np.random.Generator, vortices: int) -> np.ndarray:
    """Direction of a stream with eddies and with rings around the lights: unit double angle (h, w, 2)."""
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


def to_angle(double: np.ndarray) -> np.ndarray:
    """Double angles (h, w, 2) -> radians (h, w), y down."""
    return 0.5 * np.arctan2(double[..., 1], double[..., 0])


def smear(texture: np.ndarray, angle: np.ndarray, length: float, step: float) -> np.ndarray:
    """Average `texture` (h, w) over `length` px along `angle`; zero mean, unit deviation."""
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


class Brush:
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
        where: np.ndarray | None = None,
    ) -> None:
        """Cover the canvas with strokes `width` x `length` px in the colours of `target` (h, w, 3).

        `jitter` varies a stroke's lightness and hue; `where` (h, w) is the probability of a stroke.
        """
        h, w = angle.shape
        spacing = (width * max(width, 0.45 * length) / (2.2 * density)) ** 0.5
        grid = np.mgrid[0 : h + spacing : spacing, 0 : w + spacing : spacing].reshape(2, -1).T
        centres = self.rng.permutation(grid + self.rng.uniform(-0.7, 0.7, grid.shape) * spacing)[:, ::-1]
        rows, cols = self._pixels(centres, h, w)
        if where is not None:
            keep = self.rng.random(len(rows)) < where[rows, cols]
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
        tracks = paths[:, None] + offsets[None, :, None, None] * normal[:, None]
        tracks = np.round(tracks * 8).astype(np.int32)
        shade = 1 + 0.05 * self.rng.standard_normal((len(paths), bristles, 1))
        paint = np.empty((len(paths), bristles, 4))
        paint[..., :3] = (colour[:, None] * shade).clip(0, 1) * 255
        load = self.rng.uniform(120, 200, (len(paths), 1)) + self.rng.uniform(-22, 22, (len(paths), bristles))
        round_off = np.abs(np.linspace(-1, 1, bristles)) ** 3
        paint[..., 3] = load - 90 * round_off
        ragged = 0.13 * paths.shape[1] * (0.6 * round_off + self.rng.random((2, len(paths), bristles)))
        first = np.minimum(ragged[0].astype(int), counts[:, None] - 2)
        last = np.maximum(counts[:, None] - ragged[1].astype(int), first + 2)
        spans = zip(first.tolist(), last.tolist(), strict=True)
        for stroke, colours, (begin, end) in zip(tracks, paint.tolist(), spans, strict=True):
            for bristle, rgba, a, b in zip(stroke, colours, begin, end, strict=True):
                cv2.polylines(self.canvas, [bristle[a:b]], False, rgba, thickness, cv2.LINE_AA, 3)

    def dots(self, target: np.ndarray, angle: np.ndarray, size: float, density: float) -> None:
        """Scatter round dabs `size` px wide of broken colour: purer, scattered, some complementary."""
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


def detail(target: np.ndarray, sigma: float) -> np.ndarray:
    """Where broad strokes would lose the motif: probability (h, w) of a fine stroke."""
    lost = np.abs(target - cv2.GaussianBlur(target, (0, 0), sigma)).sum(-1)
    return (cv2.GaussianBlur(lost, (0, 0), sigma / 2) * 7).clip(0, 1)
