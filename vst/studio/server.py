"""Opens a studio's door: binds its address, says where it is, and serves until Ctrl-C."""

from __future__ import annotations

import logging
import secrets
import socket
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from urllib.parse import quote

import uvicorn
from fastapi import FastAPI

from vst.errors import UserError
from vst.studio.app import create_app
from vst.studio.settings import Settings, is_loopback
from vst.studio.styles import Style

log = logging.getLogger("vst")

MAX_CONNECTIONS = 200
FAREWELL_SECONDS = 2  # for answers under way when the studio closes


def serve(settings: Settings, styles: Mapping[str, Style], thumbnails: Path | None = None) -> None:
    """Serve a studio until Ctrl-C or SIGTERM; see `create_app` for the arguments.

    Where others can reach it and no token is given, it makes one. Raises UserError where the address cannot be bound.
    """
    if settings.token is None and not settings.is_private:
        settings = replace(settings, token=secrets.token_urlsafe(32))
    door = _bind(settings.host, settings.port)
    settings = replace(settings, port=door.getsockname()[1])
    app = create_app(settings, styles, thumbnails)
    for library in ("aioice", "aiortc"):  # which tell every step of a connection
        logging.getLogger(library).setLevel(logging.WARNING)
    log.info("studio    %s", address(settings))
    with door, suppress(KeyboardInterrupt):  # uvicorn closes the studio first, then raises it again
        uvicorn.Server(server_config(app)).run(sockets=[door])


def server_config(app: FastAPI) -> uvicorn.Config:
    """How uvicorn runs a studio: quiet, and without waiting long for guests who are still being told of a render."""
    return uvicorn.Config(
        app,
        log_level="warning",
        access_log=False,
        server_header=False,
        limit_concurrency=MAX_CONNECTIONS,
        timeout_graceful_shutdown=FAREWELL_SECONDS,
    )


def address(settings: Settings) -> str:
    """What to type into a browser, with the token."""
    anywhere = settings.host in ("0.0.0.0", "::")
    name = socket.gethostname() if anywhere else settings.host
    name = f"[{name}]" if ":" in name else name
    token = f"?token={quote(settings.token, safe='')}" if settings.token else ""
    return f"http://{name}:{settings.port}/{token}"


def _bind(host: str, port: int) -> socket.socket:
    try:
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
        return socket.create_server((host, port), family=family)
    except OSError as error:
        other = "another port, or port=0 for any that is free" if is_loopback(host) else "another host or port"
        raise UserError(f"host={host} port={port}: cannot be bound ({error.strerror}); give {other}") from error
