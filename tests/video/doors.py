"""The doors by which a film's pictures come in or go out: each gives the frames (T, H, W, 3) uint8 that it shows."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path

import av
import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from data_modules.video_cache import scan_folder
from tests.media import decode_sequentially
from vst import stylize_video
from vst.evaluate.media import read_video
from vst.live.sources import FileSource, StreamSource
from vst.painting.masks import FileMask
from vst.video.clips import FrameIndex, read_clip
from vst.video.probe import probe


class Same(nn.Module):
    """A network that returns its input."""

    def forward(self, frames: torch.Tensor, style: None = None, state: tuple | None = None) -> tuple:
        return frames, state


def stylised(source: Path, output: Path, **options) -> Path:
    return stylize_video(Same(), source, output, progress=False, **options).output


def _file(source: Path, folder: Path, **options) -> np.ndarray:
    return np.stack(decode_sequentially(stylised(source, folder / "out.mp4", crf=1, pix_fmt="yuv444p", **options)))


def _resumed(source: Path, folder: Path) -> np.ndarray:
    return _file(source, folder, resume=True)


def _pictures(source: Path, folder: Path) -> np.ndarray:
    stylised(source, folder / "out", transparency="flatten")
    return np.stack([np.asarray(Image.open(path)) for path in sorted((folder / "out").iterdir())])


def _gif(source: Path, folder: Path) -> np.ndarray:
    frames = decode_sequentially(stylised(source, folder / "out.gif", transparency="flatten"))
    return np.stack(frames)


def _live(source: Path, folder: Path) -> np.ndarray:
    film = FileSource(str(source), loop=False, deinterlace="auto")
    return np.stack(list(film.frames(threading.Event())))


def _stream(source: Path, folder: Path) -> np.ndarray:
    return np.stack(list(StreamSource(str(source), {}, 10.0).frames(threading.Event())))


def _stills(source: Path, folder: Path) -> np.ndarray:
    info = probe(source)
    with av.open(str(source)) as container:
        stream = container.streams.video[0]
        times = [float(frame.time) for frame in container.decode(stream)]
        start = (stream.start_time or 0) * stream.time_base
    pytest.importorskip("starlette", reason="the studio needs its extra")
    from vst.studio.stills import frames_until

    size = info.upright_size
    return np.stack([frames_until(info, float(time - start), 1, size)[-1] for time in times])


def _evaluated(source: Path, folder: Path) -> np.ndarray:
    return read_video(source, limit=1000, width=probe(source).width)[0]


def _index(source: Path, folder: Path) -> np.ndarray:
    index = FrameIndex.build(source)
    return np.concatenate([read_clip(index, number, 1) for number in range(index.num_frames)])


def _cache(source: Path, folder: Path) -> np.ndarray:
    root = folder / "films"
    root.mkdir()
    (root / source.name).symlink_to(source)
    video = scan_folder(root, 1000, cache_dir=folder / "cache").videos[0]
    return read_clip(video.index, 0, video.num_frames)


def mask_of(source: Path, height: int, width: int) -> np.ndarray:
    """The first mask (H, W) float32 of a film of masks."""
    return FileMask(source)(np.zeros((height, width, 3), np.uint8))


DOORS: dict[str, Callable[[Path, Path], np.ndarray]] = {
    "file": _file,
    "resumed": _resumed,
    "pictures": _pictures,
    "gif": _gif,
    "live": _live,
    "stream": _stream,
    "stills": _stills,
    "evaluation": _evaluated,
    "training": _index,
    "cache": _cache,
}
