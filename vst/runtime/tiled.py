"""Large frames in tiles, with the result of the whole: no statistics of the frame make it possible."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import torch
from torch import Tensor

from vst.errors import UserError
from vst.planes import PlaneFormat
from vst.runtime.engine import Engine, overlap
from vst.runtime.footprint import WHOLE_FRAME, free_bytes


@dataclass(frozen=True)
class Part:
    """Along one side, in places of the features: the window that is looked at and the core in it that is kept."""

    window: slice
    core: slice


def divide(length: int, tile: int, around: int) -> list[Part]:
    """Windows of one length over `length` places, whose cores of at most `tile` places cover them once.

    A core keeps `around` places away from every end of its window that is not an end of the whole. All windows are
    equally long, so that engines of static shapes prepare for one; those at the ends lie inwards.
    """
    size = tile + 2 * around
    if size >= length:
        return [Part(slice(0, length), slice(0, length))]
    count = 1 + -(-(length - size) // tile)
    starts = [(length - size) * i // (count - 1) for i in range(count)]
    seams = [(before + after + size) // 2 for before, after in pairwise(starts)]
    cores = zip([0, *seams], [*seams, length], strict=True)
    return [Part(slice(at, at + size), slice(*core)) for at, core in zip(starts, cores, strict=True)]


class TiledEngine(Engine):
    """Runs each frame in overlapping tiles through other engines, in turn, or at once where there are several.

    There is one memory for the whole frame, and each tile of a frame begins with its window of it. So what a tile has
    to see around it is what one frame looks at, however many frames there were; tiles that kept a memory of their own
    would part, or have to overlap more with every frame.

    Args:
        engines: of the same model, each on its device.
        tile: side of a tile in pixels without its overlap; None for as large as fits into memory, and no tiles at all
            where the frame does.
    """

    def __init__(self, engines: Sequence[Engine], tile: int | None = None) -> None:
        first = engines[0]
        super().__init__(first.info, first.precision, first.device)
        if tile and self.info.reach == WHOLE_FRAME:
            raise UserError(
                f"tile={tile}: this network looks at the whole frame for each pixel (instance normalisation does), so "
                "tiles would show; choose tile=0"
            )
        self.name, self.memory_factor = first.name, first.memory_factor
        self._engines, self._tile = list(engines), tile
        self._parts: list[tuple[Part, Part]] = []

    def describe(self) -> str:
        where = "; ".join(dict.fromkeys(engine.describe() for engine in self._engines))
        tiles = f", tiles of {self._side}" if self._size is not None and self._side else ""
        return f"{where}{tiles}"

    @property
    def tiles(self) -> int:
        """How many tiles a frame of the present size has."""
        return len(self._parts)

    def for_planes(self, planes: PlaneFormat, size: tuple[int, int]) -> Engine | None:
        width, height = size
        if self._tile or self._largest(height, width):
            return None
        return self._engines[0].for_planes(planes, size)

    def read_state(self) -> list[Tensor]:
        return self._before if len(self._parts) > 1 else self._engines[0].read_state()

    @torch.inference_mode()
    def load_state(self, state: list[Tensor]) -> None:
        if len(self._parts) == 1:
            self._engines[0].load_state(state)
            return
        for kept, given in zip(self._before, state, strict=True):
            kept.copy_(given)

    def _check_memory(self, height: int, width: int) -> None:
        self._side = self._tile or self._largest(height, width)
        window = self._side + 2 * overlap(self.info) if self._side else max(height, width)
        for engine in self._engines if self._side else self._engines[:1]:
            engine._check_memory(min(window, height), min(window, width))

    def _largest(self, height: int, width: int) -> int:
        """Side of the tiles that memory asks for; 0 if it asks for none, or if tiles are impossible."""
        rows, columns = self.info.bordered(height, width)
        known = [free for free in (free_bytes(engine.device) for engine in self._engines) if free is not None]
        fits = not known or self.bytes_per_pixel * rows * columns <= min(known)
        if self.info.reach == WHOLE_FRAME or (fits and len(self._engines) == 1):
            return 0
        # Engines of one device share its memory; several devices share the work even where one could do it.
        share = min(known) // len(self._engines) if known else 0
        halves = max(rows, columns) // len(self._engines)
        return halves if fits else self.tile_that_fits(share)

    def _prepare(self, height: int, width: int) -> None:
        stride = self.info.stride
        rows, columns = self.info.bordered(height, width)
        tile, around = -(-(self._side or max(rows, columns)) // stride), overlap(self.info) // stride
        across, down = divide(columns // stride, tile, around), divide(rows // stride, tile, around)
        self._parts = [(y, x) for y in down for x in across]
        window = (down[0].window.stop * stride, across[0].window.stop * stride)
        used = self._engines[: len(self._parts)]
        for engine in used:
            engine._prepare(*(side - 2 * self.info.border for side in window))
        self._windows = [np.empty((1, *window, 3), np.uint8) for _ in used]
        border = self.info.border
        self._image = np.empty((1, rows - 2 * border, columns - 2 * border, 3), np.uint8)
        shapes = self.info.state_shapes(height, width) if len(self._parts) > 1 else []
        kinds = used[0].read_state()
        self._before, self._after = (
            [torch.empty(s, dtype=k.dtype, device=k.device) for s, k in zip(shapes, kinds, strict=False)]
            for _ in range(2)
        )

    def _run(self, bordered: np.ndarray, first: bool) -> np.ndarray:
        if len(self._parts) == 1:
            self._engines[0]._grained = self._grained
            return self._engines[0]._run(bordered, first)
        turns = range(len(self._windows))
        if len(turns) == 1:
            self._paint(0, bordered, first)
        else:
            with ThreadPoolExecutor(len(turns)) as pool:
                list(pool.map(lambda turn: self._paint(turn, bordered, first), turns))
        self._before, self._after = self._after, self._before
        return self._image

    @torch.inference_mode()
    def _paint(self, turn: int, bordered: np.ndarray, first: bool) -> None:
        """The tiles that are the turn of one engine."""
        engine, window = self._engines[turn], self._windows[turn]
        for y, x in self._parts[turn :: len(self._windows)]:
            np.copyto(window, bordered[:, self._pixels(y.window), self._pixels(x.window)])
            if self.info.grain:
                engine._grained = np.ascontiguousarray(self._grained[:, self._places(y.window), self._places(x.window)])
            if not first:
                engine.load_state([state[:, :, y.window, x.window] for state in self._before])
            image = engine._run(window, first)
            self._keep_image(image, y, x)
            for kept, new in zip(self._after, engine.read_state(), strict=True):
                kept[:, :, y.core, x.core].copy_(new[:, :, _within(y), _within(x)])

    def _keep_image(self, image: np.ndarray, y: Part, x: Part) -> None:
        """Copy the core of a tile, whose image lacks the border at its ends, as the whole frame's does."""
        targets, sources = [], []
        for part, length in ((y, self._image.shape[1]), (x, self._image.shape[2])):
            window, core, border = self._pixels(part.window), self._pixels(part.core), self.info.border
            begin, end = max(core.start - border, 0), min(core.stop - border, length)
            targets.append(slice(begin, end))
            sources.append(slice(begin - window.start, end - window.start))
        self._image[0, targets[0], targets[1]] = image[0, sources[0], sources[1]]

    def _places(self, places: slice) -> slice:
        """Of the grain."""
        fine = self.info.stride // self.info.grain_cell
        return slice(places.start * fine, places.stop * fine)

    def _pixels(self, places: slice) -> slice:
        return slice(places.start * self.info.stride, places.stop * self.info.stride)


def _within(part: Part) -> slice:
    return slice(part.core.start - part.window.start, part.core.stop - part.window.start)
