"""A small network learns to repeat a large one."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import torch
from torch import Tensor, nn

from vst.batch import ClipBatch
from vst.losses.base import LossTerm, Outputs
from vst.losses.content import LocalStructure


class Distillation(LossTerm):
    """How far the result is from a trained teacher's: |clip - teacher's| + structure * (1 - local correlation).

    A student learns more from what a larger model answers than from the truth alone (Hinton et al. 2015). For
    generators without a paired truth the teacher's picture takes its place: E |G(x) - G'(x)|_1, the reconstruction
    loss of Li et al. 2020 ("GAN Compression", Eq. 1). Deviation: not features but the pictures' own structure is
    matched besides, by the formula of LocalStructure, so that any two networks go together; an L1 distance alone is
    content with strokes of too little contrast.

    The teacher sees the same frames with the same margin and carries a state of its own from the clip's first frame
    to its last. It runs in training mode, in which a stylizer neither reflects the border nor clamps, so a student
    that equals its teacher has 0 exactly, unless it has a motion, which the teacher estimates. It only moves along with
    its module: absent from parameters and state.

    Args:
        weight, schedule: see LossTerm.
        teacher: a trained stylizer (`vst.checkpoint.load_stylizer`).
        structure: factor on the second part.
    """

    def __init__(
        self,
        weight: float,
        teacher: nn.Module,
        structure: float = 0.2,
        schedule: Callable[[float], float] | None = None,
    ) -> None:
        super().__init__(weight, schedule)
        self.structure = structure
        self._likeness = LocalStructure(1.0)
        # Held in a tuple: modules inside of one are not registered.
        self._teacher = (teacher.requires_grad_(False).train(),)

    def forward(self, batch: ClipBatch, outputs: Outputs) -> Tensor:
        clip, margin = outputs.clip.float(), outputs.margin
        teacher = self._teacher[0]
        if teacher.grain is not None:  # of noise that the student does not see it learns to paint the mean
            teacher.grain.repeat(outputs.grain)
        with torch.no_grad():
            taught, _ = teacher(outputs.frames)
            target = taught[..., margin : margin + clip.shape[-2], margin : margin + clip.shape[-1]].float()
        pair = replace(outputs, still=clip.flatten(0, 1), photo=target.flatten(0, 1))
        return (clip - target).abs().mean() + self.structure * self._likeness(batch, pair)

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Distillation:
        self._teacher[0]._apply(fn, recurse)
        return super()._apply(fn, recurse)
