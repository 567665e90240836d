"""Penalties on gradients: closed forms, and autograd's full Jacobian as oracle."""

import math

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from vst.batch import ClipBatch
from vst.losses import R1, GradientPenalty, JacobianPenalty, Outputs

VALUES = 3 * 8 * 8


class Linear(nn.Module):
    """The logit is gain * mean(picture), at two scales: the score's gradient has the norm 2 gain / sqrt(VALUES)."""

    def __init__(self, gain):
        super().__init__()
        self.gain = nn.Parameter(torch.tensor(gain))

    def forward(self, pictures):
        logit = self.gain * pictures.mean(dim=(1, 2, 3), keepdim=True)
        return [logit, logit.repeat(1, 1, 2, 2)]


class Quadratic(nn.Module):
    """The logit is half the squared norm: the gradient is the picture itself."""

    def forward(self, pictures):
        return [0.5 * pictures.square().sum(dim=(1, 2, 3), keepdim=True)]


def pair(seed=0):
    torch.manual_seed(seed)
    return torch.rand(3, 3, 8, 8), torch.rand(3, 3, 8, 8)


# --- the discriminator's


@pytest.mark.parametrize("centre", [0.0, 1.0])
def test_gradient_penalty_of_a_linear_discriminator(centre):
    discriminator = Linear(5.0)
    norm = 2 * 5.0 / math.sqrt(VALUES)
    penalty = GradientPenalty(10.0, every=4, centre=centre)(discriminator, *pair())
    assert penalty.item() == pytest.approx(10.0 * 4 * (norm - centre) ** 2, rel=1e-4)
    penalty.backward()
    expected = 10.0 * 4 * 2 * (norm - centre) * 2 / math.sqrt(VALUES)  # below the centre it pushes the slope up
    assert discriminator.gain.grad.item() == pytest.approx(expected, rel=1e-4)


def test_gradient_penalty_looks_between_painting_and_fake():
    """The gradient is the picture: its norm lies between those of the two ends, which point the same way."""
    real = torch.full((400, 3, 8, 8), 0.9)
    torch.manual_seed(0)
    norms = torch.cat([GradientPenalty(1.0)(Quadratic(), real[:1], 0.1 * real[:1])[None] for _ in range(400)]).sqrt()
    scale = 0.9 * math.sqrt(VALUES)
    assert 0.1 * scale < norms.min() < 0.15 * scale and 0.95 * scale < norms.max() < scale
    assert norms.mean().item() == pytest.approx(0.55 * scale, rel=0.05)


def test_r1_is_half_the_squared_gradient_at_the_paintings_alone():
    real, fake = pair()
    value = R1(10.0, every=3)(Quadratic(), real, fake)
    assert value.item() == pytest.approx(3 * 10.0 / 2 * real.square().sum(dim=(1, 2, 3)).mean().item(), rel=1e-5)
    assert torch.equal(R1(10.0, every=3)(Quadratic(), real, 1 - fake), value)
    assert not real.requires_grad


def test_r1_flattens_the_discriminator():
    discriminator = Linear(5.0)
    value = R1(2.0)(discriminator, *pair())
    value.backward()
    assert value.item() == pytest.approx(4 * 5.0**2 / VALUES, rel=1e-4)
    assert discriminator.gain.grad.item() == pytest.approx(8 * 5.0 / VALUES, rel=1e-4)


@pytest.mark.parametrize("penalty", [GradientPenalty(10.0), R1(10.0)], ids=["line", "r1"])
def test_a_flat_discriminator_costs_nothing(penalty):
    discriminator = Linear(0.0)
    value = penalty(discriminator, *pair())
    value.backward()
    assert value == 0 and discriminator.gain.grad.isfinite()


@pytest.mark.parametrize("kind", [GradientPenalty, R1])
def test_laziness_keeps_the_strength(kind):
    real, fake = pair()
    lazy, eager = kind(1.0, every=5), kind(1.0)

    def over_a_cycle(penalty):
        return sum(penalty(Linear(5.0), real, fake).item() for step in range(10) if penalty.is_due(step))

    assert [step for step in range(10) if lazy.is_due(step)] == [0, 5]
    assert over_a_cycle(lazy) == pytest.approx(over_a_cycle(eager), rel=1e-4)


def test_a_penalty_that_is_never_due_is_refused():
    with pytest.raises(ValueError, match="GradientPenalty: every=0"):
        GradientPenalty(1.0, every=0)


# --- the generator's


def gain_of(stylise, size=40, margin=4, length=2, **kwargs):
    """The penalty for a generator without margins, which sees frames of `size` pixels and whose border is cut off."""
    frames = torch.rand(2, length, 3, size, size)
    cut = slice(margin, size - margin)

    def cropped(x):
        return stylise(x)[..., cut, cut]

    outputs = Outputs(
        cropped(frames), cropped(frames)[:, 0], frames[:, 0], encode=lambda x: x, frames=frames, stylise=cropped
    )
    return JacobianPenalty(1.0, **kwargs)(ClipBatch(frames, frames[:, 0], ["a", "b"]), outputs)


@pytest.mark.parametrize("gain", [0.0, 0.5, 1.0, 3.0])
def test_jacobian_of_a_gain_is_its_square(gain):
    torch.manual_seed(0)
    weight = torch.tensor(gain, requires_grad=True)
    value = gain_of(lambda x: 0.2 + weight * x)
    value.backward()
    assert value.item() == pytest.approx(gain**2, rel=0.05, abs=1e-8)
    assert weight.grad.item() == pytest.approx(2 * gain, rel=0.05, abs=1e-6)


def test_jacobian_of_a_convolution_is_the_energy_of_its_kernel():
    torch.manual_seed(0)
    kernel = torch.randn(3, 3, 5, 5)

    def stylise(x):
        return F.conv2d(x.flatten(0, 1), kernel, padding=2).unflatten(0, x.shape[:2])

    assert gain_of(stylise, size=72).item() == pytest.approx(kernel.square().sum().item() / 3, rel=0.05)


def test_jacobian_of_a_network_agrees_with_autograd():
    torch.manual_seed(0)
    network = nn.Sequential(nn.Conv2d(3, 6, 3, padding=1), nn.Tanh(), nn.Conv2d(6, 3, 3, padding=1))
    frame = torch.rand(1, 3, 8, 8)
    jacobian = torch.autograd.functional.jacobian(lambda x: network(x)[..., 2:6, 2:6], frame).reshape(3 * 16, VALUES)
    outputs = Outputs(
        frame[:, None],
        frame,
        frame,
        encode=lambda x: x,
        frames=frame[:, None],
        stylise=lambda x: network(x.flatten(0, 1)).unflatten(0, x.shape[:2])[..., 2:6, 2:6],
    )
    with torch.no_grad():
        drawn = [JacobianPenalty(1.0)(None, outputs) for _ in range(400)]
    assert torch.stack(drawn).mean().item() == pytest.approx(jacobian.square().sum().item() / 48, rel=0.05)


def test_bf16_does_not_round_the_jacobian():
    kernel = 0.2 * torch.ones(3, 3, 1, 1)

    def stylise(x):
        return F.conv2d(x.flatten(0, 1), kernel).unflatten(0, x.shape[:2])

    torch.manual_seed(0)
    plain = gain_of(stylise, step=1e-3)
    assert plain.item() == pytest.approx(3 * 0.2**2, rel=0.05)
    torch.manual_seed(0)
    with torch.autocast("cpu", torch.bfloat16):
        assert gain_of(stylise, step=1e-3).item() == pytest.approx(plain.item(), rel=1e-5)


def test_one_frame_with_a_fresh_state_is_enough():
    shapes = []

    def stylise(x):
        shapes.append(x.shape)
        return x

    gain_of(stylise, length=3)
    assert shapes[-1][:2] == (2, 1)  # the frame and its change as two clips of length 1


def test_a_step_of_zero_is_refused():
    with pytest.raises(ValueError, match="step=0"):
        JacobianPenalty(1.0, step=0)
