"""Standard output and errors that a command cannot fail of.

A film takes hours and its last line a moment: a terminal that lacks a character of it (cp1252, ASCII), a pipe whose
reader has gone (`| head -1`), or a stream that was never there (`>&-`) must not cost the film, nor the exit status.
Only text is forgiven. Frames go to `sys.stdout.buffer`, which raises as ever.
"""

from __future__ import annotations

import io
import os
import sys

from vst.text import READABLE


class _Forgiving(io.TextIOWrapper):
    """Text to a file descriptor; once that takes no more, text to nowhere."""

    def write(self, text: str) -> int:
        try:
            return super().write(text)
        except OSError as error:
            self._give_up(error)
            return len(text)

    def flush(self) -> None:
        try:
            super().flush()
        except OSError as error:
            self._give_up(error)

    def _give_up(self, error: OSError) -> None:
        """Let the rest go to the null device: what is left in the buffer would raise at each flush, and at the exit."""
        if not isinstance(error, BlockingIOError):  # a pipe that is full for the moment
            null = os.open(os.devnull, os.O_WRONLY)
            os.dup2(null, self.fileno())
            os.close(null)


def secure() -> None:
    """Make `sys.stdout` and `sys.stderr` forgiving. Streams that are not the interpreter's own stay as they are."""
    if None in (sys.stdin, sys.stdout, sys.stderr):
        _occupy()
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if type(stream) is io.TextIOWrapper and stream is getattr(sys, f"__{name}__"):
            kept = {"encoding": stream.encoding, "line_buffering": stream.line_buffering}
            forgiving = _Forgiving(stream.detach(), errors=READABLE, **kept)
            setattr(sys, name, forgiving)
            setattr(sys, f"__{name}__", forgiving)


def _occupy() -> None:
    """Open what the shell closed, or the next file would get its number, and what libraries print.

    Outputs can only be read, so that frames sent there are refused.
    """
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        if getattr(sys, name) is None:
            null = os.open(os.devnull, os.O_WRONLY if name == "stdin" else os.O_RDONLY)
            if null != number:
                os.dup2(null, number)
                os.close(null)
            stream = open(number, "r" if name == "stdin" else "w", encoding="utf-8", closefd=False)
            setattr(sys, name, stream)
            setattr(sys, f"__{name}__", stream)
