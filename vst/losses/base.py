"""What a loss term is, and the weighted sum of named terms."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from vst.batch import ClipBatch


class Perception:
    """What a frozen feature network sees: `perceive(pictures (N, 3, H, W)) -> {tap: features}`, float32.

    Terms that look at the same tensor share one run of the network, which costs more than the generator does. One
    object serves one batch.
    """

    def __init__(self, network: nn.Module, taps: Iterable[str]) -> None:
        self.network, self.taps = network, frozenset(taps)
        self._seen: dict[int, tuple[Tensor, dict[str, Tensor]]] = {}  # with the tensor, so that its id stays taken

    def __call__(self, pictures: Tensor) -> dict[str, Tensor]:
        if id(pictures) not in self._seen:
            features = {tap: f.float() for tap, f in self.network(pictures, self.taps).items()}
            self._seen[id(pictures)] = pictures, features
        return self._seen[id(pictures)][1]


@dataclass
class Outputs:
    """What the generator made of a batch, cropped to the interior that counts.

    `clip` (B, T, 3, H, W): the stylised frames, about [0, 1]. `still` (B, 3, H, W): one of them for each clip, drawn at
    random, for the terms that look at single pictures; `photo` (B, 3, H, W): its input, and `toned`: that in the
    colours which the stylizer's tone gives it, None for the same. `encode`: frames
    (N, 3, H, W) -> features of the generator's encoder. `frames` (B, T, 3, H + 2m, W + 2m): the whole input, with the
    margin m; `stylise`: such a clip -> its result (B, T, 3, H, W) from a fresh state, for terms that compare runs; its
    second argument is how far (x, y) the middle of the clip lies from that of `frames`, pixels. `grain`: that of the
    stylizer, or None; `along` (B, 2, h, w): unit tangents of the contours of `photo` that its noise was drawn out
    along, None for other noise.
    `discriminator` is None without an adversarial game; `perceive` is None in a LossSet without feature network.
    """

    clip: Tensor
    still: Tensor
    photo: Tensor
    encode: Callable[[Tensor], Tensor]
    frames: Tensor
    stylise: Callable[..., Tensor]
    toned: Tensor | None = None
    grain: nn.Module | None = None
    along: Tensor | None = None
    discriminator: nn.Module | None = None
    perceive: Perception | None = None

    @property
    def subject(self) -> Tensor:
        """What content terms on colours compare with (B, 3, H, W): `toned`, or `photo` without a tone."""
        return self.photo if self.toned is None else self.toned

    @property
    def margin(self) -> int:
        """Pixels on each side of `frames` that are not in `clip`."""
        return (self.frames.shape[-1] - self.clip.shape[-1]) // 2


class LossTerm(nn.Module):
    """A term of the generator's loss: `forward(batch, outputs) -> scalar`.

    Args:
        weight: factor in the sum.
        schedule: progress of the run in [0, 1] -> factor on the weight (`vst.schedules`), None for always 1.

    `least_frames`: clips shorter than this have nothing to compare. `taps`: features that the term wants to see.
    """

    least_frames = 1
    taps: tuple[str, ...] = ()

    def __init__(self, weight: float, schedule: Callable[[float], float] | None = None) -> None:
        super().__init__()
        self.weight = weight
        self.schedule = schedule

    def weight_at(self, progress: float) -> float:
        return self.weight * (self.schedule(progress) if self.schedule else 1.0)

    def set_style(self, pictures: Sequence[Tensor], perceive: Callable[[Tensor], dict[str, Tensor]] | None) -> None:
        """Take what the term needs of the whole pictures of the style, (3, H, W) in [0, 1], before training."""

    def forward(self, batch: ClipBatch, outputs: Outputs) -> Tensor:
        raise NotImplementedError


class LossSet(nn.Module):
    """Named terms and their weighted sum. `forward(batch, outputs, progress) -> (total, {name: unweighted value})`.

    A term whose weight is 0 at this point of the run is not computed, nor one that needs more frames than the clip has
    (the image phase of training shows one). Values are computed in float32 whatever the precision of the networks.

    Args:
        terms: by the names under which they are logged.
        features: a frozen network such as `vst.networks.features.VGG19Features`, shared by all terms that need one.
    """

    def __init__(self, terms: dict[str, LossTerm], features: nn.Module | None = None) -> None:
        super().__init__()
        self.terms = nn.ModuleDict(terms)
        self.features = features
        self.taps = frozenset(tap for term in terms.values() for tap in term.taps)
        assert features is not None or not self.taps, "terms with taps need a feature network"
        if features is not None:
            features.check(self.taps)

    @torch.no_grad()
    def set_style(self, pictures: Sequence[Tensor]) -> None:
        """Show the terms the whole pictures of the style, (3, H, W) in [0, 1]: new runs and resumed ones."""
        perceive = None if self.features is None else Perception(self.features, self.taps)
        for term in self.terms.values():
            term.set_style(pictures, perceive)

    def forward(self, batch: ClipBatch, outputs: Outputs, progress: float) -> tuple[Tensor, dict[str, Tensor]]:
        values: dict[str, Tensor] = {}
        total = torch.zeros((), device=outputs.clip.device)
        outputs = replace(
            outputs,
            clip=outputs.clip.float(),
            still=outputs.still.float(),
            photo=outputs.photo.float(),
            toned=None if outputs.toned is None else outputs.toned.float(),
            perceive=Perception(self.features, self.taps) if self.features is not None else outputs.perceive,
        )
        with torch.autocast(outputs.clip.device.type, enabled=False):
            for name, term in self.terms.items():
                weight = term.weight_at(progress)
                if weight == 0 or outputs.clip.shape[1] < term.least_frames:
                    continue
                values[name] = term(batch, outputs)
                total = total + weight * values[name]
        return total, values
