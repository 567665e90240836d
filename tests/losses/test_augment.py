"""DiffAugment: each kind of change by itself, their share, and gradients through them."""

import pytest
import torch

from vst.losses import DiffAugment

OFF = {"colour": 0.0, "translation": 0.0, "cutout": 0.0}


def pictures(count=64, height=16, width=24):
    torch.manual_seed(0)
    return 0.2 + 0.6 * torch.rand(count, 3, height, width)


def only(**kwargs):
    return DiffAugment(**{**OFF, **kwargs})


@pytest.mark.parametrize("augment", [DiffAugment().eval(), DiffAugment(probability=0.0), only()])
def test_off_means_untouched_and_draws_nothing(augment):
    x = pictures()
    before = torch.get_rng_state()
    assert torch.equal(augment(x), x)
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize("kind", [{"colour": 1.0}, {"translation": 0.5}, {"cutout": 0.5}], ids=lambda k: next(iter(k)))
def test_probability_is_the_share_of_changed_pictures(kind):
    x = pictures(count=2000)
    share = (only(probability=0.3, **kind)(x) != x).flatten(1).any(dim=1).float().mean()
    assert share.item() == pytest.approx(0.3, abs=0.04)


def test_brightness_is_all_that_colour_does_to_a_grey_picture():
    x = torch.full((500, 3, 8, 8), 0.5)
    shift = only(colour=0.4)(x) - x
    assert torch.allclose(shift, shift[:, :1, :1, :1].expand_as(shift), atol=1e-6)
    assert shift.abs().max() <= 0.1 + 1e-6 and shift.max() > 0.09 and shift.min() < -0.09


def test_contrast_scales_grey_pictures_about_their_mean():
    x = pictures(count=500)[:, :1].expand(-1, 3, -1, -1)  # without colour saturation has nothing to do
    out = only(colour=1.0)(x)
    before, after = (picture - picture.mean(dim=(1, 2, 3), keepdim=True) for picture in (x, out))
    ratio = after.flatten(1).norm(dim=1) / before.flatten(1).norm(dim=1)
    torch.testing.assert_close(after, ratio.view(-1, 1, 1, 1) * before, atol=1e-5, rtol=0)
    assert 0.5 <= ratio.min() < 0.55 and 1.45 < ratio.max() <= 1.5


def test_saturation_scales_the_distance_to_grey():
    x = pictures(count=500)
    out = only(colour=1.0)(x)

    def chroma(picture):
        return (picture - picture.mean(dim=1, keepdim=True)).flatten(1).norm(dim=1)

    ratio = chroma(out) / chroma(x)  # saturation (0 to 2) times contrast (0.5 to 1.5)
    assert ratio.min() < 0.05 and 2 < ratio.max() <= 3


def test_translation_shifts_by_whole_pixels_and_fills_with_grey():
    x = pictures(height=16, width=24)
    out = only(translation=0.25)(x)
    found = set()
    for before, after in zip(x, out, strict=True):
        filled = (after == 0.5).all(dim=0)
        rows, columns = filled.all(dim=1), filled.all(dim=0)
        down = int(rows.sum()) * (1 if rows[0] else -1)
        right = int(columns.sum()) * (1 if columns[0] else -1)
        found.add((down, right))
        expected = torch.full_like(before, 0.5)
        source = before[:, max(0, -down) : 16 - max(0, down), max(0, -right) : 24 - max(0, right)]
        expected[:, max(0, down) : 16 + min(0, down), max(0, right) : 24 + min(0, right)] = source
        assert torch.equal(after, expected)
    assert {d for d, _ in found} == set(range(-4, 5)) and {r for _, r in found} == set(range(-6, 7))


def test_cutout_greys_one_rectangle_of_its_size():
    x = pictures(count=300)
    hole = (only(cutout=0.5)(x) != x).any(dim=1)
    heights, widths = hole.any(dim=2).sum(dim=1), hole.any(dim=1).sum(dim=1)
    assert torch.equal(hole.sum(dim=(1, 2)), heights * widths), "a rectangle is full"
    assert heights.max() == 8 and widths.max() == 12 and heights.min() < 8, "it may hang over the border"
    assert (only(cutout=0.5)(x)[0] == 0.5).any() and hole.any(dim=0).all(), "every place is hit sometimes"


def test_gradients_flow_through_every_change():
    x = pictures(count=4, height=6, width=8).double().requires_grad_()

    def augmented(pictures):
        torch.manual_seed(3)
        return DiffAugment(cutout=0.3)(pictures)

    assert torch.autograd.gradcheck(augmented, x)


def test_gradient_is_zero_only_where_the_picture_is_hidden():
    x = pictures().requires_grad_()
    torch.manual_seed(1)
    out = only(cutout=0.5)(x)
    (gradient,) = torch.autograd.grad(out.sum(), x)
    assert torch.equal(gradient, (out == x).float())


def test_every_picture_draws_for_itself():
    x = pictures(count=1).expand(20, -1, -1, -1)
    out = DiffAugment()(x)
    assert len({tuple(picture.flatten().tolist()) for picture in out}) == 20


@pytest.mark.parametrize("option", [{"probability": 1.5}, {"cutout": -0.1}])
def test_strengths_out_of_range_are_refused(option):
    (name,) = option
    with pytest.raises(ValueError, match=f"DiffAugment: {name}=.*, expected 0 to 1"):
        DiffAugment(**option)
