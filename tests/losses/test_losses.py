import math

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from vst.batch import ClipBatch
from vst.losses import (
    Adversarial,
    DiscriminatorGram,
    GradientPenalty,
    LocalStructure,
    LossSet,
    LossTerm,
    Outputs,
    RangePenalty,
    SlicedWasserstein,
    StyleAwareContent,
    TotalVariation,
    WarpConsistency,
    luminance,
)
from vst.schedules import Ramp


def make(still, photo=None, style=None, clip=None, flow=None, valid=None, discriminator=None):
    clip = still[:, None] if clip is None else clip
    photo = still if photo is None else photo
    batch = ClipBatch(clip, still if style is None else style, ["test"] * len(clip), flow, valid)
    outputs = Outputs(
        clip,
        still,
        photo,
        encode=lambda x: F.avg_pool2d(x, 4),
        frames=clip,
        stylise=lambda frames: frames,
        discriminator=discriminator,
    )
    return batch, outputs


def smooth(*shape):
    return F.interpolate(torch.rand(*shape[:-2], 8, 8), size=shape[-2:], mode="bicubic").clamp(0, 1)


# --- the sum


class Constant(LossTerm):
    def forward(self, batch, outputs):
        assert self.weight_at(1.0) != 0, "a term without weight must not be computed"
        return torch.tensor(2.0)


def test_total_is_the_weighted_sum_and_values_are_unweighted():
    losses = LossSet({"a": Constant(3.0), "b": Constant(0.5, Ramp(0.0, 0.5)), "off": Constant(0.0)})
    total, values = losses(*make(torch.rand(1, 3, 8, 8)), progress=0.25)
    assert total == 3.0 * 2 + 0.5 * 0.5 * 2
    assert values == {"a": 2.0, "b": 2.0}


# --- style


def test_sliced_wasserstein_is_zero_for_one_distribution_and_grows_with_distance():
    torch.manual_seed(0)
    term, style = SlicedWasserstein(1.0), smooth(2, 3, 64, 64)
    noise = torch.randn_like(style)
    values = [term(*make(style + s * noise, style=style)).item() for s in (0.0, 0.05, 0.2)]
    assert values[0] < 0.1 and values[0] < values[1] < values[2]


def test_sliced_wasserstein_of_a_shift_in_colour_is_known():
    """A filter with weights w answers a constant shift d with d * sum(w): the distance is its mean over the filters."""
    torch.manual_seed(0)
    term, style = SlicedWasserstein(1.0, levels=1, banks=1, samples=10**6), smooth(2, 3, 32, 32)
    value = term(*make(style + 0.1, style=style))
    expected = []
    for size in term.SIZES:
        bank = getattr(term, f"bank_{size}")[0]
        scale = F.conv2d(style, bank).transpose(0, 1).flatten(1).std(dim=1)
        expected.append((0.1 * bank.sum(dim=(1, 2, 3)).abs() / scale).mean())
    torch.testing.assert_close(value, torch.stack(expected).mean(), rtol=1e-3, atol=0)


def test_sliced_wasserstein_does_not_care_where_patches_are():
    torch.manual_seed(0)
    term, style = SlicedWasserstein(1.0), smooth(2, 3, 64, 64)
    other = torch.rand(2, 3, 64, 64)
    assert term(*make(style.flip(0), style=style)) < 0.1 * term(*make(other, style=style))


# --- content


def test_structure_ignores_brightness_and_contrast_and_sees_edges():
    torch.manual_seed(0)
    term, photo = LocalStructure(1.0), torch.rand(1, 3, 64, 64)
    same = term(*make(0.3 + 0.5 * photo, photo=photo))
    other = term(*make(torch.rand(1, 3, 64, 64), photo=photo))
    negative = term(*make(1 - photo, photo=photo))
    assert same < 0.02 and 0.7 < other < 1.3 and negative > 1.9


def test_content_is_zero_for_the_photo_and_blind_to_the_scale_of_features():
    torch.manual_seed(0)
    still, photo = torch.rand(1, 3, 32, 32), torch.rand(1, 3, 32, 32)
    term = StyleAwareContent(1.0)
    batch, outputs = make(still, photo=photo)
    value = term(batch, outputs)
    outputs.encode = lambda x: 1e-3 * F.avg_pool2d(x, 4)
    torch.testing.assert_close(term(batch, outputs), value, rtol=1e-3, atol=0)
    assert term(*make(photo, photo=photo)) == 0 and value > 0.01


def test_luminance_weights_are_those_of_bt709():
    rgb = torch.eye(3)[:, :, None, None]
    torch.testing.assert_close(luminance(rgb).flatten(), torch.tensor([0.2126, 0.7152, 0.0722]))


# --- time


def moving(shift=3, length=3, size=48):
    """A clip whose picture moves `shift` pixels to the right every frame, with its exact backward flow."""
    wide = smooth(1, 3, size, size + shift * length)
    starts = [shift * (length - 1 - t) for t in range(length)]
    clip = torch.stack([wide[..., s : s + size] for s in starts], 1)
    flow = torch.zeros(1, length - 1, 2, size, size)
    flow[:, :, 0] = -shift
    return clip, flow, torch.ones(1, length - 1, 1, size, size)


def test_a_clip_that_follows_its_motion_costs_nothing():
    torch.manual_seed(0)
    clip, flow, valid = moving()
    still = clip[:, 0]
    assert WarpConsistency(1.0)(*make(still, clip=clip, flow=flow, valid=valid)) < 1e-5
    assert WarpConsistency(1.0)(*make(still, clip=clip, flow=-flow, valid=valid)) > 1e-2


def test_flicker_costs_what_the_formula_says_and_occlusion_hides_it():
    clip = torch.stack([torch.zeros(1, 3, 16, 16), torch.full((1, 3, 16, 16), 0.5)], 1)
    flow, valid = torch.zeros(1, 1, 2, 16, 16), torch.ones(1, 1, 1, 16, 16)
    value = WarpConsistency(1.0)(*make(clip[:, 0], clip=clip, flow=flow, valid=valid))
    assert value == pytest.approx(0.5 + 4 * 0.25)
    assert WarpConsistency(1.0)(*make(clip[:, 0], clip=clip, flow=flow, valid=0 * valid)) == 0


# --- regularity


def test_total_variation_of_stripes():
    stripes = torch.zeros(1, 3, 16, 16)
    stripes[..., ::2] = 1.0
    assert TotalVariation(1.0)(*make(stripes)) == pytest.approx(1.0, rel=0.1)
    assert TotalVariation(1.0)(*make(torch.full((1, 3, 16, 16), 0.3))) == 0


def test_range_penalty_counts_only_what_lies_outside():
    clip = torch.tensor([-0.5, 0.2, 1.0, 1.25]).view(1, 1, 1, 2, 2).repeat(1, 1, 3, 1, 1)
    assert RangePenalty(1.0)(*make(clip[:, 0], clip=clip)) == pytest.approx((0.5 + 0.25) / 4)


# --- the game


class Fixed(nn.Module):
    """A discriminator with the logit `gain * mean(picture)` at each of two scales."""

    def __init__(self, gain=1.0):
        super().__init__()
        self.gain = nn.Parameter(torch.tensor(gain))

    def forward(self, pictures):
        logit = self.gain * pictures.mean(dim=(1, 2, 3), keepdim=True)
        return [logit, logit.repeat(1, 1, 2, 2)]


def test_generator_objectives_are_their_formulas():
    still = torch.full((2, 3, 8, 8), 0.5)
    batch, outputs = make(still, discriminator=Fixed(2.0))
    d = 1 / (1 + math.exp(-1.0))
    assert Adversarial(1.0, "minmax")(batch, outputs).item() == pytest.approx(math.log(1 - d), rel=1e-5)
    assert Adversarial(1.0, "nonsaturating")(batch, outputs).item() == pytest.approx(-math.log(d), rel=1e-5)


@pytest.mark.parametrize("photos_as_fakes", [True, False])
def test_discriminator_loss_is_binary_cross_entropy(photos_as_fakes):
    fake, photo, real = (torch.full((2, 3, 8, 8), v) for v in (0.2, 0.4, 0.9))
    batch, outputs = make(fake, photo=photo, style=real)
    discriminator = Fixed(3.0)
    values = Adversarial(1.0, photos_as_fakes=photos_as_fakes).discriminator_loss(discriminator, batch, outputs, 0)

    def bce(value, target):
        return F.binary_cross_entropy_with_logits(torch.tensor(3.0 * value), torch.tensor(target)).item()

    fakes = [bce(0.2, 0.0), bce(0.4, 0.0)] if photos_as_fakes else [bce(0.2, 0.0)]
    assert values["discriminator"].item() == pytest.approx(bce(0.9, 1.0) + sum(fakes) / len(fakes), rel=1e-5)
    assert values["success_real"] == 1 and values["success_fake"] == 0


def test_the_discriminator_step_leaves_the_generator_alone():
    still = torch.rand(1, 3, 8, 8, requires_grad=True)
    batch, outputs = make(still, photo=torch.rand(1, 3, 8, 8), style=torch.rand(1, 3, 8, 8))
    Adversarial(1.0).discriminator_loss(Fixed(), batch, outputs, 0)["discriminator"].backward()
    assert still.grad is None


def test_gradient_penalty_of_a_linear_discriminator_is_known():
    """The logit is gain * mean over n numbers, at two scales: the gradient's norm is 2 gain / sqrt(n)."""
    discriminator, real, fake = Fixed(5.0), torch.rand(3, 3, 8, 8), torch.rand(3, 3, 8, 8)
    norm = 2 * 5.0 / math.sqrt(3 * 8 * 8)
    for centre in (0.0, 1.0):
        penalty = GradientPenalty(10.0, every=4, centre=centre)(discriminator, real, fake)
        assert penalty.item() == pytest.approx(10.0 * 4 * (norm - centre) ** 2, rel=1e-4)
    penalty.backward()
    assert discriminator.gain.grad.abs() > 0


def test_penalty_is_lazy():
    batch, outputs = make(torch.rand(1, 3, 8, 8), style=torch.rand(1, 3, 8, 8))
    term = Adversarial(1.0, penalty=GradientPenalty(1.0, every=3))
    due = ["penalty" in term.discriminator_loss(Fixed(), batch, outputs, step) for step in range(6)]
    assert due == [True, False, False, True, False, False]


def test_unknown_objective_is_refused():
    with pytest.raises(ValueError, match="expected minmax or nonsaturating, got hinge"):
        Adversarial(1.0, "hinge")


class Features(nn.Module):
    """A discriminator whose only layer passes the picture through."""

    def features(self, pictures):
        return [pictures]


def test_discriminator_gram_is_the_relative_distance_of_second_moments():
    still, style = torch.full((2, 3, 4, 4), 0.5), torch.full((2, 3, 4, 4), 1.0)
    value = DiscriminatorGram(1.0)(*make(still, style=style, discriminator=Features()))
    assert value.item() == pytest.approx((0.25 - 1.0) ** 2 / (0.25**2 + 1.0**2))
    noise = torch.randn(2, 3, 32, 32)
    shuffled = noise.flatten(2)[..., torch.randperm(32 * 32)].view_as(noise)
    assert DiscriminatorGram(1.0)(*make(shuffled, style=noise, discriminator=Features())) < 1e-8
