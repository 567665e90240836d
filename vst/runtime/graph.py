"""A stylizer as the graph of one frame: bytes in, bytes out, the memory as named inputs and outputs.

This is what engines compile and export. The graph takes a frame whose border is there already (`add_border`): a border
of bytes costs a tenth of one of floats inside the graph, and sides that are multiples of the stride are all that the
tracing of dynamic shapes has to know.
"""

from __future__ import annotations

import copy
from dataclasses import asdict, dataclass, fields, replace

import cv2
import numpy as np
import torch
from torch import Tensor, nn

from vst.errors import UserError
from vst.networks.layers import LocalContrast, SeparableFilter
from vst.networks.stylizer import PADDING, Stylizer
from vst.runtime.footprint import WHOLE_FRAME, peak_bytes, reach

LAYOUT = "uint8 RGB, 0 to 255, (1, height, width, 3)"


@dataclass(frozen=True)
class GraphInfo:
    """What an engine has to know of a graph, kept in the metadata of exported files.

    `states` are the channels of each tensor of the memory, (1, channels, h, w) with h and w the sides of the bordered
    frame over `stride`. The frame gets `border` reflected pixels on each side and more at the right and the bottom, up
    to a multiple of `stride`; the result is the middle, without `border`. `reach` is how many pixels a place of the
    result, or of the memory, looks at to each side (`WHOLE_FRAME` for all), and `bytes_per_pixel` of the bordered frame
    are what torch needs for it in float32; 0 says that nobody knows.
    """

    states: tuple[int, ...]
    stride: int
    border: int
    style: str = ""
    version: str = ""
    precision: str = "float32"
    reach: int = WHOLE_FRAME
    bytes_per_pixel: int = 0

    @property
    def inputs(self) -> list[str]:
        """Names of the inputs, in order. `first` and the states are left out of a graph without memory."""
        return ["frame", *(["first"] if self.states else []), *(f"state_{i}" for i in range(len(self.states)))]

    @property
    def outputs(self) -> list[str]:
        """Names of the outputs, in order."""
        return ["image", *(f"next_state_{i}" for i in range(len(self.states)))]

    def bordered(self, height: int, width: int) -> tuple[int, int]:
        """(height, width) of a frame with its border."""
        return tuple(side + 2 * self.border + (-side - 2 * self.border) % self.stride for side in (height, width))

    def state_shapes(self, height: int, width: int) -> list[tuple[int, int, int, int]]:
        """Shapes of the states of a frame of this size, without its border."""
        rows, columns = (side // self.stride for side in self.bordered(height, width))
        return [(1, channels, rows, columns) for channels in self.states]

    def to_metadata(self) -> dict[str, str]:
        """Strings for the metadata of a file."""
        given = {f"vst_{key}": str(value) for key, value in asdict(self).items()}
        given["vst_states"] = ",".join(map(str, self.states))
        names = {"vst_inputs": ",".join(self.inputs), "vst_outputs": ",".join(self.outputs)}
        return given | names | {"vst_frame": LAYOUT, "vst_padding": "reflect"}

    @classmethod
    def from_metadata(cls, metadata: dict[str, str], source: object) -> GraphInfo:
        """Read `to_metadata`. Raises UserError for a file that is not of vst."""
        names = [field.name for field in fields(cls)]
        if any(f"vst_{name}" not in metadata for name in names):
            raise UserError(f"{source}: a model, but not one that vst has exported; make one with export.py")
        text = {name: metadata[f"vst_{name}"] for name in names}
        states = tuple(int(channels) for channels in text["states"].split(",") if channels)
        numbers = {name: int(text[name]) for name in ("stride", "border", "reach", "bytes_per_pixel")}
        return cls(**text | numbers | {"states": states})


def add_border(frame: np.ndarray, info: GraphInfo, out: np.ndarray | None = None) -> np.ndarray:
    """(H, W, 3) uint8 -> (1, H', W', 3), into `out` if given; as `Stylizer` pads in eval mode."""
    height, width = frame.shape[:2]
    rows, columns = info.bordered(height, width)
    below, right = rows - height - info.border, columns - width - info.border
    # Reflection needs more pixels than it adds.
    mode = cv2.BORDER_REFLECT_101 if max(below, right) < min(height, width) else cv2.BORDER_REPLICATE
    target = None if out is None else out[0]
    return cv2.copyMakeBorder(frame, info.border, below, info.border, right, mode, dst=target)[None]


class FrameGraph(nn.Module):
    """`forward(frame, first, *state) -> (image, *state)` of a stylizer in eval mode.

    `frame` is (1, H', W', 3) uint8 with its border, `image` (1, H' - 2 border, W' - 2 border, 3) uint8. `first`, bool
    (1,), says that the film starts here or after a cut: the state is then not looked at. A stylizer without memory has
    neither `first` nor states.

    Args:
        stylizer: is copied, and stays as it is.
        dtype: of the convolutions of the network; pixels and their statistics are always float32, because the
            difference of nearly equal squares that the local contrast rests on vanishes in half precision.
    """

    def __init__(
        self, stylizer: Stylizer, style: str = "", version: str = "", dtype: torch.dtype = torch.float32
    ) -> None:
        super().__init__()
        stylizer = copy.deepcopy(stylizer).eval().requires_grad_(False)
        self.generator, self.temporal = stylizer.generator, stylizer.temporal
        self.info = GraphInfo(self._channels_of_states(), self.generator.stride, PADDING, style, version)
        looks = reach(self.generator, self.temporal, self.info.states)
        self.info = replace(self.info, reach=looks, bytes_per_pixel=self._bytes_per_pixel())
        if dtype != torch.float32:
            _lower(self, dtype)

    def forward(self, frame: Tensor, *memory: Tensor) -> tuple[Tensor, ...]:
        pixels = frame.permute(0, 3, 1, 2).to(torch.float32) * (1 / 255)
        features = self.generator.encode(pixels)
        first, state = (memory[0].view(1, 1, 1, 1), memory[1:]) if memory else (None, ())
        features, after = self.temporal(features, state, first)
        image = self.generator.decode(features, pixels)
        border = self.info.border
        image = image[:, :, border:-border, border:-border]
        image = (image.clamp(0, 1) * 255).round().to(torch.uint8)
        return image.permute(0, 2, 3, 1), *(new.to(old.dtype) for new, old in zip(after, state, strict=True))

    def zeros(self, height: int, width: int, device: torch.device | str = "cpu") -> tuple[Tensor, ...]:
        """States for a frame of this size that nothing will look at."""
        return tuple(
            torch.zeros(s, device=device, dtype=self.state_dtype) for s in self.info.state_shapes(height, width)
        )

    @property
    def state_dtype(self) -> torch.dtype:
        return next((p.dtype for p in self.temporal.parameters()), torch.float32)

    @torch.inference_mode()
    def _channels_of_states(self) -> tuple[int, ...]:
        side = 16 * self.generator.stride
        features = self.generator.encode(torch.zeros(1, 3, side, side))
        _, states = self.temporal(features, None)
        assert all(state.shape[2:] == features.shape[2:] for state in states), [state.shape for state in states]
        return tuple(state.shape[1] for state in states)

    def _bytes_per_pixel(self) -> int:
        side = 32 * self.generator.stride
        first = [torch.tensor([False])] if self.info.states else []
        states = self.zeros(side - 2 * self.info.border, side - 2 * self.info.border)
        return round(peak_bytes(self, torch.zeros(1, side, side, 3, dtype=torch.uint8), *first, *states) / side**2)


class _LowPrecision(nn.Module):
    """A convolution in another data type, whatever it is given."""

    def __init__(self, convolution: nn.Conv2d, dtype: torch.dtype) -> None:
        super().__init__()
        self.convolution, self.dtype = convolution.to(dtype), dtype

    def forward(self, x: Tensor) -> Tensor:
        return self.convolution(x.to(self.dtype))


def _lower(module: nn.Module, dtype: torch.dtype) -> None:
    for name, child in module.named_children():
        if isinstance(child, nn.Conv2d):
            setattr(module, name, _LowPrecision(child, dtype))
        elif not isinstance(child, LocalContrast | SeparableFilter):
            _lower(child, dtype)
