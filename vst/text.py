"""Text that an encoding lacks, made readable instead of failing: names of files may hold any bytes."""

from __future__ import annotations

import codecs

READABLE = "vst.readable"
"""For `errors=` where text is encoded. A character that is lacking becomes an escape, so that a path can still be told
from another one, which `?` would hide. Bytes of a file name that Python could not read, as all beyond ASCII in the C
locale, become UTF-8 again where they are that.
"""


def _readable(error: UnicodeError) -> tuple[bytes, int]:
    if not isinstance(error, UnicodeEncodeError):
        raise error
    lacking = error.object[error.start : error.end]
    try:
        return lacking.encode("ascii", "surrogateescape").decode("utf-8", "backslashreplace").encode(), error.end
    except UnicodeEncodeError:
        return lacking.encode("ascii", "backslashreplace"), error.end


codecs.register_error(READABLE, _readable)
