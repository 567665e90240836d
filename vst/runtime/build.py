"""Engines by name, from a checkpoint or from an exported file."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import torch

import vst.networks
import vst.planes
import vst.runtime
from vst import cache
from vst.checkpoint import load_stylizer
from vst.errors import UserError, suggest
from vst.networks import Stylizer
from vst.planes import PlaneFormat
from vst.runtime.cells import on_cells
from vst.runtime.device_engine import DeviceEngine
from vst.runtime.engine import Engine
from vst.runtime.formats import write_onnx
from vst.runtime.graph import FrameGraph
from vst.runtime.onnx_engine import OnnxEngine
from vst.runtime.openvino_engine import OpenVinoEngine
from vst.runtime.tiled import TiledEngine
from vst.runtime.torch_engine import DTYPES, CompiledEngine, CudaGraphEngine, TorchEngine

_log = logging.getLogger(__name__)

TORCH_ENGINES = {engine.name: engine for engine in (TorchEngine, CompiledEngine, CudaGraphEngine)}
FILE_ENGINES = {".onnx": ("onnxruntime", "tensorrt", "openvino"), ".xml": ("openvino",)}
"""Ending of an exported file -> what runs it, the usual one first."""

PRECISIONS = {
    **dict.fromkeys(TORCH_ENGINES, ("float32", "bfloat16", "float16")),
    "onnxruntime": ("float32",),
    "tensorrt": ("float32", "float16"),
    "openvino": ("float32", "bfloat16"),
}
"""Engine -> what it can compute in. A file of int8 is int8 in any."""

ENGINES = tuple(PRECISIONS)


def open_engine(
    source: Stylizer | Path | str,
    engine: str | None = None,
    precision: str = "float32",
    device: torch.device | str | Sequence[torch.device | str] = "cpu",
    tile: int | Literal["auto"] = 0,
) -> Engine:
    """An engine that runs `source`: a stylizer, its checkpoint, or a .onnx or .xml file of export.py.

    An engine that needs another form than the source's gets it by an export into the user's cache folder (`vst.cache`),
    which is found again by its content.

    Args:
        engine: None for the usual one of the source (`usual_engine`).
        device: or several, which then share the tiles of each frame.
        tile: side in pixels of the tiles that a frame is painted in, which changes nothing in the result; 0 for the
            frame at once, `auto` for tiles only where the frame does not fit into memory.

    Raises:
        UserError: no such engine, or it cannot run this source, precision or device; or its package is missing.
    """
    devices = [device] if isinstance(device, torch.device | str) else list(device)
    if tile != "auto" and tile < 0:
        raise UserError(f"tile={tile}: give auto, 0 for no tiles, or the side of a tile in pixels")
    if len(devices) > 1 and tile == 0:
        raise UserError(f"device={[str(one) for one in devices]}: devices share tiles; choose tile=auto or a size")
    engine = engine or usual_engine(source)
    engines = [_open(source, engine, precision, torch.device(one)) for one in devices]
    if isinstance(engines[0], DeviceEngine) and tile == "auto":
        tile = 0  # it paints at one size, for which there is memory
    return TiledEngine(engines, None if tile == "auto" else tile) if tile else engines[0]


def usual_engine(source: Stylizer | Path | str) -> str:
    """The engine of a source for which none was chosen: an exported file names it by its kind, torch runs the rest."""
    suffix = "" if isinstance(source, Stylizer) else Path(source).suffix
    return FILE_ENGINES.get(suffix, ("torch",))[0]


def _open(source: Stylizer | Path | str, engine: str, precision: str, device: torch.device) -> Engine:
    file = source if isinstance(source, Path | str) else None
    suffix = Path(file).suffix if file is not None else ""
    check_choice(engine, precision, device, suffix)
    if engine in TORCH_ENGINES:
        stylizer = source if isinstance(source, Stylizer) else load_stylizer(file)
        packed = engine == "torch" and device.type == "cpu"  # elsewhere the device moves bytes faster
        graph = FrameGraph(stylizer, dtype=DTYPES[precision], packed=packed)
        if engine == "torch" and stylizer.motion is not None and device.type != "cpu":
            return DeviceEngine(stylizer, graph.info, precision, device)
        opened = TORCH_ENGINES[engine](graph, precision, device)
        if graph.info.cell:
            opened.open_planes_with(lambda planes: _torch_of_planes(stylizer, precision, device, planes))
        return opened
    if suffix not in FILE_ENGINES:
        stylizer = source if isinstance(source, Stylizer) else load_stylizer(file)
        # Cells know what has to stay in float32; of other networks OpenVINO knows better.
        exported = precision if engine == "openvino" and on_cells(stylizer.generator) else "float32"
        path = cached_onnx(stylizer, exported, packed=engine == "openvino")
    else:
        path = Path(file)
        if not path.is_file():
            raise UserError(f"{path}: not found; give a file that export.py wrote")
    if engine == "openvino":
        opened = OpenVinoEngine(path, precision)
        if opened.info.cell and suffix not in FILE_ENGINES:
            opened.open_planes_with(
                lambda planes: OpenVinoEngine(cached_onnx(stylizer, exported, True, planes), precision, planes)
            )
        return opened
    provider = "tensorrt" if engine == "tensorrt" else device.type
    return OnnxEngine(path, provider, half=precision == "float16")


def _torch_of_planes(stylizer: Stylizer, precision: str, device: torch.device, planes: PlaneFormat) -> Engine:
    graph = FrameGraph(stylizer, dtype=DTYPES[precision], packed=True, planes=planes)
    return TorchEngine(graph, precision, device, planes)


def check_choice(engine: str, precision: str, device: torch.device, suffix: str = "") -> None:
    """Raise UserError for what does not go together, before anything is loaded."""
    if engine not in ENGINES:
        raise UserError(
            f"engine={engine}: no such engine{suggest(engine, ENGINES)}; allowed: auto, {', '.join(ENGINES)}"
        )
    if precision not in PRECISIONS[engine]:
        raise UserError(f"precision={precision}: engine={engine} computes in {' or '.join(PRECISIONS[engine])}")
    if suffix in FILE_ENGINES and engine not in FILE_ENGINES[suffix]:
        raise UserError(f"engine={engine} cannot run a {suffix} file; choose {' or '.join(FILE_ENGINES[suffix])}")
    if engine == "openvino" and device.type != "cpu":
        raise UserError(
            f"engine=openvino runs on the CPU: choose device=cpu; device={device} needs engine=torch, cuda_graph or "
            "onnxruntime"
        )
    if engine in ("tensorrt", "cuda_graph") and device.type != "cuda":
        raise UserError(f"engine={engine} needs device=cuda; on the CPU choose torch, onnxruntime or openvino")
    if engine == "onnxruntime" and device.type not in ("cpu", "cuda"):
        raise UserError(f"engine=onnxruntime runs on cpu or cuda; device={device} needs engine=torch")
    if device.type == "cpu" and precision == "float16":
        raise UserError("precision=float16 is for GPUs; on the CPU choose float32 or bfloat16")


def cached_onnx(
    stylizer: Stylizer, precision: str = "float32", packed: bool = False, planes: PlaneFormat | None = None
) -> Path:
    """The stylizer as an ONNX file in the cache, written at the first call.

    Args:
        precision: `float32` or `bfloat16`.
        packed: with frames in cells and for OpenVINO (`FrameGraph`).
        planes: what the frames are, if they are no RGB; then they come packed.
    """
    kind = f"-{precision}{'-packed' * packed}" + ("" if planes is None else f"-{planes.name}")
    path = cache_folder() / f"{fingerprint(stylizer)}{kind}.onnx"
    if not path.is_file():
        try:
            with cache.replacing(path) as part:
                graph = FrameGraph(stylizer, dtype=DTYPES[precision], packed=packed, anchored=packed, planes=planes)
                write_onnx(graph, part)
        except OSError as error:
            raise UserError(
                f"the engines' cache {path.parent} cannot be written ({cache.reason(error)}); set XDG_CACHE_HOME "
                "or HOME to a folder that can, or give a file that export.py wrote"
            ) from error
        size = cache.in_words(path.stat().st_size)
        _log.info("cache     the network as its engine wants it in %s, %s; `vst cache` shows and clears it", path, size)
    return path


def cache_folder() -> Path:
    """Where exported graphs and measured choices are kept."""
    return cache.cache_folder("engines")


def fingerprint(stylizer: Stylizer) -> str:
    """Of the weights and of the code that runs them, so that nothing outdated is found under it."""
    digest = hashlib.sha256(torch.__version__.encode())
    for name, value in sorted(stylizer.state_dict().items()):
        digest.update(f"{name}{tuple(value.shape)}{value.dtype}".encode())
        digest.update(value.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().tobytes())
    digest.update(repr(stylizer).encode())
    code = [path for module in (vst.networks, vst.runtime) for path in Path(module.__file__).parent.glob("*.py")]
    for path in sorted([*code, Path(vst.planes.__file__)]):
        digest.update(path.read_bytes())
    return digest.hexdigest()[:20]
