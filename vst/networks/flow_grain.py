"""Grain that moves with whatever moves: its coordinates are carried along by the flow of the film.

Noise itself blurs when it is warped from frame to frame. Coordinates into a plane of noise are smooth, so that nothing
is lost when these are warped (advected textures: Max and Becker 1995; Neyret 2003). They stretch where the motion does,
and what comes into view has none: there they begin anew.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from vst.networks.grain import PERIOD, Grain, sampled
from vst.networks.motion import MotionState, warped

_TRUSTED = 0.3  # confidence of the motion below which coordinates begin anew
_STRETCHED = (0.35, 2.8)  # area in the plane of a sample over its own, beyond which they do so too


class FlowGrain(Grain):
    """Noise for each place of the features, carried along by `vst.networks.DenseMotion`. Arguments: see `Grain`."""

    @torch.no_grad()
    def follow(self, motion: MotionState, before: Tensor | None, view_cell: int) -> Tensor:
        """Coordinates (B, 2, h, w) in places of the plane for each sample of the motion's view, from those before.

        `view_cell`: pixels along each side of a sample.
        """
        _, flow, confidence = motion
        own = self._own(flow, view_cell).expand_as(flow)
        if before is None:
            return own
        # Relative to the sample's own place they hardly change, so that repeated borders continue the plane.
        moved, _ = warped(before - self._own(before, view_cell), flow)
        carried = moved + own + flow * (view_cell / self.cell)
        lost = (confidence < _TRUSTED) | self._stretched(carried, self.cell / view_cell)
        carried = torch.where(lost, own + self._drift(carried - own), carried)
        return carried - PERIOD * (carried.mean((2, 3), keepdim=True) / PERIOD).round()

    def forward(self, coordinates: Tensor, view_cell: int, places: tuple[int, int], border: int = 0) -> Tensor:
        """Noise (B, C, rows, columns) of deviation 1 at most, in multiples of 1 / STEPS within [-4, 4).

        Args:
            coordinates: of `follow`.
            view_cell: pixels along each side of a sample of them.
            places: (rows, columns), which begin `border` pixels before the frame.
        """
        y, x = (torch.arange(count, device=coordinates.device) + 0.5 for count in places)
        y, x = y[:, None] * self.cell - border, x * self.cell - border  # pixels of the frame
        apart = coordinates - self._own(coordinates, view_cell)
        dx, dy = sampled(apart, x / view_cell, y / view_cell).unbind(1)
        left, top = (self.origin[axis] / self.cell for axis in (0, 1))
        return self.at(x / self.cell + left + dx, y / self.cell + top + dy)

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
        least, most = _STRETCHED
        return (area < least) | (area > most)
