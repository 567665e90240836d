"""The stylizer: generator, temporal module, tone and grain behind one call that takes a frame or a clip."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vst.networks.grain import CameraGrain
from vst.networks.temporal import State
from vst.networks.tone import SlowTone

PADDING = 24  # pixels of reflected border in eval mode; training crops bring their own margin


class Stylizer(nn.Module):
    """A generator with memory, and a tone and a grain if given.

    `forward(frames, style=None, state=None) -> (frames, state)`.

    `frames` is one frame (B, 3, H, W) or a clip (B, T, 3, H, W), float RGB in [0, 1], H and W >= 16; the result has the
    same shape. `state` is a tuple of tensors: pass back what the last call returned, or None at the first frame and
    after a cut. A clip in one call equals its frames one by one. In eval mode the frame is padded by reflection (zero
    padding shows at the borders) and the result is clamped to [0, 1]. Nothing depends on statistics of the frame, but
    for the tone, which follows those of the film slowly, and the grain, which follows its camera. The state are the
    three tensors of the grain, the moments of the tone, and those of the temporal module, as far as there are such.

    `style` is part of the common interface; this stylizer has its style in its weights and accepts only None.
    """

    def __init__(
        self,
        generator: nn.Module,
        temporal: nn.Module,
        tone: SlowTone | None = None,
        grain: CameraGrain | None = None,
    ) -> None:
        super().__init__()
        check_grain(generator, grain)
        self.generator = generator
        self.temporal = temporal
        self.tone = tone
        self.grain = grain

    def forward(self, frames: Tensor, style: Tensor | None = None, state: State | None = None) -> tuple[Tensor, State]:
        if style is not None:
            raise ValueError("this stylizer has its style in its weights: style must be None")
        if frames.ndim == 4:
            out, state = self.forward(frames[:, None], None, state)
            return out[:, 0], state
        batch, length, _, height, width = frames.shape
        if height < 16 or width < 16:
            raise ValueError(f"frames must be at least 16x16, got {width}x{height}")
        film, state = self._followed(frames, state)
        frames, moments, state = self._toned(frames, state)
        x, before = self._pad(frames.flatten(0, 1))
        x = x.contiguous(memory_format=torch.channels_last)  # convolutions are 2.5 times faster so, on a CPU too
        noise = [] if self.grain is None else [self._noise(film, (height, width), x.shape[2:], before)]
        features, state = self.remember(self.generator.encode(x, *noise).unflatten(0, (batch, length)), state)
        out = self.generator.decode(features.flatten(0, 1), x)[..., before : before + height, before : before + width]
        if not self.training:
            out = out.clamp(0, 1)
        return out.unflatten(0, (batch, length)), (*film[-1], *moments, *state)

    def remember(self, features: Tensor, state: State | None) -> tuple[Tensor, State]:
        """Run the temporal module over features (B, T, C, h, w); the only loop over time."""
        steps = []
        for step in features.unbind(1):
            step, state = self.temporal(step, state)
            steps.append(step)
        return torch.stack(steps, 1), state

    def _followed(self, frames: Tensor, state: State | None) -> tuple[list[State], State | None]:
        """Frames (B, T, 3, H, W) -> (the grain's state at each of them, the rest of the state)."""
        if self.grain is None:
            return [()], state
        kept, rest = (None, None) if state is None else (state[:3], state[3:])
        film = []
        for step in frames.unbind(1):
            kept = self.grain.follow(step, kept)
            film.append(kept)
        return film, rest

    def _noise(self, film: list[State], size: tuple[int, int], sides: tuple[int, int], before: int) -> Tensor:
        """The grain (B T, C, h, w) of padded frames of these sides, at the states of a film."""
        state = tuple(torch.stack(steps, 1).flatten(0, 1) for steps in zip(*film, strict=True))
        cell = self.grain.cell
        return self.grain(state, size, (sides[0] // cell, sides[1] // cell), before)

    def _toned(self, frames: Tensor, state: State | None) -> tuple[Tensor, State, State | None]:
        """Frames (B, T, 3, H, W) -> (frames in the tone of the style, its moments, the rest of the state)."""
        if self.tone is None:
            return frames, (), state
        moments, rest = (None, None) if state is None else (state[0], state[1:])
        steps = []
        for step in frames.unbind(1):
            step, moments = self.tone(step, moments)
            steps.append(step)
        return torch.stack(steps, 1), (moments,), rest

    def _pad(self, x: Tensor) -> tuple[Tensor, int]:
        """Pad to multiples of the stride, in eval mode by PADDING on each side too. Returns (padded, pixels before)."""
        before = 0 if self.training else PADDING
        after = [before + (-size - 2 * before) % self.generator.stride for size in x.shape[-2:]]
        pad = (before, after[1], before, after[0])
        if max(pad) < min(x.shape[-2:]):
            return F.pad(x, pad, mode="reflect"), before
        return F.pad(x, pad, mode="replicate"), before  # reflection needs more pixels than it pads


def check_grain(generator: nn.Module, grain: CameraGrain | None) -> None:
    """Raise ValueError for a grain whose `channels` and `cell` do not fit the generator."""
    wanted, given = getattr(generator, "grain", None), 0 if grain is None else grain.channels
    if wanted is None and given:
        kind = type(generator).__name__
        raise ValueError(f"{kind} takes no grain; choose model/grain=none, or another model/generator")
    if (wanted or 0) != given:
        raise ValueError(
            f"the generator takes {wanted} channels of grain, the grain has {given}; leave out model.generator.grain"
        )
    if wanted and grain.cell != generator.grain_cell:
        raise ValueError(
            f"the generator takes grain in cells of {generator.grain_cell} pixels, not of {grain.cell}; "
            "leave out model.grain.cell"
        )
