"""The console command: `vst train model=convgru style=wikiart`. train.py and so on start the same commands."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from importlib import import_module, resources

from vst import __version__
from vst.config import explained
from vst.console import secure
from vst.errors import UserError, suggest
from vst.help import overview
from vst.jobs import exit_codes

COMMANDS = ("train", "stylize", "live", "studio", "evaluate", "export", "benchmark", "cache")


def main() -> None:
    """Run the command that the first argument names with the others."""
    secure()
    name, *rest = sys.argv[1:] or ["help"]
    if name == "help" and rest:
        name, rest = rest[0], [*rest[1:], "--help"]
    if name in ("help", "-h", "--help"):
        print(overview(COMMANDS, [resources.files("conf")]), flush=True)
    elif name == "--version":
        print(f"vst {__version__}", flush=True)
    elif name in COMMANDS:
        run(name, rest)
    else:
        with exit_codes():
            raise UserError(f"vst {name}: no such command{suggest(name, COMMANDS)}; commands: {', '.join(COMMANDS)}")


def run(command: str, arguments: Sequence[str] | None = None) -> None:
    """Run `command` with `arguments`, those of the process by default."""
    secure()  # before anything is opened
    given = sys.argv[1:] if arguments is None else list(arguments)
    with exit_codes():
        if explained(command, given):
            return
    # Imported by name, and after help is given, so that nobody waits for libraries that are not needed.
    getattr(import_module(f"vst.commands.{command}"), command)(given)
