"""Clips made from photographs: synthetic camera and object motion with exact flow and exact occlusion.

A clip is a stack of layers, the photograph behind and cut-outs in front of it. For each layer the map from
the pixels of frame t+1 to points of frame t is a formula, so the flow is known without estimation:

- the camera moves by step maps B_t(x) = M_t x + e_t(x), a similarity and a sum of sine waves, and frame t
  shows the photograph at B_0(B_1(... B_{t-1}(x))): the flow of the background is B_t(x) - x, whatever the
  photograph;
- a cut-out has an affine pose P_t, and its flow is P_t P_{t+1}^-1 x - x.

Occlusion follows from which layer is seen at a pixel and at the point it came from. Training on stills in
synthetic motion as a substitute for video follows Wang et al., "Consistent Video Style Transfer via
Relaxation and Regularization", IEEE TIP 2020, who move a single layer and so have no occlusion.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import product

import cv2
import numpy as np
import torch

from data_modules.sensor import CAMERA, Sensor
from vst.batch import Clip

Photo = np.ndarray  # (H, W, 3) uint8 RGB
Points = tuple[np.ndarray, np.ndarray]  # x and y in pixels, each (H, W) float32

MAX_SPEED = 7.0  # of the camera and of objects across the frame, pixels per frame
STATIC_CAMERA = 0.25
ELASTIC_CAMERA = 0.5
OBJECT_COUNTS = (0.3, 0.45, 0.25)
# Share of a photograph's short side that the clip, or an object, takes up.
CLIP_COVERAGE = (0.35, 1.0)
OBJECT_COVERAGE = (0.2, 0.7)
MAX_ENLARGEMENT = 1.25
HUE_TURN = 0.5
NO_LAYER = 255


@dataclass(frozen=True)
class Step:
    """B_t: where points of frame t+1 were in frame t. `matrix` (3, 3); `waves` (K, 5): kx, ky, phase, ax, ay."""

    matrix: np.ndarray
    waves: np.ndarray

    def __call__(self, points: Points) -> Points:
        x, y = points
        to_x, to_y = _affine(self.matrix, points)
        for kx, ky, phase, ax, ay in self.waves.astype(np.float32):
            wave = np.sin(kx * x + ky * y + phase)
            to_x += ax * wave
            to_y += ay * wave
        return to_x, to_y


@dataclass(frozen=True)
class Texture:
    """A piece of a photograph, `pixels` (h, w, 3) float32, with a layer's point p at `scale * p + offset`."""

    pixels: np.ndarray
    scale: float
    offset: np.ndarray

    def sample(self, points: Points) -> np.ndarray:
        x, y = (np.float32(self.scale) * p + np.float32(o) for p, o in zip(points, self.offset, strict=True))
        return cv2.remap(self.pixels, x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT_101)


@dataclass(frozen=True)
class Cutout:
    """An object in front; `poses` (T, 3, 3) lead from its own coordinates, zero in its middle, to pixels.

    Its outline has the radius `radius * (1 + sum_k amplitude_k cos(k angle + phase_k))`, k = 2, 3, ..., and
    passes from opaque to transparent over `softness` pixels.
    """

    poses: np.ndarray
    texture: Texture
    radius: float
    amplitudes: np.ndarray
    phases: np.ndarray
    softness: float

    def own_points(self, frame: int, points: Points) -> Points:
        return _affine(np.linalg.inv(self.poses[frame]), points)

    def step(self, frame: int, points: Points) -> Points:
        """Where points of frame `frame + 1` that lie on the object were in frame `frame`."""
        return _affine(self.poses[frame] @ np.linalg.inv(self.poses[frame + 1]), points)

    def alpha(self, own_points: Points) -> np.ndarray:
        x, y = own_points
        angle = np.arctan2(y, x)
        outline = np.ones_like(angle)
        for k, (amplitude, phase) in enumerate(zip(self.amplitudes, self.phases, strict=True), start=2):
            outline += np.float32(amplitude) * np.cos(k * angle + np.float32(phase))
        inwards = np.float32(self.radius) * outline - np.hypot(x, y)
        return np.clip(inwards / np.float32(self.softness) + np.float32(0.5), 0, 1)


@dataclass(frozen=True)
class Scene:
    """All that determines a clip except the sensor; frame t shows the background at `looks_at[t]`."""

    size: int
    steps: list[Step]
    looks_at: list[Points]
    background: Texture
    cutouts: list[Cutout]


@dataclass(frozen=True)
class Layers:
    """A rendered frame: `image` (H, W, 3), `owner` (H, W) the layer seen, `pure` whether it is alone."""

    image: np.ndarray
    owner: np.ndarray
    pure: np.ndarray


def synthesise_clip(
    photo: Photo,
    rng: np.random.Generator,
    length: int,
    size: int,
    *,
    draw_object: Callable[[np.random.Generator], Photo] | None = None,
    source: str = "synthetic",
    camera_only: bool = False,
    speed: float = MAX_SPEED,
    sensor: Sensor = CAMERA,
) -> Clip:
    """Set a photograph in motion.

    Args:
        photo: (H, W, 3) uint8 RGB, the background.
        rng: all randomness comes from here.
        length: number of frames, T.
        size: side of the square frames, pixels.
        draw_object: gives the photograph that an object is cut from; by default `photo` itself.
        source: name of the origin, kept in the clip.
        camera_only: no objects, true colours, and as much of the photograph as the camera's path allows.
        speed: largest speed of camera and objects, pixels per frame; turns, zoom and elasticity in proportion.
        sensor: what the camera does to the frames.

    Returns:
        A clip with exact flow and validity, as `vst.batch` defines them.
    """
    draw_object = None if camera_only else draw_object or (lambda _: photo)
    images, flow, valid = render(draw_scene(photo, rng, length, size, draw_object, speed))
    frames = sensor(images.transpose(0, 3, 1, 2), rng)
    return Clip(torch.from_numpy(frames), source, torch.from_numpy(flow), torch.from_numpy(valid))


def draw_scene(
    photo: Photo,
    rng: np.random.Generator,
    length: int,
    size: int,
    draw_object: Callable[[np.random.Generator], Photo] | None,
    speed: float = MAX_SPEED,
) -> Scene:
    """Draw the motion of camera and objects, and the piece of the photograph that the camera passes over.

    Without `draw_object` there are no objects, the piece is as large as it can be, and colours stay.
    """
    steps = camera_path(rng, length, size, speed)
    looks_at = [_back_to_start(steps[:frame], _grid(size)) for frame in range(length)]
    low = np.min([[x.min(), y.min()] for x, y in looks_at], axis=0)
    high = np.max([[x.max(), y.max()] for x, y in looks_at], axis=0)
    if draw_object is None:
        return Scene(size, steps, looks_at, cut_texture(photo, rng, low, high, (1.0, 1.0), recolour=False), [])
    background = cut_texture(photo, rng, low, high, CLIP_COVERAGE)
    count = rng.choice(len(OBJECT_COUNTS), p=OBJECT_COUNTS)
    cutouts = [draw_cutout(draw_object(rng), rng, steps, size, speed) for _ in range(count)]
    return Scene(size, steps, looks_at, background, cutouts)


def render(scene: Scene) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return frames (T, H, W, 3), flow (T-1, 2, H, W) and validity (T-1, 1, H, W), all float32."""
    length, size, grid = len(scene.looks_at), scene.size, _grid(scene.size)
    frames = [_render_frame(scene, frame, grid) for frame in range(length)]
    flow = np.empty((length - 1, 2, size, size), np.float32)
    valid = np.empty((length - 1, 1, size, size), np.float32)
    for t in range(length - 1):
        target = _trace_back(scene, t, grid, frames[t + 1].owner)
        flow[t] = target[0] - grid[0], target[1] - grid[1]
        valid[t, 0] = _same_layer(target, frames[t + 1], frames[t])
    return np.stack([frame.image for frame in frames]), flow, valid


def camera_path(rng: np.random.Generator, length: int, size: int, speed: float = MAX_SPEED) -> list[Step]:
    """Draw T-1 steps: a still camera, or a steady movement with a little shake, turn, zoom and elasticity."""
    pairs, vigour = length - 1, speed / MAX_SPEED
    if rng.random() < STATIC_CAMERA:
        return [Step(np.eye(3), np.zeros((0, 5)))] * pairs
    times = np.arange(pairs)
    # The exponent makes slow movement the common case: the median is a fifth of the largest speed.
    pace = speed * rng.random() ** 2.5 * np.linspace(1, rng.uniform(0.6, 1.4), pairs)
    heading = rng.uniform(0, 2 * np.pi) + rng.normal(0, 0.15) * times
    shake = vigour * rng.normal(0, rng.uniform(0, 0.3), (2, pairs))
    velocity = pace * np.stack([np.cos(heading), np.sin(heading)]) + shake
    velocity *= np.minimum(1, speed / np.maximum(np.hypot(*velocity), 1e-6))
    turn = vigour * np.clip(rng.normal(0, np.deg2rad(0.25)), -np.deg2rad(1), np.deg2rad(1))
    zoom = np.exp(vigour * np.clip(rng.normal(0, 0.003), -0.015, 0.015))
    centre = np.full(2, (size - 1) / 2)
    waves = _elastic(rng, size, pairs, vigour) if rng.random() < ELASTIC_CAMERA else np.zeros((pairs, 0, 5))
    return [Step(_similarity(centre, turn, zoom, velocity[:, t]), waves[t]) for t in range(pairs)]


def cut_texture(
    photo: Photo,
    rng: np.random.Generator,
    low: np.ndarray,
    high: np.ndarray,
    coverage: tuple[float, float],
    recolour: bool = True,
) -> Texture:
    """Cut a random piece for a layer's points from `low` to `high` (x, y), flipped and recoloured at random.

    The piece is as large as `coverage` says, but is not enlarged by more than MAX_ENLARGEMENT. Where it is
    reduced, it is low-passed for the pixel distance of the frame, so that nothing aliases when it moves.
    """
    shape = np.array([photo.shape[1], photo.shape[0]])
    extent = high - low
    scale = max(rng.uniform(*coverage) * shape.min() / extent.max(), 1 / MAX_ENLARGEMENT)
    slack = shape - 1 - scale * extent
    origin = np.where(slack > 0, rng.random(2) * slack, slack / 2)
    margin = 2 + 2 * scale
    first = np.clip(np.floor(origin - margin), 0, shape - 2).astype(int)
    last = np.clip(np.ceil(origin + scale * extent + margin), first + 2, shape).astype(int)
    pixels = photo[first[1] : last[1], first[0] : last[0]]
    origin = origin - first
    while scale >= 2:
        height, width = pixels.shape[0] // 2, pixels.shape[1] // 2
        pixels = cv2.resize(pixels[: 2 * height, : 2 * width], (width, height), interpolation=cv2.INTER_AREA)
        scale, origin = scale / 2, (origin - 0.5) / 2
    if scale > 1:
        # 0.4 pixels of the frame: a little more than the blur of a square pixel, 1 / sqrt(12).
        pixels = cv2.GaussianBlur(pixels, (0, 0), 0.4 * scale, borderType=cv2.BORDER_REFLECT_101)
    if rng.random() < 0.5:
        pixels = pixels[:, ::-1]
        origin[0] = pixels.shape[1] - 1 - origin[0] - scale * extent[0]
    colours = _colour_change(rng) if recolour else np.eye(3, dtype=np.float32) / 255
    return Texture(cv2.transform(pixels.astype(np.float32), colours), float(scale), origin - scale * low)


def draw_cutout(
    photo: Photo, rng: np.random.Generator, steps: list[Step], size: int, speed: float = MAX_SPEED
) -> Cutout:
    """Draw an object with a wavy outline and a movement of its own, carried along by the camera or not."""
    vigour = speed / MAX_SPEED
    radius, softness = size * rng.uniform(0.1, 0.28), rng.uniform(1, 2)
    amplitudes = 0.4 * rng.uniform(-1, 1, 4) / np.arange(2, 6)
    reach = np.full(2, radius * (1 + np.abs(amplitudes).sum()) + softness)
    heading = rng.uniform(0, 2 * np.pi)
    velocity = speed * rng.random() ** 2 * np.array([np.cos(heading), np.sin(heading)])
    turn = vigour * np.clip(rng.normal(0, np.deg2rad(1)), -np.deg2rad(3), np.deg2rad(3))
    growth = np.exp(vigour * np.clip(rng.normal(0, 0.005), -0.015, 0.015))
    carried = rng.random() < 0.5
    middle = rng.uniform(0.1, 0.9, 2) * size
    pose = _similarity(np.zeros(2), rng.uniform(-0.4, 0.4), 1, middle - velocity * len(steps) / 2)
    stretch = np.exp(rng.uniform(-0.35, 0.35))
    poses = [pose @ np.diag([stretch, 1 / stretch, 1])]
    for step in steps:
        start = np.linalg.inv(step.matrix) @ poses[-1] if carried else poses[-1]
        poses.append(_similarity(start[:2, 2], turn, growth, velocity) @ start)
    texture = cut_texture(photo, rng, -reach, reach, OBJECT_COVERAGE)
    return Cutout(np.stack(poses), texture, radius, amplitudes, rng.uniform(0, 2 * np.pi, 4), softness)


def _render_frame(scene: Scene, frame: int, grid: Points) -> Layers:
    image = scene.background.sample(scene.looks_at[frame])
    owner = np.zeros(image.shape[:2], np.uint8)
    pure = np.ones(image.shape[:2], bool)
    for layer, cutout in enumerate(scene.cutouts, start=1):
        points = cutout.own_points(frame, grid)
        alpha = cutout.alpha(points)
        image += alpha[..., None] * (cutout.texture.sample(points) - image)
        owner[alpha > 0.5] = layer
        pure = (alpha == 1) | (pure & (alpha == 0))
    return Layers(image, owner, pure)


def _trace_back(scene: Scene, frame: int, grid: Points, owner: np.ndarray) -> Points:
    """For each pixel of frame `frame + 1`, where what is seen there was in frame `frame`."""
    x, y = scene.steps[frame](grid)
    for layer, cutout in enumerate(scene.cutouts, start=1):
        on_layer = owner == layer
        layer_x, layer_y = cutout.step(frame, grid)
        np.copyto(x, layer_x, where=on_layer)
        np.copyto(y, layer_y, where=on_layer)
    return x, y


def _same_layer(target: Points, here: Layers, there: Layers) -> np.ndarray:
    """Pixels whose layer is alone here and at all neighbours of the point it came from, within the frame.

    The neighbours are those that bilinear interpolation mixes: four, or fewer on a row or column of pixels.
    """
    labels = np.where(there.pure, there.owner, NO_LAYER)
    valid = here.pure.copy()
    for x, y in product(*((np.floor(axis), np.ceil(axis)) for axis in target)):
        arrived = cv2.remap(labels, x, y, cv2.INTER_NEAREST, None, cv2.BORDER_CONSTANT, NO_LAYER)
        valid &= arrived == here.owner
    return valid


def _elastic(rng: np.random.Generator, size: int, pairs: int, vigour: float) -> np.ndarray:
    """Waves (T-1, 2, 5) for `Step`, long and flat so that the map never folds: its gradient is below 0.15 * vigour."""
    angle = rng.uniform(0, 2 * np.pi, (2, 2))
    number = 2 * np.pi / (size * rng.uniform(0.6, 1.6, 2))
    amplitude = (
        vigour
        * size
        * rng.uniform(0, 0.006)
        * np.cos(rng.uniform(0, 2 * np.pi, 2) + rng.uniform(0, 0.6, 2) * np.arange(pairs)[:, None])
    )
    waves = np.empty((pairs, 2, 5))
    waves[..., 0], waves[..., 1] = number * np.cos(angle[0]), number * np.sin(angle[0])
    waves[..., 2] = rng.uniform(0, 2 * np.pi, 2)
    waves[..., 3], waves[..., 4] = amplitude * np.cos(angle[1]), amplitude * np.sin(angle[1])
    return waves


def _colour_change(rng: np.random.Generator) -> np.ndarray:
    """A (3, 4) matrix from [0, 255] to about [0, 1]: slight changes of contrast, brightness and saturation, and every
    other time any turn of hue, so that a few photographs show colours of all kinds."""
    saturation, contrast = rng.uniform(0.8, 1.2), rng.uniform(0.85, 1.15)
    grey = np.tile([0.299, 0.587, 0.114], (3, 1))
    mixing = contrast * (saturation * np.eye(3) + (1 - saturation) * grey) * rng.uniform(0.96, 1.04, (3, 1))
    if rng.random() < HUE_TURN:
        mixing = _turn_of_hue(rng.uniform(0, 2 * np.pi)) @ mixing
    shift = 0.5 * (1 - contrast) + rng.uniform(-0.05, 0.05)
    return np.concatenate([mixing / 255, np.full((3, 1), shift)], axis=1).astype(np.float32)


def _turn_of_hue(angle: float) -> np.ndarray:
    """The (3, 3) rotation of RGB about the axis of greys, which stay as they are (Rodrigues' formula)."""
    x = 1 / np.sqrt(3)
    cross = x * np.array([[0, -1, 1], [1, 0, -1], [-1, 1, 0]])
    return np.eye(3) + np.sin(angle) * cross + (1 - np.cos(angle)) * cross @ cross


def _similarity(centre: np.ndarray, angle: float, scale: float, shift: np.ndarray) -> np.ndarray:
    """Turn and scale about `centre`, then shift; (3, 3)."""
    c, s = scale * np.cos(angle), scale * np.sin(angle)
    matrix = np.array([[c, -s, 0], [s, c, 0], [0, 0, 1]])
    matrix[:2, 2] = centre + shift - matrix[:2, :2] @ centre
    return matrix


def _affine(matrix: np.ndarray, points: Points) -> Points:
    (a, b, c), (d, e, f) = matrix[:2].astype(np.float32)
    x, y = points
    return a * x + b * y + c, d * x + e * y + f


def _back_to_start(steps: list[Step], points: Points) -> Points:
    for step in reversed(steps):
        points = step(points)
    return points


def _grid(size: int) -> Points:
    axis = np.arange(size, dtype=np.float32)
    return np.broadcast_to(axis, (size, size)), np.broadcast_to(axis[:, None], (size, size))
