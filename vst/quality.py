"""How much of a stylizer's quality an engine or a compressed file keeps, over a long film with the memory carried."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib.resources import files
from itertools import cycle, islice
from pathlib import Path

import cv2
import numpy as np
import torch
from PIL import Image
from torchmetrics.functional.image import structural_similarity_index_measure

from vst.metrics import Reference as Motion
from vst.metrics import temporal_scores
from vst.networks import Stylizer
from vst.runtime.engine import Engine
from vst.runtime.parity import Reference, psnr
from vst.video.reader import VideoReader

FRAMES = 300
WIDTH = 448  # pixels; E_warp needs the flow of the frames, and this is where its estimate is cheap
MEASURED = 40  # frames of the warping error, and every fifth of the others is compared for SSIM
WINDOW = (320, 240)  # width and height of what is seen of a photograph
PHOTOGRAPHS = ("chelsea.png", "coffee.png", "astronaut.png")


@dataclass(frozen=True)
class Quality:
    """One file: `size` in bytes, `fps` on this machine now, PSNR in dB and SSIM to the stylizer over the film, PSNR of
    the film's first and last tenth, and the warping error over the stylizer's.
    """

    name: str
    size: int
    fps: float
    psnr: float
    psnr_first: float
    psnr_last: float
    ssim: float
    ewarp_ratio: float | None


@dataclass(frozen=True)
class QualityReport:
    """Rows before and after compression, of a film of `frames`."""

    frames: int
    rows: list[Quality]

    def to_markdown(self) -> str:
        """A table."""
        head = "| file | KB | FPS here | PSNR dB | first tenth | last tenth | SSIM | E_warp / float |"
        lines = [head, "|---|---|---|---|---|---|---|---|"]
        for row in self.rows:
            ewarp = "-" if row.ewarp_ratio is None else f"{row.ewarp_ratio:.3f}"
            decibels = " | ".join(f"{value:.1f}" for value in (row.psnr, row.psnr_first, row.psnr_last))
            lines.append(
                f"| {row.name} | {row.size / 1e3:.0f} | {row.fps:.1f} | {decibels} | {row.ssim:.4f} | {ewarp} |"
            )
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
            frames.append(_shrunk(frame.image))
    return list(islice(cycle([*frames, *frames[-2:0:-1]]), FRAMES))


def judge(
    stylizer: Stylizer, engines: Mapping[str, Engine], paths: Mapping[str, Path], frames: list[np.ndarray]
) -> QualityReport:
    """Hold each engine against `stylizer` on `frames`, the memory carried from the first to the last."""
    reference = _styled(Reference(stylizer), frames)
    motion = Motion.of(np.stack(frames[:MEASURED]), quick=True)
    base = temporal_scores(np.stack(reference[:MEASURED]), motion)["ewarp_mean@1"]
    rows = []
    for name, engine in engines.items():
        engine.reset()
        begin = time.perf_counter()
        result = _styled(engine, frames)
        fps = len(frames) / (time.perf_counter() - begin)
        scores = [psnr(np.int16(a) - b) for a, b in zip(reference, result, strict=True)]
        similar = [_ssim(a, b) for a, b in zip(reference[::5], result[::5], strict=True)]
        ewarp = temporal_scores(np.stack(result[:MEASURED]), motion)["ewarp_mean@1"]
        tenth = max(1, len(frames) // 10)
        means = (float(np.mean(part)) for part in (scores, scores[:tenth], scores[-tenth:]))
        size = sum(p.stat().st_size for p in {paths[name], paths[name].with_suffix(".bin")} if p.is_file())
        ratio = ewarp / base if ewarp is not None and base else None
        rows.append(Quality(name, size, fps, *means, float(np.mean(similar)), ratio))
    return QualityReport(len(frames), rows)


def _styled(engine: Callable[[np.ndarray], np.ndarray], frames: list[np.ndarray]) -> list[np.ndarray]:
    return [engine(frame) for frame in frames]


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
