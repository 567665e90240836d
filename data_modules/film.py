"""`style=video`: frames of a short film or an animation as the pictures of the style."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from pathlib import Path

import av
import cv2
import numpy as np

from data_modules.styles import Pictures, slug
from data_modules.video_cache import fit, progress_bar
from vst.errors import UserError
from vst.video.clips import FrameIndex, Upright, upright_size
from vst.video.probe import VideoInfo, probe
from vst.video.stills import Still

THUMBNAIL = (16, 16)
SAME = 4.0  # mean difference of two thumbnails' values, of 255, below which their frames are near-duplicates
BLANK = 5.0  # standard deviation of a thumbnail's values below which its frame shows nothing: a fade, a black leader
BLACK = 24  # brightest value in the bars above and below a wide picture

log = logging.getLogger(__name__)


class VideoStyle(Pictures):
    """The style of a film's frames, one for every `every` seconds; near-duplicates and blank frames are left out.

    The film is decoded once. Black bars are cut off. Where more than `cache` frames come together, every other one
    is dropped and the interval doubled, so a film of any length will do.

    Args:
        video: path of the film.
        crop, short_side: see `Pictures`.
        every: seconds from one frame to the next.
        cache: largest number of frames, all kept in memory.

    Raises:
        UserError: a number is too small, `video` cannot be read, or shows nothing.
    """

    def __init__(
        self, video: str | Path, crop: int = 160, short_side: int = 320, every: float = 1.0, cache: int = 256
    ) -> None:
        if not every > 0:
            raise UserError(f"style.every is {every}, it has to be more than 0 seconds")
        path = Path(video).expanduser()
        chosen = _Selection(probe(path), every, max(crop, short_side), max(cache, 1))
        index = _watch(path, chosen)
        if index.damaged:
            log.warning("style.video=%s: used as far as it decodes, %s", video, index.damaged)
        if not chosen.frames:
            raise UserError(f"style.video={video}: all its frames are blank; give a film that shows something")
        left_out = [f"{n} {what} left out" for what, n in chosen.left_out.items() if n]
        counted = f"{len(chosen.frames)} frame{'s' * (len(chosen.frames) > 1)} of {path}, one in {chosen.every:g} s"
        origin = ", ".join([counted, *left_out])
        frames = _without_bars(chosen.frames)
        super().__init__(frames, _still, slug(path.stem), origin, crop, short_side, cache)
        self.load_files()


@dataclass(frozen=True, eq=False)
class FilmFrame:
    """A frame `picture` (h, w, 3) uint8 RGB that plays `time` seconds after the first one."""

    time: float
    picture: np.ndarray

    def __str__(self) -> str:
        return f"frame at {self.time:.1f} s"


def _still(frame: FilmFrame) -> Still:
    return Still(frame.picture, None)


class _Selection:
    """Called with every frame of a film in turn, keeps those that `VideoStyle` wants, at a short side of `least`."""

    def __init__(self, info: VideoInfo, every: float, least: int, limit: int) -> None:
        self.every, self.least, self.limit = every, least, limit
        self.frames: list[FilmFrame] = []
        self.left_out = {"near-duplicates": 0, "blank": 0}
        self._fps, self._upright = float(info.fps), Upright(info.path)
        self._begin = float(info.first * info.time_base)
        self._size: tuple[int, int] | None = None
        self._thumbnails: list[np.ndarray] = []
        self._count, self._last = 0, -np.inf

    def __call__(self, frame: av.VideoFrame) -> None:
        time = self._count / self._fps if frame.time is None else frame.time - self._begin
        self._count += 1
        # Half a frame early is on time: intervals are rarely a whole number of frames.
        if time < self._last + self.every - 0.5 / self._fps:
            return
        self._last = time
        if self._size is None:
            self._size = fit(*upright_size(frame), self.least)
        self._consider(FilmFrame(time, np.ascontiguousarray(self._upright(frame, self._size))))

    def _consider(self, frame: FilmFrame) -> None:
        thumbnail = cv2.resize(frame.picture, THUMBNAIL, interpolation=cv2.INTER_AREA).astype(np.float32)
        if thumbnail.std() < BLANK:
            self.left_out["blank"] += 1
        elif any(np.abs(thumbnail - other).mean() < SAME for other in self._thumbnails):
            self.left_out["near-duplicates"] += 1
        else:
            self.frames.append(frame)
            self._thumbnails.append(thumbnail)
        if len(self.frames) > self.limit:
            self.frames, self._thumbnails = self.frames[::2], self._thumbnails[::2]
            self.every, self._last = 2 * self.every, self.frames[-1].time


def _watch(path: Path, chosen: _Selection) -> FrameIndex:
    """Decode the film once for `chosen`, with a bar."""
    with progress_bar() as progress:
        task = progress.add_task(f"Looking through {path.name}", total=probe(path).num_frames)

        def visit(frame: av.VideoFrame) -> None:
            chosen(frame)
            progress.advance(task)

        return FrameIndex.build(path, visit=visit)


def _without_bars(frames: list[FilmFrame]) -> list[FilmFrame]:
    """Cut off the rows and columns at the borders that are black in all frames."""
    brightest = np.max([frame.picture.max(axis=2) for frame in frames], axis=0)
    rows, columns = (np.flatnonzero(brightest.max(axis=axis) > BLACK) for axis in (1, 0))
    if not len(rows):
        return frames
    view = (slice(rows[0], rows[-1] + 1), slice(columns[0], columns[-1] + 1))
    return [FilmFrame(frame.time, frame.picture[view]) for frame in frames]
