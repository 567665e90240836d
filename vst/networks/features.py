"""Frozen feature networks for losses and metrics, with named taps: the face of all, and VGG-19 (Simonyan & Zisserman
2015, configuration E).

Weights of VGG-19 are the user's own: a file, or torchvision's download on the word `torchvision`. The package's own
network is in `vst.networks.perception`. Neither is exported by `vst.networks`, so no checkpoint can have one built.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

import torch
from torch import Tensor, nn

from vst.errors import UserError, suggest
from vst.weights import read_state_dict

Blocks = Sequence[tuple[int, int]]  # channels and convolutions between two poolings


def names_of(blocks: Blocks) -> tuple[str, ...]:
    """Names of the taps, as the literature counts them: relu3_1 is the first activation behind the second pooling."""
    return tuple(f"relu{block}_{i}" for block, (_, depth) in enumerate(blocks, 1) for i in range(1, depth + 1))


BLOCKS = ((64, 2), (128, 2), (256, 4), (512, 4), (512, 4))
TAPS = names_of(BLOCKS)
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # of ImageNet, in RGB of [0, 1]
PREFIX = "features."


class FeatureNetwork(nn.Module):
    """`forward(pictures (N, 3, H, W), taps) -> {tap: features (N, C, h, w)}`, gradient to the pictures only.

    Pictures are RGB in [0, 1], at least 16x16; taps are names like `relu4_1`, after the ReLU. The network runs as far
    as the deepest tap. It moves with its module and is otherwise no part of it: absent from parameters, state and
    train().

    Args:
        convolutions: in order, with their weights.
        names: of their taps; all that the architecture has may be more.
        known: those of the architecture.
        source: where the weights are from, for messages.
    """

    def __init__(
        self, convolutions: Sequence[nn.Conv2d], names: tuple[str, ...], known: tuple[str, ...], source: str
    ) -> None:
        super().__init__()
        self.covered, self._known, self.source = names, known, source
        # Held in a tuple: modules inside of one are not registered.
        self._network = (_Frozen(list(convolutions[: len(names)]), names),)

    def check(self, taps: Iterable[str]) -> None:
        """Raise UserError for a tap that the network does not have or that its weights do not reach."""
        taps, known = list(taps), self._known
        unknown = [tap for tap in taps if tap not in known]
        if unknown:
            near = suggest(unknown[0], known)
            raise UserError(f"tap '{unknown[0]}': {self.title} has none of this name{near}: {', '.join(known)}")
        deepest = max(taps, key=known.index, default=known[0])
        if deepest not in self.covered:
            raise UserError(
                f"weights={self.source}: reach as far as {self.covered[-1]}, and {deepest} is asked for; give a file "
                f"that goes deeper, or taps up to {self.covered[-1]}"
            )

    def forward(self, pictures: Tensor, taps: Iterable[str]) -> dict[str, Tensor]:
        return self._network[0](pictures, frozenset(taps))

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> FeatureNetwork:
        self._network[0]._apply(fn, recurse)
        return super()._apply(fn, recurse)


class VGG19Features(FeatureNetwork):
    """VGG-19 from given weights.

    Scales of features differ between files (torchvision's, or "normalised" to a mean of 1), so what compares them
    should be relative.

    Args:
        weights: file with a state dict in torchvision's layout (`features.0.weight`, ...), whole or cut after some
            layer; or `torchvision`: its ImageNet weights, downloaded at the first time (550 MB) and cached by torch.
        width: factor on the channels: 1 for VGG-19, 0.25 for the distilled network of Wang et al. 2020 ("Collaborative
            Distillation", 16x).

    Raises:
        UserError: no such file, not weights, or weights of another network.
    """

    title = "VGG-19"

    def __init__(self, weights: str, width: float = 1.0) -> None:
        source = str(weights)
        blocks = [(max(1, round(full * width)), depth) for full, depth in BLOCKS]
        state, layers = _state(source), layers_of(blocks)
        super().__init__(layers, _fit(state, layers, source, width), TAPS, source)


class _Frozen(nn.Module):
    def __init__(self, convolutions: list[nn.Conv2d], names: tuple[str, ...]) -> None:
        super().__init__()
        self.convolutions = nn.ModuleDict(dict(zip(names, convolutions, strict=True)))
        self.register_buffer("mean", torch.tensor(MEAN).view(3, 1, 1))
        self.register_buffer("std", torch.tensor(STD).view(3, 1, 1))
        self.requires_grad_(False).eval()

    def forward(self, pictures: Tensor, taps: frozenset[str]) -> dict[str, Tensor]:
        assert taps <= self.convolutions.keys(), (taps, list(self.convolutions))
        x = ((pictures - self.mean) / self.std).contiguous(memory_format=torch.channels_last)
        seen: dict[str, Tensor] = {}
        for name, convolution in self.convolutions.items():
            if len(seen) == len(taps):
                break
            if name.endswith("_1") and name != "relu1_1":
                x = nn.functional.max_pool2d(x, 2)
            x = nn.functional.relu(convolution(x))
            if name in taps:
                seen[name] = x
        return seen


def layers_of(blocks: Blocks) -> list[nn.Conv2d]:
    """The convolutions, 3x3, with weights that are still to be given."""
    widths = [width for width, depth in blocks for _ in range(depth)]
    return [nn.utils.skip_init(nn.Conv2d, *pair, 3, padding=1) for pair in zip([3, *widths], widths, strict=False)]


def _numbers() -> list[int]:
    """Places of the convolutions in torchvision's `features`, where each ReLU and each pooling counts as a layer."""
    numbers, place = [], 0
    for _, depth in BLOCKS:
        numbers += range(place, place + 2 * depth, 2)
        place += 2 * depth + 1
    return numbers


def _fit(state: dict[str, Tensor], layers: list[nn.Conv2d], source: str, width: float) -> tuple[str, ...]:
    """Copy `state` into the layers that it has, which must be the first ones. Returns their names."""
    keys = [f"{PREFIX}{number}" for number in _numbers()]
    stray = [k for k in state if k.startswith(PREFIX) and k.rpartition(".")[0] not in keys]
    first = state.get(f"{keys[0]}.weight")
    if stray or first is None or first.shape[1:] != (3, 3, 3):
        found = stray[0] if stray else next(iter(state), "nothing")
        raise UserError(f"weights={source}: another network, not a VGG-19 in torchvision's layout (it holds {found})")
    if first.shape[0] != layers[0].out_channels:
        raise UserError(
            f"weights={source}: a VGG-19 with {first.shape[0]} channels in its first layer, and width={width:g} means "
            f"{layers[0].out_channels}; set width={first.shape[0] / BLOCKS[0][0]:g}"
        )
    covered = []
    for name, key, layer in zip(TAPS, keys, layers, strict=True):
        weight, bias = state.get(f"{key}.weight"), state.get(f"{key}.bias")
        if weight is None or bias is None:
            break
        if weight.shape != layer.weight.shape or bias.shape != layer.bias.shape:
            raise UserError(
                f"weights={source}: another network, not a VGG-19 of width {width:g}: {key}.weight is "
                f"{'x'.join(map(str, weight.shape))} instead of {'x'.join(map(str, layer.weight.shape))}"
            )
        if not (weight.isfinite().all() and bias.isfinite().all()):
            raise UserError(f"weights={source}: {key} is not finite; the file is damaged, get it again")
        with torch.no_grad():
            layer.weight.copy_(weight)
            layer.bias.copy_(bias)
        covered.append(name)
    if not covered:
        raise UserError(f"weights={source}: {keys[0]}.bias is missing; the file is incomplete")
    return tuple(covered)


def _state(source: str) -> dict[str, Tensor]:
    if source == "torchvision":
        return _download()
    give = "give the path of VGG-19 weights, or weights=torchvision to download"
    return read_state_dict(source, f"weights={source}", give)


def _download() -> dict[str, Tensor]:
    from torchvision.models import VGG19_Weights  # takes a second to import, for a download that few ask for

    try:
        return VGG19_Weights.IMAGENET1K_V1.get_state_dict(progress=True, check_hash=True, weights_only=True)
    except (OSError, RuntimeError) as error:
        reason = " ".join(str(error).split()) or type(error).__name__
        raise UserError(f"weights=torchvision: cannot be downloaded ({reason}); give the path of a file") from error
