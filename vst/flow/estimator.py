"""The face that all estimators share, and their names."""

from __future__ import annotations

from pathlib import Path
from typing import Protocol

import torch
from torch import Tensor

from vst.errors import UserError, suggest
from vst.flow.dis import DIS
from vst.flow.lucas_kanade import LucasKanade
from vst.flow.raft import RAFT

ESTIMATORS = ("dis", "lucas_kanade", "raft")


class FlowEstimator(Protocol):
    """Estimates motion. `key` says which method, settings, weights and version: equal keys give equal flows."""

    key: str

    def __call__(self, a: Tensor, b: Tensor) -> Tensor:
        """Return the flow (B, 2, H, W) float32 on the grid of `a`, pointing into `b`, pixels, without gradient.

        Args:
            a, b: (B, 3, H, W) RGB in [0, 1] on one device, H and W at least 16; B may be 0.
        """
        ...


def build_estimator(
    name: str, weights: str | Path | None = None, device: str | torch.device | None = None
) -> FlowEstimator:
    """Build an estimator with its default settings; others are built by class (`vst.flow.DIS(preset="fast")`).

    Args:
        name: "dis", "lucas_kanade" or "raft".
        weights: of "raft" only: path of a state dict in torchvision's layout, or "torchvision" to download.
        device: where "raft" runs, None: where its input is. The others are of the CPU.

    Raises:
        UserError: no such name, or weights missing, wrong or not wanted.
    """
    if name not in ESTIMATORS:
        raise UserError(f"flow={name} is not one of {', '.join(ESTIMATORS)}{suggest(name, ESTIMATORS)}")
    if name == "raft":
        if weights is None:
            raise UserError(
                "flow=raft needs flow_weights=<path of a state dict in torchvision's layout>, or "
                "flow_weights=torchvision to let torchvision download its own"
            )
        return RAFT(weights, device=device)
    if weights is not None:
        raise UserError(f"flow={name} has no weights; leave out flow_weights={weights}, or use flow=raft")
    return DIS() if name == "dis" else LucasKanade()
