import pytest
import torch
import torch.nn.functional as F
from torch import nn

from tests.losses.cases import descend, make, smooth
from vst.losses import DiscriminatorGram, RandomFilterGram, SlicedWasserstein
from vst.losses.style import _wasserstein, gram


def test_sliced_wasserstein_is_zero_for_one_distribution_and_grows_with_distance():
    term, style = SlicedWasserstein(1.0), smooth(1, 3, 64, 64)
    noise = torch.randn_like(style)
    values = [term(*make(style + s * noise, style=style)).item() for s in (0.0, 0.05, 0.2)]
    assert values[0] < 0.1 and values[0] < values[1] < values[2]


def test_sliced_wasserstein_of_a_shift_in_colour_is_known():
    """A filter with weights w answers a constant shift d with d * sum(w): the distance is its mean over the filters."""
    term, style = SlicedWasserstein(1.0, levels=1, banks=1, samples=10**6), smooth(1, 3, 32, 32)
    value = term(*make(style + 0.1, style=style))
    expected = []
    for size in term.SIZES:
        bank = getattr(term, f"bank_{size}")[0]
        scale = F.conv2d(style, bank).transpose(0, 1).flatten(1).std(dim=1)
        expected.append((0.1 * bank.sum(dim=(1, 2, 3)).abs() / scale).mean())
    torch.testing.assert_close(value, torch.stack(expected).mean(), rtol=1e-3, atol=0)


def test_sliced_wasserstein_does_not_care_where_patches_are():
    term, style = SlicedWasserstein(1.0, levels=1, samples=10**6), smooth(1, 3, 32, 32).repeat(2, 1, 2, 2)
    other = torch.rand(2, 3, 64, 64)
    assert term(*make(style.roll((16, 8), (2, 3)), style=style)) < 0.1 * term(*make(other, style=style))


def test_sliced_wasserstein_wants_texture_in_each_picture_and_colours_in_all_together():
    """Two halves of what the style has, in two pictures: of its texture, or of its tones."""
    torch.manual_seed(0)
    rough, fresh = 0.1 * torch.randn(2, 2, 3, 64, 64)
    halves = torch.ones(64)
    halves[:32], halves[32:] = 0.5, 1.5
    texture = SlicedWasserstein(1.0, levels=1, zero_mean=1.0, samples=4096)
    assert texture(*make(0.5 + fresh, style=0.5 + rough)) < 0.1
    style = 0.5 + rough * torch.tensor([0.5, 1.5])[:, None, None, None]
    # All of their places together have the distribution of the style's, so that a pooled distance would be small.
    for strength in (torch.tensor([0.5, 1.5])[:, None, None, None], halves):
        assert texture(*make(0.5 + fresh * strength, style=style)) > 0.2

    rough = 0.5 + 2 * rough
    tones = torch.cat([rough - 0.3, rough + 0.3])
    colours = SlicedWasserstein(1.0, levels=1, zero_mean=0.0, samples=4096)
    one_each = torch.cat([rough[:1] - 0.3, rough[1:] + 0.3])
    assert colours(*make(one_each, style=tones)) < 0.2 * colours(*make(rough, style=tones))


def test_sliced_wasserstein_of_one_dimension_is_that_of_scipy():
    from scipy.stats import wasserstein_distance

    a, b = torch.randn(3, 500), 1.5 * torch.randn(3, 2000) + 0.3
    expected = [wasserstein_distance(x.numpy(), y.numpy()) for x, y in zip(a, b, strict=True)]
    torch.testing.assert_close(_wasserstein(a, b), torch.tensor(expected, dtype=torch.float32), atol=0.01, rtol=0.02)
    assert (_wasserstein(b, b) == 0).all() and torch.equal(_wasserstein(a, b), _wasserstein(b, a))


# --- Gram matrices of random filters


def test_random_gram_is_computed_as_the_formula_says():
    term, still, style = RandomFilterGram(1.0, levels=1), smooth(2, 3, 20, 20), torch.rand(3, 3, 24, 24)
    expected = []
    for size in term.SIZES:
        filters = getattr(term, f"bank_{size}")[0]
        a, b = (F.conv2d(x, filters) for x in (still, style))
        scale = b.transpose(0, 1).flatten(1).std(dim=1).view(-1, 1, 1)
        grams = [
            torch.einsum("bihw,bjhw->ij", (x / scale).relu(), (x / scale).relu()) / x[:, 0].numel() for x in (a, b)
        ]
        expected.append(((grams[0] - grams[1]).norm() / grams[1].norm()) ** 2)
    value = term(*make(still, style=style))
    torch.testing.assert_close(value, torch.stack(expected).mean(), rtol=1e-3, atol=0)


def test_random_gram_is_zero_for_the_style_and_blind_to_where_its_pictures_are():
    style = torch.rand(3, 3, 64, 64)
    term = RandomFilterGram(1.0)
    assert term(*make(style, style=style)) == 0
    assert term(*make(style.flip(0), style=style)) < 1e-8
    assert term(*make(style.roll(17, -1), style=style)) < 0.02 < term(*make(smooth(3, 3, 64, 64), style=style))


def test_random_gram_leads_to_the_texture_of_the_style():
    style = torch.zeros(1, 3, 32, 32)
    style[..., ::4, :] = style[..., 1::4, :] = 1.0  # horizontal stripes
    term = RandomFilterGram(1.0, levels=2)
    start = 0.5 + 0.1 * torch.randn(1, 3, 32, 32)
    end = descend(term, lambda x: make(x, style=style), start, rate=0.03, steps=200)
    assert term(*make(end, style=style)) < 0.5 * term(*make(start, style=style))
    across, along = end.diff(dim=-2).square().mean(), end.diff(dim=-1).square().mean()
    assert across > 1.4 * along, "it has grown stripes of the same direction"


def test_small_pictures_are_compared_on_the_levels_that_they_have():
    assert RandomFilterGram(1.0)(*make(torch.rand(1, 3, 16, 16), style=torch.rand(1, 3, 16, 16))).isfinite()


@pytest.mark.parametrize("kind", [SlicedWasserstein, RandomFilterGram])
def test_a_pyramid_ends_where_no_filter_fits(kind):
    """32 pixels halve to 16, 8 and 4; a fifth level of 2 has no place for 3x3."""
    still, style, values = torch.rand(2, 3, 32, 32), torch.rand(2, 3, 32, 32), []
    for levels in (4, 9):
        term = kind(1.0, levels=levels)
        torch.manual_seed(0)
        values.append([level[2] for level in term.pyramid(still, style)])
        assert term(*make(still, style=style)).isfinite()
    assert values == [[[3, 5, 7], [3, 5, 7], [3, 5, 7], [3]]] * 2


@pytest.mark.parametrize(
    ("kind", "arguments", "message"),
    [
        (SlicedWasserstein, {"levels": 0}, "levels: 0 is not 1 or more"),
        (SlicedWasserstein, {"banks": 0}, "banks: 0 is not 1 or more"),
        (SlicedWasserstein, {"samples": 0}, "samples: 0 is not 2 or more"),
        (SlicedWasserstein, {"zero_mean": -0.2}, "zero_mean: -0.2 does not lie between 0 and 1"),
        (RandomFilterGram, {"filters": 2}, "filters: 2 is not 3 or more"),
    ],
)
def test_numbers_that_leave_nothing_to_compare_are_refused(kind, arguments, message):
    with pytest.raises(ValueError, match=message):
        kind(1.0, **arguments)


def test_fixed_filters_are_the_same_in_every_run_and_no_weights():
    one, two = RandomFilterGram(1.0), RandomFilterGram(1.0)
    for size in one.SIZES:
        assert torch.equal(getattr(one, f"bank_{size}"), getattr(two, f"bank_{size}"))
    assert not one.state_dict() and not list(one.parameters())
    means = one.bank_7.mean(dim=(-1, -2)).abs().amax(dim=-1)
    assert 0.4 < (means < 1e-6).float().mean() < 0.8, "about 60 % see no colour"


# --- features of the discriminator


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


def test_gram_matrices_keep_float32_under_autocast():
    features = 1 + 1e-3 * torch.randn(2, 4, 32, 32)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        value = gram(features)
    expected = torch.einsum("bihw,bjhw->ij", features.double(), features.double()) / (2 * 32 * 32)
    torch.testing.assert_close(value.double(), expected, rtol=1e-5, atol=0)


@pytest.mark.parametrize("size", [32, 36, 40, 56])
def test_sliced_wasserstein_of_one_small_picture_is_finite(size):
    """The last level of the pyramid holds a single patch."""
    for seed in range(5):
        torch.manual_seed(seed)
        assert SlicedWasserstein(1.0)(
            *make(torch.rand(1, 3, size, size), style=torch.rand(1, 3, size, size))
        ).isfinite()


def test_sliced_wasserstein_asks_for_the_mixture_of_a_collection_and_not_for_its_middle():
    """Dark and light pictures: a batch that draws one of them pulls towards grey, one that has all of them to both."""
    torch.manual_seed(0)
    dark, light = torch.full((1, 3, 64, 64), 0.1), torch.full((1, 3, 64, 64), 0.9)
    grey, halves = torch.full((1, 3, 64, 64), 0.5), torch.cat([dark[..., :32], light[..., 32:]], -1)
    term = SlicedWasserstein(1.0, levels=1, zero_mean=0.0)

    def mean_over_draws(picture, pool):
        values = []
        for drawn in (dark, light):
            batch, outputs = make(picture, style=drawn + 0.01 * torch.randn_like(drawn))
            batch.style_pool = torch.cat([dark, light]) if pool else None
            values.append(term(batch, outputs))
        return torch.stack(values).mean()

    assert mean_over_draws(halves, pool=True) < 0.5 * mean_over_draws(grey, pool=True)
    assert mean_over_draws(halves, pool=False) > 0.9 * mean_over_draws(grey, pool=False)
