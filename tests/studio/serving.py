"""A studio that runs in a thread, with styles that are quick and easy to recognise.

Whoever imports it is skipped where the studio's extra is missing.
"""

from __future__ import annotations

import http.client
import json
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("fastapi", reason="the studio's packages: pip install 'vst[studio]'")
pytest.importorskip("uvicorn", reason="the studio's packages: pip install 'vst[studio]'")
pytest.importorskip("aiortc", reason="the studio's packages: pip install 'vst[studio]'")

import uvicorn

from vst.studio.app import create_app
from vst.studio.server import server_config
from vst.studio.settings import Settings
from vst.studio.styles import Style


class Fake:
    """An engine that maps frames one by one; `wait` seconds make it slow."""

    def __init__(self, paint: Callable[[np.ndarray], np.ndarray], wait: float = 0.0) -> None:
        self._paint, self._wait = paint, wait

    def reset(self) -> None:
        pass

    def __call__(self, frame: np.ndarray, out: np.ndarray) -> np.ndarray:
        time.sleep(self._wait)
        np.copyto(out, self._paint(frame))
        return out


STYLES = {
    "same": Style("As it is", lambda: Fake(lambda frame: frame)),
    "negative": Style("Negative", lambda: Fake(lambda frame: 255 - frame)),
    "turned": Style("Hue turned", lambda: Fake(lambda frame: frame[:, :, [1, 2, 0]])),
    "slow": Style("Slow", lambda: Fake(lambda frame: frame, wait=0.1)),
}


@dataclass
class Answer:
    """What a request gave: `status`, `headers` with names in lower case, `body`."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


class Client:
    """Asks a studio as a browser would, or as none would: paths and headers go out as they are."""

    def __init__(self, port: int, folder: Path) -> None:
        self.port, self.work = port, folder
        self.url = f"http://127.0.0.1:{port}/"

    def ask(self, method: str, path: str, body: Any = None, headers: dict[str, str] | None = None) -> Answer:
        """`body`: bytes as they are, anything else as JSON."""
        headers = dict(headers or {})
        if body is not None and not isinstance(body, bytes):
            body, headers["content-type"] = json.dumps(body).encode(), "application/json"
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        try:
            connection.putrequest(method, path, skip_host="host" in headers)
            if body is not None and "content-length" not in headers:
                headers["content-length"] = str(len(body))
            for name, value in headers.items():
                connection.putheader(name, value)
            connection.endheaders(body)
            answer = connection.getresponse()
            return Answer(answer.status, {name.lower(): value for name, value in answer.getheaders()}, answer.read())
        finally:
            connection.close()

    def upload(self, path: Path, name: str = "my film.mp4") -> Answer:
        return self.ask("POST", "/api/uploads", path.read_bytes(), {"x-file-name": name})

    def render(self, upload: str, style: str) -> Answer:
        return self.ask("POST", "/api/renders", {"upload": upload, "look": {"style": style}})

    def until(self, render: str, state: str) -> dict[str, Any]:
        deadline = time.monotonic() + 60
        while True:
            status = self.ask("GET", f"/api/renders/{render}").json
            if status["state"] == state:
                return status
            assert status["state"] == "running" and time.monotonic() < deadline, status
            time.sleep(0.02)

    def files(self) -> list[Path]:
        return [path for path in self.work.rglob("*") if path.is_file()]


@contextmanager
def running(work: Path, **settings: Any) -> Iterator[Client]:
    settings = {"max_minutes": 1, "max_upload_mb": 2} | settings
    app = create_app(Settings(work=str(work), **settings), STYLES)
    door = socket.create_server(("127.0.0.1", 0))
    server = uvicorn.Server(server_config(app))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [door]}, daemon=True)
    thread.start()
    deadline = time.monotonic() + 30
    while not server.started:
        assert thread.is_alive() and time.monotonic() < deadline, "the studio did not start"
        time.sleep(0.01)
    try:
        yield Client(door.getsockname()[1], work)
    finally:
        server.should_exit = True
        thread.join(30)
        door.close()
        assert not thread.is_alive(), "the studio did not close"
