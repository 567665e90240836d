"""What a clip's flow costs, estimated when it is drawn and read from the cache.

    python -m benchmarks.flow_cache FOLDER [--size 320] [--clip-length 4] [--clips 20]

FOLDER holds videos. They are copied into a temporary cache with a short side of `--size`. Prints a Markdown table
of CPU milliseconds on one thread: per clip without flow, with flow estimated in the square, with flow from the
cache; per pair of frames for making the cache; and the cache's size.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from pathlib import Path

import cv2
import numpy as np
import torch
from torch import Tensor

from data_modules.video import VideoDataModule
from vst.errors import UserError


class NoStyle:
    """Clips are all that is measured."""

    name = "none"

    def sample(self, rng: np.random.Generator) -> Tensor:
        return torch.zeros(3, 8, 8)

    def describe(self) -> str:
        return "none"

    def reference(self) -> Tensor:
        return torch.zeros(3, 8, 8)


def seconds_per_clip(data: VideoDataModule, clips: int) -> float:
    source = data.train_source()
    source.sample(np.random.default_rng(0))
    start = time.process_time()
    for number in range(clips):
        source.sample(np.random.default_rng(number))
    return (time.process_time() - start) / clips


def run(folder: Path, size: int, clip_length: int, clips: int) -> None:
    torch.set_num_threads(1)
    cv2.setNumThreads(0)
    with tempfile.TemporaryDirectory() as cache:

        def module(**settings: object) -> VideoDataModule:
            return VideoDataModule(
                NoStyle(), root=folder, short_side=size, cache_dir=cache, clip_length=clip_length, crop=size, margin=0,
                batch_size=1, steps_per_epoch=1, num_workers=0, seed=0, **settings,
            )  # fmt: skip

        plain = seconds_per_clip(module(flow="none"), clips)
        estimated = seconds_per_clip(module(), clips)
        start = time.process_time()
        kept = module(flow_cache=True)
        pairs = kept.prepare_flow()
        preparation = (time.process_time() - start) / pairs
        cached = seconds_per_clip(kept, clips)
        stored = sum(path.stat().st_size for path in Path(cache).glob("*.flow*/*")) / pairs
    worth = preparation * (clip_length - 1) / (estimated - cached)
    print(f"| clip of {clip_length} frames, {size} x {size} | CPU ms |\n| --- | ---: |")
    for name, value in (
        ("without flow", plain),
        ("flow estimated in the square", estimated),
        ("flow from the cache", cached),
        ("making the cache, per pair of whole frames", preparation),
    ):
        print(f"| {name} | {1000 * value:.1f} |")
    print(f"\n{pairs} pairs, {stored / 1000:.0f} kB per pair; pays once each pair is drawn {worth:.1f} times.")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--size", type=int, default=320)
    parser.add_argument("--clip-length", type=int, default=4)
    parser.add_argument("--clips", type=int, default=20)
    arguments = parser.parse_args()
    try:
        run(arguments.folder, arguments.size, arguments.clip_length, arguments.clips)
    except UserError as error:
        sys.exit(f"error: {error}")


if __name__ == "__main__":
    main()
