"""Style terms that look at colours alone, wherever in the picture they are."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import product

import torch
import torch.nn.functional as F
from torch import Tensor

from vst.batch import ClipBatch
from vst.losses.base import LossTerm, Outputs


class ColourHistogram(LossTerm):
    """Sliced Wasserstein-1 distance of the colours of picture and style, in units of [0, 1].

    Colours are projected on 13 fixed directions of the RGB cube (its 3 axes, 6 diagonals of faces, 4 of space); on each
    the distance of the two distributions is the mean difference of sorted samples (Rabin et al. 2011). On an axis that
    is the exact distance of two histograms of a channel with bins of no width. A soft histogram instead has a bandwidth
    to choose, and no gradient for a colour that lies beyond it from all that the style has.

    Strokes of black and white have grey between them, though neither is grey. So the means of squares of some pixels
    can be compared as well: colours as they are seen from afar.

    Args:
        weight, schedule: see LossTerm.
        samples: colours drawn from each side, at most.
        squares: sides of the squares, pixels, that are averaged and compared, one after the other; 1 for pixels.
        each: every picture is compared by itself, not all of the batch together.
    """

    def __init__(
        self,
        weight: float,
        samples: int = 4096,
        squares: Sequence[int] = (1,),
        each: bool = False,
        schedule: Callable[[float], float] | None = None,
    ) -> None:
        super().__init__(weight, schedule)
        if not squares or min(squares) < 1:
            raise ValueError(f"squares: {list(squares)} are not sides of one pixel or more")
        self.samples, self.squares, self.each = samples, tuple(squares), each
        # One of each pair of opposite directions: those whose first component that is not 0 is positive.
        half = [d for d in product((-1.0, 0.0, 1.0), repeat=3) if d > (0.0, 0.0, 0.0)]
        directions = torch.tensor(half)
        self.register_buffer("directions", directions / directions.norm(dim=1, keepdim=True), persistent=False)

    def forward(self, batch: ClipBatch, outputs: Outputs) -> Tensor:
        pictures, style = outputs.still.float(), batch.all_style.float()
        sides = [side for side in self.squares if side <= min(*pictures.shape[-2:], *style.shape[-2:])]
        distances = [self._distance(F.avg_pool2d(pictures, side), F.avg_pool2d(style, side)) for side in sides]
        return torch.stack(distances).mean()

    def _distance(self, pictures: Tensor, style: Tensor) -> Tensor:
        apart = pictures.split(1) if self.each else [pictures]
        count = min(self.samples, style.numel() // 3, apart[0].numel() // 3)
        wanted = self._sorted(style, count)
        return torch.stack([(self._sorted(one, count) - wanted).abs().mean() for one in apart]).mean()

    def _sorted(self, pictures: Tensor, count: int) -> Tensor:
        """(B, 3, H, W) -> (count, 13), each column sorted."""
        with torch.autocast(pictures.device.type, enabled=False):
            return (_colours(pictures, count) @ self.directions.T).sort(dim=0).values


class Palette(LossTerm):
    """Mean distance of pixels to the nearest of the style's `colours` colours, beyond the spread that these have.

    The palette is found on each batch of the style by k-means (Lloyd 1982) in RGB, started from colours that lie far
    apart (Gonzalez 1985), and carries no gradient. A pixel at distance d from its nearest colour costs max(0, d - r),
    with r the root mean square distance of the style's own pixels to that colour: what varies around a colour no more
    than in the painting is free, so the term does not flatten strokes. It pulls pixels towards the palette and does not
    ask that all of it is used; ColourHistogram does.

    Args:
        weight, schedule: see LossTerm.
        colours: of the palette.
        samples: pixels of the style batch that it is computed from, at most.
    """

    ROUNDS = 8

    def __init__(
        self,
        weight: float,
        colours: int = 8,
        samples: int = 2048,
        schedule: Callable[[float], float] | None = None,
    ) -> None:
        super().__init__(weight, schedule)
        if colours < 1:
            raise ValueError(f"colours: {colours} is not 1 or more")
        self.colours, self.samples = colours, samples

    def forward(self, batch: ClipBatch, outputs: Outputs) -> Tensor:
        palette, spread = self.palette(batch.all_style)
        pixels = outputs.still.float().transpose(0, 1).flatten(1).T
        nearest = _squared_distances(pixels.detach(), palette).argmin(dim=1)
        distance = (pixels - palette[nearest]).square().sum(dim=1).clamp_min(1e-12).sqrt()
        return (distance - spread[nearest]).clamp_min(0).mean()

    @torch.no_grad()
    def palette(self, style: Tensor) -> tuple[Tensor, Tensor]:
        """Pictures (B, 3, h, w) -> colours (k, 3), and for each the RMS distance (k,) of the pixels nearest to it."""
        pixels = _colours(style, min(self.samples, style.numel() // 3))
        centres = pixels.mean(dim=0, keepdim=True)
        while len(centres) < self.colours:
            centres = torch.cat([centres, pixels[_squared_distances(pixels, centres).amin(dim=1).argmax()][None]])
        for _ in range(self.ROUNDS):
            member, count = self._members(pixels, centres)
            mean = member.T @ pixels / count.clamp_min(1)[:, None]
            centres = torch.where(count[:, None] > 0, mean, centres)
        member, count = self._members(pixels, centres)
        nearest = _squared_distances(pixels, centres).amin(dim=1)
        return centres, (member.T @ nearest / count.clamp_min(1)).sqrt()

    def _members(self, pixels: Tensor, centres: Tensor) -> tuple[Tensor, Tensor]:
        """Which of n pixels is nearest to which of k centres, (n, k) of 0 and 1, and how many each centre has (k,)."""
        nearest = _squared_distances(pixels, centres).argmin(dim=1, keepdim=True)
        member = torch.zeros(len(pixels), len(centres), device=pixels.device).scatter_(1, nearest, 1.0)
        return member, member.sum(dim=0)


def _colours(pictures: Tensor, count: int) -> Tensor:
    """(B, 3, H, W) -> (count, 3) in float32, drawn at random where there are more pixels."""
    pixels = pictures.float().transpose(0, 1).flatten(1).T
    if len(pixels) == count:
        return pixels
    return pixels[torch.randint(len(pixels), (count,)).to(pixels.device)]


def _squared_distances(pixels: Tensor, centres: Tensor) -> Tensor:
    """(n, 3) and (k, 3) -> (n, k)."""
    return (pixels[:, None] - centres).square().sum(dim=-1)
