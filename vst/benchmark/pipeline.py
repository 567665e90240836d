"""A film from file to file: each stage alone, all of them overlapped, and which of them is the limit."""

from __future__ import annotations

import logging
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import cycle, islice
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

from vst.benchmark.results import Benchmark
from vst.cuts import CutDetector
from vst.errors import UserError
from vst.pipeline import upright_frames, without_rgb
from vst.runtime import Engine
from vst.stream import stylize_video
from vst.threads import cpus
from vst.video import VideoReader, VideoWriter

KEPT_BYTES = 400e6  # of decoded frames and as many stylised ones
STAGES = ("decode", "model", "encode")
NOTES = [
    "ms: wall time of a frame, the median of the rounds; CPU ms: time of all processors together",
    "model and encode alone go to and fro over the film's first frames, as many as fit into memory",
]
_log = logging.getLogger(__name__)


@dataclass
class _Timing:
    """Seconds for each frame, a number for each round."""

    wall: list[float] = field(default_factory=list)
    cpu: list[float] = field(default_factory=list)

    def add(self, run: Callable[[], int]) -> None:
        wall, cpu = time.perf_counter(), time.process_time()
        frames = run()
        self.wall.append((time.perf_counter() - wall) / frames)
        self.cpu.append((time.process_time() - cpu) / frames)


def run_pipeline(
    engine: Engine,
    film: str | Path,
    settings: dict[str, Any],
    *,
    codec: str = "libx264",
    crf: int = 18,
    preset: str = "veryfast",
    rounds: int = 3,
    planes: bool = False,
) -> Benchmark:
    """Time decoding, the model and encoding alone, and `stylize_video`, in turns; the whole film each time.

    Rows have `stage`, `fps`, `ms`, `cpu_ms` and, of the overlapped one, `of_slowest`: its speed over that of the
    slowest stage alone. The last note names the limit: that stage, or the processors, where the CPU time of all
    stages shared among them takes longer than it. `planes`: see `stylize_video`.

    Raises:
        UserError: the film is no video, or not one frame of it can be read.
    """
    film = Path(film)
    timings = {stage: _Timing() for stage in (*STAGES, "overlapped")}
    with tempfile.TemporaryDirectory(prefix="vst-benchmark-") as folder:
        _log.info("preparing %s", engine.name)
        stages = _Stages(engine, film, Path(folder), {"codec": codec, "crf": crf, "preset": preset}, planes)
        for turn in range(rounds):
            for stage, timing in timings.items():
                _log.info("round %d of %d, %s", turn + 1, rounds, stage)
                timing.add(getattr(stages, stage))
    wall = {stage: median(timing.wall) for stage, timing in timings.items()}
    cpu = {stage: median(timing.cpu) for stage, timing in timings.items()}
    slowest = max(STAGES, key=wall.__getitem__)
    result = Benchmark("pipeline", settings | stages.describe() | {"rounds": rounds}, notes=list(NOTES))
    for stage in timings:
        share = wall[slowest] / wall[stage] if stage == "overlapped" else None
        result.rows.append(
            {"stage": stage, "fps": 1 / wall[stage], "ms": 1e3 * wall[stage], "cpu_ms": 1e3 * cpu[stage],
             "of_slowest": share}
        )  # fmt: skip
    result.notes.append(limit(wall, cpu, slowest, cpus()))
    return result


def limit(wall: dict[str, float], cpu: dict[str, float], slowest: str, processors: int) -> str:
    """One line that names what bounds the overlapped pipeline, from seconds for each frame of each of `STAGES`."""
    shared = sum(cpu[stage] for stage in STAGES) / processors
    if shared > wall[slowest]:
        return (
            f"limit: the processors: the stages take {1e3 * shared * processors:.1f} ms of CPU a frame, "
            f"{1e3 * shared:.1f} ms shared by {processors}; "
            f"the slowest stage alone, {slowest}, takes {1e3 * wall[slowest]:.1f} ms"
        )
    return f"limit: {slowest}, {1e3 * wall[slowest]:.1f} ms a frame alone"


class _Stages:
    """The stages of `vst.stream`, each as a function that handles the whole film and returns its number of frames."""

    def __init__(self, engine: Engine, film: Path, folder: Path, encoder: dict[str, Any], planes: bool) -> None:
        self._engine, self._film, self._output, self._encoder = engine, film, folder / "film.mp4", encoder
        self._asked = planes
        with VideoReader(film) as reader:
            self._info = reader.info
            with VideoWriter(self._output, self._info, **encoder) as writer:
                self._running, self._planes = without_rgb(reader, engine, writer) if planes else (engine, None)
                self._running.reset()
                size = 3 * self._info.width * self._info.height
                kept = islice(upright_frames(reader, self._planes), max(2, int(KEPT_BYTES / 2 / size)))
                self._frames, self._styled = [], []
                for frame, image, _ in kept:
                    self._frames.append(image)
                    self._styled.append(self._lying(self._running(image)))
                    writer.write(self._styled[-1], frame.pts, frame.duration)
                    if len(self._frames) == 1:
                        self._first = frame
                if not self._frames:
                    raise UserError(f"input={film}: no frame could be read")
        self._count = self.decode()

    def _lying(self, image: np.ndarray) -> np.ndarray:
        """An upright image as it is stored."""
        return image if self._planes is not None else self._info.orientation.stored(image)

    def describe(self) -> dict[str, Any]:
        info = self._info
        film = f"{info.width}x{info.height}, {self._count} frames, {info.codec}"
        wire = "RGB" if self._planes is None else f"planes ({self._planes.name})"
        return {"film": film, "engine": self._engine.describe(), "frames": wire, "encoder": self._encoder}

    def decode(self) -> int:
        is_cut, count = CutDetector(), 0
        with VideoReader(self._film) as reader:
            for _, _, colours in upright_frames(reader, self._planes):
                is_cut(colours)
                count += 1
        return count

    def model(self) -> int:
        out = np.empty_like(self._frames[0])
        self._running.reset()
        for frame in islice(cycle(_to_and_fro(self._frames)), self._count):
            self._running(frame, out=out)
        return self._count

    def encode(self) -> int:
        pts, step = self._first.pts, self._first.duration
        # Without the film's sound, whose packets belong to times that these frames do not have.
        with VideoWriter(self._output, self._info, overwrite=True, **self._encoder) as writer:
            for image in islice(cycle(_to_and_fro(self._styled)), self._count):
                writer.write(image, pts, step)
                pts += step
        return self._count

    def overlapped(self) -> int:
        options = {"planes": self._asked, "overwrite": True, "progress": False, **self._encoder}
        return stylize_video(self._engine, self._film, self._output, **options).frames


def _to_and_fro(frames: list[np.ndarray]) -> list[np.ndarray]:
    """Forwards and back, so that a cycle has no cut, which would be dear to encode."""
    return frames + frames[-2:0:-1]
