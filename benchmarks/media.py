"""What a way through `stylize_video` leaves of the videos of a folder: frames, length, rotation, sound.

    python -m benchmarks.media FOLDER [--checkpoint stylizer.pt] [--output docs/media.md]

Paints every video below FOLDER, and every folder of pictures as one, with an engine that returns its input (or with a
checkpoint), reads the result again and writes one line of a Markdown table for each. A picture's folder becomes an mp4,
a container that is not written (avi) an mkv.
"""

from __future__ import annotations

import argparse
import hashlib
import logging
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import av
import numpy as np

from vst.checkpoint import load_stylizer
from vst.errors import UserError
from vst.runtime import open_engine
from vst.stream import FrameEngine, StreamReport, stylize_video
from vst.video.encoders import FORMATS
from vst.video.pictures import is_film, is_picture
from vst.video.source import open_source

COLUMNS = (
    "file", "codec", "stored size", "frames in", "frames out", "length differs by", "rotation in, out",
    "sound", "packets of sound", "notes",
)  # fmt: skip


class Identity:
    """An engine that returns its input."""

    def reset(self) -> None: ...

    def __call__(self, frame: np.ndarray, out: np.ndarray) -> np.ndarray:
        np.copyto(out, frame)
        return out


@dataclass(frozen=True)
class Facts:
    """What is read from a video: times in seconds, and the hashes of the packets of each track of sound."""

    codec: str
    size: str
    rotation: int
    frames: int
    begin: float
    end: float
    frame_seconds: float
    sound: list[tuple[str, list[str]]]

    @classmethod
    def read(cls, path: Path) -> Facts:
        with open_source(path) as source:
            info, frames, begin, end = source.info, 0, 0.0, 0.0
            for frame in source:
                unit = frame.time_base
                begin = begin if frames else float(frame.pts * unit)
                frames, end = frames + 1, float((frame.pts + frame.duration) * unit)
        size, seconds = f"{info.width}x{info.height}", float(1 / info.fps)
        return cls(info.codec, size, info.rotation, frames, begin, end, seconds, _sound(path))


def _sound(path: Path) -> list[tuple[str, list[str]]]:
    if path.is_dir():
        return []
    with av.open(str(path), metadata_errors="replace") as container:
        tracks: dict[int, tuple[str, list[str]]] = {s.index: (s.name or "?", []) for s in container.streams.audio}
        try:
            for packet in container.demux(list(container.streams.audio)) if tracks else ():
                if packet.size:
                    tracks[packet.stream.index][1].append(hashlib.md5(bytes(packet)).hexdigest())
        except av.error.FFmpegError:
            pass  # a damaged file: what was read until here is compared
    return list(tracks.values())


def find_videos(folder: Path) -> Iterator[Path]:
    for path in sorted(folder.rglob("*")):
        if path.is_file() and is_film(path):
            yield path
        elif path.is_dir() and any(is_picture(child) for child in path.iterdir()):
            yield path


def line(path: Path, engine: FrameEngine, folder: Path, scratch: Path) -> list[str]:
    """The cells of one video."""
    suffix = ".mp4" if path.is_dir() else path.suffix.lower()
    target = scratch / f"{path.stem}{suffix if suffix in FORMATS else '.mkv'}"
    told: list[str] = []
    handler = logging.Handler()
    handler.emit = lambda record: told.append(
        record.getMessage().replace(f"{path.parent}/", "").replace(f"{scratch}/", "")
    )
    logging.getLogger("vst").addHandler(handler)
    name = str(path.relative_to(folder))
    try:
        report: StreamReport = stylize_video(engine, path, target, progress=False)
        before, after = Facts.read(path), Facts.read(target)
    except UserError as error:
        return [name, *[""] * (len(COLUMNS) - 2), str(error).replace(f"{path.parent}/", "")]
    finally:
        logging.getLogger("vst").removeHandler(handler)
    if report.cuts:
        told.append(f"{report.cuts} hard cut{'s' if report.cuts > 1 else ''}")
    difference = (after.end - after.begin) - (before.end - before.begin)
    same = [a == b for (_, a), (_, b) in zip(before.sound, after.sound, strict=False)]
    whole = len(before.sound) == len(after.sound) and all(same)
    count = sum(len(packets) for _, packets in after.sound)
    target.unlink()
    return [
        name,
        before.codec,
        before.size,
        str(before.frames),
        str(after.frames),
        f"{1000 * difference:+.1f} ms ({difference / before.frame_seconds:+.2f} frames)",
        f"{before.rotation}, {after.rotation}",
        ", ".join(codec for codec, _ in before.sound) or "none",
        ("" if not before.sound else f"{count} identical" if whole else f"DIFFERENT ({count})"),
        "; ".join(told),
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--checkpoint", type=Path, help="paint with this stylizer")
    parser.add_argument("--output", type=Path, help="write the table here as well")
    options = parser.parse_args()
    engine = Identity() if options.checkpoint is None else open_engine(load_stylizer(options.checkpoint))
    rows = [f"| {' | '.join(COLUMNS)} |", "|" + "---|" * len(COLUMNS)]
    with tempfile.TemporaryDirectory() as scratch:
        for path in find_videos(options.folder):
            rows.append(f"| {' | '.join(line(path, engine, options.folder, Path(scratch)))} |")
            print(rows[-1], flush=True)
    if options.output is not None:
        options.output.write_text("\n".join(rows) + "\n")


if __name__ == "__main__":
    main()
