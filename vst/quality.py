"""How much of a stylizer's quality a compressed, pruned or distilled one keeps, over a long film with memory."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.resources import files
from itertools import cycle, islice
from pathlib import Path

import cv2
import numpy as np
import torch
from PIL import Image
from torchmetrics.functional.image import structural_similarity_index_measure

from vst.benchmark import count_cost
from vst.metrics import Reference as Motion
from vst.metrics import temporal_scores
from vst.networks import Stylizer
from vst.runtime.engine import Engine
from vst.runtime.parity import Reference, psnr
from vst.video.reader import VideoReader

FRAMES = 300
WIDTH = 448  # pixels; E_warp needs the flow of the frames, and this is where its estimate is cheap
TURN = 20  # frames that one file paints before the next one's turn
MEASURED = 40  # frames of the warping error, and every fifth of the others is compared for SSIM
WINDOW = (320, 240)  # width and height of what is seen of a photograph
PHOTOGRAPHS = ("chelsea.png", "coffee.png", "astronaut.png")


@dataclass(frozen=True)
class Candidate:
    """What is judged: a file, the engine that runs it, and the network that it was made from."""

    name: str
    path: Path
    engine: Engine
    stylizer: Stylizer


@dataclass(frozen=True)
class Quality:
    """One file: `size` in bytes, `parameters` and multiply-adds for each pixel of its network, `fps` on this machine
    now, PSNR in dB and SSIM to the reference over the film, PSNR of the film's first and last tenth, and the warping
    error over the reference's.
    """

    name: str
    size: int
    parameters: int
    macs: float
    fps: float
    psnr: float
    psnr_first: float
    psnr_last: float
    ssim: float
    ewarp_ratio: float | None


@dataclass(frozen=True)
class QualityReport:
    """Rows before and after compression, of a film of `frames` frames of `size` = (width, height)."""

    frames: int
    size: tuple[int, int]
    rows: list[Quality]

    def to_markdown(self) -> str:
        """A line on the film, and a table."""
        columns = "KB | parameters | kMAC/px | FPS here | PSNR dB | first tenth | last tenth | SSIM | E_warp ratio"
        width, height = self.size
        lines = [f"{self.frames} frames of {width}x{height}, the memory carried:", ""]
        lines += [f"| file | {columns} |", "|---" * 10 + "|"]
        for row in self.rows:
            ewarp = "-" if row.ewarp_ratio is None else f"{row.ewarp_ratio:.3f}"
            decibels = " | ".join(f"{value:.1f}" for value in (row.psnr, row.psnr_first, row.psnr_last))
            cost = f"{row.size / 1e3:.0f} | {row.parameters:,} | {row.macs / 1e3:.2f} | {row.fps:.1f}"
            lines.append(f"| {row.name} | {cost} | {decibels} | {row.ssim:.4f} | {ewarp} |")
        return "\n".join(lines)


def film(video: Path | str | None) -> list[np.ndarray]:
    """`FRAMES` frames (H, W, 3) uint8 of at most `WIDTH` pixels: of a video, forth and back as often as it takes,
    or of a camera over photographs of scikit-image. Raises UserError for what is no video.
    """
    if video is None:
        return _photographs()
    frames: list[np.ndarray] = []
    with VideoReader(video) as reader:
        for frame in islice(reader, FRAMES):
            frames.append(_shrunk(reader.info.orientation.upright(frame.image)))
    return list(islice(cycle([*frames, *frames[-2:0:-1]]), FRAMES))


def judge(reference: Stylizer, candidates: Sequence[Candidate], frames: list[np.ndarray]) -> QualityReport:
    """Hold each candidate against `reference` on `frames`, the memory carried from the first to the last."""
    expected = [*map(Reference(reference), frames)]
    motion = Motion.of(np.stack(frames[:MEASURED]), quick=True)
    base = temporal_scores(np.stack(expected[:MEASURED]), motion)["ewarp_mean@1"]
    rows = []
    for candidate, (result, seconds) in zip(candidates, _in_turns(candidates, frames), strict=True):
        scores = [psnr(np.int16(a) - b) for a, b in zip(expected, result, strict=True)]
        similar = [_ssim(a, b) for a, b in zip(expected[::5], result[::5], strict=True)]
        ewarp = temporal_scores(np.stack(result[:MEASURED]), motion)["ewarp_mean@1"]
        tenth = max(1, len(frames) // 10)
        means = (float(np.mean(part)) for part in (scores, scores[:tenth], scores[-tenth:]))
        size = sum(p.stat().st_size for p in {candidate.path, candidate.path.with_suffix(".bin")} if p.is_file())
        cost, fps = count_cost(candidate.stylizer), len(frames) / seconds
        ratio = ewarp / base if ewarp is not None and base else None
        rows.append(
            Quality(candidate.name, size, cost.parameters, cost.macs, fps, *means, float(np.mean(similar)), ratio)
        )
    return QualityReport(len(frames), (frames[0].shape[1], frames[0].shape[0]), rows)


def _in_turns(candidates: Sequence[Candidate], frames: list[np.ndarray]) -> list[tuple[list[np.ndarray], float]]:
    """(stylised frames, seconds) of each; some frames of one and then of the next, so that whatever else the machine
    does meets them all."""
    results: list[list[np.ndarray]] = [[] for _ in candidates]
    seconds = [0.0] * len(candidates)
    for candidate in candidates:
        candidate.engine.reset()
        candidate.engine(frames[0])  # allocates and chooses kernels, which is not timed
        candidate.engine.reset()
    for start in range(0, len(frames), TURN):
        for number, candidate in enumerate(candidates):
            begin = time.perf_counter()
            results[number] += [candidate.engine(frame) for frame in frames[start : start + TURN]]
            seconds[number] += time.perf_counter() - begin
    return list(zip(results, seconds, strict=True))


def _ssim(a: np.ndarray, b: np.ndarray) -> float:
    pair = (torch.from_numpy(x).permute(2, 0, 1)[None].float() / 255 for x in (a, b))
    return float(structural_similarity_index_measure(*pair, data_range=1.0))


def _photographs() -> list[np.ndarray]:
    """A window that drifts over one photograph after another; a change of photograph is a cut that nobody announces."""
    frames = []
    share = FRAMES // len(PHOTOGRAPHS)
    width, height = WINDOW
    for name in PHOTOGRAPHS:
        picture = np.asarray(Image.open(files("skimage") / "data" / name).convert("RGB"))
        for phase in np.linspace(0, 2 * np.pi, share, endpoint=False):
            x = (picture.shape[1] - width - 1) * (0.5 - 0.5 * np.cos(phase))
            y = (picture.shape[0] - height - 1) * (0.5 + 0.5 * np.sin(phase))
            matrix = np.float64([[1, 0, x], [0, 1, y]])
            frames.append(cv2.warpAffine(picture, matrix, WINDOW, flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP))
    return frames


def _shrunk(image: np.ndarray) -> np.ndarray:
    height, width = image.shape[:2]
    scale = min(1.0, WIDTH / max(height, width))
    size = (max(16, round(width * scale)), max(16, round(height * scale)))
    return cv2.resize(image, size, interpolation=cv2.INTER_AREA)
