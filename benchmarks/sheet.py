"""A sheet of pictures: photographs and clips, each beside what some checkpoints make of it.

    python -m benchmarks.sheet OUTPUT.jpg --checkpoints RUN/stylizer.pt ... --media photo.jpg film.mp4 ...

A row for each photograph or clip (its frame 30, painted after the 30 before it, with the memory carried), a column for
the input and one for each checkpoint, named by its folder; --style PICTURE adds a row of the style above them.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from vst.checkpoint import load_stylizer
from vst.errors import UserError
from vst.evaluate.media import read_pictures, read_video
from vst.names import model_names
from vst.networks import Stylizer
from vst.video.pictures import is_film

FRAME = 30
MARGIN, CAPTION = 6, 22


def read(path: Path, width: int) -> Tensor:
    """(T, 3, H, W) in [0, 1]: the frames of a clip up to FRAME, or the one of a picture, `width` pixels wide."""
    if path.is_dir() or is_film(path):
        video, _ = read_video(path, FRAME + 1, width)
        return torch.from_numpy(video).permute(0, 3, 1, 2).float() / 255
    picture = read_pictures([path], 2 * width)[0]
    height = round(picture.shape[-2] * width / picture.shape[-1])
    return F.interpolate(picture[None], size=(height, width), mode="area")


@torch.inference_mode()
def paint(stylizer: Stylizer, frames: Tensor) -> Tensor:
    """The last frame (3, H, W) of a clip (T, 3, H, W), painted after those before it."""
    state = None
    for frame in frames:
        picture, state = stylizer(frame[None], state=state)
    return picture[0]


def captioned(picture: Tensor, caption: str, height: int) -> np.ndarray:
    """BGR uint8 with a caption above, centred on white in a cell of that height."""
    image = (picture.clamp(0, 1) * 255).round().byte().permute(1, 2, 0).numpy()[..., ::-1]
    spare = height - image.shape[0]
    image = cv2.copyMakeBorder(image, CAPTION, spare + MARGIN, 0, MARGIN, cv2.BORDER_CONSTANT, value=(255, 255, 255))
    return cv2.putText(image, caption, (0, 15), cv2.FONT_HERSHEY_SIMPLEX, 0.45, (0, 0, 0), 1, cv2.LINE_AA)


def make_sheet(media: list[Path], checkpoints: list[Path], styles: list[Path], width: int) -> np.ndarray:
    stylizers = {name: load_stylizer(p) for name, p in zip(model_names(checkpoints), checkpoints, strict=True)}
    rows = []
    for path in media:
        frames = read(path, width)
        cells = [(path.stem, frames[-1]), *((name, paint(stylizer, frames)) for name, stylizer in stylizers.items())]
        rows.append(np.hstack([captioned(cell, name, frames.shape[-2]) for name, cell in cells]))
    for path in styles:
        picture = read(path, width)[-1]
        rows.insert(0, captioned(picture, f"style: {path.stem}", picture.shape[-2]))
    widest = max(row.shape[1] for row in rows)
    return np.vstack([cv2.copyMakeBorder(r, 0, 0, 0, widest - r.shape[1], 0, value=(255, 255, 255)) for r in rows])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("output", type=Path)
    parser.add_argument("--checkpoints", type=Path, nargs="+", required=True)
    parser.add_argument("--media", type=Path, nargs="+", required=True)
    parser.add_argument("--style", type=Path, nargs="*", default=[])
    parser.add_argument("--width", type=int, default=384)
    given = parser.parse_args()
    try:
        sheet = make_sheet(given.media, given.checkpoints, given.style, given.width)
    except UserError as error:
        sys.exit(f"error: {error}")
    if not cv2.imwrite(str(given.output), sheet, [cv2.IMWRITE_JPEG_QUALITY, 88]):
        sys.exit(f"error: {given.output} cannot be written")
    print(given.output)


if __name__ == "__main__":
    main()
