"""Grain that moves with whatever moves, drawn out along the contours of what the film shows.

Noise itself blurs when it is warped from frame to frame. Coordinates into a plane of noise are smooth, so that nothing
is lost when these are warped (advected textures: Max and Becker 1995; Neyret 2003). They stretch where the motion does,
and what comes into view has none: there they begin anew.

Painters draw their strokes along the edges of things. So in each frame the noise is blurred along the contours (line
integral convolution, Cabral and Leedom 1993), whose direction is the smaller eigenvector of the smoothed structure
tensor (Brox et al. 2006; for brush strokes Kyprianidis and Kang 2011). Where nothing is to be seen it is that of the
contours around, and of a field of swirls that is carried along with the noise.
"""

from __future__ import annotations

from functools import cache

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from vst.networks.grain import PERIOD, Grain, sampled, sampled_plane, smooth_noise, smoothed, swirls
from vst.networks.motion import MotionState, warped

FlowGrainState = tuple[Tensor, Tensor]

TRUSTED = 0.3  # confidence of the motion below which coordinates begin anew
STRETCHED = (0.35, 2.8)  # area in the plane of a sample over its own, beyond which they do so too
SOFT = 0.02  # change of brightness from place to place at which a contour counts half as much as a strong one
NEAR, FAR = 5, 4  # places along each side of the mean of tensors, and how much wider that is of those around
AROUND = 0.5  # weight of the contours around
SWIRL = 0.003  # and of the swirls
KEPT = 0.8  # share of the tensors before


class FlowGrain(Grain):
    """Noise for each place of the features, carried along by `vst.networks.DenseMotion`.

    The noise is blurred along contours in steps of 1, 2, 4, ... places, as many as `streak` has room for, that of the
    second half of the channels by one step more. Arguments: see `Grain`.
    """

    def __init__(self, channels: int = 4, cell: int = 2, streak: int = 7) -> None:
        super().__init__(channels, cell, streak)
        self.along: Tensor | None = None  # unit tangents (B, 2, rows, columns) of what `forward` gave last
        self.register_buffer("swirls", swirls(), persistent=False)
        self.register_buffer("gains", drawn_gains(channels, self.steps) if self.steps else None, persistent=False)

    def _noise(self) -> Tensor:
        return stroke_noise(self.channels)

    def shuffle(self) -> None:
        """For training: begin the films to come at another place of the noise, always with all of it.

        Strokes hang on it everywhere, not in flat regions only, so a network need not learn to do without.
        """
        super().shuffle()
        self.strength = 1.0

    @property
    def steps(self) -> tuple[int, ...]:
        """By which the first half of the channels is blurred along contours, places."""
        return tuple(2**power for power in range((self.streak + 1).bit_length() - 1))

    @torch.no_grad()
    def follow(self, motion: MotionState, before: FlowGrainState | None, view_cell: int) -> FlowGrainState:
        """The state after a frame with the state of its motion, from that before.

        The state: coordinates (B, 2, h, w), places of the plane, for each sample of the motion's view; and smoothed
        structure tensors (B, 3, rows, columns), xx, xy and yy, for each place of the frame about.
        `view_cell`: pixels along each side of a sample.
        """
        coordinates = self._coordinates(motion, None if before is None else before[0], view_cell)
        return coordinates, self._tensors(motion, None if before is None else before[1], view_cell)

    def forward(self, state: FlowGrainState, view_cell: int, places: tuple[int, int], border: int = 0) -> Tensor:
        """Noise (B, C, rows, columns) of deviation 1, in multiples of 1 / STEPS within [-4, 4).

        Args:
            state: of `follow`.
            view_cell: pixels along each side of a sample of the coordinates.
            places: (rows, columns), which begin `border` pixels before the frame.
        """
        coordinates, tensors = state
        y, x = (torch.arange(count, device=coordinates.device) + 0.5 for count in places)
        y, x = y[:, None] * self.cell - border, x * self.cell - border  # pixels of the frame
        apart = coordinates - self._own(coordinates, view_cell)
        dx, dy = sampled(apart, x / view_cell, y / view_cell).unbind(1)
        on_x, on_y = x / self.cell + self.origin[0] / self.cell + dx, y / self.cell + self.origin[1] / self.cell + dy
        noise = sampled_plane(self.plane, on_x, on_y, "bicubic")  # bilinear would fade it between two places
        if not self.steps:
            return self._rounded(noise)
        side = view_cell * self.pooled(view_cell)
        directions = sampled(tensors, x / side, y / side) + SWIRL * sampled_plane(self.swirls, on_x, on_y)
        self.along = tangents(directions)
        fine, coarse = drawn_along(noise, self.along, self.steps)
        return self._rounded(torch.cat([fine, coarse], 1) * self.gains)

    def _coordinates(self, motion: MotionState, before: Tensor | None, view_cell: int) -> Tensor:
        _, flow, confidence = motion
        own = self._own(flow, view_cell).expand_as(flow)
        if before is None:
            return own
        # Relative to the sample's own place they hardly change, so that repeated borders continue the plane.
        moved, _ = warped(before - self._own(before, view_cell), flow)
        carried = moved + own + flow * (view_cell / self.cell)
        lost = (confidence < TRUSTED) | self._stretched(carried, self.cell / view_cell)
        carried = torch.where(lost, own + self._drift(carried - own), carried)
        return carried - PERIOD * (carried.mean((2, 3), keepdim=True) / PERIOD).round()

    def _tensors(self, motion: MotionState, before: Tensor | None, view_cell: int) -> Tensor:
        view, flow, confidence = motion
        pooled = self.pooled(view_cell)
        now = structure_tensors(F.avg_pool2d(view, pooled), self.cell / (view_cell * pooled))
        if before is None:
            return now
        flow, confidence = F.avg_pool2d(flow, pooled) / pooled, F.avg_pool2d(confidence, pooled)
        return now + KEPT * confidence * (warped(before, flow)[0] - now)

    def pooled(self, view_cell: int) -> int:
        """Samples of the view along each side of one for which there is a tensor: those of a place, at least one."""
        return max(1, round(self.cell / view_cell))

    def _own(self, like: Tensor, view_cell: int) -> Tensor:
        """Where samples lie in a plane that stands still on the screen, (1, 2, h, w)."""
        y, x = (torch.arange(side, device=like.device, dtype=like.dtype) + 0.5 for side in like.shape[-2:])
        scale = view_cell / self.cell
        x, y = x * scale + self.origin[0] / self.cell, y[:, None] * scale + self.origin[1] / self.cell
        return torch.stack(torch.broadcast_tensors(x, y))[None]

    @staticmethod
    def _drift(apart: Tensor) -> Tensor:
        """Places by which the plane has moved on the whole, so that new coordinates fit in with those around."""
        return apart.mean((2, 3), keepdim=True)

    @staticmethod
    def _stretched(coordinates: Tensor, scale: float) -> Tensor:
        """(B, 1, h, w) of bool: where a sample covers too much of the plane or too little, or is turned over."""
        padded = F.pad(coordinates, (1, 1, 1, 1), mode="replicate") * scale
        across = (padded[..., 1:-1, 2:] - padded[..., 1:-1, :-2]) / 2
        down = (padded[..., 2:, 1:-1] - padded[..., :-2, 1:-1]) / 2
        area = across[:, :1] * down[:, 1:] - across[:, 1:] * down[:, :1]
        area[..., 0, :], area[..., -1, :], area[..., 0], area[..., -1] = (1.0,) * 4  # borders have one neighbour only
        least, most = STRETCHED
        return (area < least) | (area > most)


@cache
@torch.inference_mode(False)
def stroke_noise(channels: int) -> Tensor:
    """Noise (1, channels, PERIOD, PERIOD) of deviation 1, periodic, without waves much longer than a stroke is broad.

    The first half has waves of about four places, the second of eight. Always the same; nobody may write to it.
    """
    random = np.random.RandomState(0)  # its numbers are frozen, unlike those of newer generators
    made = []
    for larger in (1, 2):
        fine = smooth_noise(random, channels // 2, larger)
        broad = fine
        for _ in range(3 * larger**2):
            broad = smoothed(broad)
        made.append(fine - broad)
    plane = torch.cat(made, 1)
    return plane / plane.std(dim=(2, 3), keepdim=True)


def structure_tensors(view: Tensor, samples: float = 1.0) -> Tensor:
    """Luma (B, 1, h, w) in [0, 1], `samples` of which lie along a place -> smoothed structure tensors (B, 3, h, w).

    Those of strong edges count by their contrast, not by its square, or nothing else would be heard around them.
    """
    padded = F.pad(view, (1, 1, 1, 1), mode="replicate")
    rows, columns = (padded[..., 1:-1, :], padded[..., 1:-1])
    rows = (padded[..., :-2, :] + 2 * rows + padded[..., 2:, :]) * (samples / 8)
    columns = (padded[..., :-2] + 2 * columns + padded[..., 2:]) * (samples / 8)
    east, south = rows[..., 2:] - rows[..., :-2], columns[..., 2:, :] - columns[..., :-2, :]
    products = torch.cat([east * east, east * south, south * south], 1)
    products = products / ((products[:, :1] + products[:, 2:]).sqrt() + SOFT)
    near = _mean(products, odd(NEAR * samples))
    height, width = view.shape[-2:]
    padded = F.pad(near, (0, -width % FAR, 0, -height % FAR), mode="replicate")
    far = _mean(F.avg_pool2d(padded, FAR), odd(NEAR * samples))
    far = F.interpolate(far, scale_factor=FAR, mode="bilinear", align_corners=False)
    return near + AROUND * far[..., :height, :width]


def _mean(x: Tensor, side: int) -> Tensor:
    """Means over squares of so many samples, of their means."""
    for _ in range(2):
        x = F.avg_pool2d(F.pad(x, (side // 2,) * 4, mode="replicate"), side, 1)
    return x


def odd(length: float) -> int:
    """The odd number nearest to a length, 1 or more."""
    return 2 * max(0, round((length - 1) / 2)) + 1


def tangents(tensors: Tensor) -> Tensor:
    """Tensors (B, 3, rows, columns) -> unit vectors (B, 2, rows, columns) along which they change least, of either
    sign."""
    across, mixed, down = tensors.unbind(1)
    apart, mixed = across - down, 2 * mixed
    share = apart / torch.hypot(apart, mixed).clamp_min(1e-12)
    # Half of the angle of the vector (apart, mixed) is that of the larger eigenvector.
    cosine = ((1 + share) / 2).clamp(0, 1).sqrt()
    sine = torch.copysign(((1 - share) / 2).clamp(0, 1).sqrt(), mixed)
    return torch.stack([-sine, cosine], 1)


def drawn_along(noise: Tensor, along: Tensor, steps: tuple[int, ...]) -> tuple[Tensor, Tensor]:
    """Noise (B, C, h, w) averaged along lines with the unit tangents (B, 2, h, w): its first half of channels by
    weights of 1/4, 1/2, 1/4 at `steps` places one after the other, the second by one step more, twice as long.

    Each step goes on from where the one before has come to, so that lines bend.
    """
    for step in steps:
        noise = _step(noise, step * along)
    fine, coarse = noise.chunk(2, dim=1)
    return fine, _step(coarse, 2 * steps[-1] * along)


def _step(noise: Tensor, by: Tensor) -> Tensor:
    return (warped(noise, by)[0] + 2 * noise + warped(noise, -by)[0]) / 4


@cache
@torch.inference_mode(False)
def drawn_gains(channels: int, steps: tuple[int, ...]) -> Tensor:
    """(1, C, 1, 1): 1 over the deviation that the noise has left when it is drawn out along straight lines."""
    plane = stroke_noise(channels)
    slanting = plane.new_tensor([0.6, 0.8])[None, :, None, None].expand(-1, -1, *plane.shape[2:])
    drawn = torch.cat(drawn_along(plane, slanting, steps), 1)
    return 1 / drawn.std(dim=(2, 3), keepdim=True)
