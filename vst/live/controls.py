"""What a person changes while the picture runs: by keys, by lines, from another thread."""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from vst.errors import UserError, suggest
from vst.painting import Look

HELP = "keys: 1-9 style, +/- strength, c/C calm, p keep colours, o numbers, q quit"
_STEP = 0.1
_NUMBERS = ("strength", "calm", "preserve_color", "stroke")
_WORDS = ("style", *_NUMBERS, "overlay", "quit")

_log = logging.getLogger(__name__)


class Controls:
    """The look that is wanted, whether numbers are shown, and the wish to stop. Safe to use from any thread.

    Args:
        styles: names that `style` may have.
        look: to begin with.
        overlay: whether numbers are shown.

    Attributes:
        stop: set once somebody wants to quit.
        overlay: may be assigned.
    """

    def __init__(self, styles: Sequence[str], look: Look | None = None, overlay: bool = True) -> None:
        self.styles = tuple(styles)
        self.overlay = overlay
        self.stop = threading.Event()
        self._lock = threading.Lock()
        self._look = (look or Look()).checked(self.styles)

    @property
    def look(self) -> Look:
        """The look of the next frame."""
        return self._look

    def change(self, **values: Any) -> Look:
        """Replace attributes of the look. Raises UserError for values out of range; the look then stays."""
        with self._lock:
            self._look = replace(self._look, **values).checked(self.styles)
            return self._look

    def press(self, key: str) -> None:
        """One of the keys of `HELP`, `Escape` as q. Others do nothing."""
        if key.isdigit() and 0 < int(key) <= len(self.styles):
            self.change(style=self.styles[int(key) - 1])
        elif key in ("+", "="):
            self._move("strength", _STEP)
        elif key == "-":
            self._move("strength", -_STEP)
        elif key in ("c", "C"):
            self._move("calm", _STEP if key == "c" else -_STEP)
        elif key == "p":
            self.change(preserve_color=0.0 if self._look.preserve_color else 1.0)
        elif key == "o":
            self.overlay = not self.overlay
        elif key in ("q", "Escape"):
            self.stop.set()

    def command(self, line: str) -> None:
        """A line such as `style wave`, `strength 0.6`, `calm=0.3`, `overlay off`, `quit`, or a key.

        Raises:
            UserError: it is none, or its value is out of range.
        """
        word, _, value = line.strip().replace("=", " ", 1).partition(" ")
        value = value.strip()
        if len(line.strip()) == 1:
            self.press(line.strip())
        elif word == "quit":
            self.stop.set()
        elif word == "style":
            self.change(style=value)
        elif word in _NUMBERS:
            self.change(**{word: _number(word, value)})
        elif word == "overlay" and value in ("on", "off"):
            self.overlay = value == "on"
        elif word:
            raise UserError(f"'{line.strip()}': no such command{suggest(word, _WORDS)}; {', '.join(_WORDS)}, or {HELP}")

    def listen(self, descriptor: int = 0) -> None:
        """Obey the lines of a file descriptor, by default standard input, in a thread until it ends."""
        threading.Thread(target=self._listen, args=(descriptor,), daemon=True).start()

    def _move(self, name: str, step: float) -> None:
        with self._lock:
            value = min(max(round(getattr(self._look, name) + step, 2), 0.0), 1.0)
            self._look = replace(self._look, **{name: value})

    def _listen(self, descriptor: int) -> None:
        # Not by sys.stdin: its buffer would stay locked by this thread when the interpreter shuts down.
        waiting = b""
        while not self.stop.is_set():
            try:
                read = os.read(descriptor, 4096)
            except OSError:  # a process in the background may not read its terminal
                return
            *lines, waiting = (waiting + read).split(b"\n")
            for line in [*lines, waiting] if not read else lines:
                self._obey(line.decode(errors="replace"))
            if not read:
                return

    def _obey(self, line: str) -> None:
        try:
            self.command(line)
        except UserError as error:
            _log.warning("%s", error)


def _number(word: str, value: str) -> float:
    try:
        return float(value)
    except ValueError as error:
        raise UserError(f"{word} {value}: give a number, as in '{word} 0.5'") from error
