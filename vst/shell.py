"""Commands to type next, as text that shell and Hydra read back as it was meant."""

import os
import re
import shlex
from pathlib import Path


def key_value(key: str, value: str) -> str:
    """`key=value` for the command line; Hydra gives `=`, commas, brackets and spaces a meaning."""
    if re.fullmatch(r"[A-Za-z0-9_./+-]+", value):
        return f"{key}={value}"
    escaped = value.replace('"', r"\"")
    return shlex.quote(f'{key}="{escaped}"')


def relative(path: Path) -> str:
    """Relative to the working folder where `path` lies below it, else absolute."""
    path = Path(os.path.abspath(path))  # without the `..` that Path.absolute keeps
    return os.path.relpath(path) if path.is_relative_to(Path.cwd()) else str(path)
