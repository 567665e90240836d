"""The whole memory of an engine as arrays: what its network carries from frame to frame, and what its tone follows."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor


def read_memory(engine: Any) -> list[np.ndarray]:
    """Copies: the moments of the tone, empty for none, and the items of `engine.read_state()`."""
    moments = getattr(engine, "moments", None)
    tone = np.empty(0, np.float32) if moments is None else _copied(moments)
    return [tone, *(_copied(item) for item in engine.read_state())]


def load_memory(engine: Any, memory: Sequence[np.ndarray]) -> None:
    """Give back what `read_memory` gave, to an engine that has painted a frame of the same size since `reset`."""
    tone, *state = memory
    engine.load_state([torch.from_numpy(array) for array in state])
    if tone.size:
        engine.moments = torch.from_numpy(tone)


def _copied(item: Tensor | np.ndarray) -> np.ndarray:
    """numpy has no bfloat16, which float32 holds exactly."""
    if isinstance(item, np.ndarray):
        return item.copy()
    item = item.detach().cpu()
    return (item.float() if item.dtype == torch.bfloat16 else item).numpy().copy()
