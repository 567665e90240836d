"""How a guest is told that a request is not granted."""

from __future__ import annotations

from starlette.exceptions import HTTPException


class Refusal(HTTPException):
    """A request that is not granted: an HTTP status and one line for the guest."""


class Busy(Refusal):
    """All places are taken; `retry_after` is in how many seconds another try may be worth it."""

    def __init__(self, reason: str, retry_after: int = 10) -> None:
        super().__init__(503, reason, {"Retry-After": str(retry_after)})
