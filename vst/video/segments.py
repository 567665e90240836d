"""A video written in segments that survive a crash, and joined at the end without another encoding."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from types import TracebackType

import av
import numpy as np
from av.packet import Packet

from vst.errors import UserError
from vst.video.encoder import PictureTrack
from vst.video.encoders import Encoding, choose_encoding
from vst.video.excerpts import Excerpt
from vst.video.output import check_output, told
from vst.video.probe import VideoInfo
from vst.video.writer import VideoWriter

SEGMENT_SECONDS = 10
_JOB = "job.json"

Arrays = Mapping[str, np.ndarray]


@dataclass(frozen=True)
class _Index:
    """Of a segment: its frames' times and lengths in order of display, and the times in order of decoding."""

    pts: np.ndarray
    durations: np.ndarray
    order: np.ndarray


class SegmentedWriter:
    """A `VideoWriter` whose work is not lost when the process is killed.

    Segments of `segment_frames` frames, each encoded for itself, lie in a hidden folder beside the output,
    `.NAME.parts`, each with the state of whoever paints, until all are joined into the output by copying. The
    folder takes as much room as the output. `job` is what decides the pictures, as plain JSON values; a folder of
    another job is refused.

    A context manager. After entering, `frames` says how many frames are finished, and `state` is what was given to
    `close_segment` after the last of them; the next `write` is of the frame behind. On an exception the finished
    segments stay; without one the output is written and the folder removed.
    """

    def __init__(
        self,
        path: str | Path,
        info: VideoInfo,
        job: Mapping[str, object],
        *,
        tracks: Sequence[Excerpt] = (),
        audio: str = "copy",
        overwrite: bool = False,
        **encoder: str | int | None,
    ) -> None:
        self.path, self.info = Path(path), info
        check_output(self.path, overwrite)
        self._encoding = choose_encoding(self.path, info, **encoder)
        self.folder = self.path.with_name(f".{self.path.name}.parts")
        self._output = VideoWriter(
            path, info, copy_from=tracks, audio=audio, overwrite=overwrite, scratch=self.folder, **encoder
        )
        size = [info.width, info.height, str(info.time_base), str(info.fps)]
        self.segment_frames = max(1, round(SEGMENT_SECONDS * info.fps))
        settings = {"encoding": asdict(self._encoding), "frames": size, "segment": self.segment_frames}
        self._job = json.loads(json.dumps({**job, **settings}, default=str))
        self.frames = 0
        self.state: Arrays | None = None
        self._finished = 0
        self._segment: _Segment | None = None

    def __enter__(self) -> SegmentedWriter:
        with told(self.folder):
            if not (self.folder / _JOB).exists():
                self.folder.mkdir(exist_ok=True)
                _write_whole(self.folder / _JOB, json.dumps(self._job, indent=1).encode())
        self._check_job()
        while self._index_of(self._finished).exists():
            arrays = _read(self._index_of(self._finished))
            self.frames += len(arrays["pts"])
            self.state = {key[6:]: array for key, array in arrays.items() if key.startswith("state_")}
            self._finished += 1
        for left in self.folder.glob(".*.part"):
            left.unlink()
        self._output.__enter__()  # now, as it tells what it cannot hold
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is not None:
            self._output.__exit__(kind, error, trace)
            self._abandon()
            return
        try:
            with contextlib.ExitStack() as stack:
                stack.push(self._output)
                self._join()
        except BaseException:
            self._abandon()
            raise
        shutil.rmtree(self.folder, ignore_errors=True)

    def write(self, image: np.ndarray, pts: int, duration: int) -> None:
        """Append `image` (H, W, 3) uint8 RGB, or (H, W, 4) with an alpha where `info.alpha`.

        `pts` and `duration` are in units of `info.time_base`.
        """
        with told(self.path):
            if self._segment is None:
                self._segment = _Segment(self._file_of(self._finished), self.info, self._encoding)
            self._segment.write(image, pts, duration)

    def close_segment(self, state: Arrays) -> None:
        """Finish a segment. `state` is what has to be known to go on after its last frame."""
        assert self._segment is not None
        segment, self._segment = self._segment, None
        with told(self.path):
            index = segment.finish()
            named = {f"state_{key}": array for key, array in state.items()}
            target = self._index_of(self._finished)
            temporary = target.with_suffix(".part")
            with temporary.open("wb") as file:
                np.savez(file, **asdict(index), **named)
            os.replace(temporary, target)  # from now on the segment counts
        self._finished += 1

    def _check_job(self) -> None:
        try:
            before = json.loads((self.folder / _JOB).read_text())
        except (OSError, ValueError) as error:
            raise UserError(f"{self.folder} is damaged; delete it to start anew") from error
        was, now = (dict(_leaves(job)) for job in (before, self._job))
        differ = [key for key in {**was, **now} if was.get(key) != now.get(key)]
        if differ:
            changes = "; ".join(f"{key} was {was.get(key)}, is {now.get(key)}" for key in differ)
            remedy = "set it back, or delete that folder to start anew"
            raise UserError(f"{self.folder} holds the begin of another job: {changes}; {remedy}")

    def _file_of(self, number: int) -> Path:
        return self.folder / f"{number:05d}.nut"

    def _index_of(self, number: int) -> Path:
        return self.folder / f"{number:05d}.npz"

    def _abandon(self) -> None:
        """Leave what is finished, for the next time."""
        if self._segment is not None:
            self._segment.discard()
        if not self._finished:
            shutil.rmtree(self.folder, ignore_errors=True)

    def _join(self) -> None:
        if self._segment is not None:
            self.close_segment({})
        parts = [_read(self._index_of(number)) for number in range(self._finished)]
        if not parts:
            return  # which the output tells
        stamps = _decoding_times([part["pts"] for part in parts], [part["order"] for part in parts])
        for number, part in enumerate(parts):
            shift = 0
            for pts, duration in zip(part["pts"].tolist(), part["durations"].tolist(), strict=True):
                shift = self._output.announce(pts, duration) - pts
            packets = _packets(self._file_of(number))
            for packet, pts in zip(packets, part["order"].tolist(), strict=True):
                packet.pts, packet.dts, packet.time_base = pts + shift, next(stamps) + shift, self.info.time_base
                self._output.add([packet])


class _Segment:
    """A segment that is being written; its times begin at 0."""

    def __init__(self, path: Path, info: VideoInfo, encoding: Encoding) -> None:
        # Nut drops what is beside a packet, where VP9 has its transparency.
        format = "matroska" if encoding.alpha else "nut"
        self._container = av.open(str(path), "w", format=format)
        self._picture = PictureTrack(self._container, info, encoding)
        self._pts: list[int] = []
        self._durations: list[int] = []
        self._order: list[int] = []

    def write(self, image: np.ndarray, pts: int, duration: int) -> None:
        self._pts.append(pts)
        self._durations.append(duration)
        self._mux(self._picture.encode(image, pts - self._pts[0]))

    def finish(self) -> _Index:
        self._mux(self._picture.flush())
        self._container.close()
        return _Index(np.array(self._pts), np.array(self._durations), np.array(self._order))

    def discard(self) -> None:
        with contextlib.suppress(av.error.FFmpegError, OSError):
            self._container.close()

    def _mux(self, packets: Sequence[Packet]) -> None:
        for packet in packets:
            self._order.append(packet.pts + self._pts[0])
            self._container.mux(packet)


def _packets(path: Path) -> Iterator[Packet]:
    with av.open(str(path)) as container:
        for packet in container.demux(container.streams.video[0]):
            if packet.size:
                yield packet


def _decoding_times(shown: Sequence[np.ndarray], decoded: Sequence[np.ndarray]) -> Iterator[int]:
    """Times of decoding for all packets: those of display, as many frames earlier as the order asks for.

    The encoder's own ones are made for one segment and run into each other where two meet.
    """
    times, order = np.concatenate(list(shown)), np.concatenate(list(decoded))
    delay = int((np.arange(len(order)) - np.searchsorted(times, order)).max())
    step = max(1, int(times[1] - times[0])) if len(times) > 1 else 1
    before = times[0] - step * np.arange(delay, 0, -1)
    return iter(np.concatenate([before, times[: len(times) - delay]]).tolist())


def _leaves(job: Mapping[str, object], above: str = "") -> Iterator[tuple[str, object]]:
    """The names of single values, such as encoding.options.crf, and the values."""
    for key, value in job.items():
        if isinstance(value, Mapping):
            yield from _leaves(value, f"{above}{key}.")
        else:
            yield above + key, value


def _read(path: Path) -> dict[str, np.ndarray]:
    with np.load(path, allow_pickle=False) as file:
        return dict(file)


def _write_whole(path: Path, data: bytes) -> None:
    temporary = path.with_suffix(".part")
    temporary.write_bytes(data)
    os.replace(temporary, path)
