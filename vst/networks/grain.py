"""Grain: noise that strokes hang on where the film shows nothing, and that moves with the camera.

A clear sky gives a network nothing to paint by: whatever the losses ask for, one colour in gives one colour out. Noise
as a further input does (Karras et al. 2019, section 3.2, there for hair and skin). Noise that stands still on the
screen would be a shower door, and noise that is fresh in each frame flickers. So it is a plane behind the film that
follows the camera, as the dynamic canvas of Cunzi et al. 2003 does for drawings, and it fades out where something
moves by itself, so that no strokes are left standing on what passes by.

Noise without a direction becomes dabs. Drawn out along the lines of a smooth field (line integral convolution, Cabral
and Leedom 1993) it becomes streaks that bend and swirl, which a network has only to colour to have strokes.
"""

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from functools import cache

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vst.networks.similarity import after, camera_motion, joined, moved, parts, relit, zoomed

GrainState = tuple[Tensor, Tensor, Tensor]

STEPS = 32  # of the noise in a deviation: it is rounded, because engines work on bytes
PERIOD = 256  # places after which the noise repeats, along each side
_PAD = 2  # places that interpolation looks beyond the period
_COARSE = 4  # how much larger the grains of the second half of the channels are
_LONGEST = 64  # streak that is drawn, places
_EDDY = 32  # places from one bend of the streaks to the next, about
_ROWS = 128  # samples along the short side of the picture that motion is seen in
_GREY = (0.299, 0.587, 0.114)
_LEAK = 0.05  # share of the enlargement by zooms that is forgotten with each frame, where it is twofold
_BLOCK = 8  # samples along each side of what moves or rests as a whole
_NEAR = 3  # blocks around one that moves
_MOVED = 16 / 255  # difference of brightness that shows motion
_UNREST = (0.1, 0.5)  # share of samples that move in blocks where the noise begins to fade, and where it is gone
_RISE = 0.2  # largest fading from frame to frame
_ALL = 0.6  # share of the second frame that moves by itself, from which on it is none of it
_REST = 0.97  # what is left of it one frame later


class Grain(nn.Module):
    """A plane of noise and where in it films begin; see `CameraGrain` and `vst.networks.FlowGrain`.

    The first half of the channels has grains of about three places, the second of twelve.

    Args:
        channels: of the noise, an even number.
        cell: pixels of the frame that one place stands for, along each side.
        streak: places by which grains are drawn out to both sides, those of the second half three times as far; 0
            leaves them round.
    """

    def __init__(self, channels: int = 4, cell: int = 4, streak: int = 0) -> None:
        super().__init__()
        if type(streak) is not int or not 0 <= streak <= _LONGEST:
            raise ValueError(f"streak: {streak} is not a whole number from 0 to {_LONGEST}")
        if channels < 2 or channels % 2:
            raise ValueError(f"channels: {channels} is not an even number of 2 or more; model/grain=none is no grain")
        self.channels, self.cell, self.streak = channels, cell, streak
        self.strength, self.origin = 1.0, (0.0, 0.0)  # not the average's: what it shows is always the same
        self.register_buffer("plane", self._noise(), persistent=False)

    def _noise(self) -> Tensor:
        return noise_plane(self.channels, self.streak)

    def extra_repr(self) -> str:
        return f"channels={self.channels}, cell={self.cell}, streak={self.streak}"

    def shuffle(self) -> None:
        """For training: begin the films to come at another place of the noise, and with less of it in two of three
        draws, so that the network can do without."""
        self.origin = tuple((torch.rand(2) * PERIOD * self.cell).tolist())
        self.strength = min(1.0, 1.5 * torch.rand(()).item())

    @contextmanager
    def beside(self, offset: tuple[float, float]) -> Iterator[None]:
        """Meanwhile films begin so many pixels (x, y) beside where they do."""
        before = self.origin
        self.origin = (before[0] + offset[0], before[1] + offset[1])
        try:
            yield
        finally:
            self.origin = before

    def repeat(self, other: "Grain | None") -> None:
        """Have the noise that another one has, or none where that is none or of another kind."""
        kinds = [
            (type(grain), grain.channels, grain.cell, grain.streak) for grain in (self, other) if grain is not None
        ]
        same = len(kinds) == 2 and kinds[0] == kinds[1]
        self.strength, self.origin = (other.strength, other.origin) if same else (0.0, self.origin)

    def at(self, x: Tensor, y: Tensor, share: Tensor | float = 1.0) -> Tensor:
        """Noise (B, C, rows, columns) at places (B, rows, columns) of the plane, times `share` and the strength, of
        deviation 1 at most, in multiples of 1 / STEPS within [-4, 4)."""
        return self._rounded(share * sampled_plane(self.plane, x, y))

    def _rounded(self, noise: Tensor) -> Tensor:
        return (noise * (self.strength * STEPS)).round().clamp(-128, 127) / STEPS


class CameraGrain(Grain):
    """Noise for each place of the features, carried along by an estimate of the camera's motion.

    Grains keep their size: what a zoom enlarges is forgotten slowly. Arguments: see `Grain`.
    """

    @torch.no_grad()
    def follow(self, frames: Tensor, state: GrainState | None) -> GrainState:
        """Frames (B, 3, H, W) in [0, 1], and the state after the frame before, or None at the first -> the state."""
        return self.follow_view(grey_view(frames), min(frames.shape[-2:]), state)

    @torch.no_grad()
    def follow_view(self, view: Tensor, short_side: int, state: GrainState | None) -> GrainState:
        """The same of `grey_view` of frames whose short side has so many pixels.

        The state: the view (B, 1, h, w); the pose (B, 4), a similarity (`vst.networks.similarity`) from pixels of the
        frame to those of the plane; the unrest (B, 1, h / 8, w / 8) in [0, 1], 1 where no noise is, and -1 everywhere
        after the first frame: it is not known yet.
        """
        if state is None:
            return view, self._first_pose(len(view)), -torch.ones_like(_blocks(view))
        before, pose, unrest = state
        # What is solved for needs all of its digits; the device on which operations are only counted has no autocast.
        with nullcontext() if view.is_meta else torch.autocast(view.device.type, enabled=False):
            motion = camera_motion(view, before)
        return (
            view,
            self._carried(pose, zoomed(motion, view_cell(short_side))),
            self._faded(unrest, *moved(before, motion), view),
        )

    def forward(self, state: GrainState, size: tuple[int, int], places: tuple[int, int], border: int = 0) -> Tensor:
        """Noise (B, C, rows, columns) of deviation 1 at most, in multiples of 1 / STEPS within [-4, 4).

        Args:
            state: of `follow`.
            size: (H, W) of the frame.
            places: (rows, columns), which begin `border` pixels before the frame.
        """
        _, pose, unrest = state
        y, x = (torch.arange(count, device=pose.device) + 0.5 for count in places)
        y, x = y[:, None] * self.cell - border, x * self.cell - border  # pixels of the frame
        rest = 1 - sampled(unrest.clamp_min(0), x / _block_side(size), y / _block_side(size))
        x, y = x - size[1] / 2, y - size[0] / 2
        s_x, s_y, t_x, t_y = pose[:, :, None, None].unbind(1)
        on_x, on_y = ((s_x * x - s_y * y + t_x) / self.cell, (s_y * x + s_x * y + t_y) / self.cell)
        return self.at(on_x, on_y, rest)

    def _first_pose(self, batch: int) -> Tensor:
        return self.plane.new_tensor([1.0, 0.0, *self.origin]).repeat(batch, 1)

    def _carried(self, pose: Tensor, step: Tensor) -> Tensor:
        """The pose after a step from pixels of the new frame to those of the one before."""
        s, t = parts(after(step, pose))
        s = s * s.abs() ** (-_LEAK * s.abs().log2().clamp(-2, 2).square())
        period = PERIOD * self.cell
        pose = joined(s, t)
        return torch.cat([pose[:, :2], pose[:, 2:] % period], 1)

    def _faded(self, unrest: Tensor, before: Tensor, inside: Tensor, view: Tensor) -> Tensor:
        """The unrest after a frame, where `before` is the last one as the camera's motion explains it."""
        change = (view - relit(before, view)) * inside
        share = _blocks(change.square() / (change.square() + _MOVED**2))
        share = F.max_pool2d(share, 2 * _NEAR + 1, 1, _NEAR)
        share = F.avg_pool2d(F.pad(share, (1, 1, 1, 1), mode="replicate"), 3, 1)
        least, most = _UNREST
        now = ((share - least) / (most - least)).clamp(0, 1)
        if not self.training:  # whose clips are too short for it
            # At once in the second frame, where nobody sees it so soon after a cut; then slowly. Where all of the
            # picture changed, the first frame was a blend or a flash, and says nothing of what moves.
            known = (unrest < 0) & (now.mean((2, 3), keepdim=True) < _ALL)
            now = torch.where(known, now, torch.minimum(now, unrest.clamp_min(0) + _RISE))
        return torch.maximum(now, unrest * _REST)


@cache
@torch.inference_mode(False)  # whoever asks first: training uses it too
def noise_plane(channels: int, streak: int = 0) -> Tensor:
    """(1, C, PERIOD, PERIOD), periodic, of deviation 1, smooth enough to be interpolated; always the same.
    Nobody may write to it: all share it."""
    random = np.random.RandomState(0)  # its numbers are frozen, unlike those of newer generators
    fine, coarse = (smooth_noise(random, channels // 2, larger) for larger in (1, _COARSE))
    if streak:
        heights = smooth_noise(random, 1, _EDDY)
        fine, coarse = _drawn_out(fine, heights, streak), _drawn_out(coarse, heights, 3 * streak)
    made = [plane / plane.std(dim=(2, 3), keepdim=True) for plane in (fine, coarse)]
    return torch.cat(made, 1)


@cache
@torch.inference_mode(False)
def swirls() -> Tensor:
    """Directions that bend and swirl, as structure tensors (1, 3, PERIOD, PERIOD), periodic: n n^T = (xx, xy, yy) of
    the unit vectors n across the contours of a smooth field. Nobody may write to it."""
    heights = smooth_noise(np.random.RandomState(1), 1, _EDDY)
    east, south = ((heights.roll(-1, axis) - heights.roll(1, axis))[:, 0] for axis in (3, 2))
    products = torch.stack([east * east, east * south, south * south], 1)
    return products / (products[:, :1] + products[:, 2:]).clamp_min(1e-9)


def sampled_plane(plane: Tensor, x: Tensor, y: Tensor, mode: str = "bilinear") -> Tensor:
    """A periodic plane (1, C, PERIOD, PERIOD) at places (B, rows, columns) of it -> (B, C, rows, columns)."""
    padded = F.pad(plane, (_PAD, _PAD, _PAD, _PAD), "circular").expand(len(x), -1, -1, -1)
    return sampled(padded, x % PERIOD + (_PAD + 0.5), y % PERIOD + (_PAD + 0.5), mode)


def smooth_noise(random: np.random.RandomState, channels: int, larger: int) -> Tensor:
    """Periodic noise (1, channels, PERIOD, PERIOD) with grains of about three times `larger` places."""
    side = PERIOD // larger
    white = torch.from_numpy(random.standard_normal((1, channels, side, side))).float()
    plane = F.interpolate(F.pad(white, (2,) * 4, "circular"), scale_factor=larger, mode="bicubic")
    plane = plane[..., 2 * larger : -2 * larger, 2 * larger : -2 * larger]
    return smoothed(plane)


def smoothed(plane: Tensor) -> Tensor:
    """A periodic plane, each place with a quarter of its neighbours on both sides, along both axes."""
    for axis in (2, 3):
        plane = (plane.roll(1, axis) + 2 * plane + plane.roll(-1, axis)) / 4
    return plane


def _drawn_out(plane: Tensor, heights: Tensor, streak: int) -> Tensor:
    """`plane` (1, C, PERIOD, PERIOD) averaged along the contour lines of `heights` (1, 1, PERIOD, PERIOD), `streak`
    places to both sides and less with distance. Contours close upon themselves, so the lines swirl."""
    east, south = ((heights.roll(-1, axis) - heights.roll(1, axis))[:, 0] for axis in (3, 2))
    along = torch.stack([-south, east], 1) / torch.hypot(east, south).clamp_min(1e-6)[:, None]
    plane, along = (F.pad(x, (1,) * 4, "circular") for x in (plane, along))
    total = plane[..., 1:-1, 1:-1]
    for way in (1, -1):
        x = torch.arange(PERIOD, device=plane.device) + 0.5
        y = x[:, None]
        for step in range(1, streak + 1):
            dx, dy = sampled(along, x % PERIOD + 1, y % PERIOD + 1)[0]
            x, y = x + way * dx, y + way * dy
            nearness = (1 + np.cos(np.pi * step / (streak + 1))) / 2
            total = total + nearness * sampled(plane, x % PERIOD + 1, y % PERIOD + 1)
    return total


def grey_view(frames: Tensor) -> Tensor:
    """Frames (B, 3, H, W) -> their luma (B, 1, h, w) with about 128 samples along the short side."""
    grey = (frames.float() * frames.new_tensor(_GREY)[:, None, None]).sum(1, keepdim=True)
    return F.avg_pool2d(grey, view_cell(min(frames.shape[-2:])))


def view_cell(short_side: int) -> int:
    """Pixels along each side of a sample of the view of frames with such a short side."""
    return max(1, round(short_side / _ROWS))


def _block_side(size: tuple[int, int]) -> int:
    return _BLOCK * view_cell(min(size))


def _blocks(view: Tensor) -> Tensor:
    return F.avg_pool2d(view, _BLOCK, ceil_mode=True)


def sampled(picture: Tensor, x: Tensor, y: Tensor, mode: str = "bilinear") -> Tensor:
    """`picture` (B, C, h, w) at (x, y) that broadcast to (B or none, rows, columns); samples lie at .5, 1.5, ..."""
    height, width = picture.shape[-2:]
    grid = torch.stack(torch.broadcast_tensors(x * (2 / width) - 1, y * (2 / height) - 1), -1)
    grid = grid if grid.ndim == 4 else grid.expand(len(picture), -1, -1, -1)
    return F.grid_sample(picture, grid, mode, padding_mode="border", align_corners=False)
