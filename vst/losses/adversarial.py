"""The adversarial game: objectives of generator and discriminator, and the discriminator's gradient penalty.

Logits are those of "this is a painting": D = sigmoid(logit). A discriminator returns a list of logit maps, one for each
scale; losses are means over each map and over the maps.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vst.batch import ClipBatch
from vst.losses.base import LossTerm, Outputs


class GradientPenalty(nn.Module):
    """Penalty on the discriminator's gradient between paintings and fakes: mean (|grad D(x)| - centre)^2.

    x lies at a random place between a painting and a fake (Gulrajani et al. 2017, Eq. 3: centre 1, for the Wasserstein
    game). Centre 0 is the form for the cross-entropy game (Thanh-Tung et al. 2019, Eq. 11): the gradient vanishes where
    the two distributions meet.

    Args:
        weight: factor of the penalty.
        every: apply it at every n-th step, n times as strong (lazy regularisation, Karras et al. 2020, section 3.1).
        centre: the gradient norm that costs nothing.
    """

    def __init__(self, weight: float, every: int = 1, centre: float = 0.0) -> None:
        super().__init__()
        self.weight, self.every, self.centre = weight, every, centre

    def forward(self, discriminator: nn.Module, real: Tensor, fake: Tensor) -> Tensor:
        """Paintings and fakes (B, 3, H, W), detached, of one size -> scalar, weight included."""
        mix = torch.rand(real.shape[0], 1, 1, 1, device=real.device)
        x = (mix * real + (1 - mix) * fake).requires_grad_(True)
        score = sum(logit.float().mean(dim=(1, 2, 3)).sum() for logit in discriminator(x))
        (gradient,) = torch.autograd.grad(score, x, create_graph=True)
        norm = gradient.flatten(1).norm(dim=1)
        return self.weight * self.every * (norm - self.centre).square().mean()


class Adversarial(LossTerm):
    """The generator's side of the game, and the discriminator's loss as a method.

    The discriminator minimises -log D(painting) - log(1 - D(fake)) (Goodfellow et al. 2014, Eq. 1).

    Args:
        objective: "minmax": the generator minimises log(1 - D(fake)), the original game; "nonsaturating": it minimises
            -log D(fake) (ibid., section 3), whose gradient does not vanish while the discriminator wins.
        photos_as_fakes: count the photographs as fakes too (Sanakoyeu et al. 2018, section 3.1), so that the generator
            does not win by copying them.
        penalty: a GradientPenalty or None.
    """

    def __init__(
        self,
        weight: float,
        objective: Literal["minmax", "nonsaturating"] = "minmax",
        photos_as_fakes: bool = True,
        penalty: GradientPenalty | None = None,
        schedule: Callable[[float], float] | None = None,
    ) -> None:
        super().__init__(weight, schedule)
        if objective not in ("minmax", "nonsaturating"):
            raise ValueError(f"objective: expected minmax or nonsaturating, got {objective}")
        self.objective = objective
        self.photos_as_fakes = photos_as_fakes
        self.penalty = penalty

    def forward(self, batch: ClipBatch, outputs: Outputs) -> Tensor:
        assert outputs.discriminator is not None, "the adversarial term needs a discriminator"
        logits = outputs.discriminator(outputs.still)
        if self.objective == "minmax":
            return _mean(-F.softplus(logit) for logit in logits)  # log(1 - sigmoid(x)) = -softplus(x)
        return _mean(F.softplus(-logit) for logit in logits)

    def discriminator_loss(
        self, discriminator: nn.Module, batch: ClipBatch, outputs: Outputs, step: int
    ) -> dict[str, Tensor]:
        """The discriminator's loss on a batch at step `step`: "discriminator" to minimise (penalty included), and to
        look at: "penalty" (when it was due), "success_real" and "success_fake" (shares of patches judged right)."""
        real, fake, photo = batch.style, outputs.still.detach().clamp(0, 1), outputs.photo
        real_logits, fake_logits = discriminator(real), discriminator(fake)
        loss_fake = _mean(F.softplus(logit) for logit in fake_logits)
        if self.photos_as_fakes:
            loss_fake = 0.5 * (loss_fake + _mean(F.softplus(logit) for logit in discriminator(photo)))
        values = {
            "success_real": _mean((logit > 0) for logit in real_logits).detach(),
            "success_fake": _mean((logit < 0) for logit in fake_logits).detach(),
        }
        loss = _mean(F.softplus(-logit) for logit in real_logits) + loss_fake
        if self.penalty is not None and step % self.penalty.every == 0:
            values["penalty"] = self.penalty(discriminator, real, fake)
            loss = loss + values["penalty"]
        return {"discriminator": loss, **values}


def _mean(maps) -> Tensor:
    return torch.stack([m.float().mean() for m in maps]).mean()
