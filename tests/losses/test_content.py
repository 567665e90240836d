import math

import pytest
import torch
import torch.nn.functional as F

from tests.losses.cases import descend, make, smooth
from vst.losses import LocalStructure, PatchNCE, PixelL1, StyleAwareContent, TransformedImage, luminance


def test_structure_ignores_brightness_and_contrast_and_sees_edges():
    term, photo = LocalStructure(1.0), torch.rand(1, 3, 64, 64)
    same = term(*make(0.3 + 0.5 * photo, photo=photo))
    other = term(*make(torch.rand(1, 3, 64, 64), photo=photo))
    negative = term(*make(1 - photo, photo=photo))
    assert same < 0.02 and 0.7 < other < 1.3 and negative > 1.9


def test_structure_leaves_strokes_free_where_the_photograph_is_flat():
    strokes = 0.1 * torch.randn(1, 3, 64, 64)
    flat, busy = torch.full((1, 3, 64, 64), 0.5), torch.rand(1, 3, 64, 64)
    free, strict = LocalStructure(1.0, flat=0.03), LocalStructure(1.0)
    assert strict(*make(flat + strokes, photo=flat)) > 0.5 and free(*make(flat + strokes, photo=flat)) < 0.01
    for still in (busy + strokes, 1 - busy):
        same = strict(*make(still, photo=busy))
        assert 0.85 * same < free(*make(still, photo=busy)) < same
    with pytest.raises(ValueError, match="flat: -1 is not 0 or more"):
        LocalStructure(1.0, flat=-1)


def test_content_is_zero_for_the_photo_and_blind_to_the_scale_of_features():
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


def test_pixel_distance():
    photo = torch.rand(2, 3, 8, 8)
    assert PixelL1(1.0)(*make(photo, photo=photo)) == 0
    assert PixelL1(1.0)(*make(photo - 0.25, photo=photo)).item() == pytest.approx(0.25)


def test_transformed_image_is_the_distance_of_ten_by_ten_means():
    still, photo = torch.rand(2, 3, 24, 20), torch.rand(2, 3, 24, 20)
    windows = [x.unfold(2, 10, 1).unfold(3, 10, 1).mean(dim=(-1, -2)) for x in (still, photo)]
    expected = F.mse_loss(*windows)
    torch.testing.assert_close(TransformedImage(1.0)(*make(still, photo=photo)), expected, rtol=1e-4, atol=0)


def test_transformed_image_is_blind_to_what_averages_out():
    photo = smooth(1, 3, 40, 40)
    stripes = torch.zeros(1, 3, 40, 40)
    stripes[..., ::2], stripes[..., 1::2] = 0.3, -0.3
    assert TransformedImage(1.0)(*make(photo + stripes, photo=photo)) < 1e-9
    assert TransformedImage(1.0)(*make(photo + 0.3, photo=photo)).item() == pytest.approx(0.09, rel=1e-4)


def grid_of_unit_vectors(count):
    """An encoder whose place p has the p-th unit vector as its feature, times the mean of the picture there."""

    def encode(pictures):
        side = math.isqrt(count)
        cells = F.adaptive_avg_pool2d(pictures.mean(dim=1, keepdim=True), side)
        return cells * torch.eye(count).view(1, count, side, side)

    return encode


def test_patch_nce_has_its_closed_form():
    """With features at right angles: -log(e^(1/tau) / (e^(1/tau) + N - 1)) for a match; log N for a blank picture."""
    photo, n, tau = torch.full((2, 3, 16, 16), 0.5), 16, 0.5
    term = PatchNCE(1.0, patches=n, tau=tau)
    batch, outputs = make(0.9 * photo, photo=photo, encode=grid_of_unit_vectors(n))
    match = math.log1p((n - 1) * math.exp(-1 / tau))
    assert term(batch, outputs).item() == pytest.approx(match, rel=1e-5), "directions alone count, not lengths"
    blank = make(photo, photo=photo, encode=lambda x: torch.ones(len(x), 8, 4, 4))
    assert term(*blank).item() == pytest.approx(math.log(n), rel=1e-5)


def test_patch_nce_wants_things_to_stay_where_they_are():
    term, photo = PatchNCE(1.0), smooth(1, 3, 64, 64)
    values = [term(*make(photo.roll(s, -1), photo=photo)).item() for s in (0, 8, 32)]
    assert values[0] < values[1] < values[2]


def test_patch_nce_draws_fewer_places_where_there_are_fewer_and_repeats_itself():
    photo = torch.rand(1, 3, 64, 64)
    batch, outputs = make(torch.rand(1, 3, 64, 64), photo=photo)
    few, many = PatchNCE(1.0, patches=16)(batch, outputs), PatchNCE(1.0, patches=256)(batch, outputs)
    assert few < many, "fewer places to be confused with"
    torch.testing.assert_close(PatchNCE(1.0, patches=10**4)(batch, outputs), many)


@pytest.mark.parametrize("term", [PixelL1(1.0), TransformedImage(1.0, 4), PatchNCE(1.0), LocalStructure(1.0)])
def test_gradients_lead_to_the_photo(term):
    photo, start = smooth(1, 3, 32, 32), smooth(1, 3, 32, 32)
    end = descend(term, lambda x: make(x, photo=photo), start, rate=0.02)
    assert term(*make(end, photo=photo)) < 0.8 * term(*make(start, photo=photo))
    if isinstance(term, PixelL1 | TransformedImage):
        assert F.mse_loss(end, photo) < F.mse_loss(start, photo)


def test_arguments_out_of_range_are_refused():
    with pytest.raises(ValueError, match="size: 0"):
        TransformedImage(1.0, size=0)
    with pytest.raises(ValueError, match="tau=0"):
        PatchNCE(1.0, tau=0)
