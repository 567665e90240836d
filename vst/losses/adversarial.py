"""The adversarial game: the generator's term, the discriminator's loss, and the gate that balances the two players.

Logits are those of "this is a painting" (`vst.losses.objectives`). A discriminator returns a list of logit maps, one
for each scale; losses are means over each map and over the maps.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Literal

import torch
from torch import Tensor, nn

from vst.batch import ClipBatch
from vst.losses.augment import DiffAugment
from vst.losses.base import LossTerm, Outputs
from vst.losses.objectives import OBJECTIVES
from vst.losses.penalties import Penalty


class SuccessGate(nn.Module):
    """Balance by success: the player that wins too often skips its step (as in the code of Sanakoyeu et al. 2018).

    `rate` is the moving average of the share of patches that the discriminator judges right. It plays while the rate is
    not above `ceiling`, the generator while it is not below `floor`. Equal bounds are the paper's: one player a step.
    With floor 0 the generator, which has more to learn than this game, plays always. The rate is a buffer, so a resumed
    run goes on with it. Deviation: it is measured in every step, whoever plays, and from paintings too; theirs follows
    the fakes alone while the generator plays.

    Args:
        ceiling, floor: 0 <= floor <= ceiling <= 1, so that always one player at least plays.
        momentum: share of the newest step in the average (alpha).
    """

    rate: Tensor

    def __init__(self, ceiling: float = 0.8, floor: float = 0.8, momentum: float = 0.05) -> None:
        super().__init__()
        if not 0 <= floor <= ceiling <= 1:
            raise ValueError(f"SuccessGate: needs 0 <= floor <= ceiling <= 1, got floor={floor}, ceiling={ceiling}")
        self.ceiling, self.floor, self.momentum = ceiling, floor, momentum
        self.register_buffer("rate", torch.tensor(float(ceiling)))

    def discriminator_turn(self) -> bool:
        return self.rate.item() <= self.ceiling

    def generator_turn(self) -> bool:
        return self.rate.item() >= self.floor

    def observe(self, success: Tensor) -> None:
        """Take in the share of patches, in [0, 1], that were judged right in this step."""
        self.rate.lerp_(success.to(self.rate), self.momentum)


class Adversarial(LossTerm):
    """The generator's side of the game, and the discriminator's loss as a method.

    Args:
        weight, schedule: see LossTerm. The discriminator learns from the start, whatever they are.
        objective: "minmax", the original game; "nonsaturating"; "lsgan"; "hinge"; "wgan" (`vst.losses.objectives`).
        photos_as_fakes: count the photographs as fakes too (Sanakoyeu et al. 2018, section 3.1), so that the generator
            does not win by copying them.
        frames: "still": the discriminator sees one frame, drawn at random, of each clip; "clip": it sees all of them.
        penalties: in the discriminator's loss, by name.
        augment: changes what the discriminator sees, for styles of few pictures.
        gate: balances the players; None lets both play at every step.
    """

    def __init__(
        self,
        weight: float,
        objective: Literal["minmax", "nonsaturating", "lsgan", "hinge", "wgan"] = "minmax",
        photos_as_fakes: bool = True,
        frames: Literal["still", "clip"] = "still",
        penalties: Mapping[str, Penalty | None] | None = None,
        augment: DiffAugment | None = None,
        gate: SuccessGate | None = None,
        schedule: Callable[[float], float] | None = None,
    ) -> None:
        super().__init__(weight, schedule)
        if objective not in OBJECTIVES:
            raise ValueError(f"objective: expected one of {', '.join(OBJECTIVES)}, got {objective}")
        if frames not in ("still", "clip"):
            raise ValueError(f"frames: expected still or clip, got {frames}")
        self.objective = OBJECTIVES[objective]
        self.photos_as_fakes = photos_as_fakes
        self.frames = frames
        self.penalties = nn.ModuleDict({name: p for name, p in (penalties or {}).items() if p is not None})
        self.augment = augment or nn.Identity()
        self.gate = gate

    def forward(self, batch: ClipBatch, outputs: Outputs) -> Tensor:
        assert outputs.discriminator is not None, "the adversarial term needs a discriminator"
        pictures = outputs.still if self.frames == "still" else outputs.clip.flatten(0, 1)
        return _mean(self.objective.generator(logit) for logit in outputs.discriminator(self.augment(pictures)))

    def discriminator_turn(self) -> bool:
        """Whether the discriminator takes a step now; ask both players before `discriminator_loss`."""
        return self.gate is None or self.gate.discriminator_turn()

    def generator_turn(self) -> bool:
        """Whether the generator takes a step now."""
        return self.gate is None or self.gate.generator_turn()

    def discriminator_loss(
        self, discriminator: nn.Module, batch: ClipBatch, outputs: Outputs, step: int
    ) -> dict[str, Tensor]:
        """The discriminator's loss on a batch at step `step`: "discriminator" to minimise (penalties included).

        To look at: each penalty that was due, "penalty_<name>"; "success_real", "success_fake" and "success_photo", the
        shares of patches judged right; and with a gate, which observes them, "success", its moving average. Where
        gradients are off, in a step that the discriminator skips, there are no penalties.
        """
        still, photo = outputs.still, outputs.photo
        if self.frames == "clip":
            still, photo = outputs.clip.flatten(0, 1), batch.frames.flatten(0, 1)
        real, fake = self.augment(batch.style), self.augment(still.detach().clamp(0, 1))
        real_logits, fake_logits = discriminator(real), discriminator(fake)
        loss_fake = _mean(self.objective.fake(logit) for logit in fake_logits)
        bounds = [self.objective.boundary(r, f) for r, f in zip(real_logits, fake_logits, strict=True)]
        values = {
            "success_real": _mean(logit > bound for logit, bound in zip(real_logits, bounds, strict=True)),
            "success_fake": _mean(logit < bound for logit, bound in zip(fake_logits, bounds, strict=True)),
        }
        if self.photos_as_fakes:
            photo_logits = discriminator(self.augment(photo))
            loss_fake = 0.5 * (loss_fake + _mean(self.objective.fake(logit) for logit in photo_logits))
            values["success_photo"] = _mean(logit < bound for logit, bound in zip(photo_logits, bounds, strict=True))
        if self.gate is not None:
            self.gate.observe(torch.stack(list(values.values())).mean())
            values["success"] = self.gate.rate.clone()
        loss = _mean(self.objective.real(logit) for logit in real_logits) + loss_fake
        for name, penalty in self.penalties.items():
            if penalty.is_due(step) and torch.is_grad_enabled():
                values[f"penalty_{name}"] = penalty(discriminator, real, _one_each(fake, len(real)))
                loss = loss + values[f"penalty_{name}"]
        return {"discriminator": loss, **values}


def _one_each(frames: Tensor, clips: int) -> Tensor:
    """Frames of clips (B T, 3, H, W) -> one of each, drawn at random (B, 3, H, W)."""
    length = len(frames) // clips
    if length == 1:
        return frames
    return frames[torch.arange(0, len(frames), length) + torch.randint(length, (clips,))]


def _mean(maps: Iterable[Tensor]) -> Tensor:
    return torch.stack([m.float().mean() for m in maps]).mean()
