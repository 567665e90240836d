import os
from pathlib import Path

import pytest
import torch
from torchvision.models import VGG19_Weights, vgg13, vgg16, vgg19
from torchvision.models.vgg import make_layers

from vst.errors import UserError
from vst.networks import build_network
from vst.networks.features import TAPS, VGG19Features

THIN = [16, 16, "M", 32, 32, "M", *[64] * 4, "M", *[128] * 4, "M", *[128] * 4]  # a quarter of VGG-19's channels
RELUS = {"relu1_1": 1, "relu1_2": 3, "relu2_2": 8, "relu3_1": 11, "relu3_4": 17, "relu4_1": 20, "relu5_1": 29}


def thin_state(last=None):
    """The state of torchvision's own layers at a quarter of the width, up to the layer `last`."""
    layers = make_layers(THIN)
    state = {f"features.{name}": value for name, value in layers.state_dict().items()}
    return layers, {k: v for k, v in state.items() if last is None or int(k.split(".")[1]) <= last}


@pytest.fixture
def thin(tmp_path):
    layers, state = thin_state()
    torch.save(state, tmp_path / "thin.pth")
    return layers, str(tmp_path / "thin.pth")


def saved(tmp_path, thing):
    torch.save(thing, tmp_path / "w.pth")
    return str(tmp_path / "w.pth")


def refused(*args, **kwargs):
    with pytest.raises(UserError) as caught:
        VGG19Features(*args, **kwargs)
    message = str(caught.value)
    assert "\n" not in message
    return message


def test_taps_are_those_of_torchvisions_layers(thin):
    layers, path = thin
    pictures = torch.rand(2, 3, 32, 48)
    seen = VGG19Features(path, width=0.25)(pictures, RELUS)
    x = VGG19_Weights.IMAGENET1K_V1.transforms(crop_size=1, resize_size=1)  # for its mean and deviation
    x = (pictures - torch.tensor(x.mean).view(3, 1, 1)) / torch.tensor(x.std).view(3, 1, 1)
    for tap, place in RELUS.items():
        torch.testing.assert_close(seen[tap], layers[: place + 1](x), rtol=1e-4, atol=1e-6)
    assert list(seen) == list(RELUS)


def test_the_network_runs_only_as_far_as_asked(thin):
    network = VGG19Features(thin[1], width=0.25)
    calls = []
    for name, layer in network._network[0].convolutions.items():
        layer.register_forward_hook(lambda *_, name=name: calls.append(name))
    network(torch.rand(1, 3, 16, 16), ["relu2_1", "relu1_1"])
    assert calls == ["relu1_1", "relu1_2", "relu2_1"]
    assert network(torch.rand(1, 3, 16, 16), []) == {}


def test_it_is_no_part_of_its_module_but_moves_with_it(thin):
    parent = torch.nn.Sequential(VGG19Features(thin[1], width=0.25), torch.nn.Conv2d(1, 1, 1)).train()
    assert len(list(parent.parameters())) == 2 and set(parent.state_dict()) == {"1.weight", "1.bias"}
    inner = parent[0]._network[0]
    assert not any(p.requires_grad for p in inner.parameters()) and not any(m.training for m in inner.modules())
    parent.double()
    assert {t.dtype for t in [*inner.parameters(), *inner.buffers()]} == {torch.float64}
    parent.to("meta")
    assert {t.device.type for t in [*inner.parameters(), *inner.buffers()]} == {"meta"}


def test_gradients_reach_the_pictures_alone(thin):
    network, pictures = VGG19Features(thin[1], width=0.25), torch.rand(1, 3, 16, 16, requires_grad=True)
    network(pictures, ["relu2_1"])["relu2_1"].sum().backward()
    assert pictures.grad.abs().sum() > 0
    assert all(p.grad is None for p in network._network[0].parameters())


def test_a_file_that_stops_early_serves_the_taps_it_reaches(tmp_path):
    _, state = thin_state(last=10)
    network = VGG19Features(saved(tmp_path, state), width=0.25)
    assert network.covered == TAPS[:5]
    network.check(["relu3_1", "relu1_2"])
    assert set(network(torch.rand(1, 3, 16, 16), ["relu3_1"])) == {"relu3_1"}
    with pytest.raises(UserError, match=r"reach as far as relu3_1, and relu4_1 is asked for; .* taps up to relu3_1$"):
        network.check(["relu1_1", "relu4_1", "relu3_2"])


def test_an_unknown_tap_is_named(thin):
    with pytest.raises(UserError, match=r"^tap 'relu4_5': VGG-19 has none of this name \(did you mean 'relu4_"):
        VGG19Features(thin[1], width=0.25).check(["relu1_1", "relu4_5"])


def test_whole_files_of_torchvision_and_distilled_ones_with_other_keys_are_taken(tmp_path):
    _, state = thin_state()
    state |= {"classifier.0.weight": torch.rand(3, 3), "aux.relu1_1.weight": torch.rand(64, 16, 1, 1)}
    assert VGG19Features(saved(tmp_path, state), width=0.25).covered == TAPS


@pytest.mark.parametrize("width", [1.0, 0.5])
def test_the_width_that_the_file_has_is_said(thin, width):
    message = refused(thin[1], width=width)
    assert "16 channels" in message and message.endswith("set width=0.25")


def meta_state(network):
    with torch.device("meta"):
        state = network().state_dict()
    return {k: torch.zeros(v.shape) for k, v in state.items() if k.startswith("features") and int(k.split(".")[1]) < 18}


@pytest.mark.parametrize("other", [vgg16, vgg13], ids=["vgg16", "vgg13"])
def test_a_sister_network_is_refused_though_its_first_layers_fit(tmp_path, other):
    assert "another network, not a VGG-19" in refused(saved(tmp_path, meta_state(other)))


def test_what_is_no_vgg_is_refused_by_name(tmp_path):
    assert "it holds conv.weight" in refused(saved(tmp_path, {"conv.weight": torch.zeros(3)}))
    assert "it holds nothing" in refused(saved(tmp_path, {}))
    assert "holds no state dict" in refused(saved(tmp_path, {"state_dict": {"features.0.weight": torch.zeros(3)}}))
    assert "holds no state dict" in refused(saved(tmp_path, torch.zeros(3)))


def test_damaged_files_are_refused(tmp_path):
    _, state = thin_state(last=5)
    wrong_shape = {**state, "features.2.weight": torch.zeros(16, 16, 5, 5)}
    assert "features.2.weight is 16x16x5x5 instead of 16x16x3x3" in refused(saved(tmp_path, wrong_shape), width=0.25)
    state["features.5.bias"][3] = float("nan")
    assert "features.5 is not finite" in refused(saved(tmp_path, state), width=0.25)
    del state["features.0.bias"]
    assert "features.0.bias is missing" in refused(saved(tmp_path, state), width=0.25)


class Code:
    """Its pickle makes a folder when it is loaded."""

    def __init__(self, folder):
        self.folder = folder

    def __reduce__(self):
        return os.mkdir, (str(self.folder),)


def test_files_that_are_not_weights_are_refused_and_never_run(tmp_path):
    assert "no such file" in refused(str(tmp_path / "missing.pth"))
    assert "no such file" in refused(str(tmp_path))
    whole = Path(saved(tmp_path, thin_state()[1])).read_bytes()
    for content in (b"", b"hello", b"\x89PNG\r\n\x1a\n" + bytes(64), whole[: len(whole) // 2]):
        (tmp_path / "file.pth").write_bytes(content)
        assert "not a file of weights" in refused(str(tmp_path / "file.pth"))
    assert "not a file of weights" in refused(saved(tmp_path, {"features.0.weight": Code(tmp_path / "run")}))
    assert not (tmp_path / "run").exists()


def test_a_download_happens_on_the_word_alone_and_its_failure_is_one_line(monkeypatch):
    asked = []

    def offline(url, **kwargs):
        asked.append((url, kwargs))
        raise OSError("no route\nto host")

    monkeypatch.setattr("torchvision.models._api.load_state_dict_from_url", offline)
    assert refused("torchvision").startswith("weights=torchvision: cannot be downloaded (no route to host)")
    assert len(asked) == 1 and "vgg19-" in asked[0][0] and asked[0][1]["weights_only"] and asked[0][1]["check_hash"]


def test_the_layout_is_that_of_torchvisions_vgg19(monkeypatch):
    with torch.device("meta"):
        state = vgg19().state_dict()
    state = {k: torch.zeros(v.shape) for k, v in state.items() if k.startswith("features")}
    monkeypatch.setattr("vst.networks.features._download", lambda: state)
    assert VGG19Features("torchvision").covered == TAPS


def test_a_checkpoint_cannot_have_one_built(thin):
    for target in ("vst.networks.features.VGG19Features", "vst.networks.VGG19Features"):
        with pytest.raises(UserError, match=r"only networks of vst\.networks"):
            build_network({"_target_": target, "weights": thin[1]})


@pytest.mark.kit
@pytest.mark.parametrize(
    ("name", "width", "last"),
    [
        ("vgg19_caffe_normalised_to_relu3_1_tvlayout.pth", 1.0, "relu3_1"),
        ("vgg19_distilled16x_to_relu5_1.pth", 0.25, "relu5_1"),
    ],
)
def test_real_weights_see_texture(name, width, last):
    """Activations are of the order of 1 with the right normalisation, and a shift leaves Gram matrices nearly alone."""
    from vst.losses.style import gram, relative_distance

    path = Path(os.environ.get("VST_KIT", "")) / "hub" / "checkpoints" / name
    if "VST_KIT" not in os.environ or not path.is_file():
        pytest.skip(f"{name}: set VST_KIT to the folder that holds hub/checkpoints/{name}")
    network = VGG19Features(str(path), width)
    assert network.covered[-1] == last
    from skimage import data

    picture = torch.from_numpy(data.astronaut()).permute(2, 0, 1)[None].float() / 255
    a, b = picture[..., 100:228, 100:228], picture[..., 102:230, 103:231]
    other = torch.rand(1, 3, 128, 128)
    for x, y, z in zip(*(network(p, ["relu1_1", last]).values() for p in (a, b, other)), strict=True):
        assert 0.1 < x.mean() < 10
        assert relative_distance(gram(y), gram(x)) < 0.1 * relative_distance(gram(z), gram(x))
