"""How many processors this process may use, and how the threads of its libraries wait.

The pools of OpenMP (torch), OpenCV and OpenBLAS keep their processors busy while they wait for the next piece of work.
That gains microseconds on an idle machine. Beside another program it takes the processor from the thread that is waited
for: two films painted at once on two processors took half again as long as one after the other, and with passive
waiting half as long (docs/benchmarks.md).
"""

from __future__ import annotations

import math
import os
from pathlib import Path

PASSIVE = {
    "OMP_WAIT_POLICY": "PASSIVE",
    "OPENCV_THREAD_POOL_ACTIVE_WAIT_WORKER": "0",
    "OPENCV_THREAD_POOL_ACTIVE_WAIT_MAIN": "0",
}
"""Environment variables that the libraries read once, when they are loaded."""

CGROUPS = Path("/sys/fs/cgroup")
OWN_CGROUPS = Path("/proc/self/cgroup")


def wait_passively() -> None:
    """Tell libraries that are not loaded yet to wait passively, and to use as many threads as there are processors.

    What the user has set stays. Processes that are started from here inherit it.
    """
    for name, value in PASSIVE.items():
        os.environ.setdefault(name, value)
    if cpus() < len(_affinity()):
        os.environ.setdefault("OMP_NUM_THREADS", str(cpus()))  # OpenMP sees the affinity, but no quota


def cpus() -> int:
    """Processors that this process may keep busy: those of its affinity, and of its container's quota, rounded up."""
    return max(1, math.ceil(min(len(_affinity()), _quota())))


def _affinity() -> range | set[int]:
    if hasattr(os, "sched_getaffinity"):
        return os.sched_getaffinity(0)
    return range(os.cpu_count() or 1)


def _quota() -> float:
    """The least quota of the control group (version 2 or 1) and those around it, in processors; inf for none."""
    try:
        lines = OWN_CGROUPS.read_text().splitlines()
    except OSError:
        return math.inf
    quotas = [math.inf]
    for controllers, _, name in (line.partition(":")[2].partition(":") for line in lines):
        if controllers and "cpu" not in controllers.split(","):
            continue
        root = CGROUPS / "cpu" if controllers else CGROUPS
        inner = root / name.lstrip("/")
        for group in (inner, *inner.parents):
            if group.is_relative_to(root):
                quotas.append(_quota_of(group))
    return min(quotas)


def _quota_of(group: Path) -> float:
    """The quota that one group states: `cpu.max` in version 2, two files in version 1."""
    try:
        if (group / "cpu.max").exists():
            quota, period = (group / "cpu.max").read_text().split()
        else:
            quota, period = ((group / f"cpu.cfs_{name}_us").read_text() for name in ("quota", "period"))
        return float(quota) / float(period) if quota.strip() not in ("max", "-1") else math.inf
    except (OSError, ValueError):
        return math.inf
