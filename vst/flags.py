"""The flags of a command: Hydra's, with an error of one line."""

from __future__ import annotations

import re
from argparse import Namespace
from collections.abc import Sequence
from typing import NoReturn

from hydra._internal.utils import get_args_parser

from vst import __version__
from vst.errors import UserError


def read_flags(arguments: Sequence[str]) -> tuple[Namespace, list[str]]:
    """The flags among `arguments`, and `arguments` with the overrides last.

    Hydra takes overrides in one piece only, and would not know the last one of `style=painted -m seed=1,2`.
    `--version` is vst's own. Raises UserError for a flag that there is not.
    """
    parser = get_args_parser()
    parser.error = _refuse
    for action in parser._actions:
        if "--version" in action.option_strings:
            action.version = f"vst {__version__}"
    flags, late = parser.parse_known_args(list(arguments))
    unknown = [argument for argument in late if argument.startswith("-")]
    if unknown:
        name, _, value = unknown[0].partition("=")
        key = re.sub(r"\W", "_", name.lstrip("-"))
        raise UserError(f"{name}: no such flag (--help lists them); values are given as {key}={value or '...'}")
    flags.overrides = [*flags.overrides, *late]
    others = list(arguments)
    for override in flags.overrides:
        del others[len(others) - 1 - others[::-1].index(override)]
    if flags.resolve and not flags.cfg:
        raise UserError("--resolve is for --cfg: write --cfg job --resolve")
    if sum([flags.run, flags.multirun, flags.shell_completion, flags.cfg is not None, flags.info is not None]) > 1:
        raise UserError("only one of --run, --multirun, --cfg, --info and --shell-completion")
    return flags, [*others, *flags.overrides]


def _refuse(message: str) -> NoReturn:
    raise UserError(message)
