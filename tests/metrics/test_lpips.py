"""LPIPS with random weights against torchmetrics' own network, and what is measured with it."""

import numpy as np
import pytest
import torch
from torchmetrics.functional.image.lpips import _LPIPS

from vst.errors import UserError
from vst.metrics import LPIPS, Pair, neighbour_lpips, tlp, warp_lpips


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """Random weights of AlexNet and of the channels, and torchmetrics' network with the same."""
    torch.manual_seed(0)
    other = _LPIPS(pretrained=False, net="alex", pnet_rand=True)
    root = tmp_path_factory.mktemp("weights")
    names = {}
    for part in (other.net.slice1, other.net.slice2, other.net.slice3, other.net.slice4, other.net.slice5):
        names |= {f"features.{place}.{kind}": value for place, layer in part.named_children()
                  for kind, value in layer.state_dict().items()}  # fmt: skip
    torch.save(names | {"classifier.1.weight": torch.zeros(1)}, root / "alexnet.pth")
    for layer in other.lins:
        layer.model[-1].weight.data.abs_()
    torch.save(
        {f"lin{i}.model.1.weight": lin.model[-1].weight.data for i, lin in enumerate(other.lins)}, root / "l.pth"
    )
    return root, other.eval()


@pytest.fixture(scope="module")
def lpips(files):
    return LPIPS(str(files[0] / "alexnet.pth"), str(files[0] / "l.pth"))


def picture(seed, height=70, width=90):
    return torch.rand(1, 3, height, width, generator=torch.Generator().manual_seed(seed))


def test_lpips_equals_torchmetrics(lpips, files):
    a, b = picture(0), picture(1)
    assert lpips(a, b) == pytest.approx(float(files[1](a, b, normalize=True)), rel=1e-5)
    assert lpips(a, b) == pytest.approx(lpips(b, a), rel=1e-6) and lpips(a, a) == 0


def test_the_channels_within_torchmetrics_are_the_default(files):
    shipped = _LPIPS(pretrained=True, net="alex", pnet_rand=True)
    shipped.net.load_state_dict(files[1].net.state_dict())
    a, b = picture(0), picture(1)
    mine = LPIPS(str(files[0] / "alexnet.pth"))(a, b)
    assert mine == pytest.approx(float(shipped(a, b, normalize=True)), rel=1e-5)


def video(length=4, seed=0, height=64, width=80, dx=2):
    wide = np.random.default_rng(seed).integers(0, 255, (height, width + length * dx, 3), np.uint8)
    return np.stack([wide[:, dx * t : dx * t + width] for t in range(length)])


def pairs(length, dx, height=64, width=80):
    flow = torch.zeros(2, height, width)
    flow[0] = -dx
    valid = torch.ones(height, width, dtype=torch.bool)
    valid[:, : max(dx, 1)] = False
    return [Pair(t, t + 1, flow, valid) for t in range(length - 1)]


def test_warp_lpips_sees_what_differs_after_the_motion(lpips, files):
    moving = video()
    assert warp_lpips(moving, pairs(4, 2), lpips) == pytest.approx(0, abs=1e-4)
    assert warp_lpips(moving, pairs(4, -2), lpips) > 1e-2
    hidden = [Pair(p.first, p.second, p.flow, torch.zeros_like(p.valid)) for p in pairs(4, 2)]
    assert warp_lpips(moving, hidden, lpips) is None
    still = pairs(2, 0)
    frames = torch.from_numpy(moving[:2]).permute(0, 3, 1, 2).float() / 255 * still[0].valid
    expected = float(files[1](frames[:1], frames[1:], normalize=True))
    assert warp_lpips(moving[:2], still, lpips) == pytest.approx(expected, rel=1e-3), "black where not trusted"


def test_tlp_is_the_difference_of_steps(lpips, files):
    slow, fast = video(3), video(3, seed=1)
    own = neighbour_lpips(slow, lpips)
    assert tlp(slow, own, lpips) == 0
    tensors = [torch.from_numpy(v).permute(0, 3, 1, 2).float() / 255 for v in (slow, fast)]
    steps = [[float(files[1](v[t : t + 1], v[t + 1 : t + 2], normalize=True)) for t in range(2)] for v in tensors]
    expected = 100 * np.mean(np.abs(np.subtract(*steps)))
    assert tlp(fast, own, lpips) == pytest.approx(expected, rel=1e-3)


def test_other_weights_are_refused(files, tmp_path):
    root, _ = files
    torch.save({"features.0.weight": torch.zeros(3)}, tmp_path / "other.pth")
    (tmp_path / "text.pth").write_text("no weights")
    for alexnet, linear, message in (
        (tmp_path / "none.pth", None, "no such file"),
        (tmp_path / "text.pth", None, "read safely"),
        (tmp_path / "other.pth", None, "features.0.weight is 3 instead of 64x3x11x11"),
        (root / "alexnet.pth", tmp_path / "other.pth", "weights.lpips=.*lin0.model.1.weight is missing"),
    ):
        with pytest.raises(UserError, match=message):
            LPIPS(str(alexnet), linear and str(linear))
