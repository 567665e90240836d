import pytest
import torch
from scipy.stats import wasserstein_distance

from tests.losses.cases import descend, make, smooth
from vst.losses import ColourHistogram, Palette


def solid(*colours, size=12):
    """One picture (1, 3, size, size) of equal bands of the colours."""
    bands = [torch.tensor(c).view(1, 3, 1, 1).expand(1, 3, size, size // len(colours)) for c in colours]
    return torch.cat(bands, -1)


RED, BLUE, WHITE = (0.9, 0.1, 0.1), (0.1, 0.2, 0.8), (1.0, 1.0, 1.0)


# --- distribution of colours


def test_colours_are_compared_on_the_13_directions_of_a_cube():
    directions = ColourHistogram(1.0).directions
    torch.testing.assert_close(directions.norm(dim=1), torch.ones(13))
    likeness = (directions @ directions.T).abs() - torch.eye(13)
    assert likeness.max() < 0.9, "no two are the same or opposite"
    torch.testing.assert_close(directions.T @ directions, 13 / 3 * torch.eye(3))  # no colour counts more than another


def test_colour_distance_is_scipys_wasserstein_distance_on_every_direction():
    term, picture, style = ColourHistogram(1.0, samples=10**6), torch.rand(2, 3, 16, 16) ** 2, torch.rand(2, 3, 16, 16)
    a, b = (x.transpose(0, 1).flatten(1).T @ term.directions.T for x in (picture, style))
    expected = sum(wasserstein_distance(a[:, i], b[:, i]) for i in range(13)) / 13
    assert term(*make(picture, style=style)).item() == pytest.approx(expected, rel=1e-4)
    assert term(*make(style, style=picture)).item() == pytest.approx(expected, rel=1e-4), "symmetric"


def test_colour_distance_does_not_care_where_colours_are():
    picture = torch.rand(2, 3, 16, 16)
    shuffled = picture.flatten(2)[..., torch.randperm(256)].view_as(picture).flip(0)
    assert ColourHistogram(1.0)(*make(shuffled, style=picture)) == 0
    assert (
        ColourHistogram(1.0)(*make(picture.flip(1), style=picture))
        < 0.05
        < ColourHistogram(1.0)(*make(picture * 0.5, style=picture))
    )


def test_colour_distance_sees_which_channels_go_together():
    """Black and white against red and cyan: each channel by itself has the same histogram."""
    assert ColourHistogram(1.0)(*make(solid((0.0,) * 3, WHITE), style=solid((1.0, 0, 0), (0, 1.0, 1.0)))) > 0.1


def test_colour_distance_moves_colours_to_the_style_from_afar():
    style = solid(RED, BLUE)
    start = 0.4 + 0.05 * torch.rand(1, 3, 12, 12)
    term = ColourHistogram(1.0)
    end = descend(term, lambda x: make(x, style=style), start, rate=0.05)
    assert term(*make(end, style=style)) < 0.3 * term(*make(start, style=style))


def test_colour_distance_of_different_sizes_uses_equal_numbers_of_samples():
    term, style = ColourHistogram(1.0), smooth(4, 3, 64, 64)
    assert term(*make(style[..., :48, :48], style=style)) < 0.1


# --- palette


def test_palette_finds_the_colours_of_a_flat_painting():
    centres, spread = Palette(1.0, colours=3).palette(solid(RED, BLUE, WHITE))
    found = {tuple(round(v, 3) for v in c.tolist()) for c in centres}
    assert found == {RED, BLUE, WHITE} and spread.max() < 1e-6


def test_palette_with_more_colours_than_the_painting_has():
    centres, spread = Palette(1.0, colours=8).palette(solid(RED, BLUE))
    assert centres.isfinite().all() and spread.isfinite().all()
    assert Palette(1.0, colours=8)(*make(solid(BLUE), style=solid(RED, BLUE))) < 1e-5


def test_palette_costs_the_distance_to_the_nearest_colour():
    style = solid(RED, BLUE)
    picture = solid((0.9, 0.1, 0.4), BLUE)  # the first half is 0.3 away from red, the second is right
    assert Palette(1.0, colours=2)(*make(picture, style=style)).item() == pytest.approx(0.15, abs=1e-4)


def test_palette_lets_strokes_vary_as_the_painting_does():
    style = solid(RED, BLUE, size=32) + 0.05 * torch.randn(1, 3, 32, 32)
    _, spread = Palette(1.0, colours=2).palette(style)
    torch.testing.assert_close(spread, torch.full((2,), 0.05 * 3**0.5), rtol=0.1, atol=0)
    term = Palette(1.0, colours=2)
    assert term(*make(solid(RED, BLUE) + 0.04, style=style)) == 0
    assert term(*make(style, style=style)) < 0.1 * term(*make(solid(WHITE), style=style))


def test_palette_pulls_to_the_nearest_colour():
    picture = solid((0.8, 0.3, 0.2), (0.2, 0.2, 0.6)).requires_grad_(True)
    Palette(1.0, colours=2)(*make(picture, style=solid(RED, BLUE))).backward()
    towards = solid(RED, BLUE) - picture.detach()
    alignment = -(picture.grad * towards).sum(1) / (picture.grad.norm(dim=1) * towards.norm(dim=1))
    assert alignment.min() > 0.99


def test_a_painting_without_colour_is_a_palette_too():
    grey = torch.full((1, 3, 8, 8), 0.5)
    assert Palette(1.0)(*make(grey, style=grey)) < 1e-5
    coloured = solid(RED).requires_grad_(True)
    Palette(1.0)(*make(coloured, style=grey)).backward()
    assert coloured.grad.isfinite().all() and coloured.grad.abs().sum() > 0


def test_arguments_out_of_range_are_refused():
    with pytest.raises(ValueError, match="colours: 0"):
        Palette(1.0, colours=0)


def test_pictures_are_compared_by_themselves_where_asked():
    black, white = solid((0.0,) * 3), solid((1.0,) * 3)
    halves = torch.cat([black, white])
    together, apart = (ColourHistogram(1.0, each=each)(*make(halves, style=halves)) for each in (False, True))
    assert together == 0 and apart > 0.3


def test_squares_see_colours_from_afar():
    board = ((torch.arange(32)[:, None] + torch.arange(32)) % 2).float().repeat(1, 3, 1, 1)
    grey = torch.full((1, 3, 32, 32), 0.5)
    near, afar = (ColourHistogram(1.0, squares=[side])(*make(board, style=grey)) for side in (1, 2))
    assert near > 0.3 and afar < 1e-6
    both = ColourHistogram(1.0, squares=[1, 2])(*make(board, style=grey))
    torch.testing.assert_close(both, (near + afar) / 2)


def test_squares_have_a_side():
    with pytest.raises(ValueError, match="squares"):
        ColourHistogram(1.0, squares=[0])
