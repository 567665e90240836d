"""The console command: `vst train model=convgru style=wikiart`. train.py and so on start the same commands."""

import sys
from importlib import import_module

from vst.errors import suggest

COMMANDS = ("train", "stylize", "evaluate", "export", "benchmark", "studio", "cache")


def main() -> None:
    """Run the command that the first argument names with the others."""
    name = sys.argv[1] if len(sys.argv) > 1 else "--help"
    if name in ("-h", "--help"):
        print(f"usage: vst {{{','.join(COMMANDS)}}} [key=value ...]   (vst train --help lists the keys)")
        return
    if name not in COMMANDS:
        sys.exit(f"error: vst {name}: no such command{suggest(name, COMMANDS)}; commands: {', '.join(COMMANDS)}")
    # Imported by name, so that one command does not wait for the libraries of another.
    getattr(import_module(f"vst.commands.{name}"), name)(sys.argv[2:])
