import numpy as np
import pytest
import torch
from scipy.stats import wasserstein_distance
from skimage.color import rgb2lab
from skimage.metrics import structural_similarity

from vst.metrics import content_scores, look
from vst.metrics import style as module


def between(distance, features=None):
    """The distance of two lists of pictures."""
    return lambda pictures, styles: distance(look(pictures, features), look(styles, features))


patch_distance, colour_distance = between(module.patch_distance), between(module.colour_distance)


def picture(seed, height=48, width=56, smooth=1):
    x = torch.rand(1, 3, height, width, generator=torch.Generator().manual_seed(seed))
    return torch.nn.functional.avg_pool2d(x, 2 * smooth + 1, 1, smooth)[0] if smooth else x[0]


def test_patch_distance_equals_scipys_wasserstein(monkeypatch):
    """One level, one size of filter, all places: the same responses by unfolding, the distance by scipy."""
    monkeypatch.setattr(module, "LEVELS", 1)
    monkeypatch.setattr(module, "SIZES", (3,))
    a, b = picture(0, smooth=2), picture(1, smooth=1)
    filters = module._bank(3).flatten(1).double().numpy()
    sides = [filters @ torch.nn.functional.unfold(x[None].double(), 3)[0].numpy() for x in (a, b)]
    expected = np.mean([wasserstein_distance(p, q) / q.std() for p, q in zip(*sides, strict=True)])
    assert patch_distance([a], [b]) == pytest.approx(expected, rel=0.02)


def test_patch_distance_knows_texture_without_colour_and_is_deterministic():
    fine, coarse, other = (picture(seed, 128, 128, smooth) for seed, smooth in ((0, 0), (0, 3), (5, 0)))
    assert patch_distance([fine], [fine]) == 0
    near, far = patch_distance([other], [fine]), patch_distance([coarse], [fine])
    assert near < 0.15 < 0.3 < far
    assert patch_distance([coarse], [fine]) == far
    assert patch_distance([fine, fine], [other]) == pytest.approx(near, rel=0.6), "several pictures pool"


def test_colour_distance_of_a_shift_in_lab():
    """Grey pictures that differ by dL: every direction u gives |u_L| dL, whose mean over the sphere is dL / 2."""
    dark, bright = (torch.full((3, 32, 32), value) for value in (0.3, 0.5))
    step = rgb2lab(np.full((1, 1, 3), 0.5))[0, 0, 0] - rgb2lab(np.full((1, 1, 3), 0.3))[0, 0, 0]
    assert colour_distance([dark], [bright]) == pytest.approx(step / 2, rel=0.02)
    assert colour_distance([bright], [bright]) == 0


def test_colour_distance_ignores_places():
    a = picture(0)
    turned = torch.rot90(a, 2, (1, 2))
    assert colour_distance([turned], [a]) < 1e-4 < colour_distance([1 - a], [a]) + 1e-3
    assert colour_distance([a * torch.tensor([1.0, 0.5, 0.5])[:, None, None]], [a]) > 5


def test_gram_and_adain_against_loops():
    def features(x):
        return [x, x[:, :2, ::2, ::2] * 3]

    a, b = picture(0), picture(1, smooth=2)
    grams, moments = [], []
    for p, q in zip(features(a[None]), features(b[None]), strict=True):
        p, q = p[0].numpy().astype(np.float64), q[0].numpy().astype(np.float64)
        matrices = [np.array([[np.mean(x[i] * x[j]) for j in range(len(x))] for i in range(len(x))]) for x in (p, q)]
        grams.append(((matrices[0] - matrices[1]) ** 2).sum() / (matrices[1] ** 2).sum())
        pairs = [(f(p), f(q)) for f in (lambda x: x.mean((1, 2)), lambda x: x.std((1, 2)))]
        moments.append(sum(((u - v) ** 2).sum() / (v**2).sum() for u, v in pairs))
    gram_distance, adain_distance = (between(d, features) for d in (module.gram_distance, module.adain_distance))
    assert gram_distance([a], [b]) == pytest.approx(np.mean(grams), rel=1e-4)
    assert adain_distance([a], [b]) == pytest.approx(np.mean(moments), rel=1e-4)
    assert gram_distance([a], [a]) == adain_distance([a], [a]) == 0


def test_feature_distance_is_that_of_the_last_layer_picture_by_picture():
    def features(x):
        return [x * 7, x[:, :2, ::2, 1::2] * 3]

    pictures, contents = [picture(0), picture(1, smooth=2)], [picture(2), picture(3)]
    deepest = [[p.numpy().astype(np.float64)[:2, ::2, 1::2] for p in side] for side in (pictures, contents)]
    expected = np.mean([np.sum((p - q) ** 2) / np.sum(q**2) for p, q in zip(*deepest, strict=True)])
    sides = [module.look(side, features) for side in (pictures, contents)]
    assert module.feature_distance(*sides) == pytest.approx(expected, rel=1e-4)
    assert module.feature_distance(sides[1], sides[1]) == 0


def test_content_scores_against_skimage():
    a, b = picture(0, 64, 64), (picture(0, 64, 64) + 0.1 * picture(3, 64, 64)).clamp(0, 1)
    scores = content_scores([a], [b])
    expected = structural_similarity(
        a.numpy(), b.numpy(), channel_axis=0, data_range=1.0, gaussian_weights=True, sigma=1.5,
        use_sample_covariance=False,
    )  # fmt: skip
    assert scores["ssim"] == pytest.approx(expected, abs=0.01)
    assert scores["psnr"] == pytest.approx(-10 * np.log10(float((a - b).square().mean())), abs=0.01)
    assert content_scores([a], [a]) == {"ssim": 1.0, "psnr": 100.0}
