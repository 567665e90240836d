"""A tone that takes the whole distribution of the style's colours, not only their mean and deviation.

Two moments of each channel make a film as bright and as strong in colour as the painting, but they do not give a grey
street the blue and the yellow of The Starry Night. Optimal transport of the one distribution of colours onto the other
does (Pitie et al. 2007, "Automated colour grading using colour distribution transfer"), and brings noise and seams with
it. A polynomial of low order, fitted to it, keeps what is smooth in it.
"""

from __future__ import annotations

import torch
from torch import Tensor

from vst.networks.tone import BLACK, BRIGHT, Tone, frame_samples

COLOURS = 512  # that stand for a style
SAMPLES = 512  # of a frame, a multiple of COLOURS
_ROTATIONS = 8
TERMS = 10  # of a quadratic in three variables
STIFF = 0.03  # weight of the straight map beside the transport, per sample
BEND = 2.5  # deviations from the mean beyond which the map goes on straight
_FASTEST = 0.2  # share of a frame in the statistics where the film has become another
_SETTLES = 0.95  # of what a poor beginning adds to the pace is left after each frame
_FAINT = 1e-3  # light below which nothing is to be seen


class ColourTransport(Tone):
    """Gives frames the colours of the style by a quadratic map that is fitted to their optimal transport.

    The transport is sliced: colours are turned at random and each axis takes the quantiles of the style, once for each
    of eight rotations (Pitie et al. 2007, section 3; Rabin et al. 2011). With the colours u of a frame in units of
    their deviation, z what the transport makes of them, and f(u) the ten monomials up to the second order, the map
    W f(u) has W = argmin sum |W f(u) - z|^2 + lambda |W - W_0|^2. W_0 is the map of `vst.networks.SlowTone`, which a
    flat frame falls back to. Arguments: see `Tone`.

    An object that enters must not change the colours of all the rest, so the pace is low. A poor beginning is left
    behind sooner: with the mean d deviations away the pace is 1 + 16 d^4 times as high, and it is a fifth, and falls
    from there within some twenty frames, after frames that are black or of one colour, and after a leap into the light.

    The statistics are mean and deviation of the channels and W, (B, 36).
    """

    def __init__(self, pace: float = 0.0005, max_gain: float = 3.0) -> None:
        super().__init__(pace, max_gain)
        grey = torch.linspace(0, 1, COLOURS)[:, None].repeat(1, 3)
        self.register_buffer("colours", grey)
        rotations = torch.randn(_ROTATIONS, 3, 3, generator=torch.Generator().manual_seed(0))
        self.register_buffer("rotations", torch.linalg.qr(rotations)[0], persistent=False)
        self._in_order: tuple[Tensor | None, Tensor | None] = None, None  # colours, and `wanted` of them

    @torch.no_grad()
    def set_style(self, pictures: list[Tensor]) -> None:
        share = max(1, 64 * COLOURS // len(pictures))  # pixels of each picture
        pixels = [picture.float().flatten(1).T for picture in pictures]
        self.colours.copy_(median_cut(torch.cat([p[evenly(len(p), share).to(p.device)] for p in pixels]), COLOURS))

    @torch.no_grad()
    def observe(self, frames: Tensor, white: float = 1.0) -> Tensor:
        samples = frame_samples(frames, white).flatten(2).transpose(1, 2)
        samples = samples[:, evenly(samples.shape[1], SAMPLES).to(samples.device)]
        with torch.autocast(frames.device.type, enabled=False):
            mean = samples.mean(1)
            straight = self.straight()
            deviation = samples.std(1, correction=0).clamp_min(self.least_deviation())
            apart = (samples - mean[:, None]) / deviation[:, None]
            terms = torch.stack(_monomials(*apart.unbind(-1)), -1)
            target = self._transported(apart @ straight[:, 1:4].T + straight[:, 0])
            stiff = torch.full((TERMS,), STIFF * SAMPLES, device=frames.device)
            stiff[0] = 0.0
            products = terms.transpose(1, 2) @ terms + torch.diag(stiff)
            weights = torch.linalg.solve(products, terms.transpose(1, 2) @ target + stiff[:, None] * straight.T)
        return torch.cat([mean, deviation, weights.flatten(1)], 1)

    def follow(self, now: Tensor, before: Tensor | None) -> Tensor:
        """The film's statistics with a frame of the statistics `now` (B, 36): (B, 38), the last two the frame's light
        and how poor the beginning was, in [0, 1]."""
        here = now[:, :3].mean(1, keepdim=True)
        shows_nothing = (here < BLACK) | (now[:, 3:6] <= 1.01 * self.least_deviation()).all(1, keepdim=True)
        if before is None:
            return torch.cat([self._followed(now, None, self.pace), shows_nothing.to(now.dtype)], 1)
        film, poor = before[:, :-1], before[:, -1:]
        usual = film[:, :3].mean(1, keepdim=True)
        apart = ((now[:, :3] - film[:, :3]) / film[:, 3:6]).abs().amax(1, keepdim=True)
        pace = (self.pace * (1 + 16 * apart**4)).clamp(max=max(self.pace, _FASTEST))
        pace = torch.maximum(pace, _FASTEST * poor)
        pace = torch.where(usual < BLACK, torch.ones_like(pace), pace)
        begins = shows_nothing | (usual < BLACK) | (here > BRIGHT * usual)
        poor = torch.where(begins, torch.ones_like(poor), _SETTLES * poor)
        return torch.cat([self._followed(now, film, pace), poor], 1)

    def least_deviation(self) -> Tensor:
        """Of a channel (3,): one that is flat keeps its noise small."""
        return self.straight()[:, 1:4].norm(dim=1) / self.max_gain

    def mapped(self, frames: Tensor, film: Tensor) -> Tensor:
        scale, shift, columns, light = (values[..., None, None] for values in self.coefficients(film))
        terms = _monomials(*(frames * scale - shift).unbind(1))
        made = torch.stack([sum(columns[:, k, c] * terms[k] for k in range(TERMS)) for c in range(3)], 1)
        return light * made

    def coefficients(self, film: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Statistics (B, 38) -> scale and shift (B, 3) of the colours u = scale x - shift, W (B, 10, 3), and the light
        (B, 1) that the frame has of it all."""
        mean, deviation, weights, light, _ = film.float().split([3, 3, 3 * TERMS, 1, 1], dim=1)
        return 1 / (light.clamp_min(_FAINT) * deviation), mean / deviation, weights.unflatten(1, (TERMS, 3)), light

    def straight(self) -> Tensor:
        """W_0 (3, 10): mean and deviation of the style."""
        made = self.colours.new_zeros(3, TERMS)
        made[:, 0] = self.colours.mean(0)
        made[:, 1:4] = torch.diag(self.colours.std(0, correction=0).clamp_min(1e-3))
        return made

    def _transported(self, colours: Tensor) -> Tensor:
        """Colours (B, `SAMPLES`, 3) -> those of the style in their places."""
        for rotation, wanted in zip(self.rotations, self.wanted(), strict=True):
            turned = colours @ rotation
            order = turned.argsort(dim=1, stable=True)
            colours = torch.empty_like(turned).scatter_(1, order, wanted.expand_as(turned)) @ rotation.T
        return colours

    def wanted(self) -> Tensor:
        """The style's colours in order along each axis of the rotations, (`_ROTATIONS`, `SAMPLES`, 3).

        Sorted once: it took half of the time of a frame's statistics. Another style or device is noticed.
        """
        known, made = self._in_order
        if known is None or known.device != self.colours.device or not torch.equal(known, self.colours):
            with torch.inference_mode(False):  # what is kept may meet training
                made = (self.colours @ self.rotations).sort(dim=1).values.repeat_interleave(SAMPLES // COLOURS, 1)
                self._in_order = self.colours.clone(), made
        return made


def median_cut(pixels: Tensor, count: int) -> Tensor:
    """Pixels (n, 3), n >= count, -> `count`, a power of two, colours that stand for as many of them each.

    Boxes of colours are cut at the median of their longest axis (Heckbert 1982), here that of the largest variance.
    """
    boxes = pixels[evenly(len(pixels), len(pixels) // count * count).to(pixels.device)][None]
    while len(boxes) < count:
        longest = boxes.var(dim=1, correction=0).argmax(dim=1)
        order = boxes.gather(2, longest[:, None, None].expand(-1, boxes.shape[1], 1)).argsort(dim=1, stable=True)
        boxes = boxes.gather(1, order.expand(-1, -1, 3)).reshape(2 * len(boxes), -1, 3)
    return boxes.mean(1)


def _monomials(r: Tensor, g: Tensor, b: Tensor) -> list[Tensor]:
    """1, the variables, their squares and products, each of the shape of the variables."""
    x, y, z = (v.clamp(-BEND, BEND) for v in (r, g, b))
    return [torch.ones_like(r), r, g, b, x * x, y * y, z * z, x * y, x * z, y * z]


def evenly(size: int, count: int) -> Tensor:
    """`count` of the numbers below `size`, in the middle of as many equal parts; some twice where it is less."""
    return ((torch.arange(count) + 0.5) * (size / count)).long()
