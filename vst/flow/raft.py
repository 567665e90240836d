"""RAFT, the recurrent network of Teed and Deng (ECCV 2020), with torchvision's code and given weights."""

from __future__ import annotations

import hashlib
import math
from pathlib import Path
from urllib.error import URLError

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vst.errors import UserError, suggest
from vst.weights import read_state_dict

VARIANTS = ("small", "large")
STRIDE = 8  # pixels per cell of the network's feature maps
SMALLEST = 128  # pixels: the fourth level of the correlation pyramid needs 16 cells
BY_TORCHVISION = "torchvision"


class RAFT:
    """RAFT small (1.0 M parameters) or large (5.3 M).

    The weights are never fetched silently: `weights` is a file, or the word "torchvision", which lets
    torchvision download its default ones (into torch.hub's folder, once).

    Args:
        weights: path of a state dict in torchvision's layout, or "torchvision".
        variant: "small" or "large"; None takes what the file holds, and small from torchvision.
        updates: recurrent refinements; torchvision's default is 12.
        device: where it runs; None: where its input is. The flow comes on the device of the input.

    Raises:
        UserError: no or wrong weights, or an argument is out of range.
    """

    def __init__(
        self,
        weights: str | Path,
        variant: str | None = None,
        updates: int = 12,
        device: str | torch.device | None = None,
    ) -> None:
        if variant is not None and variant not in VARIANTS:
            raise UserError(
                f"variant={variant} of RAFT is not one of {', '.join(VARIANTS)}{suggest(variant, VARIANTS)}"
            )
        if updates < 1:
            raise UserError(f"updates={updates} of RAFT has to be at least 1")
        if str(weights) == BY_TORCHVISION:
            variant = variant or "small"
            state = _downloaded(variant)
        else:
            state = read_state_dict(
                weights,
                f"weights={weights} of RAFT",
                f"give a state dict in torchvision's layout, or {BY_TORCHVISION} to let torchvision download its own",
            )
            variant = _check_variant(state, variant, weights)
        self.network = _network(variant)
        _fill(self.network, state, weights)
        self.variant, self.updates = variant, updates
        self.device = None if device is None else torch.device(device)
        self.key = f"raft-{variant}-{updates}-{_digest(state)}"

    @torch.no_grad()
    def __call__(self, a: Tensor, b: Tensor) -> Tensor:
        assert a.shape == b.shape and a.ndim == 4, (a.shape, b.shape)
        if len(a) == 0:
            return a.new_zeros(0, 2, *a.shape[-2:])
        padding = _padding(*a.shape[-2:])
        left, right, top, bottom = padding
        device = self.device or a.device
        self.network.to(device)
        with torch.autocast(device_type=device.type, enabled=False):
            one, other = (F.pad(image.to(device).float(), padding, mode="replicate") * 2 - 1 for image in (a, b))
            flow = self.network(one, other, num_flow_updates=self.updates)[-1]
        return flow[..., top : flow.shape[-2] - bottom, left : flow.shape[-1] - right].contiguous().to(a.device)


def _padding(height: int, width: int) -> tuple[int, int, int, int]:
    """Left, right, top, bottom: to multiples of 8 that the network can take, the image in the middle."""
    missing_y, missing_x = (max(SMALLEST, math.ceil(side / STRIDE) * STRIDE) - side for side in (height, width))
    return missing_x // 2, missing_x - missing_x // 2, missing_y // 2, missing_y - missing_y // 2


def _network(variant: str) -> nn.Module:
    # Imported late: it takes a second, and only this estimator needs it.
    from torchvision.models import optical_flow

    build = {"small": optical_flow.raft_small, "large": optical_flow.raft_large}[variant]
    return build(weights=None, progress=False).eval().requires_grad_(False)


def _downloaded(variant: str) -> dict[str, Tensor]:
    from torchvision.models import optical_flow

    kinds = {"small": optical_flow.Raft_Small_Weights, "large": optical_flow.Raft_Large_Weights}
    try:
        return kinds[variant].DEFAULT.get_state_dict(progress=True, check_hash=True)
    except (URLError, OSError, RuntimeError) as error:
        reason = " ".join(str(error).split())
        raise UserError(f"torchvision cannot download RAFT {variant} ({reason}); give the path of a file") from error


def _check_variant(state: dict[str, Tensor], variant: str | None, weights: str | Path) -> str:
    """The variant that the file holds, by the width of the first convolution."""
    first = state.get("feature_encoder.convnormrelu.0.weight")
    found = {32: "small", 64: "large"}.get(len(first)) if first is not None and first.ndim == 4 else None
    if found is None:
        names = ", ".join(list(state)[:2]) or "nothing"
        raise UserError(f"weights={weights} of RAFT: not in torchvision's layout of RAFT (it holds {names} ...)")
    if variant not in (None, found):
        raise UserError(f"weights={weights} of RAFT: holds RAFT {found}, not {variant}")
    return found


def _fill(network: nn.Module, state: dict[str, Tensor], weights: str | Path) -> None:
    expected = {name: value.shape for name, value in network.state_dict().items()}
    wrong = [name for name in expected.keys() | state.keys() if name not in expected or name not in state]
    wrong = wrong or [name for name in expected if state[name].shape != expected[name]]
    if wrong:
        raise UserError(
            f"weights={weights} of RAFT: does not fit torchvision's network in {len(wrong)} of {len(expected)} "
            f"tensors ({min(wrong)}, ...)"
        )
    network.load_state_dict(state)


def _digest(state: dict[str, Tensor]) -> str:
    """Hash of the weights, however they are stored."""
    found = hashlib.sha256()
    for name in sorted(state):
        found.update(name.encode() + state[name].contiguous().numpy().tobytes())
    return found.hexdigest()[:12]
