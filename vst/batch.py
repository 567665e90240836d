"""What every data module yields: clips, their motion where it is known, and pictures of the style.

Convention of flow: channel 0 is x to the right, channel 1 is y down, in pixels of the tensor it is stored with.
`flow[..., t, :, :, :]` lies on the pixel grid of frame t+1 and points to where each pixel was in frame t, so that
`vst.flow.warp(frames[:, t], flow[:, t])` reproduces `frames[:, t + 1]` wherever `valid[:, t]` is 1.
"""

from __future__ import annotations

from dataclasses import dataclass, fields, replace

import torch
from torch import Tensor


@dataclass
class Clip:
    """One clip. `frames` (T, 3, H, W) RGB in [0, 1]; `flow` (T-1, 2, H, W); `valid` (T-1, 1, H, W) of 0 and 1."""

    frames: Tensor
    source: str
    flow: Tensor | None = None
    valid: Tensor | None = None


@dataclass
class ClipBatch:
    """A batch of clips with crops of the style.

    `frames` (B, T, 3, H, W) and `style` (B, 3, h, w) are RGB in [0, 1]; `flow` (B, T-1, 2, H, W) in pixels and
    `valid` (B, T-1, 1, H, W) of 0 and 1 are None where the motion is not known; `source` names each item's origin.
    `cut` (B, T-1) of bool says where frame t+1 begins another scene (`valid` is 0 there); None if it never does.
    `style_pool` (N, 3, h, w) are more crops of the style, for terms that compare whole distributions; None for `style`.
    """

    frames: Tensor
    style: Tensor
    source: list[str]
    flow: Tensor | None = None
    valid: Tensor | None = None
    cut: Tensor | None = None
    style_pool: Tensor | None = None

    @property
    def all_style(self) -> Tensor:
        """Every crop of the style that came with the batch, (N, 3, h, w)."""
        return self.style if self.style_pool is None else self.style_pool

    def pin_memory(self) -> ClipBatch:
        """Called by the DataLoader, which does not look into dataclasses by itself."""
        return replace(self, **{name: value.pin_memory() for name, value in self._tensors()})

    def share_memory(self) -> ClipBatch:
        """Move the tensors into memory that processes share, in place. Raises RuntimeError where it is full."""
        for _, value in self._tensors():
            value.share_memory_()
        return self

    @property
    def nbytes(self) -> int:
        return sum(value.nbytes for _, value in self._tensors())

    def interior(self, margin: int) -> ClipBatch:
        """Cut `margin` pixels off each side of frames, flow and valid (flow vectors keep their meaning)."""
        if margin == 0:
            return self
        inner = {
            name: value[..., margin:-margin, margin:-margin]
            for name, value in self._tensors()
            if name in ("frames", "flow", "valid")
        }
        return replace(self, **inner)

    def first(self, length: int) -> ClipBatch:
        """Only the first `length` frames of each clip, with the flow between them."""
        pairs = {name: value[:, : length - 1] for name, value in self._tensors() if name in ("flow", "valid", "cut")}
        return replace(self, frames=self.frames[:, :length], **pairs)

    def since(self, begin: int) -> ClipBatch:
        """Each clip without its first `begin` frames, with the flow between the rest."""
        pairs = {name: value[:, begin:] for name, value in self._tensors() if name in ("flow", "valid", "cut")}
        return replace(self, frames=self.frames[:, begin:], **pairs)

    def spliced(self, starts: Tensor) -> ClipBatch:
        """Clip i goes on with clip i - 1 (the first with the last) from frame `starts[i]` on; T for none of it.

        Args:
            starts: (B,) integers from 1 to T.
        """
        other = torch.arange(self.frames.shape[1], device=self.frames.device) >= starts.to(self.frames.device)[:, None]
        cut = other[:, 1:] & ~other[:, :-1]

        def joined(x: Tensor, where: Tensor) -> Tensor:
            return torch.where(where[:, :, None, None, None], x.roll(1, dims=0), x)

        whole = {name: joined(value, other[:, :-1]) for name, value in self._tensors() if name in ("flow", "valid")}
        if "valid" in whole:
            whole["valid"] = whole["valid"] * ~cut[:, :, None, None, None]
        return replace(self, frames=joined(self.frames, other), cut=cut, **whole)

    def within_scenes(self, changes: Tensor) -> Tensor:
        """Mean of `changes` (B, T-1, ...), one for each pair of neighbouring frames, over pairs without a cut between.

        0 where there is a cut in every pair.
        """
        if self.cut is None:
            return changes.mean()
        kept = changes[~self.cut]
        return kept.sum() / max(kept.numel(), 1)

    def _tensors(self) -> list[tuple[str, Tensor]]:
        named = ((f.name, getattr(self, f.name)) for f in fields(self))
        return [(name, value) for name, value in named if isinstance(value, torch.Tensor)]
