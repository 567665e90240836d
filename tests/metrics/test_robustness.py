import pytest
import torch
from torch import nn

from vst.metrics import add_noise, compress, gain, pgd_attack, robustness_scores


@pytest.fixture
def frame():
    return 0.3 + 0.4 * torch.rand(1, 3, 24, 32, generator=torch.Generator().manual_seed(0))


@pytest.fixture
def network():
    torch.manual_seed(1)
    layers = nn.Sequential(nn.Conv2d(3, 8, 5, padding=2), nn.Tanh(), nn.Conv2d(8, 3, 5, padding=2))
    return layers.requires_grad_(False)


def test_gain_of_a_linear_network_is_its_factor(frame):
    assert gain(lambda x: x, frame, add_noise(frame, 0.02)) == pytest.approx(1)
    assert gain(lambda x: 1 - 4 * x, frame, add_noise(frame, 0.02)) == pytest.approx(4, rel=1e-4)
    assert gain(lambda x: x, frame, frame) is None


def test_the_attack_stays_in_its_ball_and_beats_random_signs(frame, network):
    for epsilon in (2 / 255, 8 / 255):
        attacked = pgd_attack(network, frame, epsilon)
        assert (attacked - frame).abs().max() <= epsilon + 1e-6 and 0 <= attacked.min() and attacked.max() <= 1
        signs = torch.randn(frame.shape, generator=torch.Generator().manual_seed(2)).sign()

        def moved(other):
            return float((network(other) - network(frame)).square().mean())

        assert moved(attacked) > 3 * moved(frame + epsilon * signs)
        assert moved(attacked) > moved(pgd_attack(network, frame, epsilon, steps=1)), "more steps go further"


def test_the_attack_finds_the_worst_case_of_a_linear_network(frame):
    """The mean of all values moves furthest when all move the same way: by epsilon itself."""

    def mean(x):
        return x.mean(dim=(1, 2, 3), keepdim=True).expand_as(x)

    attacked = pgd_attack(mean, frame, 4 / 255)
    assert float((mean(attacked) - mean(frame)).abs().mean()) == pytest.approx(4 / 255, rel=1e-3)


def test_the_attack_keeps_inside_of_the_range_of_pixels(network):
    white = torch.ones(1, 3, 16, 16)
    attacked = pgd_attack(network, white, 8 / 255)
    assert attacked.max() <= 1 and attacked.min() >= 1 - 8 / 255 - 1e-6


def test_compression_changes_little_and_more_at_low_quality(frame):
    good, bad = (float((compress(frame, q) - frame).square().mean()) for q in (95, 10))
    assert 0 < good < bad < 0.05


def test_scores_of_the_identity_are_one_and_black_has_no_exposure(frame):
    scores = robustness_scores(lambda x: x, frame, steps=2)
    assert set(scores) == {*(f"{n}@{e}" for n in ("pgd", "noise") for e in (2, 4, 8)), "jpeg@50", "exposure@1.2"}
    assert all(value == pytest.approx(1) for value in scores.values())
    assert robustness_scores(lambda x: x, torch.zeros(1, 3, 16, 16), steps=1)["exposure@1.2"] is None
