"""Whether two jobs at once are as quick as one after the other.

    python -m benchmarks.two_jobs film.mp4 --checkpoint stylizer.pt [--engines torch openvino] [--end 4] [--active]

Each job is a process of its own, with the defaults of its command: a film is painted (`stylize.py`) by each of the
engines, or a style is trained (`train.py`, some batches of the default recipe). Every pair runs one after the other,
then at once. `ratio` is the time of the former over that of the latter: 1 where nothing is lost, more where one job
leaves processors idle. `--active` lets threads wait as the libraries would by themselves.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from itertools import combinations_with_replacement, count
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
SPINNING = {
    "GOMP_SPINCOUNT": "300000",
    "OPENCV_THREAD_POOL_ACTIVE_WAIT_WORKER": "2000",
    "OPENCV_THREAD_POOL_ACTIVE_WAIT_MAIN": "10000",
}
"""What libgomp and OpenCV take where nothing is said."""

TRAINING = ("logger=none", "callbacks=none", "trainer.max_epochs=1", "data.steps_per_epoch=24")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("film")
    parser.add_argument("--checkpoint", required=True)
    parser.add_argument("--engines", nargs="*", default=["torch", "openvino"])
    parser.add_argument("--end", type=float, default=4, help="seconds of the film")
    parser.add_argument("--active", action="store_true")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        jobs = {f"stylize, {engine}": painting(asked, engine) for engine in asked.engines} | {"train": training()}
        numbers = count()
        for job in jobs.values():  # engines are built and kept before anything is timed
            run([filled(job, folder, next(numbers))], asked.active)
        print("| jobs | one after the other, s | at once, s | ratio |\n|---|---|---|---|")
        for names in combinations_with_replacement(jobs, 2):
            one_by_one = sum(run([filled(jobs[name], folder, next(numbers))], asked.active) for name in names)
            at_once = run([filled(jobs[name], folder, next(numbers)) for name in names], asked.active)
            row = [" and ".join(names), *(f"{seconds:.1f}" for seconds in (one_by_one, at_once))]
            print(f"| {' | '.join(row)} | {one_by_one / at_once:.2f} |", flush=True)


def painting(asked: argparse.Namespace, engine: str) -> list[str]:
    given = [f"checkpoint={asked.checkpoint}", f"input={asked.film}", f"end={asked.end}", f"engine={engine}"]
    return ["stylize.py", *given, "output={folder}/{number}.mp4", "overwrite=true"]


def training() -> list[str]:
    return ["train.py", *TRAINING, "output_dir={folder}/run_{number}"]


def filled(job: Sequence[str], folder: str, number: int) -> list[str]:
    return [part.format(folder=folder, number=number) for part in job]


def run(jobs: Sequence[Sequence[str]], active: bool) -> float:
    """Seconds until all have ended."""
    environment = os.environ | (SPINNING if active else {})
    begin = time.perf_counter()
    options = {"cwd": ROOT, "env": environment, "stdout": subprocess.DEVNULL}
    started = [subprocess.Popen([sys.executable, *job], **options) for job in jobs]
    for process in started:
        if process.wait():
            sys.exit(f"failed: {' '.join(process.args)}")
    return time.perf_counter() - begin


if __name__ == "__main__":
    main()
