"""Films that are being rendered, and those that are done."""

from __future__ import annotations

import logging
import secrets
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np

from vst.errors import UserError
from vst.painting.look import Look
from vst.painting.painter import Painter
from vst.progress import Pace
from vst.stream import stylize_video
from vst.studio.refusal import Busy, Refusal
from vst.studio.settings import Settings
from vst.studio.styles import Painters
from vst.studio.uploads import Upload, check_room
from vst.video.encoders import EIGHT_BITS

_log = logging.getLogger(__name__)

State = Literal["running", "done", "failed", "cancelled"]
ABANDONED_SECONDS = 90  # after which a film that nobody follows any more gives its place to others


@dataclass
class Render:
    """A film on its way: `pace.frames` of `total` (None: nobody knows) are painted, `seconds` after its begin."""

    id: str
    upload: Upload
    path: Path
    total: int | None
    state: State = "running"
    error: str = ""
    touched: float = field(default_factory=time.monotonic)
    began: float = field(default_factory=time.monotonic)
    seconds: float = 0.0
    pace: Pace = field(default_factory=Pace)
    stop: threading.Event = field(default_factory=threading.Event)

    def status(self) -> dict[str, Any]:
        """What the page shows; seconds, and `fps` and `left` None until they can be told. Who asks keeps it alive."""
        self.touched = time.monotonic()
        seconds, frames, fps = self.seconds or time.monotonic() - self.began, self.pace.frames, self.pace.fps
        left = self.pace.left(max(self.total - frames, 0)) if self.state == "running" and self.total else None
        return {
            "id": self.id,
            "state": self.state,
            "frames": frames,
            "total": self.total,
            "seconds": round(seconds, 1),
            "fps": None if fps is None else round(fps, 1),
            "left": None if left is None else round(left, 1),
            "error": self.error,
        }


class Renders:
    """Renders up to `max_jobs` films at once, each in its thread; a further one is told that the studio is busy."""

    def __init__(self, folder: Path, painters: Painters, settings: Settings) -> None:
        self._folder, self._painters, self._settings = folder, painters, settings
        self._kept: dict[str, Render] = {}
        self._threads = ThreadPoolExecutor(settings.max_jobs, "render")

    def start(self, upload: Upload, look: Look) -> Render:
        """The finished renders of the same film make room for it.

        Raises Busy, or UserError for a look with a style that is not there.
        """
        running = [render for render in self._kept.values() if render.state == "running"]
        if len(running) >= self._settings.max_jobs:
            count = len(running)
            films = "a film is" if count == 1 else f"{count} films are"
            raise Busy(f"the studio is busy: {films} being rendered; try again when there is a place", 15)
        check_room(self._folder, 0)
        painter = self._painters.take(look)
        for older in list(self._kept.values()):
            if older.upload is upload and older.state != "running":
                self.remove(older.id)
        name = secrets.token_urlsafe(16)
        render = Render(name, upload, self._folder / f"{name}.mp4", _expected_frames(upload))
        upload.users += 1
        self._kept[name] = render
        self._threads.submit(self._run, render, painter)
        return render

    def get(self, render_id: str) -> Render:
        if render_id not in self._kept:
            raise Refusal(404, "this film is not here any more; render it again")
        render = self._kept[render_id]
        render.touched = time.monotonic()
        return render

    def remove(self, render_id: str) -> None:
        """Stop it if it is running, and forget it with its file."""
        render = self._kept.get(render_id)
        if render is None:
            return
        render.stop.set()
        if render.state != "running":
            del self._kept[render_id]
            render.path.unlink(missing_ok=True)

    def remove_of(self, upload: Upload) -> None:
        for render in list(self._kept.values()):
            if render.upload is upload:
                self.remove(render.id)

    def sweep(self, older_than: float) -> None:
        """Remove what is finished and was not asked for in so many seconds, and what was stopped; stop what nobody
        follows.
        """
        now = time.monotonic()
        for render in list(self._kept.values()):
            if render.state == "running" and now - render.touched > ABANDONED_SECONDS:
                render.stop.set()
            elif render.state != "running" and (render.stop.is_set() or now - render.touched > older_than):
                self.remove(render.id)

    def close(self) -> None:
        """Stop all, and wait until their threads have let go of their files."""
        for render in self._kept.values():
            render.stop.set()
        self._threads.shutdown(wait=True)

    def _run(self, render: Render, painter: Painter) -> None:
        settings = self._settings
        # What browsers play, whatever the guest's camera made.
        encoder = {"codec": settings.codec, "crf": settings.crf, "preset": settings.preset, "pix_fmt": EIGHT_BITS}
        try:
            film = _Watched(painter, render, settings.max_frames)
            # Browsers play AAC, and not all of the rest that an mp4 may hold.
            stylize_video(film, render.upload.path, render.path, audio="aac", progress=False, hdr="sdr", **encoder)
            render.state = "cancelled" if render.stop.is_set() else "done"
        except _Stopped:
            render.state = "cancelled"
        except UserError as error:
            # The messages of vst.video name files, which are no guest's concern.
            said = str(error).replace(str(render.upload.path), "the film")
            render.error = said.replace(str(render.path), "the result")
            render.state = "failed"
        except Exception:
            _log.exception("a film could not be rendered")
            render.error = "something broke while this film was rendered; the studio's log says what"
            render.state = "failed"
        finally:
            render.seconds = time.monotonic() - render.began
            render.upload.users -= 1
            self._painters.give(painter)


class _Stopped(Exception):
    """Raised between two frames of a film that nobody wants any more."""


class _Watched:
    """A painter that counts its frames, and stops where a film is longer than its header said it would be.

    Odd sides get another row or column like their last one: browsers want 4:2:0.
    """

    def __init__(self, painter: Painter, render: Render, most: int) -> None:
        self._painter, self._render, self._most = painter, render, most
        self.reset: Callable[[], None] = painter.reset

    def __call__(self, frame: np.ndarray, out: np.ndarray) -> np.ndarray:
        if self._render.stop.is_set():
            raise _Stopped
        if self._render.pace.frames >= self._most:
            raise UserError(f"the film has more than {self._most} frames, which is the limit here")
        self._painter(frame, out[: frame.shape[0], : frame.shape[1]])
        out[frame.shape[0] :] = out[frame.shape[0] - 1]
        out[:, frame.shape[1] :] = out[:, frame.shape[1] - 1 : frame.shape[1]]
        self._render.pace.add()
        return out

    def output_size(self, width: int, height: int) -> tuple[int, int]:
        return width + width % 2, height + height % 2


def _expected_frames(upload: Upload) -> int | None:
    info = upload.info
    if info.num_frames is not None:
        return info.num_frames
    return round(info.duration * info.fps) if info.duration is not None else None
