"""Reads weights of networks that others have trained. Nothing in a file is ever executed."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor

from vst.errors import UserError


def read_state_dict(path: str | Path, said: str, give: str = "give the path of a state dict") -> dict[str, Tensor]:
    """The tensors of a file by their names, on the CPU.

    Args:
        path: a leading ~ is the home folder.
        said: how the user named the file, such as `weights.vgg=vgg19.pth`; every message begins with it.
        give: what a message asks for where there is no file.

    Raises:
        UserError: there is no such file, or it holds something else.
    """
    file = Path(path).expanduser()
    if not file.is_file():
        raise UserError(f"{said}: no such file; {give}")
    try:
        state = torch.load(file, map_location="cpu", weights_only=True)
    except Exception as error:  # zip, pickle, tar and unicode readers each raise their own kinds
        raise UserError(f"{said}: not a file of weights that torch can read safely") from error
    if not isinstance(state, dict) or not all(isinstance(value, Tensor) for value in state.values()):
        raise UserError(f"{said}: holds no state dict, which is a mapping of names to tensors")
    return state
