"""Servers that W&B may meet: one that works as far as a run needs it, and the ways in which others do not."""

import gzip
import json
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

KEY = "0123456789" * 4


class Server(ThreadingHTTPServer):
    """`status` is that of all its answers; while `silent` it takes requests and never answers."""

    daemon_threads = True

    def __init__(self, status: int = 200) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.status = status
        self.silent = threading.Event()
        self.run_ids: list[str] = []  # of the runs that were begun, or gone on with
        self.url = f"http://127.0.0.1:{self.server_port}"
        threading.Thread(target=self.serve_forever, daemon=True).start()

    def handle_error(self, request: object, client_address: object) -> None:
        """A client that hangs up is no failure of the test."""

    def stop(self) -> None:
        self.shutdown()
        self.server_close()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("content-length", 0)))
        if self.headers.get("content-encoding") == "gzip":
            body = gzip.decompress(body)
        if self.server.silent.is_set():
            threading.Event().wait(120)
        answer = json.dumps(self._answer(body)).encode()
        self.send_response(self.server.status)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    do_GET = do_PUT = do_POST

    def log_message(self, *args: object) -> None:
        pass

    def _answer(self, body: bytes) -> dict:
        if not self.path.endswith("/graphql"):
            return {"exitcode": None, "limits": {}}
        asked = json.loads(body)
        query, variables = asked["query"], asked.get("variables") or {}
        if "upsertBucket" in query:
            self.server.run_ids.append(variables["name"])
            project = {"id": "p", "name": "vst", "entity": {"id": "e", "name": "me"}}
            bucket = {"id": "b", "name": variables["name"], "displayName": "run", "config": "{}", "project": project}
            return {"data": {"upsertBucket": {"bucket": {**bucket, "historyLineCount": 0}, "inserted": True}}}
        if "createRunFiles" in query:
            files = [{"name": name, "uploadUrl": f"{self.server.url}/upload"} for name in variables["files"]]
            return {"data": {"createRunFiles": {"runID": "b", "uploadHeaders": [], "files": files}}}
        return {"data": None}


@contextmanager
def refusing() -> Iterator[str]:
    """An address where nobody listens."""
    with socket.socket() as place:
        place.bind(("127.0.0.1", 0))
        yield f"http://127.0.0.1:{place.getsockname()[1]}"


@contextmanager
def black_hole() -> Iterator[str]:
    """An address that takes connections and never answers."""
    with socket.socket() as place:
        place.bind(("127.0.0.1", 0))
        place.listen(64)
        yield f"http://127.0.0.1:{place.getsockname()[1]}"


@contextmanager
def answering(status: int = 200) -> Iterator[Server]:
    server = Server(status)
    try:
        yield server
    finally:
        server.stop()
