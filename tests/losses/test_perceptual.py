import pytest
import torch
import torch.nn.functional as F
from torch import nn

from tests.losses.cases import descend, make, smooth
from vst.losses import (
    AdaINStatistics,
    FeatureFrameDifference,
    FeatureGram,
    FeatureReconstruction,
    LossSet,
    Perception,
)
from vst.networks.features import VGG19Features

STYLE_TERMS = [FeatureGram, AdaINStatistics]
TAPS = ("relu1_1", "relu2_1")


class Colours(nn.Module):
    """A feature network whose two taps are the picture and twice the picture at half the size."""

    def __init__(self):
        super().__init__()
        self.runs = 0

    def forward(self, pictures, taps):
        self.runs += 1
        return {tap: {"relu1_1": pictures, "relu2_1": 2 * F.avg_pool2d(pictures, 2)}[tap] for tap in taps}

    def check(self, taps):
        self.checked = set(taps)


def see(batch_and_outputs, network=None):
    batch, outputs = batch_and_outputs
    outputs.perceive = Perception(network or Colours(), TAPS)
    return batch, outputs


# --- closed forms


def test_reconstruction_is_the_relative_squared_distance_of_features():
    photo = torch.rand(2, 3, 8, 8) + 0.5
    term = FeatureReconstruction(1.0, TAPS)
    assert term(*see(make(photo, photo=photo))) == 0
    assert term(*see(make(1.3 * photo, photo=photo))).item() == pytest.approx(0.3**2, rel=1e-4)


def test_reconstruction_is_of_the_photo_in_the_colours_that_the_generator_is_given():
    photo = torch.rand(2, 3, 8, 8) + 0.5
    term = FeatureReconstruction(1.0, TAPS)
    assert term(*see(make(1.3 * photo, photo=photo, toned=1.3 * photo))) == 0


def test_gram_of_flat_pictures_is_known():
    """All products of channels are 0.25 against 1."""
    still, style = torch.full((2, 3, 8, 8), 0.5), torch.full((2, 3, 8, 8), 1.0)
    assert FeatureGram(1.0, TAPS)(*see(make(still, style=style))).item() == pytest.approx(0.75**2)


def gram_seeing(pictures, **options):
    term = FeatureGram(1.0, TAPS, **options)
    LossSet({"gram": term}, Colours()).set_style(pictures)
    return term


def test_gram_of_whole_pictures_takes_the_place_of_the_crops():
    """Two paintings of 1 and of 0.5 have products of 1 and .25, and the crops of the batch count for nothing."""
    dark, light = torch.full((3, 8, 8), 0.5), torch.full((3, 12, 6), 1.0)
    still, crops = torch.stack([dark, dark]), torch.rand(2, 3, 8, 8)
    assert gram_seeing([light])(*see(make(still, style=crops))).item() == pytest.approx(0.75**2)
    mean = (1 + 0.25) / 2
    assert gram_seeing([light, dark])(*see(make(still, style=crops))).item() == pytest.approx((1 - 0.25 / mean) ** 2)


def test_gram_of_each_picture_or_of_all_together():
    """Half dark and half light is the style on the average, and neither picture is."""
    style = torch.full((3, 8, 8), (1.25 / 2) ** 0.5)
    still = torch.stack([torch.full((3, 8, 8), 0.5), torch.full((3, 8, 8), 1.0)])
    together, apart = (gram_seeing([style], each=each)(*see(make(still))).item() for each in (0.0, 1.0))
    assert together == pytest.approx(0, abs=1e-9)
    assert apart == pytest.approx(((0.25 / 0.625 - 1) ** 2 + (1 / 0.625 - 1) ** 2) / 2, rel=1e-4)
    half = gram_seeing([style], each=0.5)(*see(make(still))).item()
    assert half == pytest.approx(apart / 2, rel=1e-4)


def test_each_is_held_against_the_picture_that_it_is_nearest_to():
    """Two works of a painter: either of them is right, and their mean is neither."""
    dark, light = (torch.full((3, 32, 32), value) for value in (0.2, 0.9))
    term = gram_seeing([dark, light], each=1.0)
    assert term(*see(make(torch.stack([dark, light])))).item() == pytest.approx(0, abs=1e-6)
    middle = torch.full((2, 3, 32, 32), (0.2**2 / 2 + 0.9**2 / 2) ** 0.5)
    assert term(*see(make(middle))).item() > 0.1 > gram_seeing([dark, light])(*see(make(middle))).item()


def test_each_has_a_range():
    with pytest.raises(ValueError, match=r"each: 1\.5 does not lie between 0 and 1"):
        FeatureGram(1.0, TAPS, each=1.5)


def test_gram_sees_which_channels_fire_together_and_adain_does_not():
    style = torch.rand(2, 3, 16, 16)
    apart = torch.stack([style[:, c].flatten(1)[:, torch.randperm(256)].view(2, 16, 16) for c in range(3)], 1)
    grey = style[:, :1].expand(-1, 3, -1, -1)
    assert FeatureGram(1.0, ["relu1_1"])(*see(make(grey, style=apart))) > 1e-3
    style, mixed = (
        grey,
        torch.stack([grey[:, c].flatten(1)[:, torch.randperm(256)].view(2, 16, 16) for c in range(3)], 1),
    )
    assert AdaINStatistics(1.0, ["relu1_1"])(*see(make(mixed, style=style))) < 1e-9


def test_adain_is_the_distance_of_means_and_deviations():
    still, style = torch.rand(1, 3, 16, 16), torch.rand(1, 3, 12, 12) * 2
    a, b = (x.flatten(2)[0].double().numpy() for x in (still, style))
    squares = ((a.mean(1) - b.mean(1)) ** 2).sum() + ((a.std(1) - b.std(1)) ** 2).sum()
    expected = squares / ((b.mean(1) ** 2).sum() + (b.std(1) ** 2).sum())
    value = AdaINStatistics(1.0, ["relu1_1"])(*see(make(still, style=style)))
    assert value.item() == pytest.approx(expected, rel=1e-4)


@pytest.mark.parametrize("kind", STYLE_TERMS)
def test_style_terms_do_not_care_where_features_are(kind):
    style = torch.rand(2, 3, 16, 16)
    shuffled = style.flatten(2)[..., torch.randperm(256)].view_as(style).flip(0)
    assert kind(1.0, ["relu1_1"])(*see(make(shuffled, style=style))) < 1e-9
    assert kind(1.0, ["relu1_1"])(*see(make(style * 0.7, style=style))) > 0.05


@pytest.mark.parametrize("kind", STYLE_TERMS)
def test_a_flat_style_gives_finite_gradients(kind):
    still = torch.full((1, 3, 8, 8), 0.5, requires_grad=True)
    kind(1.0, TAPS)(*see(make(still, style=torch.zeros(1, 3, 8, 8)))).backward()
    assert still.grad.isfinite().all()


def test_feature_frame_difference_is_zero_for_what_stands_still():
    frames, picture = torch.rand(2, 3, 3, 8, 8), torch.rand(2, 1, 3, 8, 8)
    clip = frames + picture
    term = FeatureFrameDifference(1.0, TAPS)
    assert term(*see(make(clip[:, 0], clip=clip, frames=frames))) < 1e-9
    flicker = frames + torch.tensor([0.0, 0.1, 0.0]).view(1, 3, 1, 1, 1)
    value = FeatureFrameDifference(1.0, ["relu1_1"])(*see(make(clip[:, 0], clip=flicker, frames=frames)))
    assert value.item() == pytest.approx(0.01 / frames.square().mean().item(), rel=1e-4)


# --- the network is shared


def test_terms_on_the_same_pictures_share_one_run_of_the_network():
    network = Colours()
    terms = {
        "gram": FeatureGram(1.0, ["relu1_1"]),
        "adain": AdaINStatistics(1.0, ["relu2_1"]),
        "content": FeatureReconstruction(2.0, ["relu2_1"]),
    }
    losses = LossSet(terms, network)
    assert network.checked == {"relu1_1", "relu2_1"}
    batch, outputs = make(torch.rand(1, 3, 8, 8), photo=torch.rand(1, 3, 8, 8), style=torch.rand(1, 3, 8, 8))
    _, values = losses(batch, outputs, progress=1.0)
    assert network.runs == 3, "result, style, photograph"
    for name, term in terms.items():
        assert values[name] == term(*see((batch, outputs))), name
    losses(*make(torch.rand(1, 3, 8, 8)), progress=1.0)
    assert network.runs == 4, "a new batch is looked at anew (one picture serves as all three here)"


def test_terms_with_taps_need_a_network():
    with pytest.raises(AssertionError, match="need a feature network"):
        LossSet({"gram": FeatureGram(1.0)})


def test_a_term_without_taps_is_refused():
    with pytest.raises(ValueError, match="FeatureGram: taps must name one layer"):
        FeatureGram(1.0, [])


# --- with VGG, on random weights


@pytest.fixture
def vgg(tmp_path):
    state = {}
    for key, (i, o) in {"0": (3, 16), "2": (16, 16), "5": (16, 32)}.items():
        state[f"features.{key}.weight"] = nn.init.kaiming_normal_(torch.empty(o, i, 3, 3))
        state[f"features.{key}.bias"] = torch.zeros(o)
    torch.save(state, tmp_path / "vgg.pth")
    return VGG19Features(str(tmp_path / "vgg.pth"), width=0.25)


@pytest.mark.parametrize("term", [FeatureGram(1.0, TAPS), AdaINStatistics(1.0, TAPS)])
def test_gradients_lead_to_the_style(vgg, term):
    style, start = torch.rand(1, 3, 32, 32), 0.5 * smooth(1, 3, 32, 32)
    end = descend(term, lambda x: see(make(x, style=style), vgg), start, rate=0.02, steps=20)
    values = [term(*see(make(x, style=style), vgg)).item() for x in (start, end, style)]
    assert values[1] < 0.9 * values[0] and values[2] < 1e-9


def test_gradients_lead_to_the_photo(vgg):
    photo, start = smooth(1, 3, 32, 32), torch.rand(1, 3, 32, 32)
    term = FeatureReconstruction(1.0, ["relu2_1"])
    end = descend(term, lambda x: see(make(x, photo=photo), vgg), start, rate=0.02, steps=20)
    assert F.mse_loss(end, photo) < F.mse_loss(start, photo)


def test_bfloat16_networks_give_float32_values(vgg):
    batch, outputs = see(make(torch.rand(1, 3, 32, 32), style=torch.rand(1, 3, 32, 32)), vgg)
    exact = FeatureGram(1.0, TAPS)(batch, outputs)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        value = FeatureGram(1.0, TAPS)(*see((batch, outputs), vgg))
    assert value.dtype == torch.float32
    torch.testing.assert_close(value, exact, rtol=0.1, atol=1e-3)


def test_the_network_is_no_part_of_the_losses_but_moves_with_them(vgg):
    losses = LossSet({"gram": FeatureGram(1.0, TAPS)}, vgg)
    assert not losses.state_dict() and not list(losses.parameters())
    losses.double()
    batch, outputs = make(torch.rand(1, 3, 16, 16, dtype=torch.float64), style=torch.rand(1, 3, 16, 16).double())
    assert losses(batch, outputs, progress=1.0)[0].isfinite()
