"""Distances of sets in feature space against scipy and numpy; the network with random weights against torchvision's."""

import numpy as np
import pytest
import torch
from scipy.linalg import sqrtm
from torchvision.models import inception_v3

from vst.errors import UserError
from vst.metrics import Inception, frechet, kernel_distance, sifid


def samples(count, size, seed, shift=0.0, scale=1.0):
    return shift + scale * torch.from_numpy(np.random.default_rng(seed).normal(size=(count, size)))


def scipy_frechet(a, b):
    a, b = a.numpy(), b.numpy()
    s, t = np.cov(a, rowvar=False), np.cov(b, rowvar=False)
    return np.square(a.mean(0) - b.mean(0)).sum() + np.trace(s) + np.trace(t) - 2 * np.trace(sqrtm(s @ t)).real


def test_frechet_against_scipy():
    a, b = samples(60, 12, 0), samples(40, 12, 1, 0.3, 1.5)
    assert frechet(a, b) == pytest.approx(scipy_frechet(a, b), rel=1e-5)
    assert frechet(a, a) == pytest.approx(0, abs=1e-5)


def test_frechet_of_few_samples_in_a_large_space():
    """More dimensions than samples: the shortcut through the space that they span changes nothing."""
    a, b = samples(6, 40, 0), samples(9, 40, 1, 0.5, 2.0)
    assert frechet(a, b) == pytest.approx(scipy_frechet(a, b), rel=1e-4)
    assert frechet(a, a + 1) == pytest.approx(40, rel=1e-4), "a shift by 1 in each of 40 dimensions"


def test_kernel_distance_against_sums():
    """Subsets of all pictures: the unbiased estimate of squared MMD with the kernel (x.y / D + 1)^3, by loops."""
    a, b = samples(7, 5, 0), samples(7, 5, 1, 0.4)
    x, y = a.numpy(), b.numpy()

    def kernel(u, v):
        return (u @ v / 5 + 1) ** 3

    same = sum(kernel(s[i], s[j]) for s in (x, y) for i in range(7) for j in range(7) if i != j) / (7 * 6)
    cross = 2 * sum(kernel(u, v) for u in x for v in y) / 49
    assert kernel_distance(a, b) == pytest.approx(same - cross, rel=1e-6)
    before = torch.random.get_rng_state()
    assert kernel_distance(a, samples(9, 5, 2)) == kernel_distance(a, samples(9, 5, 2)), "a fixed seed"
    assert torch.equal(torch.random.get_rng_state(), before)


def test_sifid_is_the_mean_over_pairs():
    pictures, styles = [samples(80, 4, s) for s in (0, 1)], [samples(90, 4, 2, 0.5)]
    expected = np.mean([scipy_frechet(p, styles[0]) for p in pictures])
    assert sifid(pictures, styles) == pytest.approx(expected, rel=1e-5)


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    """A random Inception-v3 as a file, and itself."""
    torch.manual_seed(0)
    network = inception_v3(weights=None, aux_logits=True, transform_input=True, init_weights=False).eval()
    path = tmp_path_factory.mktemp("inception") / "inception.pth"
    torch.save(network.state_dict(), path)
    return path, network


def test_the_features_are_torchvisions(weights):
    path, network = weights
    picture = torch.rand(3, 100, 120, generator=torch.Generator().manual_seed(0))
    inputs = {}
    network.fc.register_forward_hook(lambda _, given, __: inputs.update(pooled=given[0]))
    network.maxpool1.register_forward_hook(lambda _, given, __: inputs.update(shallow=given[0]))
    mean, std = (torch.tensor(v).view(3, 1, 1) for v in ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)))
    mine = Inception(str(path), "weights.inception")
    with torch.no_grad():
        large = torch.nn.functional.interpolate(picture[None], (299, 299), mode="bilinear", antialias=True)
        network((large - mean) / std)
        assert mine(picture).numpy() == pytest.approx(inputs["pooled"][0].numpy(), rel=1e-3, abs=1e-4)
        network(((picture - mean) / std)[None])
        shallow = inputs["shallow"][0].flatten(1).T.numpy()
        assert mine.shallow(picture).numpy() == pytest.approx(shallow, rel=1e-3, abs=1e-5)
        network.transform_input = False
        network(picture[None])
        raw = Inception(str(path), "weights.art_inception", resize=False)
        assert raw(picture).numpy() == pytest.approx(inputs["pooled"][0].numpy(), rel=1e-3, abs=1e-4)


def test_other_weights_are_refused(weights, tmp_path):
    state = torch.load(weights[0], weights_only=True)
    del state["Mixed_5b.branch1x1.conv.weight"]
    torch.save(state, tmp_path / "cut.pth")
    with pytest.raises(UserError, match=r"weights.inception=.*Mixed_5b.branch1x1.conv.weight is missing"):
        Inception(str(tmp_path / "cut.pth"), "weights.inception")
    with pytest.raises(UserError, match="no such file"):
        Inception(str(tmp_path / "none.pth"), "weights.inception")
