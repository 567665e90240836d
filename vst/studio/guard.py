"""Who may ask what: the address a browser used, the page that asks, the token, the size of a body."""

from __future__ import annotations

import secrets
import socket
from http.cookies import CookieError, SimpleCookie
from urllib.parse import parse_qs

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import HTMLResponse, JSONResponse, RedirectResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from vst.studio.refusal import Refusal
from vst.studio.settings import Settings, is_address, is_loopback

COOKIE = "vst_studio"
MAX_BODY = 256 * 1024  # bytes of anything but a film; an offer of WebRTC has some ten thousand
UPLOADS = "/api/uploads"
SAFE_METHODS = ("GET", "HEAD")

HEADERS = {
    "content-security-policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob: data:; "
        "media-src 'self' blob:; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "referrer-policy": "no-referrer",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "permissions-policy": "camera=(self), microphone=(), geolocation=()",
}

_NO_TOKEN = (
    "<!doctype html><html lang=en><meta charset=utf-8><meta name=viewport content='width=device-width'>"
    "<title>vst studio</title><h1>This studio is locked</h1>"
    "<p>Open the whole address that was printed where it was started: it ends in ?token=..."
)


class Guard:
    """ASGI middleware: refuses what does not come from the studio's own page, and adds the security headers.

    The Host header is held against the names that the studio has, so that a foreign page whose name is pointed at this
    machine (DNS rebinding) gets nothing. The Origin header, where a browser sends one, has to be the studio's own. With
    a token, all but the locked page needs it: as a cookie, which `/?token=` sets, or as `Authorization: Bearer`.
    """

    def __init__(self, app: ASGIApp, settings: Settings) -> None:
        self._app, self._settings = app, settings
        self._names = {name.lower() for name in settings.hosts}
        if not is_loopback(settings.host):
            own = socket.gethostname().lower()
            self._names |= {own, f"{own}.local"}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            return await self._app(scope, receive, send)
        if scope["type"] != "http":  # the studio has no web sockets
            return await send({"type": "websocket.close", "code": 1008})
        send = _with_headers(send)
        headers = Headers(scope=scope)
        try:
            self._check_source(headers, scope["method"])
            _check_length(headers, scope["path"])
        except Refusal as refusal:
            return await _answer(refusal)(scope, receive, send)
        if self._settings.token is not None and not self._knows_token(headers):
            return await self._without_token(scope)(scope, receive, send)
        await self._app(scope, receive if scope["path"] == UPLOADS else _bounded(receive), send)

    def _check_source(self, headers: Headers, method: str) -> None:
        host = headers.get("host", "")
        name = _hostname(host)
        known = is_loopback(name) or name in self._names
        if not known and (is_loopback(self._settings.host) or not is_address(name)):
            raise Refusal(421, f"this studio is not called '{name[:80]}'; add it with hosts=[...] where it is started")
        origin = headers.get("origin")
        if origin is not None and origin not in (f"http://{host}", f"https://{host}"):
            raise Refusal(403, "another site's page may not use this studio")
        if method not in SAFE_METHODS and headers.get("sec-fetch-site", "same-origin") != "same-origin":
            raise Refusal(403, "another site's page may not use this studio")

    def _knows_token(self, headers: Headers) -> bool:
        kind, _, given = headers.get("authorization", "").partition(" ")
        return self._is_token(given if kind.lower() == "bearer" else _cookie(headers))

    def _is_token(self, given: str) -> bool:
        return secrets.compare_digest(given.encode(), self._settings.token.encode())

    def _without_token(self, scope: Scope) -> Response:
        if scope["path"] != "/" or scope["method"] not in SAFE_METHODS:
            return _answer(Refusal(401, "the token is missing or wrong; open the address that the studio printed"))
        given = parse_qs(scope["query_string"].decode("latin-1")).get("token", [""])[0]
        if not self._is_token(given):
            return HTMLResponse(_NO_TOKEN, 401)
        response = RedirectResponse("/", 303)
        # Lax, not strict: a strict cookie is not sent where a link of another page led here.
        response.set_cookie(COOKIE, given, httponly=True, samesite="lax", secure=scope["scheme"] == "https")
        return response


def _answer(refusal: Refusal) -> Response:
    return JSONResponse({"error": refusal.detail}, refusal.status_code)


def _hostname(host: str) -> str:
    """`[::1]:8321` -> `::1`, `studio.local:8321` -> `studio.local`."""
    if host.startswith("["):
        return host[1:].partition("]")[0].lower()
    return host.partition(":")[0].lower()


def _cookie(headers: Headers) -> str:
    cookies = SimpleCookie()
    try:
        cookies.load(headers.get("cookie", ""))
    except CookieError:
        return ""
    return cookies[COOKIE].value if COOKIE in cookies else ""


def _check_length(headers: Headers, path: str) -> None:
    given = headers.get("content-length")
    if path != UPLOADS and given is not None and (not given.isdecimal() or int(given) > MAX_BODY):
        raise Refusal(413, f"the request is larger than {MAX_BODY // 1024} kB")


def _bounded(receive: Receive) -> Receive:
    """`receive` for bodies whose length nobody has told."""
    received = 0

    async def counted() -> Message:
        nonlocal received
        message = await receive()
        received += len(message.get("body", b""))
        if received > MAX_BODY:
            raise Refusal(413, f"the request is larger than {MAX_BODY // 1024} kB")
        return message

    return counted


def _with_headers(send: Send) -> Send:
    async def sending(message: Message) -> None:
        if message["type"] == "http.response.start":
            headers = MutableHeaders(scope=message)
            for name, value in HEADERS.items():
                headers[name] = value
            headers.setdefault("cache-control", "no-store")
        await send(message)

    return sending
