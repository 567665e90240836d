"""What a studio is allowed, and where it is found."""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass

MEGABYTE = 1024 * 1024


@dataclass(frozen=True)
class Settings:
    """Address, secret and limits of a studio.

    Attributes:
        host: address that it binds to; beyond this machine only with a `token`.
        port: 0 for any that is free.
        token: what a guest has to show; None asks nobody.
        hosts: further names that browsers know it by, of a reverse proxy for instance.
        work: folder in which it makes its own, removed at its end; None for the system's.
        max_upload_mb: size of a file.
        max_minutes: length of a film; where its header is silent, as many frames as that at 60 frames a second.
        max_side: pixels of a frame's longer side.
        max_uploads: films kept at once.
        max_jobs: films rendered at once.
        max_viewers: cameras painted at once.
        live_side: pixels of the longer side of the camera's painted frames.
        keep_minutes: how long what nobody asks for stays.
        codec, crf, preset: of rendered films, as `stylize_video` takes them.
    """

    host: str = "127.0.0.1"
    port: int = 8321
    token: str | None = None
    hosts: tuple[str, ...] = ()
    work: str | None = None
    max_upload_mb: float = 500
    max_minutes: float = 10
    max_side: int = 4096
    max_uploads: int = 8
    max_jobs: int = 2
    max_viewers: int = 2
    live_side: int = 640
    keep_minutes: float = 60
    codec: str = "libx264"
    crf: int = 18
    preset: str = "veryfast"

    @property
    def max_bytes(self) -> int:
        return int(self.max_upload_mb * MEGABYTE)

    @property
    def max_frames(self) -> int:
        return int(self.max_minutes * 60 * 60)

    @property
    def is_private(self) -> bool:
        """Whether only programs of this machine reach it."""
        return is_loopback(self.host) and not self.hosts


def is_loopback(name: str) -> bool:
    """Whether a host name or address without its port is this machine's own."""
    if name.lower() == "localhost":
        return True
    try:
        return ipaddress.ip_address(name).is_loopback
    except ValueError:
        return False


def is_address(name: str) -> bool:
    """Whether it is an IP address, which unlike a name nobody can point elsewhere."""
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True
