"""Whether memory stays flat over a long video.

    python -m benchmarks.long_video FRAMES [--size 128x72] [--early 500] [--tile 0]

Generates a video of FRAMES frames, stylises it with a `model=convgru` of random weights as `stylize.py` would, and
prints the resident memory after frame `--early` and after the last one, and the growth between them.
"""

from __future__ import annotations

import argparse
import gc
import tempfile
import time
from pathlib import Path

import numpy as np
import torch

from vst.networks import ConvGRU, ResidualGenerator, Stylizer
from vst.runtime import Engine, open_engine
from vst.stream import stylize_video
from vst.video.writer import VideoWriter, new_video

STATUS = Path("/proc/self/statm")
PAGE = 4096


def resident_bytes() -> int:
    return int(STATUS.read_text().split()[1]) * PAGE


def generate(path: Path, frames: int, width: int, height: int) -> None:
    """A window that circles over a smooth picture, so that the encoder and the memory have motion to follow."""
    rng = np.random.default_rng(0)
    coarse = torch.from_numpy(rng.uniform(0, 255, (1, 3, 12, 20))).float()
    large = torch.nn.functional.interpolate(coarse, size=(2 * height, 2 * width), mode="bicubic")
    picture = large[0].permute(1, 2, 0).clamp(0, 255).byte().numpy()
    with VideoWriter(path, new_video(width, height, 25), preset="ultrafast") as writer:
        for number in range(frames):
            x, y = (round(side / 2 * (1 + turn(number / 60))) for side, turn in ((width, np.cos), (height, np.sin)))
            writer.write(picture[y : y + height, x : x + width])


class Watched:
    """An engine that notes the resident memory after each frame."""

    def __init__(self, engine: Engine, frames: int) -> None:
        self._engine, self.resident, self._number = engine, np.zeros(frames, np.int64), 0

    def reset(self) -> None:
        self._engine.reset()

    def __call__(self, frame: np.ndarray, out: np.ndarray) -> np.ndarray:
        self._engine(frame, out)
        self.resident[self._number] = resident_bytes()
        self._number += 1
        return out


def run(frames: int, width: int, height: int, early: int, tile: int) -> None:
    torch.manual_seed(0)
    engine = open_engine(Stylizer(ResidualGenerator(32, 3), ConvGRU(32)).eval(), tile=tile)
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder) / "long.mp4"
        generate(source, frames, width, height)
        gc.collect()
        watched = Watched(engine, frames)
        begin = time.process_time()
        report = stylize_video(watched, source, Path(folder) / "out.mp4", preset="ultrafast")
    spent = time.process_time() - begin
    before, after = watched.resident[early - 1], watched.resident[report.frames - 1]
    cost = 1e3 * spent / report.frames
    print(f"{report.frames} frames of {width}x{height}, {cost:.1f} CPU ms a frame, {engine.describe()}")
    print(f"resident after frame {early}: {before / 1e6:.1f} MB")
    print(f"resident after frame {report.frames}: {after / 1e6:.1f} MB ({100 * (after / before - 1):+.2f} %)")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("frames", type=int)
    parser.add_argument("--size", default="128x72")
    parser.add_argument("--early", type=int, default=500)
    parser.add_argument("--tile", type=int, default=0)
    given = parser.parse_args()
    width, height = (int(side) for side in given.size.split("x"))
    if given.frames <= given.early:
        parser.error(f"{given.frames} frames are not more than the {given.early} of --early")
    if not STATUS.is_file():
        parser.error(f"resident memory is read from {STATUS}, which this system does not have")
    run(given.frames, width, height, given.early, given.tile)


if __name__ == "__main__":
    main()
