"""The face of all engines: a frame of bytes in, the stylised frame out, the memory within."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from importlib import import_module
from types import ModuleType

import numpy as np
import torch
from torch import Tensor

from vst.errors import UserError
from vst.networks.grain import Grain
from vst.planes import PlaneFormat, planes_of
from vst.runtime.flow_grain import ByteFlowGrain
from vst.runtime.footprint import WHOLE_FRAME, free_bytes
from vst.runtime.grain import NONE, ByteGrain
from vst.runtime.graph import GraphInfo, add_border, unpack
from vst.runtime.motion import ByteMotion
from vst.runtime.tone import ByteTone, PlaneTone, is_affine

MIN_SIDE = 16
TILES = (2048, 1024, 512, 256, 128, 64)

# Module -> the extra of pyproject.toml that brings it.
EXTRAS = {
    **dict.fromkeys(("onnx", "onnxscript", "onnxruntime"), "onnx"),
    "openvino": "openvino",
    **dict.fromkeys(("fastapi", "uvicorn", "aiortc"), "studio"),
}


class Engine(ABC):
    """Stylises a film frame by frame. `engine(frame) -> frame`, `engine.reset()` at its begin and at cuts.

    Frames are (H, W, 3) uint8 RGB, upright. An engine takes any size of 16 pixels or more on each side, the same one
    until the next `reset`. One of planes (`for_planes`) takes and gives frames of planes instead, of even sides.

    Args:
        planes: of the frames; None for RGB.

    Attributes:
        name: what `open_engine` calls it.
        precision: `float32`, `bfloat16`, `float16` or `int8`.
        info: of its graph.
        device: whose memory it needs.
        memory_factor: what it takes at its peak over the tensors of the graph in torch, measured at 1080p; the rest is
            workspaces, copies in other layouts and what allocators keep.
    """

    name: str
    memory_factor = 1.4

    def __init__(
        self, info: GraphInfo, precision: str, device: torch.device | str = "cpu", planes: PlaneFormat | None = None
    ) -> None:
        assert info.planes == (planes is not None), "the graph's frames are others"
        self.info, self.precision, self.device = info, precision, torch.device(device)
        self._opens_planes: Callable[[PlaneFormat], Engine] | None = None
        self._of_planes: dict[PlaneFormat, Engine] = {}
        self._size: tuple[int, int] | None = None
        self._first = True
        self._state: list[Tensor] = []
        self._flat: np.ndarray | None = None
        self._out: np.ndarray | None = None  # where the frame under way goes
        self._tone: ByteTone | PlaneTone | None = None
        self._planes = planes
        self._toned: np.ndarray | None = None  # what a graph takes as `tone`
        self._motion = ByteMotion(info.motion, info.motion_rows, info.history) if info.motion else None
        self._grain: ByteGrain | ByteFlowGrain | None = None
        if info.grain:
            kind = info.grain, info.grain_cell, info.grain_streak
            self._grain = ByteFlowGrain(*kind) if info.grain_flows else ByteGrain(*kind, planes)
        self._noise_source: ByteGrain | ByteFlowGrain | Grain | None = self._grain  # whose strength may be set
        self._grain_strength = 1.0
        self._grained: np.ndarray | None = None  # what a graph takes as `grain`
        if info.toned:
            self._tone = PlaneTone(info.tone, planes, info.cell, getattr(torch, info.precision))
        elif info.tone:
            self._tone = ByteTone(info.tone)
        self._grade = ByteTone(info.grade) if info.grade else None

    def open_planes_with(self, opener: Callable[[PlaneFormat], Engine]) -> None:
        """Say how an engine of the same model for frames of planes is opened."""
        self._opens_planes = opener

    def for_planes(self, planes: PlaneFormat, size: tuple[int, int]) -> Engine | None:
        """An engine of the same model, with a memory of its own, for frames of planes; None where there is none for
        frames of `size` (width, height).

        It paints what this one paints, but for the detail of colours that 4:2:0 does not keep and for colours beyond
        their range, which are cut off in another space. Asked again, it is the same engine.
        """
        learned = self.info.short_side
        in_rgb = self._motion is not None or self._grade is not None or not is_affine(self.info.tone)
        if in_rgb or learned not in (0, min(size)):
            return None
        if planes not in self._of_planes and self._opens_planes is not None:
            self._of_planes[planes] = self._opens_planes(planes)
            self._of_planes[planes].grain_strength = self._grain_strength
        return self._of_planes.get(planes)

    def reset(self) -> None:
        """Forget the frames so far."""
        self._first = True

    def __call__(
        self, frame: np.ndarray, out: np.ndarray | None = None, colours: np.ndarray | None = None
    ) -> np.ndarray:
        """Stylise the next frame of the film, into `out` of its shape, uint8, if given.

        `colours`: the `PlaneFormat.samples` of a frame of planes, where they are known already.

        Raises:
            UserError: it is no such picture, too small or too large, or of another size than the frame before.
        """
        if self.info.planes:
            assert frame.dtype == np.uint8 and frame.ndim == 2, (frame.dtype, frame.shape)
            height, width = planes_of(frame)[0].shape
        elif frame.dtype != np.uint8 or frame.ndim != 3 or frame.shape[2] != 3:
            raise UserError(f"frame {frame.shape} {frame.dtype}: a frame is (height, width, 3) uint8 RGB")
        else:
            height, width = frame.shape[:2]
        self.fit(height, width)
        frame = np.ascontiguousarray(frame)
        motion = None if self._motion is None else self._motion.follow(frame, self._first)
        if self._grain is not None:
            places = self.info.grain_shape(*self.info.bordered(height, width))[1:3]
            about = (frame,) if motion is None else (motion, self._motion.cell(frame))
            self._grained = self._grain(*about, self._first, self.info.border, places)
        if self.info.toned:
            self._toned = self._tone(self._planes.samples(frame) if colours is None else colours, self._first)
        elif self._tone is not None:
            frame = self._tone(frame, self._first)
        self._bordered = add_border(frame, self.info, self._bordered)
        self._out = out = np.empty_like(frame) if out is None else out
        image = self._run(self._bordered, self._first)[0]
        first, self._first = self._first, False
        if self._motion is not None:
            self._motion.accumulate(image[:height, :width], out)
        else:
            self._crop(image, out)
        if self._grade is not None:
            np.copyto(out, self._grade(out, first))
        return out

    def _crop(self, image: np.ndarray, out: np.ndarray) -> None:
        """What the graph gave, without its border, into `out`, if it is not there."""
        if np.may_share_memory(image, out):
            return
        parts = zip(planes_of(image), planes_of(out), strict=True) if self.info.planes else [(image, out)]
        for given, target in parts:
            np.copyto(target, given[: target.shape[0], : target.shape[1]])

    def fit(self, height: int, width: int) -> None:
        """Get ready for frames of this size, which the first frame of a film does by itself.

        Raises:
            UserError: it is too small, needs more memory than is free, or is not the size of the film under way.
        """
        if (height, width) == self._size:
            return
        if not self._first:
            before = f"{self._size[1]}x{self._size[0]}"
            raise UserError(f"frame of {width}x{height} after one of {before}: a new size starts with reset()")
        if min(height, width) < MIN_SIDE:
            raise UserError(f"frame of {width}x{height}: scale it up to at least {MIN_SIDE} on each side")
        self._check_memory(height, width)
        sides = self.info.bordered(height, width)
        if self.info.grain:
            self._grained = np.full(self.info.grain_shape(*sides), NONE, np.uint8)
        self._prepare(height, width)
        self._bordered = self._host_buffer(self.info.image_shape(*sides))
        self._size = (height, width)

    @abstractmethod
    def describe(self) -> str:
        """One line on what computes, and where."""

    @abstractmethod
    def _prepare(self, height: int, width: int) -> None:
        """Get ready for a film of frames of another size."""

    @abstractmethod
    def _run(self, bordered: np.ndarray, first: bool) -> np.ndarray:
        """The frame graph: (1, H', W', 3) uint8, or planes (1, 3 H' / 2, W'), to the same without border.

        The next call may overwrite its result.
        """

    def read_state(self) -> list[Tensor]:
        """The memory after the last frame, where it lies; the next frame may overwrite it."""
        return self._state

    @torch.inference_mode()
    def load_state(self, state: list[Tensor]) -> None:
        """Take another memory, of the same shapes, for the next frame. It is copied."""
        for kept, given in zip(self.read_state(), state, strict=True):
            kept.copy_(given)

    @property
    def film(self) -> list[Tensor]:
        """What tone, grade, grain and motion know of the film so far, beside the state: moments of the first two, the
        tensors of the grain, and those of the motion with the picture before, as far as there are such. Set it to go
        on; it is copied.
        """
        tones = [tone for tone in (self._tone, self._grade) if tone is not None]
        moments = [tone.moments for tone in tones if tone.moments is not None]
        grain = [] if self._grain is None else self._grain.state or ()
        return [*moments, *grain, *([] if self._motion is None else self._motion.film)]

    @film.setter
    def film(self, film: list[Tensor]) -> None:
        kept = [tensor.clone() for tensor in film]
        for tone in (self._tone, self._grade):
            if tone is not None:
                tone.moments = kept.pop(0)
        if self._motion is not None and kept:
            self._motion.film, kept = kept[-4:], kept[:-4]
        if self._grain is not None:
            self._grain.state = tuple(kept)

    @property
    def grain_strength(self) -> float:
        """How much of its noise the network is given, 0 to 1; without any, flat regions stay flat. May be set."""
        return self._grain_strength

    @grain_strength.setter
    def grain_strength(self, strength: float) -> None:
        self._grain_strength = strength
        for engine in self._of_planes.values():
            engine.grain_strength = strength
        if self._noise_source is not None:
            self._noise_source.strength = strength

    @property
    def bytes_per_pixel(self) -> float:
        """Bytes for each pixel of the bordered frame, estimated; 0 if nobody knows."""
        return self.memory_factor * self.info.bytes_per_pixel

    def tile_that_fits(self, free: int) -> int:
        """Side of the largest of `TILES` whose window needs no more than half of `free` bytes; 0 for none."""
        around = 2 * overlap(self.info)
        return next((side for side in TILES if self.bytes_per_pixel * (side + around) ** 2 <= free / 2), 0)

    def _check_memory(self, height: int, width: int) -> None:
        rows, columns = self.info.bordered(height, width)
        needed, free = self.bytes_per_pixel * rows * columns, free_bytes(self.device)
        if free is None or needed <= free:
            return
        fits = self.tile_that_fits(free)
        whole = self.info.reach == WHOLE_FRAME or not fits
        remedy = "scale it down" if whole else f"tile={fits} paints it in parts, with the same result"
        raise UserError(
            f"frame of {width}x{height}: it needs {needed / 1e9:.1f} GB on {self.device} and {free / 1e9:.1f} GB are "
            f"free; {remedy}"
        )

    def _unpacked(self, image: np.ndarray) -> np.ndarray:
        """What the graph gave as pixels without border, where the frame goes if they fit, or where the next frame may
        overwrite them.
        """
        if not self.info.cell:
            return image
        sides = (side * self.info.cell - 2 * self.info.border for side in image.shape[1:3])
        shape = self.info.image_shape(*sides)
        if self._out is not None and self._out.flags.c_contiguous and self._out[None].shape == shape:
            unpack(image, self._out[None], self.info)
            return self._out[None]
        if self._flat is None or self._flat.shape != shape:
            self._flat = np.empty(shape, np.uint8)
        unpack(image, self._flat, self.info)
        return self._flat

    def _host_buffer(self, shape: tuple[int, ...]) -> np.ndarray:
        return np.empty(shape, np.uint8)


def overlap(info: GraphInfo) -> int:
    """Pixels around a tile that have to be seen to paint it; a multiple of the stride."""
    around = max(info.reach, info.border)  # what a graph takes off its frame as the border has to be there as well
    return around + -around % info.stride


def require(module: str, why: str) -> ModuleType:
    """Import an optional package. Raises UserError with the command that installs it."""
    try:
        return import_module(module)
    except ImportError as error:
        extra = EXTRAS[module]
        raise UserError(
            f"{why} needs the package {module}: pip install 'vst[{extra}]' (or pip install {module})"
        ) from error
