"""Tone: the colours of the style, by statistics of the frame that follow the film slowly."""

from __future__ import annotations

from abc import abstractmethod

import torch
from torch import Tensor, nn

_SHORT_SIDE = 64  # samples along the short side: statistics of the frame need no more
_DIM = 0.5  # a frame below this share of the film's light is on its way to black
BRIGHT = 1.25  # a frame above this share comes out of the dark
BLACK = 0.04  # mean of a frame that shows nothing, in [0, 1]
_RISE = 0.1  # what light may gain from frame to frame, for the first frames after black know too little


class Tone(nn.Module):
    """Gives frames the colours of the style by statistics of the film, before the network paints them.

    A network without statistics of the frame leaves dark films dark and pale ones pale, whatever the style; statistics
    of each frame by itself make a film pulse when an object enters. So those of the film follow its frames slowly,
    M_t = M_(t-1) + pace (F_t - M_(t-1)), and begin with the first frame.

    Black is no scene: a film that fades out would be lifted back to the style's mean, and one that fades in would
    begin with a flash. So a frame that has less than half of the film's light, or next to none, has a light a < 1: it
    moves the statistics by a only, and it is mapped as if it had its light, y = a m(x / a), so that black stays black.
    A frame much brighter than the film takes its statistics along at once.

    Args:
        pace: share of the new frame in the statistics, in (0, 1].
        max_gain: of a channel, 1 or more, so that noise of a flat film does not become its subject.
    """

    def __init__(self, pace: float = 0.05, max_gain: float = 3.0) -> None:
        super().__init__()
        if not 0 < pace <= 1:
            raise ValueError(f"pace: {pace} does not lie in (0, 1]")
        if max_gain < 1:
            raise ValueError(f"max_gain: {max_gain} is not 1 or more")
        self.pace, self.max_gain = pace, max_gain

    @abstractmethod
    def set_style(self, pictures: list[Tensor]) -> None:
        """Take the colours of `pictures`, (3, H, W) in [0, 1], each of which counts the same."""

    @abstractmethod
    def observe(self, frames: Tensor, white: float = 1.0) -> Tensor:
        """Frames (B, 3, H, W) in [0, white] -> statistics of each (B, K), the first three the means of its channels."""

    @abstractmethod
    def mapped(self, frames: Tensor, film: Tensor) -> Tensor:
        """Frames (B, 3, H, W) in [0, 1] of a film with these statistics (B, K + 1) in the colours of the style."""

    def forward(self, frames: Tensor, film: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Frames (B, 3, H, W) in [0, 1], and the film's statistics (B, K + 1) so far or None -> frames and new ones."""
        film = self.follow(self.observe(frames.detach()), film)
        return self.paint(frames, film), film

    def paint(self, frames: Tensor, film: Tensor) -> Tensor:
        """`mapped`, in [0, 1]. In eval mode rounded to 255 levels, because engines work on bytes; gradients pass."""
        toned = self.mapped(frames, film).clamp(0, 1)
        if self.training:
            return toned
        return toned + ((toned * 255).round() / 255 - toned).detach()

    def follow(self, now: Tensor, before: Tensor | None) -> Tensor:
        """The film's statistics with a frame of the statistics `now` (B, K): (B, K + 1), the last the frame's light."""
        return self._followed(now, before, self.pace)

    def _followed(self, now: Tensor, before: Tensor | None, pace: Tensor | float) -> Tensor:
        film = now if before is None else before[:, :-1]
        here, usual = now[:, :3].mean(1, keepdim=True), film[:, :3].mean(1, keepdim=True)
        light = (here / (_DIM * usual).clamp_min(BLACK)).clamp(max=1)
        if before is not None:
            light = torch.minimum(light, before[:, -1:] + _RISE)
        # The share of the frame that leaves it at BRIGHT times the light of the film, where it has more.
        leap = (here / BRIGHT - usual) / (here - usual).clamp_min(1e-6)
        film = film + torch.maximum(pace * light, leap) * (now - film)
        return torch.cat([film, light], 1)


class SlowTone(Tone):
    """Gives frames the mean and deviation of the style's colours.

    y = m_s + g (x - m), g = d_s / d for each channel of RGB: the colour transfer of Reinhard et al. 2001 (there in a
    decorrelated space), or adaptive instance normalisation (Huang and Belongie 2017, Eq. 8) of the pixels. g lies
    between 1 / max_gain and max_gain. Arguments: see `Tone`.
    """

    def __init__(self, pace: float = 0.05, max_gain: float = 3.0) -> None:
        super().__init__(pace, max_gain)
        self.register_buffer("mean", torch.full((3,), 0.5))
        self.register_buffer("deviation", torch.full((3,), 0.25))

    @torch.no_grad()
    def set_style(self, pictures: list[Tensor]) -> None:
        moments = torch.stack([frame_moments(picture[None])[0] for picture in pictures]).mean(0)
        mean, deviation = _spread(moments[None])
        self.mean.copy_(mean[0])
        self.deviation.copy_(deviation[0])

    def observe(self, frames: Tensor, white: float = 1.0) -> Tensor:
        return frame_moments(frames, white)

    def mapped(self, frames: Tensor, film: Tensor) -> Tensor:
        gain, shift = self.affine(film)
        return frames * gain[:, :, None, None] + shift[:, :, None, None]

    def affine(self, film: Tensor) -> tuple[Tensor, Tensor]:
        """Statistics (B, 7) -> gain and shift, (B, 3) each, of y = gain x + shift."""
        mean, deviation = _spread(film[:, :6])
        gain = (self.deviation / deviation).clamp(1 / self.max_gain, self.max_gain)
        return gain, film[:, 6:] * (self.mean - gain * mean)


def frame_moments(frames: Tensor, white: float = 1.0) -> Tensor:
    """Frames (B, 3, H, W) in [0, white] -> (B, 6): means and mean squares of the channels, over a grid of samples."""
    samples = frame_samples(frames, white)
    return torch.cat([samples.mean((2, 3)), samples.square().mean((2, 3))], 1)


def frame_samples(frames: Tensor, white: float = 1.0) -> Tensor:
    """Frames (B, 3, H, W) in [0, white] -> every so many pixels of them (B, 3, h, w) in [0, 1]."""
    step = sample_step(*frames.shape[-2:])
    return frames[..., ::step, ::step].float() / white


def sample_step(height: int, width: int) -> int:
    """Every so many pixels, across and down, stand for a frame in its statistics."""
    return max(1, min(height, width) // _SHORT_SIDE)


def _spread(moments: Tensor) -> tuple[Tensor, Tensor]:
    mean, square = moments.split(3, dim=1)
    return mean, (square - mean * mean).clamp_min(1e-4).sqrt()
