"""Films that guests have sent: received in parts, looked at, kept for a while."""

from __future__ import annotations

import asyncio
import re
import secrets
import shutil
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path

import av

from vst.errors import UserError
from vst.studio.refusal import Busy, Refusal
from vst.studio.settings import Settings
from vst.video.probe import VideoInfo, probe

DEMUXERS = "mov,mp4,m4a,3gp,3g2,mj2,matroska,webm,avi,mpegts,mpeg"
KINDS = "give an mp4, mov, mkv, webm or avi file"
SILENCE_SECONDS = 30  # without a byte, after which a sender is taken to be gone
LEAST_RATE = 20_000  # bytes a second on average: a slower sender would hold a place for hours
SPARE_BYTES = 512 * 1024 * 1024  # of the disk are left to others
QUIET_SECONDS = 600  # after which a film may give way to a new one
NAME_LENGTH = 80


@dataclass
class Upload:
    """A film of a guest: `id` is its secret name, `name` what the guest calls it, `touched` its last use (monotonic
    seconds) and `users` how many renders read it.
    """

    id: str
    name: str
    path: Path
    info: VideoInfo
    touched: float = field(default_factory=time.monotonic)
    users: int = 0

    @property
    def size(self) -> tuple[int, int]:
        """(width, height) of the upright picture."""
        return self.info.upright_size


class Uploads:
    """The films in `folder`, never more than the settings allow. Names of files are made here and by nobody else."""

    def __init__(self, folder: Path, settings: Settings) -> None:
        self._folder, self._settings = folder, settings
        self._kept: dict[str, Upload] = {}
        self._arriving = 0

    async def receive(self, name: str, parts: AsyncIterator[bytes], length: int | None) -> Upload:
        """Keep the film that arrives in `parts`; `length` is what its sender says it will be, in bytes.

        Raises:
            Refusal: it is too large, too long or no video; nothing of it is kept. Busy: there is no place for it.
        """
        if length is not None:
            self._check_bytes(length)
        self._make_room()
        check_room(self._folder, length or 0)
        upload_id = secrets.token_urlsafe(16)
        path = self._folder / f"{upload_id}.film"
        self._arriving += 1
        try:
            await self._write(path, parts)
            info = await asyncio.to_thread(self._examine, path)
        except BaseException:
            path.unlink(missing_ok=True)
            raise
        finally:
            self._arriving -= 1
        upload = Upload(upload_id, plain_name(name), path, info)
        self._kept[upload_id] = upload
        return upload

    def get(self, upload_id: str) -> Upload:
        if upload_id not in self._kept:
            raise Refusal(404, "this film is not here any more; choose it again")
        upload = self._kept[upload_id]
        upload.touched = time.monotonic()
        return upload

    def remove(self, upload_id: str) -> None:
        upload = self._kept.pop(upload_id, None)
        if upload is not None:
            upload.path.unlink(missing_ok=True)

    def sweep(self, older_than: float) -> None:
        """Remove what nobody has used for so many seconds."""
        now = time.monotonic()
        for upload in list(self._kept.values()):
            if not upload.users and now - upload.touched > older_than:
                self.remove(upload.id)

    def _make_room(self) -> None:
        if len(self._kept) + self._arriving < self._settings.max_uploads:
            return
        quiet = [u for u in self._kept.values() if not u.users and time.monotonic() - u.touched > QUIET_SECONDS]
        if not quiet:
            raise Busy("the studio is busy: it holds as many films as it may; try again in some minutes", 60)
        self.remove(min(quiet, key=lambda upload: upload.touched).id)

    async def _write(self, path: Path, parts: AsyncIterator[bytes]) -> None:
        received, iterator, began = 0, aiter(parts), time.monotonic()
        with path.open("xb") as file:
            while True:
                try:
                    part = await asyncio.wait_for(anext(iterator), SILENCE_SECONDS)
                except StopAsyncIteration:
                    break
                except TimeoutError as error:
                    raise Refusal(408, "the film stopped arriving; try again") from error
                received += len(part)
                self._check_bytes(received)
                if received < (time.monotonic() - began - SILENCE_SECONDS) * LEAST_RATE:
                    raise Refusal(408, "the film arrives too slowly; try again with a better connection")
                await asyncio.to_thread(file.write, part)

    def _check_bytes(self, count: int) -> None:
        if count > self._settings.max_bytes:
            raise Refusal(413, f"the film is larger than {self._settings.max_upload_mb:g} MB, which is the limit here")

    def _examine(self, path: Path) -> VideoInfo:
        check_container(path)
        try:
            info = probe(path)
        except UserError as error:
            # The messages of vst.video name the file, which is no guest's concern.
            reason = str(error).replace(str(path), "the film").partition(";")[0]
            raise Refusal(415, f"{reason}; {KINDS}") from error
        limit, most = self._settings.max_minutes, self._settings.max_frames
        if (info.duration or 0) > limit * 60 or (info.num_frames or 0) > most:
            raise Refusal(422, f"the film is longer than {limit:g} minutes, which is the limit here")
        if not 16 <= min(info.width, info.height) or max(info.width, info.height) > self._settings.max_side:
            size = f"{info.width}x{info.height}"
            raise Refusal(422, f"the film is {size} pixels; its sides may have 16 to {self._settings.max_side}")
        return info


def check_room(folder: Path, length: int) -> None:
    """Raises Busy where so many bytes would leave too little room on the disk."""
    if shutil.disk_usage(folder).free < length + SPARE_BYTES:
        raise Busy("the studio's disk is nearly full; try again later", 60)


def check_container(path: Path) -> None:
    """Refuse all but plain containers: playlists and scripts of FFmpeg name other files, which it would then open.

    FFmpeg guesses a demuxer from the content, and its guess is the same at every later opening.
    """
    options = {"format_whitelist": DEMUXERS, "protocol_whitelist": "file"}
    try:
        av.open(str(path), options=options, metadata_errors="replace").close()
    except (av.error.FFmpegError, OSError, ValueError) as error:
        raise Refusal(415, f"this is not a video that can be read here; {KINDS}") from error


def plain_name(name: str) -> str:
    """What is left of a guest's name for a file: letters, digits and a few signs, without its extension."""
    stem = name.replace("\\", "/").rpartition("/")[2].rpartition(".")[0] or name
    return re.sub(r"[^\w\- ]+", " ", stem).strip()[:NAME_LENGTH].strip() or "film"
