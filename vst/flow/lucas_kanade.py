"""Pyramidal Lucas-Kanade: brightness constancy, solved by least squares in a window around every pixel."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from vst.errors import UserError
from vst.flow.warping import resize_flow, warp

COARSEST = 16  # pixels: below that a level holds less than one window
LONGEST_STEP = 2.0  # pixels per iteration and axis: the equation is linear, so a longer one is a guess


class LucasKanade:
    """Dense flow that solves `Ix u + Iy v + It = 0` on the device of its input.

    In the window around each pixel the equation is solved for one (u, v) by weighted least squares over all its
    pixels and colour channels (Lucas and Kanade, IJCAI 1981); an image pyramid and re-warping within each level
    reach motions longer than a pixel (Bouguet 2000). Spatial gradients are central differences of the mean of
    both images (the second one warped), so that neither is preferred. Points outside of the second image
    count for nothing. No outlier is rejected and nothing is smoothed across windows: motion edges come out as
    wide as the window.

    Args:
        window: side of the window, an odd number of pixels; Gaussian weights of standard deviation window / 5.
        levels: most levels of the pyramid, each half the size; fewer where a side would fall below 16 pixels.
            Motions up to about 2^(levels + 1) pixels can be found.
        iterations: warps and solutions per level.
        damping: added to the diagonal of the 2 x 2 system, squared intensity per pixel: where texture is weaker
            than that, the coarser level's flow stays.

    Raises:
        UserError: an argument is out of range.
    """

    def __init__(self, window: int = 21, levels: int = 5, iterations: int = 4, damping: float = 2e-5) -> None:
        if window < 3 or window % 2 == 0:
            raise UserError(f"window={window} of LucasKanade has to be an odd number, at least 3")
        for name, value in (("levels", levels), ("iterations", iterations)):
            if value < 1:
                raise UserError(f"{name}={value} of LucasKanade has to be at least 1")
        if damping <= 0:
            raise UserError(f"damping={damping} of LucasKanade has to be positive")
        self.window, self.levels, self.iterations, self.damping = window, levels, iterations, damping
        self.key = f"lucas_kanade1-{window}-{levels}-{iterations}-{damping:g}"

    @torch.no_grad()
    def __call__(self, a: Tensor, b: Tensor) -> Tensor:
        assert a.shape == b.shape and a.ndim == 4, (a.shape, b.shape)
        with torch.autocast(device_type=a.device.type, enabled=False):
            return self._estimate(a.float(), b.float())

    def _estimate(self, a: Tensor, b: Tensor) -> Tensor:
        if len(a) == 0:
            return a.new_zeros(0, 2, *a.shape[-2:])
        pyramid = [(a, b)]
        while len(pyramid) < self.levels and min(pyramid[-1][0].shape[-2:]) >= 2 * COARSEST:
            pyramid.append(tuple(_halve(image) for image in pyramid[-1]))
        weights = self._weights().to(a)
        flow = a.new_zeros(len(a), 2, *pyramid[-1][0].shape[-2:])
        for one, other in reversed(pyramid):
            flow = resize_flow(flow, one.shape[-2:])
            for _ in range(self.iterations):
                flow = flow + self._step(one, other, flow, weights)
        return flow

    def _step(self, a: Tensor, b: Tensor, flow: Tensor, weights: Tensor) -> Tensor:
        """The (u, v) that improves `flow`, from the normal equations of every window."""
        warped, inside = warp(b, flow)
        ix, iy = _gradient((a + warped) / 2)
        it = warped - a
        products = torch.stack([ix * ix, ix * iy, iy * iy, ix * it, iy * it], dim=1).mean(dim=2)
        xx, xy, yy, xt, yt = _window_sums(products * inside, weights).split(1, dim=1)
        xx, yy = xx + self.damping, yy + self.damping
        step = torch.cat([xy * yt - yy * xt, xy * xt - xx * yt], dim=1) / (xx * yy - xy * xy)
        return step.clamp(-LONGEST_STEP, LONGEST_STEP)

    def _weights(self) -> Tensor:
        """Gaussian weights of one axis of the window, with sum 1."""
        offsets = torch.arange(self.window) - self.window // 2
        weights = torch.exp(-offsets.square() / (2 * (self.window / 5) ** 2))
        return weights / weights.sum()


def _halve(image: Tensor) -> Tensor:
    size = [(side + 1) // 2 for side in image.shape[-2:]]
    return F.interpolate(image, size, mode="bilinear", align_corners=False, antialias=True)


def _gradient(image: Tensor) -> tuple[Tensor, Tensor]:
    """Central differences along x and y."""
    padded = F.pad(image, (1, 1, 1, 1), mode="replicate")
    dx = (padded[..., 1:-1, 2:] - padded[..., 1:-1, :-2]) / 2
    dy = (padded[..., 2:, 1:-1] - padded[..., :-2, 1:-1]) / 2
    return dx, dy


def _window_sums(maps: Tensor, weights: Tensor) -> Tensor:
    """Weighted sums over the window around every pixel; what lies outside of the image counts as nothing."""
    channels, reach = maps.shape[1], len(weights) // 2
    rows = weights.view(1, 1, 1, -1).expand(channels, 1, 1, -1)
    summed = F.conv2d(maps, rows, padding=(0, reach), groups=channels)
    return F.conv2d(summed, rows.transpose(2, 3), padding=(reach, 0), groups=channels)
