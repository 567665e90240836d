"""Penalties on gradients: of the discriminator by its input, and of the generator by its input.

The discriminator's score of a picture, D(x), is here the sum over its scales of the mean logit of each map.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from vst.batch import ClipBatch
from vst.losses.base import LossTerm, Outputs


class Penalty(nn.Module):
    """A penalty in the discriminator's loss: `forward(discriminator, real, fake) -> scalar`, weight included.

    Paintings and fakes (B, 3, H, W) come detached, of one size and as the discriminator sees them (augmented).

    Args:
        weight: factor of the penalty; 0 turns it off.
        every: apply it at every n-th step, n times as strong (lazy regularisation, Karras et al. 2020, section 3.1).
    """

    def __init__(self, weight: float, every: int = 1) -> None:
        super().__init__()
        if every < 1:
            raise ValueError(f"{type(self).__name__}: every={every}, a penalty is due at every n-th step, n >= 1")
        self.weight, self.every = weight, every

    def is_due(self, step: int) -> bool:
        return self.weight != 0 and step % self.every == 0

    def forward(self, discriminator: nn.Module, real: Tensor, fake: Tensor) -> Tensor:
        raise NotImplementedError


class GradientPenalty(Penalty):
    """Penalty on the discriminator's gradient between paintings and fakes: mean (|grad D(x)| - centre)^2.

    x lies at a random place between a painting and a fake (Gulrajani et al. 2017, Eq. 3: centre 1, for the Wasserstein
    game). Centre 0 is the form for the cross-entropy game (Thanh-Tung et al. 2019, Eq. 11): the gradient vanishes where
    the two distributions meet.

    Args:
        weight, every: see Penalty.
        centre: the gradient norm that costs nothing.
    """

    def __init__(self, weight: float, every: int = 1, centre: float = 0.0) -> None:
        super().__init__(weight, every)
        self.centre = centre

    def forward(self, discriminator: nn.Module, real: Tensor, fake: Tensor) -> Tensor:
        mix = torch.rand(real.shape[0], 1, 1, 1, device=real.device)
        gradient = _gradient(discriminator, mix * real + (1 - mix) * fake)
        return self.weight * self.every * (gradient.norm(dim=1) - self.centre).square().mean()


class R1(Penalty):
    """R1 (Mescheder et al. 2018, Eq. 9): weight / 2 * mean |grad D(x)|^2 at the paintings alone.

    It flattens the discriminator where the generator has to arrive, which makes the game converge locally, and asks for
    no fakes.
    """

    def forward(self, discriminator: nn.Module, real: Tensor, fake: Tensor) -> Tensor:
        return 0.5 * self.weight * self.every * _gradient(discriminator, real).square().sum(dim=1).mean()


def _gradient(discriminator: nn.Module, pictures: Tensor) -> Tensor:
    """Gradient of the score of pictures (B, 3, H, W) by their pixels, (B, 3 H W), itself differentiable."""
    x = pictures.detach().requires_grad_(True)
    score = sum(logit.float().mean(dim=(1, 2, 3)).sum() for logit in discriminator(x))
    (gradient,) = torch.autograd.grad(score, x, create_graph=True)
    return gradient.flatten(1)


class JacobianPenalty(LossTerm):
    """Mean squared gain of the generator for small changes of its input: |J|_F^2 / n, n values in the result.

    The Frobenius norm of the Jacobian J by one random projection, |J|_F^2 = E |J u|^2 for white noise u (Hoffman et al.
    2019, section 2.3, projects on the side of the output; the expectation is the same). A value of 1 is the identity's:
    what changes in the input comes out as large as it went in. Towards 0 the result ignores grain, compression and
    attacks on single pixels; how much of the photograph it still shows is for the content terms to defend.

    J u is a finite difference, (G(x + step u) - G(x)) / step: for one picture of 176 pixels it and its backward pass
    take 31 ms, J^T u by double backward 55 ms (one thread, 32 channels), and both spread by less than 1 %, since every
    neighbourhood of the picture is a projection of its own. It is taken in float32, where rounding does not count:
    under bf16 it came out 8 % too large. Only the first frame of the batch's first clip is used, from a fresh state.

    Args:
        weight, schedule: see LossTerm.
        step: standard deviation of the change, in units of [0, 1].
    """

    def __init__(self, weight: float, step: float = 0.01, schedule: Callable[[float], float] | None = None) -> None:
        super().__init__(weight, schedule)
        if step <= 0:
            raise ValueError(f"JacobianPenalty: step={step}, it has to be above 0")
        self.step = step

    def forward(self, batch: ClipBatch, outputs: Outputs) -> Tensor:
        frame = outputs.frames[:1, :1].float()
        with torch.autocast(frame.device.type, enabled=False):
            pair = torch.cat([frame, frame + self.step * torch.randn_like(frame)])
            before, after = outputs.stylise(pair).chunk(2)
        return ((after - before) / self.step).square().mean()
