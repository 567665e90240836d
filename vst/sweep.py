"""The account of a sweep: which of its jobs are done, and why others failed."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

FILE = "jobs.jsonl"


class Account:
    """The file `jobs.jsonl` in the folder of a sweep, to which each job appends a line when it begins and ends.

    A file, since a launcher may run jobs in other processes. Of several lines of a job the last one counts.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._begin = self._size()  # a folder may be used again

    def note(self, job: int, overrides: Sequence[str], state: str, reason: str = "") -> None:
        """Append that `job` is `running`, `done`, `failed` for `reason`, or `interrupted`."""
        line = json.dumps({"job": job, "overrides": list(overrides), "state": state, "reason": reason}) + "\n"
        handle = os.open(self.folder / FILE, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o666)
        try:
            os.write(handle, line.encode())  # at once, so that the lines of two jobs do not mix
        finally:
            os.close(handle)

    def failures(self) -> str | None:
        """A headline and a line for each job that failed or never ended, or None where all are done."""
        jobs = self._jobs()
        lines = [_line(job, jobs) for job in jobs if job["state"] != "done"]
        return "\n  ".join([f"{len(lines)} of {len(jobs)} jobs failed, in {self.folder}", *lines]) if lines else None

    def summary(self) -> str:
        """A headline and a line for each job that has begun."""
        jobs = self._jobs()
        done = sum(job["state"] == "done" for job in jobs)
        headline = f"{done} job{'' if done == 1 else 's'} done, in {self.folder}"
        return "\n  ".join([headline, *(_line(job, jobs) for job in jobs)])

    def _jobs(self) -> list[dict[str, Any]]:
        if not self._size():
            return []
        lines = (self.folder / FILE).read_bytes()[self._begin :].decode().splitlines()
        jobs = {record["job"]: record for record in map(json.loads, lines)}
        return [jobs[number] for number in sorted(jobs)]

    def _size(self) -> int:
        file = self.folder / FILE
        return file.stat().st_size if file.is_file() else 0


def _line(job: dict[str, Any], jobs: Sequence[dict[str, Any]]) -> str:
    """The job by what sets it apart from the others, and what became of it."""
    own = [word for word in job["overrides"] if any(word not in other["overrides"] for other in jobs)]
    said = job["reason"] or {"running": "it has not ended"}.get(job["state"], job["state"])
    return f"job {job['job']} ({' '.join(own or job['overrides'])}): {' '.join(said.split())}"
