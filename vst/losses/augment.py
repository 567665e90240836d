"""Augmentation of what the discriminator sees, for styles of few pictures."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

GREY = 0.5  # what fills the places that a translation or a cutout leaves


class DiffAugment(nn.Module):
    """Differentiable augmentation (Zhao et al. 2020, section 3.3): `forward(pictures) -> pictures`, (B, 3, H, W).

    Paintings, fakes and photographs pass through the same random changes before the discriminator, in its turn and in
    the generator's (Eqs. 4 and 5): it cannot learn a few paintings by heart, and the generator does not learn to paint
    the changes. Colour: brightness, saturation and contrast, in this order; then translation; then cutout. In eval mode
    pictures pass unchanged.

    A colour change hides the palette too, which the discriminator then enforces less: lower `colour` first where
    pictures turn out in wrong colours.

    Args:
        probability: of each of the three kinds, for each picture by itself.
        colour: strength, 1 as in the paper: brightness +-0.25 in units of [0, 1], saturation times 0 to 2, contrast
            times 0.5 to 1.5.
        translation: largest shift, in shares of the side.
        cutout: side of the grey square, in shares of the side.
    """

    def __init__(
        self, probability: float = 1.0, colour: float = 1.0, translation: float = 0.125, cutout: float = 0.5
    ) -> None:
        super().__init__()
        given = {"probability": probability, "colour": colour, "translation": translation, "cutout": cutout}
        for name, value in given.items():
            if not 0 <= value <= 1:
                raise ValueError(f"DiffAugment: {name}={value}, expected 0 to 1")
        self.probability, self.colour = probability, colour
        self.translation, self.cutout = translation, cutout

    def forward(self, pictures: Tensor) -> Tensor:
        if not self.training:
            return pictures
        kinds = ((self.colour, self._recoloured), (self.translation, self._shifted), (self.cutout, self._cut))
        for strength, change in kinds:
            if strength > 0 and self.probability > 0:
                chosen = torch.rand(len(pictures), 1, 1, 1, device=pictures.device) < self.probability
                pictures = torch.where(chosen, change(pictures), pictures)
        return pictures

    def _recoloured(self, x: Tensor) -> Tensor:
        brightness, saturation, contrast = self.colour * (2 * torch.rand(3, len(x), 1, 1, 1, device=x.device) - 1)
        x = x + 0.25 * brightness
        grey = x.mean(dim=1, keepdim=True)
        x = grey + (1 + saturation) * (x - grey)
        mean = x.mean(dim=(1, 2, 3), keepdim=True)
        return mean + (1 + 0.5 * contrast) * (x - mean)

    def _shifted(self, x: Tensor) -> Tensor:
        """By whole pixels, so that no interpolation blurs the strokes."""
        count, _, height, width = x.shape
        limits = [round(self.translation * side) for side in (height, width)]
        down, right = (torch.randint(-n, n + 1, (count, 1), device=x.device) for n in limits)
        rows = torch.arange(height, device=x.device) + limits[0] - down
        columns = torch.arange(width, device=x.device) + limits[1] - right
        padded = F.pad(x, (limits[1], limits[1], limits[0], limits[0]), value=GREY)
        x = padded.gather(2, rows[:, None, :, None].expand(-1, 3, -1, padded.shape[3]))
        return x.gather(3, columns[:, None, None, :].expand(-1, 3, height, -1))

    def _cut(self, x: Tensor) -> Tensor:
        """A square whose centre lies anywhere in the picture, so that it may hang over the border."""
        inside = [self._strip(len(x), side, x.device) for side in x.shape[-2:]]
        hole = inside[0][:, None, :, None] & inside[1][:, None, None, :]
        return torch.where(hole, GREY, x)

    def _strip(self, count: int, side: int, device: torch.device) -> Tensor:
        """(count, side) bool: a run of `cutout * side` places round a random one."""
        length = round(self.cutout * side)
        first = torch.randint(side, (count, 1), device=device) - length // 2
        places = torch.arange(side, device=device)
        return (places >= first) & (places < first + length)
