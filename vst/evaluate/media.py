"""What an evaluation reads: clips, finished videos matched to them by name, style pictures."""

from __future__ import annotations

import glob
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
import torch
from PIL import Image, ImageOps
from torch import Tensor

from vst.errors import UserError, suggest
from vst.video import VideoReader

Paths = str | Path | Sequence[str | Path]

VIDEOS = (".mp4", ".mov", ".mkv", ".webm", ".avi", ".m4v")
PICTURES = (".jpg", ".jpeg", ".png", ".webp", ".bmp", ".tif", ".tiff")
MIN_SIDE = 16


def find_files(paths: Paths, key: str, suffixes: Sequence[str]) -> list[Path]:
    """Files of `paths`, each a file, a folder (its files with one of the `suffixes`, by name) or a pattern with *.

    Raises UserError, which names the setting `key`, where a path leads to nothing.
    """
    found: list[Path] = []
    for given in [paths] if isinstance(paths, str | Path) else paths:
        path = Path(given).expanduser()
        if path.is_dir():
            files = sorted(p for p in path.iterdir() if p.suffix.lower() in suffixes and p.is_file())
            if not files:
                raise UserError(f"{key}={given}: no {', '.join(suffixes)} file in this folder")
        elif path.is_file():
            files = [path]
        else:
            files = sorted(Path(p) for p in glob.glob(str(path)) if Path(p).is_file())
            if not files:
                names = [p.name for p in path.parent.iterdir()] if path.parent.is_dir() else []
                raise UserError(f"{key}={given}: no such file or folder{suggest(path.name, names)}")
        found += [file for file in files if file not in found]
    if not found:
        raise UserError(f"{key}: the list is empty; give a file, a folder, or a list of them")
    return found


def match_videos(videos: Sequence[Path], clips: Sequence[Path]) -> dict[Path, dict[str, Path]]:
    """For each clip the finished videos made of it, by the name of their maker.

    A video belongs to the clip whose name (without suffix) its own name begins with, the longest where several do. Its
    maker is called after its folder and what its name adds: `other/street_scream.mp4` of `street.mp4` is
    `other/scream`. Raises UserError for two clips of one name, two videos of one name, or where no video matches.
    """
    stems = [clip.stem for clip in clips]
    for clip in clips:
        if stems.count(clip.stem) > 1:
            raise UserError(f"clips: two are named '{clip.stem}', and videos are matched by name; rename one")
    matched: dict[Path, dict[str, Path]] = {clip: {} for clip in clips}
    for video in videos:
        clip = max((c for c in clips if _begins(video.stem, c.stem)), key=lambda c: len(c.stem), default=None)
        if clip is None:
            continue
        rest = video.stem[len(clip.stem) :].lstrip("_-. ")
        maker = "/".join(filter(None, [video.resolve().parent.name, rest]))
        if maker in matched[clip]:
            raise UserError(f"videos: {matched[clip][maker]} and {video} would both be '{maker}'; rename one")
        matched[clip][maker] = video
    if videos and not any(matched.values()):
        raise UserError(
            f"videos: none of {len(videos)} matches a clip; name them after their clip, "
            f"{clips[0].stem}.mp4 or {clips[0].stem}_anything.mp4 (given: {videos[0].name})"
        )
    return matched


def read_video(
    path: Path, limit: int, width: int, size: tuple[int, int] | None = None
) -> tuple[np.ndarray, str | None]:
    """The first `limit` frames (T, H, W, 3) uint8 RGB, upright, scaled by area, and what was wrong with the file.

    They are `width` pixels wide and keep their shape, or of `size` (width, height). Raises UserError as
    `vst.video.VideoReader` does, and for fewer than two frames.
    """
    frames: list[np.ndarray] = []
    with VideoReader(path) as reader:
        turns = round(reader.info.rotation / 90)
        for frame in reader:
            upright = np.ascontiguousarray(np.rot90(frame.image, turns))
            height = round(upright.shape[0] * width / upright.shape[1])
            target = size or (width, height)
            if min(target) < MIN_SIDE:
                raise UserError(f"{path}: {target[0]}x{target[1]} pixels at width={width}; give a larger width")
            if target != upright.shape[1::-1]:
                upright = cv2.resize(upright, target, interpolation=cv2.INTER_AREA)
            frames.append(upright)
            if len(frames) == limit:
                break
        damaged = reader.damaged
    if len(frames) < 2:
        raise UserError(f"{path}: fewer than two frames; nothing temporal can be measured")
    return np.stack(frames), damaged


def read_pictures(paths: Sequence[Path], longest: int) -> list[Tensor]:
    """Pictures (3, H, W) float in [0, 1], upright, scaled so that their longest side is `longest` pixels."""
    pictures = []
    for path in paths:
        try:
            with Image.open(path) as image:
                picture = np.asarray(ImageOps.exif_transpose(image).convert("RGB"))
        except (OSError, ValueError, Image.DecompressionBombError) as error:
            raise UserError(f"styles: {path} is not a picture that can be read; give a jpg or png") from error
        scale = longest / max(picture.shape[:2])
        size = tuple(max(MIN_SIDE, round(side * scale)) for side in picture.shape[1::-1])
        small = cv2.resize(picture, size, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC)
        pictures.append(torch.from_numpy(small).permute(2, 0, 1).float() / 255)
    return pictures


def _begins(name: str, stem: str) -> bool:
    return name == stem or (name.startswith(stem) and not name[len(stem)].isalnum())
