"""Temporal stability of a video, measured along the motion of the input that it was made from.

A video here is (T, H, W, 3) uint8 RGB; errors are of values in [0, 1]. Frame t+k is warped back onto frame t with the
forward flow of the input and compared where Sundaram's rule (`vst.flow.occlusion_mask`) trusts the flow.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import pairwise

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from vst.flow import DIS, FlowEstimator, occlusion_mask

MIN_VALID = 0.05  # share of trusted pixels below which a pair of frames says nothing: a cut, or a flow that failed
STATIC_FLOW = 0.3  # pixels of motion below which a pixel counts as standing still
FAR = 10  # frames between the frames of a far pair
MIN_STATIC = 0.02  # share of such pixels that a pair needs to enter `flicker`
FARNEBACK = {
    **{"pyr_scale": 0.5, "levels": 3, "winsize": 15, "iterations": 3},
    **{"poly_n": 5, "poly_sigma": 1.2, "flags": 0},
}  # TecoGAN's setting


@dataclass(frozen=True)
class Pair:
    """Motion of the input between frames `first` and `second`: `flow` (2, H, W) in pixels on the grid of `first`,
    pointing into `second`, and `valid` (H, W) bool, where it can be trusted.
    """

    first: int
    second: int
    flow: Tensor
    valid: Tensor

    @cached_property
    def grid(self) -> Tensor:
        """(1, H, W, 2) for `grid_sample`, which makes warping many videos along one motion cheap."""
        height, width = self.flow.shape[-2:]
        x = self.flow[0].double() + torch.arange(width)
        y = self.flow[1].double() + torch.arange(height)[:, None]
        places = torch.stack([2 * x / max(width - 1, 1) - 1, 2 * y / max(height - 1, 1) - 1], -1)
        return places.float()[None]

    @cached_property
    def still(self) -> Tensor | None:
        """(H, W) float 0/1, where nothing moves; None where that is too little to say something."""
        still = self.valid & (self.flow.square().sum(0).sqrt() < STATIC_FLOW)
        few = self.valid.float().mean() < MIN_VALID or still.float().mean() <= MIN_STATIC
        return None if few else still.float()

    def warped(self, frame: Tensor) -> Tensor:
        """The second frame (3, H, W) as it would look at the time of the first; the border is repeated outside."""
        return F.grid_sample(frame[None], self.grid, mode="bilinear", padding_mode="border", align_corners=True)[0]


@dataclass(frozen=True)
class WarpErrors:
    """Of each pair: the squared error summed over trusted pixels and RGB, the number of these pixels, and of all."""

    squared: np.ndarray
    valid: np.ndarray
    pixels: int

    def first(self, count: int) -> WarpErrors:
        """Those of the first `count` pairs."""
        return WarpErrors(self.squared[:count], self.valid[:count], self.pixels)

    @property
    def usable(self) -> np.ndarray:
        """Pairs with enough trusted pixels, (N,) bool."""
        return self.valid >= MIN_VALID * self.pixels


def to_tensor(frame: np.ndarray) -> Tensor:
    """(H, W, 3) uint8 -> (3, H, W) float32 in [0, 1]."""
    return torch.from_numpy(np.ascontiguousarray(frame)).permute(2, 0, 1).float() / 255


def input_motion(
    source: np.ndarray,
    interval: int = 1,
    stride: int = 1,
    estimate: FlowEstimator | None = None,
    truth: Mapping[int, tuple[Tensor, Tensor]] | None = None,
) -> Iterator[Pair]:
    """Pairs (t, t + interval) of the input for t = 0, stride, 2 * stride, ...

    `estimate` is the estimator of flow, DIS where it is None. `truth` has the known flow (2, H, W) of frame t to the
    next and where it is known (1, H, W) for some t: it is used instead; its mask still needs the estimated way back.
    """
    estimate, truth = estimate or DIS(), truth or {}
    for first in range(0, len(source) - interval, stride):
        a, b = (to_tensor(source[index])[None] for index in (first, first + interval))
        back = estimate(b, a)
        if interval == 1 and first in truth:
            flow, known = truth[first]
            valid = occlusion_mask(flow[None], back)[0, 0].bool() & known[0]
        else:
            flow = estimate(a, b)[0]
            valid = occlusion_mask(flow[None], back)[0, 0].bool()
        yield Pair(first, first + interval, flow, valid)


def warp_errors(video: np.ndarray, pairs: list[Pair]) -> WarpErrors:
    """How far each pair's second frame, warped back, is from its first."""
    squared, valid = [], []
    for pair in pairs:
        difference = (to_tensor(video[pair.first]) - pair.warped(to_tensor(video[pair.second]))).square_().sum(0)
        squared.append(float((difference * pair.valid).sum(dtype=torch.float64)))
        valid.append(int(pair.valid.sum()))
    return WarpErrors(np.array(squared), np.array(valid), int(np.prod(video.shape[1:3])))


def ewarp_l2(errors: WarpErrors) -> float | None:
    """E_warp by the formula of Lai et al. (ECCV 2018, section 5): squared RGB distance over trusted pixels, mean over
    pairs. Pairs with too few trusted pixels are left out; None where no pair is left.
    """
    usable = errors.usable
    return float(np.mean(errors.squared[usable] / errors.valid[usable])) if usable.any() else None


def ewarp_mean(errors: WarpErrors) -> float | None:
    """E_warp as their code computes it, which divides by the three channels as well: `ewarp_l2` / 3."""
    value = ewarp_l2(errors)
    return None if value is None else value / 3


def pair_ewarp(errors: WarpErrors) -> list[float | None]:
    """`ewarp_mean` of every single pair, None where it has too few trusted pixels."""
    return [
        s / (3 * n) if good else None
        for s, n, good in zip(errors.squared.tolist(), errors.valid.tolist(), errors.usable.tolist(), strict=True)
    ]


def e_stab(errors: WarpErrors) -> float:
    """sqrt(1/(T-1) sum_t 1/D sum M ||O_t - W(O_t+1)||^2), D all pixels (Chen et al. 2017; ReCoNet, Gao et al. 2018)."""
    return float(np.sqrt(np.mean(errors.squared / errors.pixels)))


def rmse_rerevst(errors: WarpErrors) -> float:
    """Mean over pairs of the root of the masked squared error over ALL pixels and channels (ReReVST, Wang et al. 2020).

    It depends on how much is occluded: compare only over the same clips.
    """
    return float(np.mean(np.sqrt(errors.squared / (3 * errors.pixels))))


def detail(video: np.ndarray, source: np.ndarray) -> float | None:
    """Mean squared Sobel gradient of the video's luminance over the input's: below 1 it is smoother than the input."""
    energies = [np.mean([_gradient_energy(frame) for frame in frames]) for frames in (video, source)]
    return float(energies[0] / energies[1]) if energies[1] > 0 else None


def change(video: np.ndarray, source: np.ndarray) -> float:
    """Mean absolute difference to the input, in [0, 1]: 0 is the identity."""
    return float(np.mean([np.abs(o.astype(np.float32) - i).mean() for o, i in zip(video, source, strict=True)]) / 255)


def flicker(video: np.ndarray, source: np.ndarray, pairs: list[Pair]) -> float | None:
    """Mean squared frame difference on pixels that stand still, over the input's; None where nothing stands still."""
    energies = []
    for pair in pairs:
        if pair.still is not None:
            steps = (to_tensor(frames[pair.first]) - to_tensor(frames[pair.second]) for frames in (video, source))
            total = 3 * float(pair.still.sum())
            energies.append([float((step.square_().sum(0) * pair.still).sum()) / total for step in steps])
    if not energies:
        return None
    out, own = np.mean(energies, axis=0)
    return float(out / max(own, 1e-9))


def tof(flows: list[np.ndarray], own: list[np.ndarray]) -> float:
    """Mean length of the difference between a video's own motion and the input's, in pixels (TecoGAN, Chu et al. 2020).

    Both are `farneback` flows of consecutive frames; all frames and pixels count (their code leaves out borders).
    """
    return float(np.mean([np.linalg.norm(a - b, axis=-1).mean() for a, b in zip(flows, own, strict=True)]))


def farneback(video: np.ndarray) -> list[np.ndarray]:
    """Farneback flow (H, W, 2) of every frame to the next, with TecoGAN's setting."""
    greys = [cv2.cvtColor(np.ascontiguousarray(frame), cv2.COLOR_RGB2GRAY) for frame in video]
    return [cv2.calcOpticalFlowFarneback(a, b, None, **FARNEBACK) for a, b in pairwise(greys)]


@dataclass(frozen=True)
class Reference:
    """An input with all that is measured of it once: its motion at distance 1 (`near`) and 10 (`far`, every fifth
    frame), its own warp errors on both, and its Farneback flows. `far` and `flows` are None in a quick one.
    """

    source: np.ndarray
    near: list[Pair]
    near_errors: WarpErrors
    far: list[Pair] | None = None
    far_errors: WarpErrors | None = None
    flows: list[np.ndarray] | None = None

    @classmethod
    def of(
        cls,
        source: np.ndarray,
        estimate: FlowEstimator | None = None,
        truth: Mapping[int, tuple[Tensor, Tensor]] | None = None,
        quick: bool = False,
    ) -> Reference:
        """Measure the input; `estimate` and `truth` as in `input_motion`."""
        near = list(input_motion(source, estimate=estimate, truth=truth))
        reference = cls(source, near, warp_errors(source, near))
        if quick:
            return reference
        far = list(input_motion(source, FAR, FAR // 2, estimate))
        return replace(reference, far=far, far_errors=warp_errors(source, far), flows=farneback(source))

    def first(self, length: int) -> Reference:
        """The reference of the first `length` frames, at least 2."""
        near = [pair for pair in self.near if pair.second < length]
        shorter = Reference(self.source[:length], near, self.near_errors.first(len(near)))
        if self.far is None or self.far_errors is None or self.flows is None:
            return shorter
        far = [pair for pair in self.far if pair.second < length]
        return replace(shorter, far=far, far_errors=self.far_errors.first(len(far)), flows=self.flows[: length - 1])


def temporal_scores(video: np.ndarray, reference: Reference, near: WarpErrors | None = None) -> dict[str, float | None]:
    """All temporal metrics of a video as long as the reference, named as in the report; None where not measurable.

    `near` are its `warp_errors` on the reference's near pairs, where they are known already.
    """
    source = reference.source
    assert video.shape == source.shape, (video.shape, source.shape)
    near = near or warp_errors(video, reference.near)
    ratio = _ratio(ewarp_mean(near), ewarp_mean(reference.near_errors))
    sharpness = detail(video, source)
    scores = {
        "ewarp_mean@1": ewarp_mean(near),
        "ewarp_l2@1": ewarp_l2(near),
        "ewarp_in@1": ewarp_mean(reference.near_errors),
        "ratio": ratio,
        "detail": sharpness,
        "per_detail": _ratio(ratio, sharpness),
        "change": change(video, source),
        "flicker": flicker(video, source, reference.near),
        "e_stab": e_stab(near),
        "rmse_rerevst@1": rmse_rerevst(near),
    }
    if reference.far is not None and reference.far_errors is not None and reference.flows is not None:
        far = warp_errors(video, reference.far)
        scores[f"ewarp_mean@{FAR}"] = ewarp_mean(far)
        scores[f"ratio@{FAR}"] = _ratio(ewarp_mean(far), ewarp_mean(reference.far_errors))
        scores["tof_in"] = tof(farneback(video), reference.flows)
    return scores


def _ratio(value: float | None, base: float | None) -> float | None:
    return value / base if value is not None and base else None


def _gradient_energy(frame: np.ndarray) -> float:
    grey = cv2.cvtColor(frame.astype(np.float32) / 255, cv2.COLOR_RGB2GRAY)
    dx, dy = (cv2.Sobel(grey, cv2.CV_32F, *order) for order in ((1, 0), (0, 1)))
    return float(np.mean(dx * dx + dy * dy))
