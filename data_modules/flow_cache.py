"""The flow cache: the motion between the frames of every video of the training cache, estimated once.

A pair is a frame i and the frame i + stride of the same scene. Its flow lies on the grid of the later frame and
points to the earlier one, at the size of the training copy; squares are cut out of it afterwards. Beside each
copy lies a folder whose name says all that the flow depends on: content and size of the video (the copy's own
name), estimator with settings and version, stride. It holds zip files of `SHARD` consecutive pairs each, written
under another name and renamed when whole, so a preparation that was interrupted goes on where it was.

Vectors are 16-bit integers in units of 1/64 pixel: the error is at most 1/128 pixel per component (in a pair
with a vector beyond 511 pixels, at most a 65,534th of the longest component). Where the flow can be
trusted is computed before rounding and kept exactly.
"""

from __future__ import annotations

import logging
import zipfile
from collections.abc import Callable, Iterator, Sequence
from itertools import groupby
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from data_modules.video_cache import CacheError, TrainingVideo, progress_bar
from vst.cache import in_words, reason, remove_leftovers, replacing, size_of
from vst.flow import FlowEstimator, occlusion_mask, warp
from vst.video.clips import read_clip

FLOW_FORMAT = 1  # raise it when the files, the pairs or the occlusion mask change, so that old ones are made again
SHARD = 64  # pairs per file: what an interruption loses at most
UNIT = 1 / 64  # pixels per integer step
LARGEST = 32767

log = logging.getLogger(__name__)


class FlowCache:
    """Flow of clips whose frames are `stride` apart, from files; see the module.

    `prepare` makes what is missing, `read` reads. Only for videos of the training cache. `key` is that of the
    estimator.
    """

    def __init__(self, key: str, stride: int) -> None:
        self.key, self.stride = key, stride

    def prepare(self, estimator: FlowEstimator, videos: Sequence[TrainingVideo]) -> int:
        """Estimate the flow of all pairs that are not on disk yet; returns how many those were.

        On the first GPU where there is one. Raises CacheError where the files cannot be written.
        """
        assert estimator.key == self.key, (estimator.key, self.key)
        missing = [(video, shard) for video in videos for shard in self._missing(video)]
        total = sum(len(pairs) for _, (_, pairs) in missing)
        if total == 0:
            return 0
        with progress_bar() as progress:
            task = progress.add_task("", total=total)
            for number, (video, (path, pairs)) in enumerate(missing, 1):
                progress.update(task, description=f"Estimating motion, part {number}/{len(missing)} ({video.name})")
                try:
                    _write(path, self._estimated(estimator, video, pairs, lambda: progress.advance(task)))
                except OSError as error:
                    raise CacheError(
                        f"the flow cache {path.parent} cannot be written ({reason(error)}); set data.cache_dir or "
                        "data.flow_cache=false"
                    ) from error
        size = sum(size_of(folder) for folder in {self.folder(video) for video in videos})
        place = self.folder(videos[0]).parent
        log.info("cache     flow of %d pairs of frames in %s, %s; `vst cache` clears it", total, place, in_words(size))
        return total

    def read(
        self, video: TrainingVideo, start: int, length: int, window: tuple[int, int, int, bool]
    ) -> tuple[Tensor, Tensor]:
        """Return flow (length - 1, 2, size, size) and valid (length - 1, 1, size, size) of a clip's square.

        `window` is (top, left, size, flipped) of the square. A flipped square shows the mirror image, in which
        motion to the right is motion to the left. Pixels that come from outside of the square are not valid.
        """
        top, left, size, flipped = window
        pairs = [start + k * self.stride for k in range(length - 1)]
        if not pairs:
            return torch.zeros(0, 2, size, size), torch.zeros(0, 1, size, size)
        flows, valids = zip(*(self._read_pair(video, pair) for pair in pairs), strict=True)
        flow, valid = np.stack(flows), np.stack(valids)
        flow, valid = (x[..., top : top + size, left : left + size] for x in (flow, valid))
        if flipped:
            flow, valid = flow[..., ::-1] * np.float32([-1, 1]).reshape(2, 1, 1), valid[..., ::-1]
        flow, valid = (torch.from_numpy(np.ascontiguousarray(x)) for x in (flow, valid))
        return flow, valid * warp(valid, flow)[1]

    def folder(self, video: TrainingVideo) -> Path:
        """Where the flow of `video` is kept."""
        assert video.cached, "the flow cache belongs to the copies of the training cache"
        copy = Path(video.index.path)
        return copy.with_name(f"{copy.stem}.flow{FLOW_FORMAT}-{self.key}-stride{self.stride}")

    def _missing(self, video: TrainingVideo) -> Iterator[tuple[Path, list[int]]]:
        """Path and pairs of each shard that is not there or not whole."""
        folder = self.folder(video)
        if folder.is_dir():
            remove_leftovers(folder)
        for path, pairs in _shards(folder, video, self.stride):
            if not _is_whole(path, pairs):
                yield path, pairs

    def _estimated(
        self, estimator: FlowEstimator, video: TrainingVideo, pairs: list[int], done: Callable[[], None]
    ) -> Iterator[tuple[str, bytes]]:
        """Name and content of each pair's entry; calls `done` after each."""
        device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        first = pairs[0]
        frames = read_clip(video.index, first, pairs[-1] + self.stride + 1 - first, 1, video.size)
        for pair in pairs:
            numbers = (pair + self.stride - first, pair - first)
            later, earlier = (_picture(frames[number]).to(device) for number in numbers)
            flow = estimator(later, earlier)
            valid = occlusion_mask(flow, estimator(earlier, later))
            yield str(pair), _encode(flow[0].cpu().numpy(), valid[0, 0].cpu().numpy())
            done()

    def _read_pair(self, video: TrainingVideo, pair: int) -> tuple[np.ndarray, np.ndarray]:
        """Flow (2, H, W) and valid (1, H, W) of a pair."""
        with zipfile.ZipFile(_shard_path(self.folder(video), pair)) as file:
            return _decode(file.read(str(pair)), video.size)


def _write(path: Path, entries: Iterator[tuple[str, bytes]]) -> None:
    with replacing(path) as part, zipfile.ZipFile(part, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as file:
        for name, content in entries:
            file.writestr(name, content)


def _shards(folder: Path, video: TrainingVideo, stride: int) -> Iterator[tuple[Path, list[int]]]:
    """Path and pairs of every shard of a video; no pair crosses a cut."""
    pairs = [i for first, end in video.scenes() for i in range(first, end - stride)]
    for path, members in groupby(pairs, key=lambda pair: _shard_path(folder, pair)):
        yield path, list(members)


def _shard_path(folder: Path, pair: int) -> Path:
    return folder / f"{pair // SHARD * SHARD:08d}.zip"


def _is_whole(path: Path, pairs: list[int]) -> bool:
    try:
        with zipfile.ZipFile(path) as file:
            return file.namelist() == [str(pair) for pair in pairs]
    except (OSError, zipfile.BadZipFile):
        return False


def _picture(frame: np.ndarray) -> Tensor:
    """(H, W, 3) uint8 -> (1, 3, H, W) in [0, 1]."""
    return torch.from_numpy(np.ascontiguousarray(frame.transpose(2, 0, 1)))[None].float() / 255


def _encode(flow: np.ndarray, valid: np.ndarray) -> bytes:
    """Unit (float32), vectors (int16), mask (bits): of flow (2, H, W) and valid (H, W)."""
    peak = float(np.abs(flow).max())
    assert np.isfinite(peak), "the estimated flow is not finite"
    unit = np.float32(max(UNIT, peak / LARGEST))
    steps = np.clip(np.round(flow / unit), -LARGEST, LARGEST).astype("<i2")
    return unit.astype("<f4").tobytes() + steps.tobytes() + np.packbits(valid > 0).tobytes()


def _decode(content: bytes, size: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
    """The inverse of `_encode`, at `size` (width, height): flow (2, H, W) and valid (1, H, W), float32."""
    width, height = size
    area = width * height
    unit = np.frombuffer(content, "<f4", count=1)[0]
    steps = np.frombuffer(content, "<i2", count=2 * area, offset=4).reshape(2, height, width)
    bits = np.frombuffer(content, np.uint8, offset=4 + 4 * area)
    valid = np.unpackbits(bits, count=area).reshape(1, height, width)
    return steps * unit, valid.astype(np.float32)
