"""What an evaluation reads: clips and finished results as videos or folders of frames, pictures, known flow."""

from __future__ import annotations

import glob
import logging
import re
from collections.abc import Iterator, Sequence
from pathlib import Path

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from vst.errors import UserError, suggest
from vst.flow import read_flo, resize_flow
from vst.video import VideoReader
from vst.video.folders import numbered
from vst.video.formats import COMMON_FILMS, COMMON_PICTURES, PICTURES, has_suffix, is_hidden, passed_over
from vst.video.pictures import is_film
from vst.video.stills import read_still

Paths = str | Path | Sequence[str | Path]

MIN_SIDE = 16
DEEPEST = 3  # folders below a given one in which clips are looked for, as in JPEGImages/480p/<clip> of DAVIS

_log = logging.getLogger(__name__)


def find_files(paths: Paths, key: str, suffixes: Sequence[str]) -> list[Path]:
    """Files of `paths`, each a file, a folder (its files with one of the `suffixes`, by name) or a pattern with *.

    Raises UserError, which names the setting `key`, where a path leads to nothing.
    """
    found: list[Path] = []
    for path in _existing(paths, key):
        files = _files(path, suffixes) if path.is_dir() else [path]
        if not files:
            raise UserError(f"{key}={path}: no {', '.join(suffixes)} file in this folder")
        found += [file for file in files if file not in found]
    return found


def find_pictures(paths: Paths, key: str) -> list[Path]:
    """Pictures of `paths`, as `find_files`; those of a folder that are not read are named in the log."""
    for path in _existing(paths, key):
        others = _passed_over(path, _pictures(path), key) if path.is_dir() else ""
        if path.is_dir() and not _pictures(path):
            raise UserError(f"{key}={path}: no {COMMON_PICTURES} file in this folder{others}")
    return find_files(paths, key, PICTURES)


def find_clips(paths: Paths, key: str) -> list[Path]:
    """Videos and folders of frames: each path is one of these, a folder of them, or a pattern with *.

    A folder stands for its videos; without any, for itself if its pictures are numbered as frames
    (`vst.video.folders`); else for the clips in the folders below. Raises UserError as `find_files`.
    """
    found: list[Path] = []
    for path in _existing(paths, key):
        clips = list(_clips(path, DEEPEST)) if path.is_dir() else [path]
        others = _passed_over(path, clips, key) if path.is_dir() and path not in clips else ""
        if not clips:
            raise UserError(f"{key}={path}: no {COMMON_FILMS} file and no folder of frames in this folder{others}")
        found += [clip for clip in clips if clip not in found]
    return found


def clip_name(path: Path) -> str:
    """What a clip is called: its folder's name, or the file's without its suffix."""
    return path.name if path.is_dir() else path.stem


def read_video(
    path: Path, limit: int, width: int, size: tuple[int, int] | None = None
) -> tuple[np.ndarray, str | None]:
    """The first `limit` frames (T, H, W, 3) uint8 RGB, upright, scaled by area, and what was wrong with the file.

    They are `width` pixels wide and keep their shape, or of `size` (width, height). `path` is a video or a folder of
    frames. Raises UserError as `vst.video.VideoReader` does, for a picture that cannot be read, for frames of different
    shapes, and for fewer than two frames.
    """
    if path.is_dir():
        pictures = sorted(_pictures(path), key=_natural)[:limit]
        frames, damaged = [_scaled(read_still(file).image, width, size, path) for file in pictures], None
        odd = next((p for p, frame in zip(pictures, frames, strict=True) if frame.shape != frames[0].shape), None)
        if odd is not None:
            raise UserError(f"{odd}: another shape than the first frame of this clip; give frames of one size")
    else:
        frames = []
        with VideoReader(path) as reader:
            orientation = reader.info.orientation
            for frame in reader:
                frames.append(_scaled(orientation.upright(frame.image), width, size, path))
                if len(frames) == limit:
                    break
            damaged = reader.damaged
    if len(frames) < 2:
        raise UserError(f"{path}: fewer than two frames; nothing temporal can be measured")
    return np.stack(frames), damaged


def read_pictures(paths: Sequence[Path], longest: int) -> list[Tensor]:
    """Pictures (3, H, W) float in [0, 1], read as `vst.video.stills` says, the longest side scaled to `longest` pixels.

    Raises PictureError for what cannot be read.
    """
    pictures = []
    for path in paths:
        still = read_still(path, longest)
        if still.note is not None:
            _log.warning("%s: %s", path, still.note)
        picture = still.image
        scale = longest / max(picture.shape[:2])
        size = tuple(max(MIN_SIDE, round(side * scale)) for side in picture.shape[1::-1])
        small = cv2.resize(picture, size, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC)
        pictures.append(torch.from_numpy(small).permute(2, 0, 1).float() / 255)
    return pictures


def read_truth(folder: Path, clip: str, size: tuple[int, int], limit: int) -> dict[int, tuple[Tensor, Tensor]]:
    """The known flow of a clip in Sintel's layout, `folder/<clip>/*.flo`: the n-th file leads from frame n to the next.

    Returns:
        By the index of the frame, up to `limit`: the flow (2, H, W) in pixels at `size` (height, width), and where it
        is known (1, H, W) bool. Empty where there is no folder for the clip.
    """
    truth = {}
    for index, file in enumerate(sorted((folder / clip).glob("*.flo"), key=_natural)[:limit]):
        flow, known = read_flo(file)
        whole = F.interpolate(known[None].float(), size, mode="area")[0] == 1
        truth[index] = (resize_flow(flow[None], size)[0], whole)
    return truth


def _existing(paths: Paths, key: str) -> Iterator[Path]:
    given_paths = [paths] if isinstance(paths, str | Path) else paths
    if not given_paths:
        raise UserError(f"{key}: the list is empty; give a file, a folder, or a list of them")
    for given in given_paths:
        path = Path(given).expanduser()
        matches = [path] if path.exists() else sorted(Path(p) for p in glob.glob(str(path)))
        if not matches:
            names = [p.name for p in path.parent.iterdir()] if path.parent.is_dir() else []
            raise UserError(f"{key}={given}: no such file or folder{suggest(path.name, names)}")
        yield from matches


def _files(folder: Path, suffixes: Sequence[str] | None = None) -> list[Path]:
    """The files of a folder, except hidden ones, that have one of the `suffixes`, if they are given."""
    files = sorted(path for path in folder.iterdir() if path.is_file() and not is_hidden(path))
    return files if suffixes is None else [path for path in files if has_suffix(path, tuple(suffixes))]


def _pictures(folder: Path) -> list[Path]:
    return _files(folder, PICTURES)


def _passed_over(folder: Path, taken: Sequence[Path], key: str) -> str:
    """Log which pictures and films of a folder are not among the files taken; the end of an error if none is."""
    line = passed_over(set(_files(folder)) - set(taken))
    if line is None:
        return ""
    if taken:
        _log.warning("%s=%s: %s", key, folder, line)
    return f"; {line}"


def _clips(folder: Path, depth: int) -> Iterator[Path]:
    videos = [path for path in _files(folder) if is_film(path)]
    if videos:
        yield from videos
    elif numbered(path.name for path in _pictures(folder)):
        yield folder
    elif depth:
        for below in sorted(p for p in folder.iterdir() if p.is_dir()):
            yield from _clips(below, depth - 1)


def _natural(path: Path) -> list[tuple[int, str]]:
    """Frame 10 comes after frame 9, also without leading zeros."""
    return [(int(part), "") if part.isdigit() else (-1, part) for part in re.split(r"(\d+)", path.name) if part]


def _scaled(image: np.ndarray, width: int, size: tuple[int, int] | None, path: Path) -> np.ndarray:
    target = size or (width, round(image.shape[0] * width / image.shape[1]))
    if min(target) < MIN_SIDE:
        raise UserError(f"{path}: {target[0]}x{target[1]} pixels at width={width}; give a larger width")
    upright = np.ascontiguousarray(image)
    return upright if target == image.shape[1::-1] else cv2.resize(upright, target, interpolation=cv2.INTER_AREA)
