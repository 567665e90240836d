"""Which part of an input's sound and subtitles goes along with its pictures, and by how much it moves."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path

from av.container import InputContainer
from av.packet import Packet
from av.stream import Stream


@dataclass
class Excerpt:
    """A part of an input, in seconds; what is not known before its first frame is read is filled in then.

    Packets of time `start` <= t < `end` in the input (None: no limit) are copied to t + `shift` in the output,
    as far as that lies at or after `begins`, where the part before hands over. `begins` is None until its
    first frame is read. `origin` is when the input's picture or sound begins, by its own clock. What can be read
    only once is handed over by the reader of its pictures: `container` is open, and its packets arrive in `packets`,
    as long as `is_copied` says that somebody takes them.
    """

    location: str | Path
    start: Fraction | None = None
    end: Fraction | None = None
    shift: Fraction = Fraction(0)
    begins: Fraction | None = None
    origin: Fraction = Fraction(0)
    container: InputContainer | None = None
    packets: deque[Packet] = field(default_factory=deque)
    is_copied: bool = False


def copied_streams(container: InputContainer) -> list[Stream]:
    """The streams whose packets can be copied into another file beside its picture."""
    return [*container.streams.audio, *container.streams.subtitles]
