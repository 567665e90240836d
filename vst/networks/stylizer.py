"""The stylizer: generator, temporal module and what goes with them behind one call that takes a frame or a clip."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vst.networks.flow_grain import FlowGrain
from vst.networks.grain import Grain
from vst.networks.motion import DenseMotion, MotionState
from vst.networks.temporal import State
from vst.networks.tone import Tone

LEAST_SIDE = 64  # pixels; smaller frames show nothing
PADDING = 24  # pixels of reflected border in eval mode; training crops bring their own margin


class Stylizer(nn.Module):
    """A generator with memory, and a tone, a grain, a motion and a grade if given.

    `forward(frames, style=None, state=None, flow=None) -> (frames, state)`.

    `frames` is one frame (B, 3, H, W) or a clip (B, T, 3, H, W), float RGB in [0, 1], H and W >= 16; the result has the
    same shape. `state` is a tuple of tensors: pass back what the last call returned, or None at the first frame and
    after a cut. A clip in one call equals its frames one by one. `flow` (B, T - 1, 2, H, W), or T of them if there is a
    state, is the motion for a model with motion where it is known, as `vst.batch` defines it; else it is estimated. In
    eval mode the frame is padded by reflection (zero padding shows at the borders) and the result is clamped to [0, 1].
    Nothing depends on statistics of the frame, but for tone and grade, which follow those of the film slowly, and the
    grain, which follows its motion. The state are the three tensors of the motion and the picture before, those of the
    grain (three of a camera's, two of a flow's), the moments of tone and grade, and those of the temporal module, as
    far as there are such.

    The grade is a tone that comes last: it gives the painted film the colours of the style, which painting has moved.
    Statistics of training crops are not those of a film, so in training mode there is none.

    `short_side` are the pixels of the frames that it has learned to paint: strokes are a share of the picture, so those
    who run it scale frames to this, None for none. The stylizer itself paints what it is given.

    `style` is part of the common interface; this stylizer has its style in its weights and accepts only None.
    """

    def __init__(
        self,
        generator: nn.Module,
        temporal: nn.Module,
        tone: Tone | None = None,
        grain: Grain | None = None,
        motion: DenseMotion | None = None,
        grade: Tone | None = None,
        short_side: int | None = None,
    ) -> None:
        super().__init__()
        if short_side is not None and short_side < LEAST_SIDE:
            raise ValueError(f"short_side: {short_side} is not {LEAST_SIDE} or more")
        check_grain(generator, grain, motion)
        self.generator = generator
        self.temporal = temporal
        self.tone = tone
        self.grain = grain
        self.motion = motion
        self.grade = grade
        self.short_side = short_side

    def extra_repr(self) -> str:
        return f"short_side={self.short_side}"

    def forward(
        self, frames: Tensor, style: Tensor | None = None, state: State | None = None, flow: Tensor | None = None
    ) -> tuple[Tensor, State]:
        if style is not None:
            raise ValueError("this stylizer has its style in its weights: style must be None")
        if frames.ndim == 4:
            out, state = self.forward(frames[:, None], None, state, flow)
            return out[:, 0], state
        batch, length, _, height, width = frames.shape
        if height < 16 or width < 16:
            raise ValueError(f"frames must be at least 16x16, got {width}x{height}")
        motion, before, state = self._moved(frames, state, flow)
        film, state = self._followed(frames, motion, state)
        frames, moments, state = _toned(self.tone, frames, state)
        grade = None if self.training else self.grade
        graded, state = ((), state) if grade is None or state is None else (state[:1], state[1:])
        x, border = self._pad(frames.flatten(0, 1))
        x = x.contiguous(memory_format=torch.channels_last)  # convolutions are 2.5 times faster so, on a CPU too
        noise = [] if self.grain is None else [self._noise(film, (height, width), x.shape[2:], border)]
        features, state = self.remember(self.generator.encode(x, *noise).unflatten(0, (batch, length)), state)
        out = self.generator.decode(features.flatten(0, 1), x)[..., border : border + height, border : border + width]
        out = (out if self.training else out.clamp(0, 1)).unflatten(0, (batch, length))
        if self.motion is not None:
            out, before = self._accumulated(out, motion, before)
        out, graded, _ = _toned(grade, out, graded or None)
        return out, (*(motion[-1] if motion else ()), *before, *film[-1], *moments, *graded, *state)

    def _moved(
        self, frames: Tensor, state: State | None, flow: Tensor | None
    ) -> tuple[list[MotionState], State, State | None]:
        """Frames (B, T, 3, H, W) -> (the motion's state at each of them, the picture before, the rest of the state)."""
        if self.motion is None:
            return [], (), state
        kept, before, rest = (None, (), None) if state is None else (state[:3], state[3:4], state[4:])
        known = iter(()) if flow is None else iter(flow.unbind(1))
        film = []
        for step in frames.unbind(1):
            kept = self.motion.follow(step, kept, None if kept is None else next(known, None))
            film.append(kept)
        return film, before, rest

    def _accumulated(self, pictures: Tensor, motion: list[MotionState], before: State) -> tuple[Tensor, State]:
        """Pictures (B, T, 3, H, W), accumulated along the motion, and the last one as what comes before the next."""
        made = list(before)
        for picture, step in zip(pictures.unbind(1), motion, strict=True):
            now = self.motion.accumulate(picture, made[-1], step) if made else picture
            made.append(now if self.training else now.clamp(0, 1))
        return torch.stack(made[len(before) :], 1), (made[-1],)

    def remember(self, features: Tensor, state: State | None) -> tuple[Tensor, State]:
        """Run the temporal module over features (B, T, C, h, w); the only loop over time."""
        steps = []
        for step in features.unbind(1):
            step, state = self.temporal(step, state)
            steps.append(step)
        return torch.stack(steps, 1), state

    def _followed(
        self, frames: Tensor, motion: list[MotionState], state: State | None
    ) -> tuple[list[State], State | None]:
        """Frames (B, T, 3, H, W) and their motion -> (the grain's state at each of them, the rest of the state)."""
        if self.grain is None:
            return [()] * frames.shape[1], state
        count = 2 if isinstance(self.grain, FlowGrain) else 3
        kept, rest = (None, None) if state is None else (state[:count], state[count:])
        film = []
        for number, step in enumerate(frames.unbind(1)):
            if isinstance(self.grain, FlowGrain):
                kept = self.grain.follow(motion[number], kept, self._view_cell(step))
            else:
                kept = self.grain.follow(step, kept)
            film.append(kept)
        return film, rest

    def _view_cell(self, frames: Tensor) -> int:
        return self.motion.cell(min(frames.shape[-2:]))

    def _noise(self, film: list[State], size: tuple[int, int], sides: tuple[int, int], before: int) -> Tensor:
        """The grain (B T, C, h, w) of padded frames of these sides, at the states of a film."""
        state = tuple(torch.stack(steps, 1).flatten(0, 1) for steps in zip(*film, strict=True))
        places = tuple(side // self.grain.cell for side in sides)
        if isinstance(self.grain, FlowGrain):
            return self.grain(state, self.motion.cell(min(size)), places, before)
        return self.grain(state, size, places, before)

    def _pad(self, x: Tensor) -> tuple[Tensor, int]:
        """Pad to multiples of the stride, in eval mode by PADDING on each side too. Returns (padded, pixels before)."""
        before = 0 if self.training else PADDING
        after = [before + (-size - 2 * before) % self.generator.stride for size in x.shape[-2:]]
        pad = (before, after[1], before, after[0])
        if max(pad) < min(x.shape[-2:]):
            return F.pad(x, pad, mode="reflect"), before
        return F.pad(x, pad, mode="replicate"), before  # reflection needs more pixels than it pads


def _toned(tone: Tone | None, frames: Tensor, state: State | None) -> tuple[Tensor, State, State | None]:
    """Frames (B, T, 3, H, W) -> (frames in the tone, its moments, the rest of the state)."""
    if tone is None:
        return frames, (), state
    moments, rest = (None, None) if state is None else (state[0], state[1:])
    steps = []
    for step in frames.unbind(1):
        step, moments = tone(step, moments)
        steps.append(step)
    return torch.stack(steps, 1), (moments,), rest


def check_grain(generator: nn.Module, grain: Grain | None, motion: DenseMotion | None = None) -> None:
    """Raise ValueError for a grain whose `channels` and `cell` do not fit the generator, or that lacks its motion."""
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
    if isinstance(grain, FlowGrain) and motion is None:
        raise ValueError("model/grain=flow moves with the motion; choose model/motion=dis, or another model/grain")
