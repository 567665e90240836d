"""What sources and sinks share about URLs."""

from __future__ import annotations

import re

from vst.errors import reason_of

SCHEMES = ("rtmp", "rtmps", "rtsp", "srt", "udp", "tcp", "http", "https")


def scheme_of(address: str) -> str | None:
    """`rtmp` of `rtmp://host/app`; None for what is no URL."""
    found = re.match(r"([A-Za-z][A-Za-z0-9+.-]*)://", address)
    return found[1].lower() if found else None


def reason(error: Exception) -> str:
    """The first line of what FFmpeg or the system says, in lower case as within a sentence."""
    text = reason_of(error)
    return text[:1].lower() + text[1:]


def unsupported(scheme: str | None) -> str:
    """What to say of a protocol that FFmpeg knows and this build of it does not."""
    return (
        f"the FFmpeg within this PyAV has no {scheme}://; use udp, rtmp or rtsp, or build PyAV on a system FFmpeg "
        "that has it (pip install av --no-binary av)"
    )
