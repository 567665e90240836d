"""Structured pruning: a smaller stylizer out of the channels of a trained one that count most.

What is left is an ordinary, narrower network, which needs a short training to get over its loss (`experiment=prune`).
"""

from __future__ import annotations

import re
from typing import Any

import torch
from torch import Tensor

from vst.errors import UserError
from vst.networks import build_stylizer

# Tensors by their names without `.weight` and `.bias` -> what their first and second dimension run over: `stream`, the
# channels of the features; `inner`, those inside of one block; `memory`, the second half of the stream; `twice`, that
# half of the new features followed by that of the state.
Layout = dict[str, tuple[str | None, str | None]]
BLOCKS: Layout = {
    r"generator\.blocks\.(?P<block>\d+)\.first": ("inner", "stream"),
    r"generator\.blocks\.(?P<block>\d+)\.norm": ("inner", None),
    r"generator\.blocks\.(?P<block>\d+)\.second": ("stream", "inner"),
}
GENERATORS: dict[str, Layout] = {
    "ResidualGenerator": {
        **BLOCKS,
        r"generator\.(stem|norm)": ("stream", None),
        r"generator\.head": (None, "stream"),
    },
    "TwoScaleGenerator": {
        **BLOCKS,
        r"generator\.(stem|norm)": ("stream", None),
        r"generator\.up": (None, "stream"),
        r"generator\.(meet|paint|head)": (None, None),
    },
    "GuidedGenerator": {
        **BLOCKS,
        r"generator\.(embed|look|strokes\..*|head)": (None, None),
        r"generator\.stem": ("stream", None),
        r"generator\.rise": (None, "stream"),
    },
}
OTHERS: Layout = {
    r"temporal(\.gru)?\.gates": ("twice", "twice"),
    r"temporal(\.gru)?\.candidate": ("memory", "twice"),
    r"temporal\.key": (None, "stream"),
    r"temporal(\.log_sharpness)?": (None, None),
    r"(tone|grade)\..*": (None, None),
}
Axis = tuple[str, Tensor]  # where its channels are counted, and the channel of each place


def prune(content: dict[str, Any], share: float) -> dict[str, Any]:
    """A stylizer with about `share` of its channels taken out, in [0, 1): of the stream, and inside of each block.

    The channels that stay have the largest product of two L1 norms, of all weights that make the channel and of all
    that read it. Li et al. 2017 ("Pruning filters for efficient ConvNets", section 3.1) rank by the first of them; the
    product also knows what a later layer ignores, and does not change when one layer is scaled up and the next one
    down. A channel that is zero, or that nobody reads, has 0. Both halves of the stream keep the same number, since
    the memory lives in the second.

    Args:
        content: the entry "stylizer" of a checkpoint (`vst.checkpoint.read_stylizer`), which stays as it is.

    Raises:
        UserError: the network has parts that are not known here.
    """
    assert 0 <= share < 1, share
    model, weights = content["model"], content["weights"]
    axes = {name: _axes(name, value, model) for name, value in weights.items()}
    kept = {
        counted: _kept(scores, share, groups=2 if counted == "stream" and _has_memory(model) else 1)
        for counted, scores in _scores(weights, axes).items()
    }
    smaller = {name: _sliced(value, axes[name], kept) for name, value in weights.items()}
    width = int(kept["stream"].sum())
    generator, temporal = {**model["generator"], "width": width}, dict(model["temporal"])
    if "block 0" in kept:
        generator["inner"] = int(kept["block 0"].sum())  # of all blocks, which are of one width inside
    if _has_memory(model):
        temporal["channels"] = width
    narrow = {**model, "generator": generator, "temporal": temporal}
    with torch.device("meta"):  # shapes only
        expected = build_stylizer(narrow).state_dict()
    wrong = [name for name, value in smaller.items() if name not in expected or expected[name].shape != value.shape]
    if wrong:
        raise _unknown(model, wrong[0])
    return {**content, "model": narrow, "weights": smaller}


def _axes(name: str, value: Tensor, model: dict[str, Any]) -> list[Axis | None]:
    """What each dimension of a tensor runs over; None for what pruning leaves whole."""
    target, width = (model["generator"].get(key) for key in ("_target_", "width"))
    layout = GENERATORS.get(str(target).rpartition(".")[2], {}) | OTHERS
    for pattern, kinds in layout.items() if isinstance(width, int) else ():
        found = re.fullmatch(pattern, re.sub(r"\.(weight|bias)$", "", name))
        if found is None:
            continue
        stream = torch.arange(width)
        memory = stream[width // 2 :]
        known = {
            "stream": ("stream", stream),
            "memory": ("stream", memory),
            "twice": ("stream", torch.cat([memory, memory])),
            "inner": (
                f"block {found.groupdict().get('block')}",
                torch.arange(model["generator"].get("inner") or width),
            ),
        }
        axes = [known.get(kind) for kind, _ in zip(kinds, value.shape, strict=False)]
        if all(axis is None or len(axis[1]) == size for axis, size in zip(axes, value.shape, strict=False)):
            return axes
    raise _unknown(model, name)


def _unknown(model: dict[str, Any], name: str) -> UserError:
    parts = " with ".join(str(model[part].get("_target_")) for part in ("generator", "temporal"))
    return UserError(
        f"prune: {parts} cannot be pruned ({name} is not known); it takes {' or '.join(GENERATORS)} with ConvGRU, "
        "AlignedConvGRU or without memory; experiment=distill makes a smaller one of any"
    )


def _scores(weights: dict[str, Tensor], axes: dict[str, list[Axis | None]]) -> dict[str, Tensor]:
    """How much each channel counts, by where it is counted."""
    made: dict[str, Tensor] = {}
    read: dict[str, Tensor] = {}
    for name, value in weights.items():
        for dim, axis in enumerate(axes[name]):
            if axis is None or (dim == 0 and ".gates." in name):  # gates choose between channels, and make none
                continue
            counted, channels = axis
            norms = value.double().abs().movedim(dim, 0).reshape(len(channels), -1).sum(1)
            sums = made if dim == 0 else read
            sums.setdefault(counted, torch.zeros(int(channels.max()) + 1, dtype=torch.double))
            sums[counted].index_add_(0, channels, norms)
    return {counted: made[counted] * read[counted] for counted in made}


def _kept(scores: Tensor, share: float, groups: int) -> Tensor:
    """Which channels stay, the same number in each group of neighbours."""
    masks = []
    for part in scores.chunk(groups):
        mask = torch.zeros(len(part), dtype=torch.bool)
        mask[part.argsort(descending=True, stable=True)[: max(1, round(len(part) * (1 - share)))]] = True
        masks.append(mask)
    return torch.cat(masks)


def _sliced(value: Tensor, axes: list[Axis | None], kept: dict[str, Tensor]) -> Tensor:
    for dim, axis in enumerate(axes):
        if axis is not None:
            counted, channels = axis
            value = value.index_select(dim, kept[counted][channels].nonzero().flatten())
    return value.clone()


def _has_memory(model: dict[str, Any]) -> bool:
    return "channels" in model["temporal"]
