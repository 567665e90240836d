"""End-point errors of the flow estimators against ground truth, side by side.

    python -m benchmarks.flow FOLDER [--raft WEIGHTS]

FOLDER is searched for pairs in the layouts of Middlebury (frame10.png, frame11.png, flow10.flo), FlyingChairs
(N-img0.ppm, N-img1.ppm, N-gt.flo) and Sintel (frame_0001.png, frame_0002.png, frame_0001.flo). Prints a Markdown
table: the mean length of the true motion, which is the error of no motion at all, then each estimator's mean
end-point error over the pixels whose motion is known, and its CPU time on one thread.
"""

from __future__ import annotations

import argparse
import re
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import cv2
import torch
from torch import Tensor

from vst.errors import UserError
from vst.flow import DIS, RAFT, FlowEstimator, LucasKanade, read_flo


@dataclass(frozen=True)
class Pair:
    """Two pictures and the file of the motion between them."""

    name: str
    first: Path
    second: Path
    truth: Path


def find_pairs(root: Path) -> Iterator[Pair]:
    """All pairs below `root` whose three files are there, in the order of their paths."""
    for truth in sorted(root.rglob("*.flo")):
        if (number := re.fullmatch(r"(.*?)(\d+)", truth.stem)) and truth.stem.startswith("f"):
            next_one = f"{int(number[2]) + 1:0{len(number[2])}d}"
            first, second = (f"frame{'_' * ('_' in truth.stem)}{n}.png" for n in (number[2], next_one))
            name = truth.parent.name + (f" {int(number[2])}" if "_" in truth.stem else "")
        else:
            stem = truth.stem.removesuffix("-gt")
            first, second, name = f"{stem}-img0.ppm", f"{stem}-img1.ppm", f"{truth.parent.name} {int(stem)}"
        pair = Pair(name, truth.with_name(first), truth.with_name(second), truth)
        if pair.first.exists() and pair.second.exists():
            yield pair


def picture(path: Path) -> Tensor:
    """(1, 3, H, W) RGB in [0, 1]."""
    pixels = cv2.cvtColor(cv2.imread(str(path)), cv2.COLOR_BGR2RGB)
    return torch.from_numpy(pixels).permute(2, 0, 1)[None].float() / 255


def measure(estimate: FlowEstimator, pair: Pair) -> tuple[float, float]:
    """Mean end-point error in pixels, and CPU milliseconds."""
    a, b = picture(pair.first), picture(pair.second)
    truth, known = read_flo(pair.truth)
    start = time.process_time()
    flow = estimate(a, b)
    spent = time.process_time() - start
    return (flow[0] - truth).norm(dim=0)[known[0]].mean().item(), 1000 * spent


def row(*cells: object) -> str:
    return "| " + " | ".join(map(str, cells)) + " |"


def run(root: Path, raft: Path | None) -> None:
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    estimators: dict[str, FlowEstimator] = {f"DIS {preset}": DIS(preset) for preset in ("ultrafast", "fast", "medium")}
    estimators["Lucas-Kanade"] = LucasKanade()
    if raft is not None:
        network = RAFT(raft)
        estimators[f"RAFT {network.variant}"] = network
    pairs = list(find_pairs(root))
    if not pairs:
        raise UserError(f"{root} holds no pair of pictures with a .flo file in a known layout")
    for estimate in estimators.values():
        measure(estimate, pairs[0])  # what is built at the first call is not timed
    print(row("pair", "size", "true motion", *estimators))
    print(row("---", *["---:"] * (2 + len(estimators))))
    lengths, errors, times = [], [], []
    for pair in pairs:
        truth, known = read_flo(pair.truth)
        lengths.append(truth.norm(dim=0)[known[0]].mean().item())
        found = [measure(estimate, pair) for estimate in estimators.values()]
        errors.append([error for error, _ in found])
        times.append([spent for _, spent in found])
        size = f"{truth.shape[2]} x {truth.shape[1]}"
        print(row(pair.name, size, f"{lengths[-1]:.2f}", *(f"{e:.3f}" for e in errors[-1])), flush=True)
    means = torch.tensor(errors).mean(dim=0).tolist()
    print(row("mean", "", f"{sum(lengths) / len(lengths):.2f}", *(f"{e:.3f}" for e in means)))
    print(row("CPU ms per pair", "", "", *(f"{t:.0f}" for t in torch.tensor(times).mean(dim=0).tolist())))
    if raft is None:
        print("\nRAFT: skipped, --raft names no weights")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("folder", type=Path, help="searched for pairs with ground truth")
    parser.add_argument("--raft", type=Path, help="weights of RAFT small or large, torchvision's layout")
    arguments = parser.parse_args()
    try:
        run(arguments.folder, arguments.raft)
    except UserError as error:
        sys.exit(f"error: {error}")


if __name__ == "__main__":
    main()
