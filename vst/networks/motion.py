"""Motion as a part of the model: one dense flow a frame, which carries the noise and the picture painted before along.

What a network paints anew in each frame flickers, whatever its losses ask for. So a frame shows the picture before,
warped along the film's own motion, and of what is painted anew only a share; where motion does not explain the frame
(what comes into view, what the estimate got wrong, another scene) it shows the new picture alone. This is temporal
accumulation with reprojection and rejection, as renderers do it (Yang et al. 2020, "A Survey of Temporal Antialiasing
Techniques"), and what Chen et al. 2017 ("Coherent Online Video Style Transfer", Eq. 2) do to features. Strokes that do
not move along cancel out in the sum, so style losses on the accumulated pictures teach the network strokes that do.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vst.flow.dis import DIS
from vst.flow.lucas_kanade import LucasKanade

MotionState = tuple[Tensor, Tensor, Tensor]

ESTIMATORS = ("dis", "dis_fast", "lucas_kanade")
_GREY = (0.299, 0.587, 0.114)
_UNEXPLAINED = 0.06  # difference of brightness at which the confidence has fallen to 1 / e
_WINDOW = 7  # samples along each side over which it is averaged
_SMALL = (0.2, 0.5)  # samples: shorter motion may be noise of the estimate, and a film on a tripod must not tremble,
_BETTER = (0.002, 0.004)  # unless it explains so much more of the brightness than none
_AROUND = 41  # samples along each side within which that is to be seen somewhere
_ERROR, _SMOOTH = 0.2, 12  # samples: of a known flow in training, its largest deviation and its grain
_LEAST = 16  # samples along each side that estimators need


class DenseMotion(nn.Module):
    """Estimates the flow from each frame to the one before, and accumulates pictures along it.

    Args:
        estimator: `dis`, dense inverse search (Kroeger et al. 2016) by OpenCV on the CPU; `dis_fast`, the same with a
            fifth of the work, which is less calm; or `lucas_kanade` (`vst.flow.LucasKanade`), on the device of the
            frames.
        rows: samples along the short side of the picture that motion is estimated in, at least, where it has them.
        history: share of the picture before where motion explains the frame, in [0, 1).
    """

    def __init__(self, estimator: str = "dis", rows: int = 180, history: float = 0.8) -> None:
        super().__init__()
        if estimator not in ESTIMATORS:
            raise ValueError(f"estimator: {estimator!r} is not one of {', '.join(ESTIMATORS)}")
        if rows < _LEAST:
            raise ValueError(f"rows: {rows} is not {_LEAST} or more")
        if not 0 <= history < 1:
            raise ValueError(f"history: {history} does not lie in [0, 1)")
        self.estimator, self.rows, self.history = estimator, rows, history
        presets = {"dis": "medium", "dis_fast": "fast"}
        lucas_kanade = LucasKanade(window=15, levels=4, iterations=2, damping=1e-4)
        self._estimate = DIS(presets[estimator]) if estimator in presets else lucas_kanade

    def extra_repr(self) -> str:
        return f"estimator={self.estimator}, rows={self.rows}, history={self.history}"

    def cell(self, short_side: int) -> int:
        """Pixels along each side of a sample of the view of frames with such a short side."""
        return max(1, min(short_side // self.rows, short_side // _LEAST))

    def view(self, frames: Tensor) -> Tensor:
        """Frames (B, 3, H, W) in [0, 1] -> their luma (B, 1, h, w) with about `rows` samples along the short side."""
        grey = (frames.float() * frames.new_tensor(_GREY)[:, None, None]).sum(1, keepdim=True)
        return F.avg_pool2d(grey, self.cell(min(frames.shape[-2:])))

    @torch.no_grad()
    def follow(self, frames: Tensor, state: MotionState | None, flow: Tensor | None = None) -> MotionState:
        """Frames (B, 3, H, W), and the state after the frame before, or None at the first -> the state.

        `flow` (B, 2, H, W) is the motion where it is known, as `vst.batch` defines it. In training it gets errors, as
        an estimate has them.
        """
        if flow is not None:
            cell = self.cell(min(frames.shape[-2:]))
            flow = F.avg_pool2d(flow.float(), cell) / cell
            flow = flow + _error(flow) if self.training else flow
        return self.follow_view(self.view(frames), state, flow)

    @torch.no_grad()
    def follow_view(self, view: Tensor, state: MotionState | None, flow: Tensor | None = None) -> MotionState:
        """The same of the `view` of frames, and of a flow in samples of it.

        The state: the view (B, 1, h, w); the flow (B, 2, h, w) from it to the view before, samples; the confidence
        (B, 1, h, w) in [0, 1] that it shows the same, 0 in the first frame.
        """
        if state is None:
            return view, view.new_zeros(len(view), 2, *view.shape[2:]), torch.zeros_like(view)
        before = state[0]
        if flow is None:
            flow = _settled(self._estimate(view, before), view, before)
        change, inside = _unexplained(view, before, flow)
        return view, flow, torch.exp(-((change / _UNEXPLAINED) ** 2)) * inside

    def accumulate(self, picture: Tensor, before: Tensor, state: MotionState) -> Tensor:
        """A painted picture (B, 3, H, W) and the accumulated one before -> the accumulated one."""
        _, flow, confidence = state
        size = picture.shape[-2:]
        flow = resized_flow(flow, size, self.cell(min(size))).to(picture.dtype)
        along, _ = warped(before, flow, "bicubic")
        share = self.history * F.interpolate(confidence, size, mode="bilinear", align_corners=False)
        return picture + share.to(picture.dtype) * (along - picture)


def _settled(flow: Tensor, view: Tensor, before: Tensor) -> Tensor:
    """A flow (B, 2, h, w) without short motions that explain nothing: on noise, estimates tremble."""
    moving = _unexplained(view, before, flow)[0]
    resting = _unexplained(view, before, torch.zeros_like(flow))[0]
    better = _between(resting - moving, *_BETTER)
    # A clear sky moves as the roofs below it do, though nothing is to be seen there.
    side = min(_AROUND, *((side - 1) // 2 * 2 + 1 for side in better.shape[-2:]))
    inside = [F.pad(x, (side // 2,) * 4) for x in (better, torch.ones_like(better[:1]))]
    around = _sums(inside[0], side) / _sums(inside[1], side)
    speed = flow.square().sum(1, keepdim=True).sqrt()
    return flow * torch.maximum(_between(speed, *_SMALL), (4 * around).clamp(max=1))


def _unexplained(view: Tensor, before: Tensor, flow: Tensor) -> tuple[Tensor, Tensor]:
    """Difference of brightness (B, 1, h, w) about each sample along a flow, and 1 where that leads inside, else 0."""
    seen, inside = warped(before, flow)
    change = F.pad((view - seen).abs(), (_WINDOW // 2,) * 4, mode="replicate")
    return _sums(change, _WINDOW) / _WINDOW**2, inside


def _sums(x: Tensor, side: int) -> Tensor:
    """Sums of x (B, C, h, w) over all windows of `side` samples along each side; a wide one takes no longer."""
    for axis in (2, 3):
        up_to = F.pad(x.cumsum(axis), (0, 0, 1, 0) if axis == 2 else (1, 0))
        windows = up_to.shape[axis] - side
        x = up_to.narrow(axis, side, windows) - up_to.narrow(axis, 0, windows)
    return x


def _between(x: Tensor, least: float, most: float) -> Tensor:
    return ((x - least) / (most - least)).clamp(0, 1)


def _error(flow: Tensor) -> Tensor:
    """A smooth field of deviation up to `_ERROR` samples for each of a batch, of the shape of `flow`."""
    batch, _, height, width = flow.shape
    coarse = torch.randn(batch, 2, *(max(2, side // _SMOOTH) for side in (height, width)), device=flow.device)
    field = F.interpolate(coarse, (height, width), mode="bicubic", align_corners=False)
    return _ERROR * torch.rand(batch, 1, 1, 1, device=flow.device) * field


def warped(picture: Tensor, flow: Tensor, mode: str = "bilinear") -> tuple[Tensor, Tensor]:
    """`picture` (B, C, h, w) at p + flow(p) for each sample p, borders repeated, and 1 where that lies inside, else 0.

    Unlike `vst.flow.warp` in the precision of its input, which is enough for a frame and much faster.
    """
    height, width = picture.shape[-2:]
    y = torch.arange(height, device=flow.device, dtype=flow.dtype)[:, None] + flow[:, 1]
    x = torch.arange(width, device=flow.device, dtype=flow.dtype) + flow[:, 0]
    inside = ((x >= 0) & (x <= width - 1) & (y >= 0) & (y <= height - 1))[:, None].to(picture.dtype)
    grid = torch.stack([(x + 0.5) * (2 / width) - 1, (y + 0.5) * (2 / height) - 1], -1)
    return F.grid_sample(picture, grid, mode=mode, padding_mode="border", align_corners=False), inside


def resized_flow(flow: Tensor, size: tuple[int, int], cell: int) -> Tensor:
    """Flow (B, 2, h, w) of a view in cells of so many pixels -> (B, 2, *size) in pixels of the frame that it shows.

    A view leaves out the pixels beyond its last whole sample; they take what lies nearest.
    """
    large = F.interpolate(flow, scale_factor=cell, mode="bilinear", align_corners=False) * cell
    beyond = [max(0, side - have) for side, have in zip(size, large.shape[-2:], strict=True)]
    large = F.pad(large, (0, beyond[1], 0, beyond[0]), mode="replicate")
    return large[..., : size[0], : size[1]]
