"""The face of all engines: a frame of bytes in, the stylised frame out, the memory within."""

from __future__ import annotations

from abc import ABC, abstractmethod
from importlib import import_module
from types import ModuleType

import numpy as np

from vst.errors import UserError
from vst.runtime.graph import GraphInfo, add_border

MIN_SIDE = 16

# Module -> the extra of pyproject.toml that brings it.
EXTRAS = {"onnx": "onnx", "onnxscript": "onnx", "onnxruntime": "onnx", "openvino": "openvino"}


class Engine(ABC):
    """Stylises a film frame by frame. `engine(frame) -> frame`, `engine.reset()` at its begin and at cuts.

    Frames are (H, W, 3) uint8 RGB, upright. An engine takes any size of 16 pixels or more on each side, the same one
    until the next `reset`.

    Attributes:
        name: what `open_engine` calls it.
        precision: `float32`, `bfloat16`, `float16` or `int8`.
        info: of its graph.
    """

    name: str

    def __init__(self, info: GraphInfo, precision: str) -> None:
        self.info, self.precision = info, precision
        self._size: tuple[int, int] | None = None
        self._first = True

    def reset(self) -> None:
        """Forget the frames so far."""
        self._first = True

    def __call__(self, frame: np.ndarray, out: np.ndarray | None = None) -> np.ndarray:
        """Stylise the next frame of the film, into `out` (H, W, 3) uint8 if given.

        Raises:
            UserError: it is no such picture, too small, or of another size than the frame before.
        """
        height, width = self._checked(frame)
        self._bordered = add_border(frame, self.info, self._bordered)
        image = self._run(self._bordered, self._first)[0, :height, :width]
        self._first = False
        if out is None:
            return image.copy()
        np.copyto(out, image)
        return out

    @abstractmethod
    def describe(self) -> str:
        """One line on what computes, and where."""

    @abstractmethod
    def _prepare(self, height: int, width: int) -> None:
        """Get ready for a film of frames of another size."""

    @abstractmethod
    def _run(self, bordered: np.ndarray, first: bool) -> np.ndarray:
        """The frame graph: (1, H', W', 3) uint8 to the same without border. The next call may overwrite its result."""

    def _host_buffer(self, shape: tuple[int, ...]) -> np.ndarray:
        return np.empty(shape, np.uint8)

    def _checked(self, frame: np.ndarray) -> tuple[int, int]:
        if frame.dtype != np.uint8 or frame.ndim != 3 or frame.shape[2] != 3:
            raise UserError(f"frame {frame.shape} {frame.dtype}: a frame is (height, width, 3) uint8 RGB")
        height, width = frame.shape[:2]
        if (height, width) != self._size:
            if not self._first:
                before = f"{self._size[1]}x{self._size[0]}"
                raise UserError(f"frame of {width}x{height} after one of {before}: a new size starts with reset()")
            if min(height, width) < MIN_SIDE:
                raise UserError(f"frame of {width}x{height}: scale it up to at least {MIN_SIDE} on each side")
            self._prepare(height, width)
            self._bordered = self._host_buffer((1, *self.info.bordered(height, width), 3))
            self._size = (height, width)
        return height, width


def require(module: str, why: str) -> ModuleType:
    """Import an optional package. Raises UserError with the command that installs it."""
    try:
        return import_module(module)
    except ImportError as error:
        extra = EXTRAS[module]
        raise UserError(
            f"{why} needs the package {module}: pip install 'vst[{extra}]' (or pip install {module})"
        ) from error
