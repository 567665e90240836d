"""Distances of sets of pictures in the features of Inception-v3: Frechet (FID, SIFID, ArtFID) and kernel (KID)."""

from __future__ import annotations

import warnings
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torchmetrics.image.fid import FrechetInceptionDistance
from torchmetrics.image.kid import KernelInceptionDistance

from vst.errors import UserError
from vst.weights import read_state_dict

SIDE = 299  # pixels, which Inception-v3 was trained on
KID_SUBSETS, KID_SIZE = 50, 100  # random subsets and pictures of each, at most
FEWEST = 2  # pictures that a spread can be estimated from


class Inception(nn.Module):
    """Inception-v3 (Szegedy et al. 2016) with torchvision's code and the user's weights, in eval mode.

    Args:
        weights: state dict in torchvision's layout (`Conv2d_1a_3x3.conv.weight`, ...); the layers that classify are not
            needed.
        key: name of the setting, for messages.
        resize: whether pictures are brought to 299x299 and [-1, 1], as torchvision's weights want it; ArtFID's own
            network takes them in their own size and in [0, 1].

    Raises:
        UserError: the file is missing or holds something else.
    """

    def __init__(self, weights: str, key: str, resize: bool = True) -> None:
        super().__init__()
        # Imported late: it takes a second, and few ask for it.
        from torchvision.models import inception_v3

        state = read_state_dict(weights, f"{key}={weights}")
        self.network = inception_v3(weights=None, aux_logits=False, transform_input=False, init_weights=False)
        own = self.network.state_dict()
        wanted = [name for name in own if not name.startswith("fc.") and not name.endswith("num_batches_tracked")]
        wrong = next((n for n in wanted if n not in state or state[n].shape != own[n].shape), None)
        if wrong is not None:
            found = "missing" if wrong not in state else "of another shape"
            raise UserError(f"{key}={weights}: not an Inception-v3 in torchvision's layout: {wrong} is {found}")
        self.network.load_state_dict({name: state[name] for name in wanted}, strict=False)
        self.network.fc = nn.Identity()
        self.resize = resize
        self.requires_grad_(False).eval()

    @torch.no_grad()
    def forward(self, picture: Tensor) -> Tensor:
        """(3, H, W) RGB in [0, 1], at least 75x75 where it is not resized -> (2048,) float64, the pooled features."""
        return self.network(self._prepared(picture))[0].cpu().double()  # in this order: MPS has no float64

    @torch.no_grad()
    def shallow(self, picture: Tensor) -> Tensor:
        """(3, H, W) -> (places, 64) float64: the features before the first pooling, each place for itself."""
        x = self._prepared(picture, resize=False)
        for layer in ("Conv2d_1a_3x3", "Conv2d_2a_3x3", "Conv2d_2b_3x3"):
            x = getattr(self.network, layer)(x)
        return x[0].flatten(1).T.cpu().double()

    def _prepared(self, picture: Tensor, resize: bool = True) -> Tensor:
        x = picture[None].to(self.network.Conv2d_1a_3x3.conv.weight.device)
        if not self.resize:
            return x
        if resize:
            x = F.interpolate(x, (SIDE, SIDE), mode="bilinear", antialias=True, align_corners=False)
        return 2 * x - 1  # ImageNet's normalisation and torchvision's `transform_input` together


def frechet(a: Tensor, b: Tensor) -> float:
    """Frechet distance of Gaussians fitted to (N, D) and (M, D) (Heusel et al. 2017, Eq. 6), by torchmetrics.

    Biased for few samples: compare only values of equal N and M. N and M at least 2.
    """
    a, b = a.double(), b.double()
    if len(a) + len(b) < a.shape[1]:
        # The samples span a small space, in which the distance is the same and its eigenvalues are found quickly.
        basis = torch.linalg.qr(torch.cat([a, b]).T)[0]
        a, b = a @ basis, b @ basis
    distance = FrechetInceptionDistance(feature=_Given(a.shape[1]), normalize=True)
    distance.update(b, real=True)
    distance.update(a, real=False)
    return max(float(distance.compute()), 0.0)


def kernel_distance(a: Tensor, b: Tensor) -> float:
    """KID, the unbiased squared MMD with a cubic kernel, of (N, D) and (M, D) (Binkowski et al. 2018), by torchmetrics.

    The mean over random subsets of the smaller size, at most KID_SIZE, with a fixed seed. N and M at least 2.
    """
    size = min(len(a), len(b), KID_SIZE)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*will save all extracted features")  # a few hundred of them
        distance = KernelInceptionDistance(
            feature=_Given(a.shape[1]), subsets=KID_SUBSETS, subset_size=size, normalize=True
        )
    distance.update(b.double(), real=True)
    distance.update(a.double(), real=False)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return float(distance.compute()[0])


def sifid(pictures: Sequence[Tensor], styles: Sequence[Tensor]) -> float:
    """Single-image FID (Shaham et al., SinGAN 2019): the mean over pairs of a picture and a style picture.

    Each is given as its `Inception.shallow` features (places, 64), where every place is a sample.
    """
    return sum(frechet(a, b) for a in pictures for b in styles) / (len(pictures) * len(styles))


class _Given(nn.Module):
    """Stands where torchmetrics wants a feature network: what it is given are features already."""

    def __init__(self, num_features: int) -> None:
        super().__init__()
        self.num_features = num_features

    def forward(self, features: Tensor) -> Tensor:
        return features
