"""One film in several sizes, painted: each at the same displayed size, and below it a piece of it pixel by pixel.

    python -m benchmarks.sizes CHECKPOINT FILM OUTPUT.jpg [--heights 360 1080 2160] [--seconds 1] [--films FOLDER]

FOLDER gets the film in each height and what was painted of it, `input_360.mp4`, `painted_360.mp4`, for other tools.
Prints the decibels between the last pictures, reduced to the least height.
"""

from __future__ import annotations

import argparse
import math
import sys
import tempfile
from pathlib import Path

import av
import cv2
import numpy as np

from vst.checkpoint import load_stylizer
from vst.errors import UserError
from vst.painting import Look, Painter
from vst.painting.framing import Framed, seen_size
from vst.runtime import open_engine
from vst.stream import stylize_video
from vst.video.source import open_source

SHOWN = 480  # pixels of width of each picture
GAP, CAPTION = 6, 22


def paint(checkpoint: Path, film: Path, heights: list[int], seconds: float, folder: Path) -> dict[int, np.ndarray]:
    """Height -> the last picture of the film painted in it, (H, W, 3) uint8 BGR. Writes both films to `folder`."""
    engine = open_engine(load_stylizer(checkpoint))
    with open_source(str(film)) as source:
        width, height = source.info.upright_size
    painted = {}
    for rows in heights:
        size = seen_size((width, height), None, (2 * round(width * rows / height / 2), rows))
        for name, look in (("input", Look(strength=0)), ("painted", Look())):
            stage = Framed(Painter({"": engine}, look), None, size)
            stylize_video(stage, film, folder / f"{name}_{rows}.mp4", end=seconds, overwrite=True, audio="none", crf=12)
        painted[rows] = last_frame(folder / f"painted_{rows}.mp4")
    return painted


def last_frame(film: Path) -> np.ndarray:
    with av.open(str(film)) as container:
        *_, frame = container.decode(video=0)
    return frame.to_ndarray(format="bgr24")


def row_of(painted: dict[int, np.ndarray]) -> np.ndarray:
    """The pictures side by side in BGR, each over its middle at 100 %."""
    columns = []
    for rows, picture in painted.items():
        height, width = picture.shape[:2]
        shown = round(height * SHOWN / width)
        whole = cv2.resize(picture, (SHOWN, shown), interpolation=cv2.INTER_AREA)
        piece_width, piece_height = min(SHOWN, width), min(shown, height)
        left, top = (width - piece_width) // 2, (height - piece_height) // 2
        piece = picture[top : top + piece_height, left : left + piece_width]
        stack = [captioned(whole, f"{rows} lines"), captioned(piece, "its middle, pixel by pixel")]
        columns.append(cv2.copyMakeBorder(np.vstack(stack), 0, 0, 0, GAP, cv2.BORDER_CONSTANT, value=(255,) * 3))
    return np.hstack(columns)


def captioned(image: np.ndarray, text: str) -> np.ndarray:
    image = cv2.copyMakeBorder(image, CAPTION, GAP, 0, 0, cv2.BORDER_CONSTANT, value=(255, 255, 255))
    return cv2.putText(image, text, (0, 15), cv2.FONT_HERSHEY_SIMPLEX, 0.45, (0, 0, 0), 1, cv2.LINE_AA)


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("checkpoint", type=Path)
    parser.add_argument("film", type=Path)
    parser.add_argument("output", type=Path)
    parser.add_argument("--heights", type=int, nargs="+", default=[360, 1080, 2160])
    parser.add_argument("--seconds", type=float, default=1.0)
    parser.add_argument("--films", type=Path)
    given = parser.parse_args(argv)
    with tempfile.TemporaryDirectory() as scratch:
        folder = given.films or Path(scratch)
        folder.mkdir(parents=True, exist_ok=True)
        try:
            painted = paint(given.checkpoint, given.film, sorted(given.heights), given.seconds, folder)
        except UserError as error:
            print(f"error: {error}", file=sys.stderr)
            return 1
    first, *others = painted.items()
    for rows, picture in others:
        small = cv2.resize(picture, first[1].shape[1::-1], interpolation=cv2.INTER_AREA)
        error = np.square(small.astype(float) - first[1]).mean()
        print(f"{rows} lines to {first[0]}: {20 * math.log10(255) - 10 * math.log10(error):.1f} dB")
    cv2.imwrite(str(given.output), row_of(painted), [cv2.IMWRITE_JPEG_QUALITY, 80])
    print(given.output)
    return 0


if __name__ == "__main__":
    sys.exit(main())
