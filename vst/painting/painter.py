"""Paints a film frame by frame as a `Look` says, with one or several engines."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from math import ceil, lcm

import cv2
import numpy as np
import torch

from vst.errors import UserError
from vst.memory import load_memory, read_memory
from vst.painting.calm import StillnessFilter, follow
from vst.painting.color import pulled_to_palette, with_chroma_of
from vst.painting.detail import GuidedUpsampling
from vst.painting.look import LARGEST, Look, finest_stroke, painted_size
from vst.painting.panorama import Wrapped, resized
from vst.painting.planes import PlanePainter
from vst.pipeline import FrameEngine
from vst.planes import PlaneFormat
from vst.runtime.engine import MIN_SIDE
from vst.video.splice import blacken

_log = logging.getLogger(__name__)


class Painter:
    """Paints each frame in the present `look`. Is itself a `FrameEngine`: `stylize_video` takes one.

        painter = Painter({"scream": open_engine("scream.pt"), "wave": open_engine("wave.pt")}, Look(strength=0.7))

    A look may be assigned at any time and from any thread; it takes effect at the next frame. A style that comes in
    starts with a fresh memory, and so do all at a change of `stroke`. A frame is painted at the `painted_size` of what
    the networks have learned, whatever its own: the same film looks the same at every size.

    Args:
        engines: style -> engine, each with a memory of its own.
        look: to begin with.
        timeline: seconds -> look, asked by `at`, which assigns it.
        wrap: left and right border are neighbours, as in an equirectangular panorama; for engines of `vst.runtime`.

    Attributes:
        styles: the names of the engines.

    Raises:
        UserError: there is no engine, a look has a value out of range or a style that is not there, or an engine cannot
            wrap.
    """

    def __init__(
        self,
        engines: Mapping[str, FrameEngine],
        look: Look | None = None,
        timeline: Callable[[float], Look] | None = None,
        wrap: bool = False,
    ) -> None:
        if not engines:
            raise UserError("a painter needs at least one style")
        self.styles = tuple(engines)
        self._wrap = wrap
        self._voices = {name: _Voice(Wrapped(engine) if wrap else engine) for name, engine in engines.items()}
        self._stride = lcm(*(voice.engine.stride for voice in self._voices.values())) if wrap else 1
        learned = [learned_side(engine) for engine in engines.values()]
        self._short_side = 0 if 0 in learned else max(learned)
        self._stillness = StillnessFilter(wrap)
        self._enlarge = GuidedUpsampling(wrap)
        self._timeline = timeline
        self._border: np.ndarray | None = None
        self._running: tuple[str, ...] = ()
        self._size = (0, 0)
        self._told: tuple[tuple[int, int], float] | None = None
        self.look = Look() if look is None else look
        self.at(0.0)

    @property
    def look(self) -> Look:
        """The look of the next frame."""
        return self._look

    @look.setter
    def look(self, look: Look) -> None:
        self._look = look.checked(self.styles)

    def at(self, seconds: float) -> None:
        """Say when in the film the next frame is shown, for the timeline."""
        if self._timeline is not None:
            self.look = self._timeline(seconds)

    def keep_black(self, border: np.ndarray | None) -> None:
        """Say how much of each pixel of the next frame is a black border, (H, W) uint8, which is not painted."""
        self._border = border

    @property
    def keeps_view(self) -> bool:
        """It shows all of the frame and nothing besides."""
        return True

    def output_size(self, width: int, height: int) -> tuple[int, int]:
        """(width, height) of what becomes of a frame of this size: the same."""
        return width, height

    def alpha_of(self, alpha: np.ndarray) -> np.ndarray:
        """The alpha of what becomes of a frame with this one: the same."""
        return alpha

    def for_planes(self, planes: PlaneFormat, size: tuple[int, int]) -> PlanePainter | None:
        """Paints frames of planes of this `size` (width, height) in the present look; None where that needs RGB.

        That is a frame that is not painted smaller, a panorama, a timeline, or a look that is not `Look.plain`. It
        shares the engine and its memory with this painter, and does not follow its look.
        """
        width, height = self._inner_size(*size, self._look.stroke)
        if not self._look.plain or self._wrap or self._timeline is not None or width * height >= size[0] * size[1]:
            return None
        return PlanePainter(self._voices[self._look.style or self.styles[0]].engine, planes, (width, height))

    def reset(self) -> None:
        """A new scene: every memory forgets."""
        self._running = ()
        self._stillness.reset()

    def __call__(self, frame: np.ndarray, out: np.ndarray | None = None) -> np.ndarray:
        """Paint the next frame (H, W, 3) uint8 RGB, upright, into `out` if given.

        Raises:
            UserError: an engine refuses the frame: smaller than 16 pixels on a side, or too large for the memory.
        """
        look = self._look
        out = np.empty_like(frame) if out is None else out
        if look.strength == 0:
            self.reset()  # a style that fades in later starts afresh
            np.copyto(out, frame)
            return out
        painted = self._paint(frame, look)
        if look.palette and look.palette_strength > 0:
            painted = pulled_to_palette(painted, look.palette, look.palette_strength)
        if look.preserve_color > 0:
            painted = with_chroma_of(painted, frame, look.preserve_color)
        if self._border is not None:
            blacken(painted, self._border)
        if look.strength < 1:
            return cv2.addWeighted(painted, look.strength, frame, 1 - look.strength, 0, dst=out)
        np.copyto(out, painted)
        return out

    def _paint(self, frame: np.ndarray, look: Look) -> np.ndarray:
        shares = self._shares(look)
        height, width = frame.shape[:2]
        self._tell_finest((width, height), look.stroke)
        self._start(shares, self._inner_size(width, height, look.stroke))
        image = resized(frame, *self._size, self._wrap)
        new = self._stillness(image, look.calm) if look.calm > 0 else None
        if new is None:
            self._stillness.reset()
        first, *others = (self._voices[name](image, new) for name in shares)
        for share, other in zip(list(shares.values())[1:], others, strict=True):
            first = cv2.addWeighted(first, 1 - share, other, share, 0)
        if image.shape[0] * image.shape[1] < width * height:
            return self._enlarge(first, image, frame)
        return resized(first, width, height, self._wrap)

    def _shares(self, look: Look) -> dict[str, float]:
        """Style -> share of it in the picture, for those that have one."""
        style = look.style or self.styles[0]
        other, share = look.blend or (style, 0.0)
        if other == style or share == 0:
            return {style: 1.0}
        return {other: 1.0} if share == 1 else {style: 1 - share, other: share}

    def _inner_size(self, width: int, height: int, stroke: float) -> tuple[int, int]:
        across, down = painted_size((width, height), stroke, self._short_side)
        least = MIN_SIDE if across < width else 0  # a small frame is refused by the engine, which says why
        return max(round(across / self._stride), ceil(least / self._stride)) * self._stride, max(round(down), least)

    def _tell_finest(self, size: tuple[int, int], stroke: float) -> None:
        """Say once of each size and stroke that the strokes cannot be as fine."""
        if self._told == (size, stroke):
            return
        self._told = size, stroke
        finest = finest_stroke(size, self._short_side)
        if stroke < finest:
            width, height = size
            told = "stroke    %g: frames of %dx%d are painted at %g times that at most, which is stroke=%.3g"
            _log.info(told, stroke, width, height, LARGEST, finest)

    def _start(self, shares: dict[str, float], size: tuple[int, int]) -> None:
        if size != self._size:
            self.reset()
            self._size = size
        for name in shares:
            if name not in self._running:
                self._voices[name].reset()
        self._running = tuple(shares)

    def read_state(self) -> list[np.ndarray]:
        """Copies of all that the next frame depends on, besides itself and the look; nothing after `reset`.

        Raises:
            UserError: an engine is none of `vst.runtime`, whose memory can be read.
        """
        if not self._running:
            return []
        still = [] if self._stillness.kept is None else [self._stillness.kept.copy()]
        states = {self.styles.index(name): self._voices[name].read_state() for name in self._running}
        lengths = [number for index, state in states.items() for number in (index, len(state))]
        return [np.array([*self._size, len(still), *lengths]), *still, *(a for state in states.values() for a in state)]

    def load_state(self, arrays: Sequence[np.ndarray | torch.Tensor]) -> None:
        """Go on after the frame at which a painter of the same engines gave `arrays` by `read_state`."""
        self.reset()
        if not arrays:
            return
        width, height, still, *lengths = (int(number) for number in arrays[0])
        rest = [torch.as_tensor(array).numpy().copy() for array in arrays[1:]]
        self._size = (width, height)
        self._stillness.kept = rest.pop(0) if still else None
        self._running = tuple(self.styles[index] for index in lengths[::2])
        for name, length in zip(self._running, lengths[1::2], strict=True):
            self._voices[name].load_state(rest[:length], self._size)
            del rest[:length]
        assert not rest, len(rest)


def learned_side(engine: object) -> int:
    """Short side of the frames that an engine or a stylizer has learned to paint, pixels; 0 where nothing says it."""
    return getattr(getattr(engine, "info", engine), "short_side", 0) or 0


class _Voice:
    """One style: its engine, and what it showed last where frames are held still."""

    def __init__(self, engine: FrameEngine) -> None:
        self.engine = engine
        self._kept: np.ndarray | None = None
        self._buffer = np.empty((0, 0, 3), np.uint8)

    def reset(self) -> None:
        self.engine.reset()
        self._kept = None

    def __call__(self, image: np.ndarray, new: np.ndarray | None) -> np.ndarray:
        """Paint (H, W, 3) uint8; `new` (H, W) float32 is how much of the painting is taken, None for all.

        The next call may overwrite the result.
        """
        if self._buffer.shape != image.shape:
            self._buffer = np.empty_like(image)
        painted = self.engine(image, out=self._buffer)
        if new is None:
            self._kept = None
            return painted
        self._kept = painted.astype(np.float32) if self._kept is None else follow(self._kept, painted, new)
        return cv2.convertScaleAbs(self._kept)

    def read_state(self) -> list[np.ndarray]:
        """The painting that is held, empty for none, and the memory of the engine."""
        if not hasattr(self.engine, "read_state"):
            raise UserError(f"{type(self.engine).__name__}: its memory cannot be read; use vst.runtime.open_engine")
        held = np.empty((0, 0, 3), np.float32) if self._kept is None else self._kept.copy()
        return [held, *read_memory(self.engine)]

    def load_state(self, arrays: list[np.ndarray], size: tuple[int, int]) -> None:
        self.reset()
        held, *memory = arrays
        width, height = size
        # Only an engine that has painted a frame has a memory to take; what it painted is not looked at.
        self(np.zeros((height, width, 3), np.uint8), None)
        load_memory(self.engine, memory)
        self._kept = held if held.size else None
