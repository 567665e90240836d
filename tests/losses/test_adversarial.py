"""The game: objectives, what the discriminator sees, balance. Penalties and augmentation have their own files."""

import math

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from vst.batch import ClipBatch
from vst.losses import R1, Adversarial, DiffAugment, GradientPenalty, Outputs, SuccessGate
from vst.losses.objectives import OBJECTIVES

REAL, FAKE, PHOTO = 0.9, 0.2, 0.4


class Linear(nn.Module):
    """A discriminator with the logit `gain * mean(picture) + bias` at each of two scales. Notes what it saw."""

    def __init__(self, gain=1.0, bias=0.0):
        super().__init__()
        self.gain, self.bias = nn.Parameter(torch.tensor(gain)), bias
        self.seen = []

    def forward(self, pictures):
        self.seen.append(pictures)
        logit = self.gain * pictures.mean(dim=(1, 2, 3), keepdim=True) + self.bias
        return [logit, logit.repeat(1, 1, 2, 2)]


def flat(value, *shape):
    return torch.full((*shape, 3, 8, 8), value)


def play(discriminator=None, clip=None, frames=None, style=None):
    """A batch of two clips with grey pictures, and outputs whose still is the first frame."""
    clip = flat(FAKE, 2, 1) if clip is None else clip
    frames = flat(PHOTO, *clip.shape[:2]) if frames is None else frames
    batch = ClipBatch(frames, flat(REAL, len(clip)) if style is None else style, ["test"] * len(clip))
    outputs = Outputs(
        clip,
        clip[:, 0],
        frames[:, 0],
        encode=lambda x: x,
        frames=frames,
        stylise=lambda x: x,
        discriminator=discriminator,
    )
    return batch, outputs


def discriminator_loss(term, discriminator=None, step=0, **kwargs):
    discriminator = discriminator or Linear()
    return term.discriminator_loss(discriminator, *play(**kwargs), step)


# --- objectives


def sigmoid(x):
    return 1 / (1 + math.exp(-x))


# Of a logit l: what a painting and a fake cost the discriminator, and a fake the generator.
FORMULAS = {
    "minmax": (
        lambda x: -math.log(sigmoid(x)),
        lambda x: -math.log(1 - sigmoid(x)),
        lambda x: math.log(1 - sigmoid(x)),
    ),
    "nonsaturating": (
        lambda x: -math.log(sigmoid(x)),
        lambda x: -math.log(1 - sigmoid(x)),
        lambda x: -math.log(sigmoid(x)),
    ),
    "lsgan": (lambda x: (x - 1) ** 2 / 2, lambda x: x**2 / 2, lambda x: (x - 1) ** 2 / 2),
    "hinge": (lambda x: max(0.0, 1 - x), lambda x: max(0.0, 1 + x), lambda x: -x),
    "wgan": (lambda x: -x, lambda x: x, lambda x: -x),
}


def test_every_objective_is_tested():
    assert FORMULAS.keys() == OBJECTIVES.keys()


@pytest.mark.parametrize("bias", [-2.5, 0.0, 2.5])
@pytest.mark.parametrize("name", FORMULAS)
def test_the_generators_side_is_its_formula(name, bias):
    value = Adversarial(1.0, name)(*play(Linear(2.0, bias)))
    assert value.item() == pytest.approx(FORMULAS[name][2](2.0 * FAKE + bias), rel=1e-5)


@pytest.mark.parametrize("photos_as_fakes", [True, False])
@pytest.mark.parametrize("bias", [-2.5, 2.5])
@pytest.mark.parametrize("name", FORMULAS)
def test_the_discriminators_side_is_its_formula(name, bias, photos_as_fakes):
    real, fake, _ = FORMULAS[name]
    values = discriminator_loss(Adversarial(1.0, name, photos_as_fakes), Linear(2.0, bias))
    fakes = [fake(2.0 * x + bias) for x in ((FAKE, PHOTO) if photos_as_fakes else (FAKE,))]
    expected = real(2.0 * REAL + bias) + sum(fakes) / len(fakes)
    assert values["discriminator"].item() == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize(
    ("name", "best"),
    [
        ("minmax", lambda p, q: math.log(p / q)),  # Goodfellow et al. 2014, Proposition 1
        ("lsgan", lambda p, q: p / (p + q)),  # Mao et al. 2017, Eq. 5
        ("hinge", lambda p, q: math.copysign(1, p - q)),
    ],
)
def test_the_best_logit_where_both_densities_are_known(name, best):
    """Where paintings have density p and fakes q, the best discriminator minimises p real(l) + q fake(l)."""
    logits = torch.linspace(-4, 4, 80001, dtype=torch.float64)
    for p, q in ((0.7, 0.3), (0.2, 0.8)):
        cost = p * OBJECTIVES[name].real(logits) + q * OBJECTIVES[name].fake(logits)
        assert logits[cost.argmin()].item() == pytest.approx(best(p, q), abs=2e-4)


@pytest.mark.parametrize("name", FORMULAS)
def test_the_generator_is_driven_towards_what_passes_for_a_painting(name):
    clip = flat(FAKE, 2, 1).requires_grad_()
    Adversarial(1.0, name)(*play(Linear(2.0, -1.0), clip=clip)).backward()
    assert (clip.grad < 0).all()  # this discriminator takes what is brighter for a painting


def test_only_minmax_saturates_where_the_discriminator_wins():
    slopes = {}
    for name, objective in OBJECTIVES.items():
        logit = torch.tensor(-12.0, requires_grad=True)
        objective.generator(logit).backward()
        slopes[name] = logit.grad.abs().item()
    assert slopes.pop("minmax") < 1e-4 and min(slopes.values()) > 0.99


@pytest.mark.parametrize(
    ("option", "message"),
    [({"objective": "hing"}, "minmax, nonsaturating, lsgan, hinge, wgan, got hing"), ({"frames": "all"}, "got all")],
)
def test_unknown_choices_are_refused(option, message):
    with pytest.raises(ValueError, match=message):
        Adversarial(1.0, **option)


# --- successes


@pytest.mark.parametrize(("name", "boundary"), [("minmax", 0.0), ("hinge", 0.0), ("lsgan", 0.5)])
def test_success_is_the_share_on_the_right_side_of_the_boundary(name, boundary):
    style = torch.cat([flat(0.9, 3), flat(0.1, 1)])  # three of four paintings above the middle
    clip = torch.cat([flat(0.2, 2, 1), flat(0.8, 2, 1)])
    values = discriminator_loss(
        Adversarial(1.0, name), Linear(1.0, boundary - 0.5), style=style, clip=clip, frames=flat(0.3, 4, 1)
    )
    assert [values[f"success_{of}"].item() for of in ("real", "fake", "photo")] == [0.75, 0.5, 1.0]


@pytest.mark.parametrize("bias", [-100.0, 0.0, 100.0])
def test_success_of_a_critic_does_not_depend_on_its_offset(bias):
    values = discriminator_loss(Adversarial(1.0, "wgan"), Linear(1.0, bias))
    assert [values[f"success_{of}"].item() for of in ("real", "fake", "photo")] == [1.0, 1.0, 1.0]


# --- what the discriminator sees


def test_the_discriminators_loss_leaves_the_generator_alone():
    clip = torch.rand(2, 1, 3, 8, 8, requires_grad=True)
    discriminator = Linear()
    discriminator_loss(Adversarial(1.0), discriminator, clip=clip)["discriminator"].backward()
    assert clip.grad is None and discriminator.gain.grad.abs() > 0


def test_it_sees_one_frame_of_each_clip_or_all_of_them():
    torch.manual_seed(0)
    clip, frames = torch.rand(2, 3, 3, 8, 8), torch.rand(2, 3, 3, 8, 8)
    for choice, fakes, photos in (("still", clip[:, 0], frames[:, 0]), ("clip", clip, frames)):
        discriminator = Linear()
        Adversarial(1.0, frames=choice)(*play(discriminator, clip, frames))
        discriminator_loss(Adversarial(1.0, frames=choice), discriminator, clip=clip, frames=frames)
        own, _, fake, photo = discriminator.seen
        assert torch.equal(own, fakes.reshape(-1, 3, 8, 8)) and torch.equal(fake, own)
        assert torch.equal(photo, photos.reshape(-1, 3, 8, 8))


def test_a_clip_of_equal_frames_costs_what_one_of_them_costs():
    for frames in ("still", "clip"):
        term = Adversarial(1.0, frames=frames)
        assert term(*play(Linear(2.0), flat(FAKE, 2, 3))).item() == pytest.approx(math.log(1 - sigmoid(0.4)), rel=1e-5)


def test_penalties_pair_each_painting_with_a_frame_of_its_clip():
    seen = []

    class Spy(GradientPenalty):
        def forward(self, discriminator, real, fake):
            seen.append(fake)
            return super().forward(discriminator, real, fake)

    torch.manual_seed(0)
    clip = torch.arange(6.0).div(10).view(2, 3, 1, 1, 1).expand(2, 3, 3, 8, 8)  # frame f of clip c is 0.3 c + 0.1 f
    for _ in range(20):
        discriminator_loss(Adversarial(1.0, frames="clip", penalties={"spy": Spy(1.0)}), clip=clip)
    shown = torch.stack([fake[:, 0, 0, 0] for fake in seen])
    for column, first in zip(shown.T, (0.0, 0.3), strict=True):
        assert column.unique().tolist() == pytest.approx([first, first + 0.1, first + 0.2])


def test_paintings_fakes_and_photographs_are_augmented_alike():
    """Three equal sets of pictures stay equal in distribution, and the generator is judged on the same one."""
    torch.manual_seed(0)
    pictures = torch.rand(1, 3, 8, 8).expand(600, 3, 8, 8)
    discriminator = Linear()
    term = Adversarial(1.0, augment=DiffAugment(probability=0.7))
    sides = {"clip": pictures[:, None], "frames": pictures[:, None], "style": pictures}
    discriminator_loss(term, discriminator, **sides)
    term(*play(discriminator, **sides))
    quantiles = [seen.mean(dim=(1, 2, 3)).quantile(torch.linspace(0.1, 0.9, 9)) for seen in discriminator.seen]
    assert len(quantiles) == 4 and all(0.5 < changed(seen, pictures) < 1 for seen in discriminator.seen)
    for other in quantiles[1:]:
        torch.testing.assert_close(other, quantiles[0], atol=0.03, rtol=0)


def changed(seen, pictures):
    return (seen != pictures).flatten(1).any(dim=1).float().mean()


def test_validation_is_not_augmented():
    discriminator, term = Linear(), Adversarial(1.0, augment=DiffAugment()).eval()
    batch, outputs = play(discriminator)
    term(batch, outputs)
    assert torch.equal(discriminator.seen[0], outputs.still)


# --- penalties in the game


def test_penalties_are_lazy_logged_by_name_and_part_of_the_loss():
    torch.manual_seed(0)
    term = Adversarial(1.0, penalties={"line": GradientPenalty(10.0, every=3), "r1": R1(10.0, every=2), "no": None})
    plain = discriminator_loss(Adversarial(1.0))["discriminator"]
    due = []
    for step in range(6):
        values = discriminator_loss(term, step=step)
        extra = {name: value for name, value in values.items() if name.startswith("penalty_")}
        torch.testing.assert_close(values["discriminator"], plain + sum(extra.values()))
        due.append(sorted(extra))
    line, r1 = "penalty_line", "penalty_r1"
    assert due == [[line, r1], [], [r1], [line], [r1], []]


def test_a_penalty_of_weight_0_is_off():
    term = Adversarial(1.0, penalties={"line": GradientPenalty(0.0), "r1": R1(0.0)})
    assert not any(name.startswith("penalty") for name in discriminator_loss(term))


# --- balance


def test_the_rate_is_the_moving_average_of_what_was_judged_right():
    gate = SuccessGate(0.8, 0.8, momentum=0.05)
    term = Adversarial(1.0, gate=gate)
    expected = 0.8
    for gain, success in ((1.0, 1 / 3), (-1.0, 2 / 3), (1.0, 1 / 3)):  # all logits above 0, then all below
        values = discriminator_loss(term, Linear(gain))
        expected = 0.95 * expected + 0.05 * success
        assert values["success"].item() == gate.rate.item() == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize(
    ("rate", "paper", "relaxed"),
    [(0.95, (False, True), (False, True)), (0.79, (True, False), (True, True)), (0.1, (True, False), (True, False))],
)
def test_the_player_that_wins_too_often_waits(rate, paper, relaxed):
    for bounds, turns in (((0.8, 0.8), paper), ((0.8, 0.2), relaxed)):
        gate = SuccessGate(*bounds)
        gate.rate.fill_(rate)
        assert (gate.discriminator_turn(), gate.generator_turn()) == turns


def test_someone_always_plays():
    for ceiling, floor in ((0.8, 0.8), (0.7, 0.7), (0.9, 0.3), (1.0, 0.0), (0.0, 0.0)):
        gate = SuccessGate(ceiling, floor)
        for rate in (*torch.linspace(0, 1, 101).tolist(), ceiling, floor):
            gate.rate.fill_(rate)
            assert gate.discriminator_turn() or gate.generator_turn()


def test_the_gate_brings_a_strong_and_a_weak_discriminator_to_the_ceiling():
    """A model of the game: each step makes its player better. The rate settles where both play."""
    gate, skill = SuccessGate(0.8, 0.8, momentum=0.3), 0.99
    for _ in range(300):
        turns = gate.discriminator_turn(), gate.generator_turn()
        skill = min(max(skill + 0.02 * turns[0] - 0.02 * turns[1], 0.0), 1.0)
        gate.observe(torch.tensor(skill))
    assert gate.rate.item() == pytest.approx(0.8, abs=0.08)


def test_without_a_gate_both_play_and_nothing_is_kept():
    term = Adversarial(1.0)
    assert term.discriminator_turn() and term.generator_turn()
    assert not term.state_dict() and "success" not in discriminator_loss(term)


def test_the_rate_is_part_of_the_state():
    gate, other = SuccessGate(), SuccessGate()
    gate.observe(torch.tensor(0.1))
    other.load_state_dict(gate.state_dict())
    assert torch.equal(other.rate, gate.rate) and other.rate != SuccessGate().rate


def test_a_skipped_step_only_judges():
    term = Adversarial(1.0, penalties={"line": GradientPenalty(1.0)}, gate=SuccessGate())
    with torch.no_grad():
        values = discriminator_loss(term)
    assert not values["discriminator"].requires_grad and "penalty_line" not in values and "success" in values


@pytest.mark.parametrize("bounds", [(0.5, 0.6), (1.2, 0.1), (0.5, -0.1)])
def test_bounds_between_which_nobody_plays_are_refused(bounds):
    with pytest.raises(ValueError, match=r"0 <= floor <= ceiling <= 1"):
        SuccessGate(*bounds)


def test_binary_cross_entropy_agrees_with_torch():
    torch.manual_seed(0)
    logits = 5 * torch.randn(100)
    for target, side in ((1.0, OBJECTIVES["minmax"].real), (0.0, OBJECTIVES["minmax"].fake)):
        expected = F.binary_cross_entropy_with_logits(logits, torch.full((100,), target), reduction="none")
        torch.testing.assert_close(side(logits), expected)
