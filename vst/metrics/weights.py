"""Reading weights of networks that measure."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor

from vst.errors import UserError


def read_weights(path: str, key: str) -> dict[str, Tensor]:
    """The state dict of a file; nothing in it is executed. Raises UserError, which names the setting `key`."""
    file = Path(path).expanduser()
    if not file.is_file():
        raise UserError(f"{key}={path}: no such file; give the path of a state dict")
    try:
        state = torch.load(file, map_location="cpu", weights_only=True)
    except Exception as error:  # zip, pickle, tar and unicode readers each raise their own kinds
        raise UserError(f"{key}={path}: not a file of weights that torch can read safely") from error
    if not isinstance(state, dict) or not all(isinstance(value, Tensor) for value in state.values()):
        raise UserError(f"{key}={path}: holds no state dict, which is a mapping of names to tensors")
    return state
