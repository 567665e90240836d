"""The whole memory of an engine as arrays: what its network carries on, and what tone and grain know of the film."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor


def read_memory(engine: Any) -> list[np.ndarray]:
    """Copies: the number of items of `engine.film`, these, and the items of `engine.read_state()`."""
    film = getattr(engine, "film", [])
    return [np.array(len(film)), *(_copied(item) for item in (*film, *engine.read_state()))]


def load_memory(engine: Any, memory: Sequence[np.ndarray]) -> None:
    """Give back what `read_memory` gave, to an engine that has painted a frame of the same size since `reset`."""
    count, *items = memory
    tensors = [torch.from_numpy(array) for array in items]
    engine.load_state(tensors[int(count) :])
    if count:
        engine.film = tensors[: int(count)]


def _copied(item: Tensor | np.ndarray) -> np.ndarray:
    """numpy has no bfloat16, which float32 holds exactly."""
    if isinstance(item, np.ndarray):
        return item.copy()
    item = item.detach().cpu()
    return (item.float() if item.dtype == torch.bfloat16 else item).numpy().copy()
