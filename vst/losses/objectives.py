"""Adversarial objectives: what a logit costs the discriminator on a painting or fake, and the generator on its own.

Each is three element-wise functions of a logit map, of the same shape; costs are minimised and averaged over the map by
the caller. D = sigmoid(logit) is "this is a painting" for the cross-entropy games; elsewhere the logit itself counts.
Successes are counted by `boundary`.
"""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor


class Objective:
    """The interface, and the boundary that most objectives share."""

    def real(self, logit: Tensor) -> Tensor:
        raise NotImplementedError

    def fake(self, logit: Tensor) -> Tensor:
        raise NotImplementedError

    def generator(self, logit: Tensor) -> Tensor:
        raise NotImplementedError

    def boundary(self, real: Tensor, fake: Tensor) -> Tensor | float:
        """The logit between paintings and fakes, given a map of each."""
        return 0.0


class MinMax(Objective):
    """Cross-entropy (Goodfellow et al. 2014, Eq. 1): D minimises -log D(x) - log(1 - D(G)), G log(1 - D(G))."""

    def real(self, logit: Tensor) -> Tensor:
        return F.softplus(-logit)  # -log sigmoid(x) = softplus(-x)

    def fake(self, logit: Tensor) -> Tensor:
        return F.softplus(logit)  # -log(1 - sigmoid(x)) = softplus(x)

    def generator(self, logit: Tensor) -> Tensor:
        return -F.softplus(logit)


class NonSaturating(MinMax):
    """As MinMax, but G minimises -log D(G) (ibid., section 3): its gradient does not vanish while D wins."""

    def generator(self, logit: Tensor) -> Tensor:
        return F.softplus(-logit)


class LeastSquares(Objective):
    """LSGAN (Mao et al. 2017, Eq. 9): squared distance to 1 for paintings and 0 for fakes, halved; G aims at 1."""

    def real(self, logit: Tensor) -> Tensor:
        return 0.5 * (logit - 1).square()

    def fake(self, logit: Tensor) -> Tensor:
        return 0.5 * logit.square()

    def generator(self, logit: Tensor) -> Tensor:
        return 0.5 * (logit - 1).square()

    def boundary(self, real: Tensor, fake: Tensor) -> Tensor | float:
        return 0.5


class Hinge(Objective):
    """Hinge (Lim & Ye 2017; Miyato et al. 2018, Eqs. 16 and 17): D gains nothing beyond a margin of 1 on its side."""

    def real(self, logit: Tensor) -> Tensor:
        return F.relu(1 - logit)

    def fake(self, logit: Tensor) -> Tensor:
        return F.relu(1 + logit)

    def generator(self, logit: Tensor) -> Tensor:
        return -logit


class Wasserstein(Objective):
    """WGAN (Arjovsky et al. 2017, Eqs. 2 and 3): D is a critic, and the difference of its means is the distance.

    It means something only for a critic of bounded slope: with a gradient penalty of centre 1, or spectral norms. A
    constant added to the critic changes nothing, so the boundary lies halfway between the means of both sides.
    """

    def real(self, logit: Tensor) -> Tensor:
        return -logit

    def fake(self, logit: Tensor) -> Tensor:
        return logit

    def generator(self, logit: Tensor) -> Tensor:
        return -logit

    def boundary(self, real: Tensor, fake: Tensor) -> Tensor | float:
        return 0.5 * (real.mean() + fake.mean())


OBJECTIVES: dict[str, Objective] = {
    "minmax": MinMax(),
    "nonsaturating": NonSaturating(),
    "lsgan": LeastSquares(),
    "hinge": Hinge(),
    "wgan": Wasserstein(),
}
