"""What is counted while a live picture runs."""

from __future__ import annotations

import threading
from collections import deque
from dataclasses import dataclass

import numpy as np

RECENT_SECONDS = 5.0
_BINS = 60_000  # of a millisecond


@dataclass(frozen=True)
class Pace:
    """`fps` frames a second, and how old they were: the median and the 95th percentile in seconds, NaN for no frame."""

    fps: float
    p50: float
    p95: float


class PaceMeter:
    """Of frames that arrive: their rate, and their latency from capture to arrival; in memory that does not grow."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._recent: deque[tuple[float, float]] = deque()
        self._histogram = np.zeros(_BINS, np.int64)

    def add(self, now: float, latency: float) -> None:
        """A frame arrived at `now` that was captured `latency` seconds before."""
        with self._lock:
            self._recent.append((now, latency))
            self._forget(now)
            self._histogram[min(max(round(latency * 1000), 0), _BINS - 1)] += 1

    def recent(self, now: float) -> Pace:
        """Of the last five seconds."""
        with self._lock:
            self._forget(now)
            times = [time for time, _ in self._recent]
            latencies = [latency for _, latency in self._recent]
        if not latencies:
            return Pace(0.0, float("nan"), float("nan"))
        span = times[-1] - times[0]
        p50, p95 = np.percentile(latencies, (50, 95))
        return Pace((len(times) - 1) / span if span > 0 else 0.0, float(p50), float(p95))

    def total(self, seconds: float) -> Pace:
        """Of all frames, over `seconds`; latencies to the millisecond, those beyond a minute count as one."""
        with self._lock:
            counts = np.cumsum(self._histogram)
        count = int(counts[-1])
        if not count:
            return Pace(0.0, float("nan"), float("nan"))
        p50, p95 = (int(np.searchsorted(counts, share * count)) / 1000 for share in (0.5, 0.95))
        return Pace(count / seconds, p50, p95)

    def _forget(self, now: float) -> None:
        while self._recent and self._recent[0][0] < now - RECENT_SECONDS:
            self._recent.popleft()
