"""The package's own feature network."""

from importlib.resources import files

import pytest
import torch

from tests.networks.behaviour import texture
from vst.errors import UserError
from vst.losses.style import gram, relative_distance
from vst.networks.perception import BLOCKS, TAPS, ThinVGG

DEPTHS = ("relu1_1", "relu2_1", "relu3_1", "relu4_1", "relu5_1")


@pytest.fixture(scope="module")
def network() -> ThinVGG:
    return ThinVGG()


def test_its_weights_are_in_the_package_and_small() -> None:
    assert files("vst.networks").joinpath("thin_vgg.pt").stat().st_size < 1_000_000


def test_features_are_those_of_its_blocks(network: ThinVGG) -> None:
    seen = network(torch.rand(2, 3, 64, 96), TAPS)
    assert set(seen) == set(TAPS)
    for block, (width, _) in enumerate(BLOCKS):
        assert seen[f"relu{block + 1}_1"].shape == (2, width, 64 >> block, 96 >> block)


def test_taps_are_of_one_size(network: ThinVGG) -> None:
    """They have a mean of 1 on photographs and paintings."""
    seen = network(texture(128, 128, 3), DEPTHS)
    assert all(0.2 < features.mean() < 5 and features.min() >= 0 for features in seen.values())


def test_it_tells_textures_apart_by_more_than_their_colours(network: ThinVGG) -> None:
    """Stripes of two directions have the same colours and the same blurred picture."""
    wave = (torch.arange(128) * (2 * torch.pi / 8)).sin() * 0.3 + 0.5
    stripes = wave.expand(1, 3, 128, 128)
    shifted, turned = stripes.roll(3, 3), stripes.transpose(2, 3)
    for tap in DEPTHS:
        a, b, c = (gram(network(picture, [tap])[tap]) for picture in (stripes, shifted, turned))
        assert relative_distance(c, a) > 5 * relative_distance(b, a), tap


def test_it_has_no_parameters_and_lets_gradients_through(network: ThinVGG) -> None:
    picture = torch.rand(1, 3, 32, 32, requires_grad=True)
    network(picture, ["relu5_1"])["relu5_1"].sum().backward()
    assert picture.grad.abs().sum() > 0 and not list(network.parameters()) and not network.state_dict()


def test_a_tap_beyond_it_is_named(network: ThinVGG) -> None:
    with pytest.raises(UserError, match=r"tap 'relu5_2': the thin VGG has none of this name .did you mean 'relu"):
        network.check(["relu5_2"])


def test_other_weights_are_refused(tmp_path) -> None:
    torch.save({"relu1_1.weight": torch.zeros(3)}, tmp_path / "other.pt")
    with pytest.raises(UserError, match=r"other\.pt: not those of the thin VGG"):
        ThinVGG(str(tmp_path / "other.pt"))
