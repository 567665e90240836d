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
from vst.networks.flow_grain import FlowGrain
from vst.networks.grain import STEPS
from vst.networks.stylizer import PADDING, Stylizer
from vst.planes import PlaneFormat, planes_of
from vst.runtime.cells import form_of, lowered, to_cells, to_pixels
from vst.runtime.footprint import WHOLE_FRAME, peak_bytes, reach
from vst.runtime.grain import NONE
from vst.runtime.tone import TONE_CHANNELS, is_affine, tone_values
from vst.runtime.wire import MIDDLE

LAYOUT = "uint8 RGB, 0 to 255, (1, height, width, 3)"


@dataclass(frozen=True)
class GraphInfo:
    """What an engine has to know of a graph, kept in the metadata of exported files.

    `states` are the channels of each tensor of the memory, (1, channels, h, w) with h and w the sides of the bordered
    frame over `stride`. The frame gets `border` reflected pixels on each side and more at the right and the bottom, up
    to a multiple of `stride`; the result is the middle, without `border`. `reach` is how many pixels a place of the
    result, or of the memory, looks at to each side (`WHOLE_FRAME` for all), and `bytes_per_pixel` of the bordered frame
    are what torch needs for it in float32; 0 says that nobody knows. `tone` (`vst.runtime.tone`) is what happens to a
    frame before it gets its border; () for nothing. With a `cell` of 0 the frame is (1, H', W', 3) and the result
    cropped; else both are cells of so many pixels a side, (1, H' / cell, W' / cell, 3 cell^2) with the channels in the
    order (row, column, colour), and the border is still there. `planes`: the cells are of frames of planes
    (`vst.planes`), (1, H' / cell, W' / cell, 3/2 cell^2) with the rows of Y, of U and of V after each other. A tone is
    then not applied to the frame but given to the graph, `tone` (N, C) with C the channels of the frame, which are
    `TONE_CHANNELS` more (`vst.runtime.tone.PlaneTone`). `grain` channels of noise, 0 for none, come with a frame as
    `grain` (1, H' / grain_cell, W' / grain_cell, grain) uint8 (`vst.runtime.grain`), drawn out by `grain_streak`.

    What the graph does not know of stands here for those who run it: the estimator of `motion` ("" for none), the
    `motion_rows` that it sees and the `history` that pictures accumulate (`vst.runtime.motion`); `grain_flows` if the
    motion carries the grain, which else follows the camera; and the `short_side` of the frames that it has learned to
    paint, 0 for any; and `grade`, what happens to the picture after all of this, () for nothing.
    """

    states: tuple[int, ...]
    stride: int
    border: int
    style: str = ""
    version: str = ""
    precision: str = "float32"
    reach: int = WHOLE_FRAME
    bytes_per_pixel: int = 0
    tone: tuple[float, ...] = ()
    cell: int = 0
    planes: bool = False
    grain: int = 0
    grain_cell: int = 0
    grain_streak: int = 0
    grain_flows: bool = False
    motion: str = ""
    motion_rows: int = 0
    history: float = 0.0
    short_side: int = 0
    grade: tuple[float, ...] = ()

    @property
    def inputs(self) -> list[str]:
        """Names of the inputs, in order. `first` and the states are left out of a graph without memory."""
        first, grain, tone = (["first"] * bool(self.states), ["grain"] * bool(self.grain), ["tone"] * self.toned)
        return ["frame", *first, *self.state_inputs, *grain, *tone]

    @property
    def state_inputs(self) -> list[str]:
        """Names of the inputs that are the memory, in order."""
        return [f"state_{i}" for i in range(len(self.states))]

    @property
    def toned(self) -> bool:
        """Whether the graph itself gives its frames their tone."""
        return self.planes and bool(self.tone)

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

    def frame_shape(self, rows: int, columns: int) -> tuple[int, int, int, int]:
        """Shape of the graph's frame, from the sides of the bordered one."""
        side = self.cell or 1
        channels = 3 * side**2 // (2 if self.planes else 1)
        return 1, rows // side, columns // side, channels + (TONE_CHANNELS if self.toned else 0)

    def grain_shape(self, rows: int, columns: int) -> tuple[int, int, int, int]:
        """Shape of the graph's grain, from the sides of the bordered frame."""
        return 1, rows // self.grain_cell, columns // self.grain_cell, self.grain

    @property
    def tone_shape(self) -> tuple[int, int]:
        """Shape of the input `tone`."""
        return 7 * self.cell**2 // 4, self.frame_shape(self.cell, self.cell)[3]

    def image_shape(self, rows: int, columns: int) -> tuple[int, ...]:
        """Shape of an image of these sides outside of the graph: RGB, or planes."""
        return (1, rows * 3 // 2, columns) if self.planes else (1, rows, columns, 3)

    def to_metadata(self) -> dict[str, str]:
        """Strings for the metadata of a file."""
        given = {f"vst_{key}": str(value) for key, value in asdict(self).items()}
        for name in ("states", "tone", "grade"):
            given[f"vst_{name}"] = ",".join(map(str, getattr(self, name)))
        names = {"vst_inputs": ",".join(self.inputs), "vst_outputs": ",".join(self.outputs)}
        return given | names | {"vst_frame": LAYOUT, "vst_padding": "reflect"}

    @classmethod
    def from_metadata(cls, metadata: dict[str, str], source: object) -> GraphInfo:
        """Read `to_metadata`. Raises UserError for a file that is not of vst."""
        names = [field.name for field in fields(cls)]
        if "vst_version" in metadata and any(f"vst_{name}" not in metadata for name in names):
            raise UserError(f"{source}: exported by an older vst, which said less of its files; export it again")
        if any(f"vst_{name}" not in metadata for name in names):
            raise UserError(f"{source}: a model, but not one that vst has exported; make one with export.py")
        text = {name: metadata[f"vst_{name}"] for name in names}
        states = tuple(int(channels) for channels in text["states"].split(",") if channels)
        tones = {name: tuple(float(value) for value in text[name].split(",") if value) for name in ("tone", "grade")}
        numbers = {
            name: int(text[name])
            for name in ("stride", "border", "reach", "bytes_per_pixel", "cell", "grain", "grain_cell", "grain_streak")
        }
        numbers |= {name: int(text[name]) for name in ("motion_rows", "short_side")}
        numbers |= {"history": float(text["history"])}
        flags = {name: text[name] == str(True) for name in ("planes", "grain_flows")}
        return cls(**text | numbers | flags | tones | {"states": states})


def add_border(frame: np.ndarray, info: GraphInfo, out: np.ndarray | None = None) -> np.ndarray:
    """(H, W, 3) uint8 -> (1, H', W', 3), into `out` if given; as `Stylizer` pads in eval mode. Or planes to planes."""
    if not info.planes:
        target = None if out is None else out[0]
        return _bordered(frame, info.border, *info.bordered(*frame.shape[:2]), target)[None]
    assert out is not None
    for plane, target in zip(planes_of(frame), planes_of(out[0]), strict=True):
        border = info.border if target.shape[1] == out.shape[2] else info.border // 2
        _bordered(plane, border, *target.shape, target)
    return out


def _bordered(image: np.ndarray, border: int, rows: int, columns: int, out: np.ndarray | None) -> np.ndarray:
    height, width = image.shape[:2]
    below, right = rows - height - border, columns - width - border
    # Reflection needs more pixels than it adds.
    mode = cv2.BORDER_REFLECT_101 if max(below, right) < min(height, width) else cv2.BORDER_REPLICATE
    return cv2.copyMakeBorder(image, border, below, border, right, mode, dst=out)


def blank_cells(info: GraphInfo, rows: int, columns: int) -> np.ndarray:
    """Cells for `pack`, from the sides of the bordered frame, with the channels that it leaves alone."""
    cells = np.full(info.frame_shape(rows, columns), MIDDLE, np.uint8)
    if info.toned:
        cells[..., -TONE_CHANNELS : 2 - TONE_CHANNELS] = MIDDLE + 1
    return cells


def pack(bordered: np.ndarray, cells: np.ndarray, info: GraphInfo) -> None:
    """Copy (1, H', W', 3) uint8, or planes (1, 3 H' / 2, W'), into cells (1, h, w, channels)."""
    if info.planes and info.cell == 4:
        _pack_words(bordered[0], cells[0])
        return
    for pixels, places in _pieces(bordered[0], cells[0], info):
        np.copyto(places.swapaxes(1, 2), pixels)


def _pack_words(planes: np.ndarray, cells: np.ndarray) -> None:
    """The same for planes in cells of 4 x 4 pixels by OpenCV, in words of four bytes: twice as fast."""
    y, u, v = planes_of(planes)
    words = _rows(y, 4, np.int32)
    words += [cv2.merge(_rows(chroma, 2, np.int16)).view(np.int32)[..., 0] for chroma in (u, v)]
    places = [channel for pair in enumerate(range(len(words))) for channel in pair]
    cv2.mixChannels(words, [cells.view(np.int32)], places)


def _rows(plane: np.ndarray, rows: int, word: type) -> list[np.ndarray]:
    """The first, second ... row of each cell of so many rows, (h, w) words each."""
    cells = plane.reshape(-1, rows, plane.shape[1]).view(word)
    return [cells[:, row] for row in range(rows)]


def unpack(cells: np.ndarray, image: np.ndarray, info: GraphInfo) -> None:
    """Copy cells without their border, a multiple of the cell, into (1, H' - 2 border, W' - 2 border, 3), or planes."""
    kept = info.border // info.cell
    for pixels, places in _pieces(image[0], cells[0, kept:-kept, kept:-kept], info):
        np.copyto(pixels, places.swapaxes(1, 2))


def _pieces(image: np.ndarray, cells: np.ndarray, info: GraphInfo) -> list[tuple[np.ndarray, np.ndarray]]:
    """The pieces of rows of an image, (h, rows of a cell, w), and the same pieces in its cells, (h, w, rows of a cell).

    A piece is copied whole; of planes there are three such pairs.
    """
    found, begin = [], 0
    for plane in planes_of(image) if info.planes else [image]:
        height, width = plane.shape[0] // len(cells), plane[0].size // cells.shape[1]  # of a piece of this plane
        rows = plane.reshape(len(cells), height, -1).view(f"V{width}")
        places = cells[:, :, begin : begin + height * width].view(f"V{width}")
        found.append((rows, places))
        begin += height * width
    return found


class FrameGraph(nn.Module):
    """`forward(frame, first, *state, grain, tone) -> (image, *state)` of a stylizer in eval mode.

    `frame` is (1, H', W', 3) uint8 with its border, `image` (1, H' - 2 border, W' - 2 border, 3) uint8; or both are
    packed. `first`, bool (1,), says that the film starts here or after a cut: the state is then not looked at. A
    stylizer without memory has neither `first` nor states, one without grain has none, and only planes come with a tone
    (`GraphInfo.toned`).

    Args:
        stylizer: is copied, and stays as it is.
        dtype: of the convolutions of the network, and of all but its local contrast where it runs on cells.
        packed: take and give cells (`GraphInfo.cell`), if the generator runs on them. Moving the bytes of a frame is
            cheaper outside of the graph (`pack`, `unpack`).
        anchored: see `vst.runtime.cells.Cells`.
        planes: take and give the planes of this format, in cells, for generators on cells.
    """

    def __init__(
        self,
        stylizer: Stylizer,
        style: str = "",
        version: str = "",
        dtype: torch.dtype = torch.float32,
        *,
        packed: bool = False,
        anchored: bool = False,
        planes: PlaneFormat | None = None,
    ) -> None:
        super().__init__()
        stylizer = copy.deepcopy(stylizer).eval().requires_grad_(False)
        generator, self.temporal = stylizer.generator, stylizer.temporal
        grain = stylizer.grain
        states = self._channels_of_states(generator)
        looks = reach(generator, self.temporal, states)
        tone = tone_values(stylizer.tone)
        assert planes is None or is_affine(tone), "frames of planes have an affine tone"
        toned = planes is not None and bool(tone)
        self.form = form_of(generator, dtype, anchored, planes, toned).requires_grad_(False)
        self.temporal = lowered(self.temporal, dtype)
        cell = self.form.cell if packed else 0
        precision = str(dtype).removeprefix("torch.")
        assert planes is None or cell, "planes come in cells"
        self.info = GraphInfo(
            states, generator.stride, PADDING, style, version, precision,
            reach=looks, tone=tone, cell=cell, planes=planes is not None, short_side=stylizer.short_side or 0,
            grade=tone_values(stylizer.grade),
        )  # fmt: skip
        if grain is not None:
            self.info = replace(self.info, grain=grain.channels, grain_cell=grain.cell, grain_streak=grain.streak)
            self.info = replace(self.info, grain_flows=isinstance(grain, FlowGrain))
        if (motion := stylizer.motion) is not None:
            assert planes is None, "pictures accumulate in RGB"
            self.info = replace(self.info, motion=motion.estimator, motion_rows=motion.rows, history=motion.history)
        self.info = replace(self.info, bytes_per_pixel=self._bytes_per_pixel())

    def forward(self, frame: Tensor, *memory: Tensor) -> tuple[Tensor, ...]:
        inside = self.form.cell and not self.info.cell
        *memory, tone = memory if self.info.toned else (*memory, None)
        *memory, grain = memory if self.info.grain else (*memory, None)
        pixels = self.form.read(to_cells(frame, self.form.cell) if inside else frame, tone)
        first, state = (memory[0].view(1, 1, 1, 1), memory[1:]) if memory else (None, ())
        features, after = self.temporal(self.form.encode(pixels, self._noise(grain)), state, first)
        image = self.form.paint(features, pixels).clamp(0, 255).round().to(torch.uint8).permute(0, 2, 3, 1)
        if inside:
            image = to_pixels(image, self.form.cell)
        if not self.info.cell:
            border = self.info.border
            image = image[:, border:-border, border:-border]
        return image, *(new.to(old.dtype) for new, old in zip(after, state, strict=True))

    def _noise(self, grain: Tensor | None) -> Tensor | None:
        """(1, h, w, C) uint8 -> (1, C, h, w), exact in half precision."""
        return None if grain is None else ((grain.to(self.form.dtype) - NONE) * (1 / STEPS)).permute(0, 3, 1, 2)

    def zeros(self, height: int, width: int, device: torch.device | str = "cpu") -> tuple[Tensor, ...]:
        """States for a frame of this size that nothing will look at."""
        return tuple(
            torch.zeros(s, device=device, dtype=self.state_dtype) for s in self.info.state_shapes(height, width)
        )

    def blank_memory(self, height: int, width: int) -> tuple[Tensor, ...]:
        """What `forward` takes besides a frame of this size, for one that nobody will look at."""
        first = [torch.ones(1, dtype=torch.bool)] if self.info.states else []
        tone = [torch.zeros(self.info.tone_shape)] if self.info.toned else []
        shape = self.info.grain_shape(*self.info.bordered(height, width)) if self.info.grain else None
        grain = [torch.full(shape, NONE, dtype=torch.uint8)] if shape else []
        return (*first, *self.zeros(height, width), *grain, *tone)

    @property
    def state_dtype(self) -> torch.dtype:
        return next((p.dtype for p in self.temporal.parameters()), torch.float32)

    @torch.inference_mode()
    def _channels_of_states(self, generator: nn.Module) -> tuple[int, ...]:
        side = 16 * generator.stride
        features = generator.encode(torch.zeros(1, 3, side, side))
        _, states = self.temporal(features, None)
        assert all(state.shape[2:] == features.shape[2:] for state in states), [state.shape for state in states]
        return tuple(state.shape[1] for state in states)

    def _bytes_per_pixel(self) -> int:
        side = 32 * self.info.stride
        memory = self.blank_memory(side - 2 * self.info.border, side - 2 * self.info.border)
        frame = torch.zeros(self.info.frame_shape(side, side), dtype=torch.uint8)
        return round(peak_bytes(self, frame, *memory) / side**2)
