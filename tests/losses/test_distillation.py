from dataclasses import replace

import pytest
import torch

from tests.losses.cases import descend, make, smooth
from vst.losses import Distillation, LossSet, Outputs
from vst.networks import build_stylizer

MODEL = {
    "generator": {"_target_": "vst.networks.ResidualGenerator", "width": 8, "num_blocks": 1},
    "temporal": {"_target_": "vst.networks.ConvGRU", "channels": 8},
}


def stylizer(seed=0, model=MODEL):
    """As after training: weights off their special starting point, so that the memory matters and pictures leave
    [0, 1]."""
    torch.manual_seed(seed)
    made = build_stylizer(model)
    with torch.no_grad():
        for parameter in made.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    return made


def inner(x, margin):
    return x[..., margin : x.shape[-2] - margin, margin : x.shape[-1] - margin]


def case(student, frames, margin=8):
    """(batch, outputs) as the task makes them."""
    clip = inner(student(frames)[0], margin)
    return make(clip[:, 0], photo=inner(frames, margin)[:, 0], clip=clip, frames=frames)


def test_a_student_that_equals_its_teacher_has_nothing_to_learn():
    frames = torch.rand(2, 3, 3, 48, 56)
    student = stylizer().train()
    clip = student(frames)[0]
    assert clip.min() < 0 and clip.max() > 1, "or clamping would not show"
    term = Distillation(1.0, stylizer().eval())
    assert term(*case(student, frames)).abs() < 1e-5
    assert term(*case(stylizer(1).train(), frames)) > 0.02


def test_the_teacher_sees_the_noise_of_its_student():
    grained = {**MODEL, "grain": {"_target_": "vst.networks.CameraGrain"}}
    grained["generator"] = {**MODEL["generator"], "grain": 4}
    frames, student = torch.rand(2, 3, 3, 48, 56), stylizer(model=grained).train()
    student.grain.shuffle()
    term = Distillation(1.0, stylizer(model=grained))
    batch, outputs = case(student, frames)
    assert term(batch, replace(outputs, grain=student.grain)).abs() < 1e-5
    assert term(batch, outputs) > 1e-4, "a student without noise is not taught any"


def test_it_is_the_mean_difference_to_the_teacher_with_the_memory_of_the_clip():
    frames, teacher = torch.rand(1, 3, 3, 48, 48), stylizer()
    batch, outputs = case(stylizer(1), frames, margin=4)
    state, taught = None, []
    for frame in frames.unbind(1):
        picture, state = teacher.train()(frame, state=state)
        taught.append(picture)
    with torch.no_grad():
        expected = (outputs.clip - inner(torch.stack(taught, 1), 4)).abs().mean()
        forgetful = torch.stack([teacher(frame)[0] for frame in frames.unbind(1)], 1)
        without = (outputs.clip - inner(forgetful, 4)).abs().mean()
    value = Distillation(1.0, teacher, structure=0.0)(batch, outputs)
    torch.testing.assert_close(value, expected)
    assert (without - expected).abs() > 1e-4, "or the memory would not show"


class Still(torch.nn.Module):
    """A teacher that paints the same picture whatever it sees."""

    grain = None

    def __init__(self, picture):
        super().__init__()
        self.picture = torch.nn.Parameter(picture)

    def forward(self, frames, style=None, state=None):
        return self.picture[:, None].expand_as(frames), ()


def test_structure_counts_where_the_mean_difference_is_the_same():
    """Grey against stripes, and stripes against negative ones: a half both, and only the second is all wrong."""
    stripes = 0.25 + 0.5 * (torch.arange(48) % 8 < 4).float().expand(1, 3, 48, 48)
    grey, negative = torch.full_like(stripes, 0.5), 1 - stripes

    def value(picture, structure):
        return Distillation(1.0, Still(stripes), structure)(*make(picture, clip=picture[:, None])).item()

    assert value(grey, 0.0) == pytest.approx(0.25, abs=1e-5) and value(negative, 0.0) == pytest.approx(0.5, abs=1e-5)
    assert value(negative, 1.0) - value(negative, 0.0) > 1.5 > 1.1 > value(grey, 1.0) - value(grey, 0.0) > 0.5


def test_gradients_lead_to_the_teachers_picture():
    target, start = smooth(1, 3, 32, 32), smooth(1, 3, 32, 32)
    term = Distillation(1.0, Still(target))
    end = descend(term, lambda x: make(x, clip=x[:, None]), start, rate=0.02, steps=60)
    assert (end - target).abs().mean() < 0.5 * (start - target).abs().mean()


def test_the_teacher_only_moves_along():
    teacher = stylizer()
    losses = LossSet({"distillation": Distillation(1.0, teacher)})
    assert not list(losses.parameters()) and not losses.state_dict()
    assert not any(parameter.requires_grad for parameter in teacher.parameters())
    student = stylizer(1)
    total, values = losses(*case(student, torch.rand(1, 2, 3, 48, 48)), 0.5)
    total.backward()
    assert student.generator.head.weight.grad.any() and values.keys() == {"distillation"}
    losses.double()
    assert all(parameter.dtype == torch.float64 for parameter in teacher.parameters())
    losses.eval()
    assert teacher.training, "eval mode would reflect the border and clamp"


def test_outputs_of_an_image_phase_are_enough():
    """One frame of each clip, as in the phase of pictures."""
    batch, outputs = case(stylizer(1), torch.rand(2, 1, 3, 48, 48))
    assert isinstance(outputs, Outputs) and Distillation(1.0, stylizer())(batch, outputs).isfinite()
