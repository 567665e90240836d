"""Every estimator on motions that are known, and the settings and weights that they refuse."""

import math
from pathlib import Path
from urllib.error import URLError

import cv2
import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor
from torchvision.models import optical_flow

from vst.errors import UserError
from vst.flow import DIS, RAFT, LucasKanade, build_estimator, dis_flow, warp
from vst.flow.raft import BY_TORCHVISION


def moved_pair(matrix: list[list[float]], seed: int = 0) -> tuple[Tensor, Tensor, Tensor]:
    """Pictures a and b (3, 100, 130) of one texture and the flow from a to b: p -> matrix @ (x, y, 1) - p."""
    noise = np.random.default_rng(seed).random((180, 210, 3)).astype(np.float32)
    texture = cv2.GaussianBlur(noise, (0, 0), 2)
    texture = (texture - texture.min()) / np.ptp(texture)
    # The texture's pixel (40, 40) is the pictures' (0, 0).
    moved = np.float32(matrix)
    moved[:, 2] += 40 - moved[:, :2] @ [40, 40]
    second = cv2.warpAffine(texture, moved, (210, 180), flags=cv2.INTER_LANCZOS4)
    a, b = (torch.from_numpy(np.clip(p[40:-40, 40:-40].transpose(2, 0, 1), 0, 1)) for p in (texture, second))
    rows, columns = torch.meshgrid(torch.arange(100.0), torch.arange(130.0), indexing="ij")
    points = torch.stack([columns, rows, torch.ones_like(rows)])
    return a, b, torch.einsum("ij,jhw->ihw", torch.tensor(matrix), points) - points[:2]


def rotation(degrees: float) -> list[list[float]]:
    """About the middle of the pictures."""
    c, s = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
    return [[c, -s, 64.5 - 64.5 * c + 49.5 * s], [s, c, 49.5 - 64.5 * s - 49.5 * c]]


SHIFTS = [[[1.0, 0.0, dx], [0.0, 1.0, dy]] for dx, dy in ((0.4, -0.3), (3.0, -2.0), (-6.5, 4.25))]


@pytest.mark.parametrize(("estimate", "bound"), [(DIS(), 0.3), (LucasKanade(), 0.05)], ids=["dis", "lucas_kanade"])
@pytest.mark.parametrize("matrix", [*SHIFTS, rotation(2.0)], ids=["subpixel", "pixels", "long", "rotation"])
def test_finds_a_known_motion(estimate, bound: float, matrix):
    a, b, truth = moved_pair(matrix)
    flow = estimate(a[None], b[None])
    assert flow.shape == (1, 2, 100, 130) and flow.dtype == torch.float32
    error = (flow[0] - truth).norm(dim=0)[12:-12, 12:-12]
    assert error.mean() < min(bound, 0.7 * truth.norm(dim=0).mean())
    # The flow lies on the grid of a: warping b by it gives a.
    warped, inside = warp(b[None], flow)
    assert ((warped - a)[0].abs() * inside[0]).mean() < 0.3 * (b - a).abs().mean()


def test_dis_finds_the_motion_of_every_item_of_a_batch():
    pairs = [moved_pair(matrix, seed) for seed, matrix in enumerate(SHIFTS)]
    a, b = (torch.stack([pair[i] for pair in pairs]) for i in (0, 1))
    assert torch.equal(DIS()(a, b), torch.stack([dis_flow(one, other) for one, other, _ in pairs]))
    assert not torch.equal(DIS("ultrafast")(a, b), DIS("medium")(a, b))


# ----------------------------------------------------------------------------------------------------
# Lucas-Kanade


def test_lucas_kanade_solves_its_equation_by_least_squares():
    """One level, one iteration, no damping to speak of: the same system, solved window by window in float64."""
    a, b, _ = moved_pair(SHIFTS[0])
    window = 9
    flow = LucasKanade(window, levels=1, iterations=1, damping=1e-12)(a[None], b[None])[0]
    one, other = a.double().numpy(), b.double().numpy()
    _, iy, ix = np.gradient((one + other) / 2)
    it = other - one
    offsets = np.arange(window) - window // 2
    weights = np.exp(-(offsets[:, None] ** 2 + offsets[None] ** 2) / (2 * (window / 5) ** 2))
    root = np.sqrt(np.broadcast_to(weights, (3, window, window))).ravel()
    for y, x in ((20, 30), (50, 64), (77, 101)):
        patch = np.s_[:, y - window // 2 : y + window // 2 + 1, x - window // 2 : x + window // 2 + 1]
        system = np.stack([ix[patch].ravel(), iy[patch].ravel()], axis=1) * root[:, None]
        expected, *_ = np.linalg.lstsq(system, -it[patch].ravel() * root, rcond=None)
        np.testing.assert_allclose(flow[:, y, x].numpy(), expected, atol=1e-3)


def test_lucas_kanade_needs_its_pyramid_and_its_iterations():
    def error(matrix: list[list[float]], **settings: int) -> float:
        a, b, truth = moved_pair(matrix)
        found = LucasKanade(**settings)(a[None], b[None])[0]
        return (found - truth).norm(dim=0)[12:-12, 12:-12].mean().item()

    assert error(SHIFTS[2], levels=1) > 1 > 0.05 > error(SHIFTS[2], levels=4)
    assert error(SHIFTS[1], levels=1, iterations=1) > 0.5 > 0.05 > error(SHIFTS[1], levels=1, iterations=6)


def test_lucas_kanade_takes_each_item_by_itself():
    pairs = [moved_pair(matrix, seed) for seed, matrix in enumerate(SHIFTS[:2])]
    a, b = (torch.stack([pair[i] for pair in pairs]) for i in (0, 1))
    together = LucasKanade()(a, b)
    for i in range(2):
        torch.testing.assert_close(together[i : i + 1], LucasKanade()(a[i : i + 1], b[i : i + 1]), atol=1e-3, rtol=0)


@pytest.mark.parametrize("brightness", [0.0, 0.5])
def test_lucas_kanade_stays_finite_and_still_without_texture(brightness: float):
    flat = torch.full((1, 3, 40, 48), brightness)
    assert LucasKanade()(flat, flat).abs().max() == 0
    assert LucasKanade()(flat, (flat + 0.3).clamp(0, 1)).isfinite().all()


def test_lucas_kanade_works_in_autocast_and_without_gradient():
    a, b, truth = moved_pair(SHIFTS[1])
    with torch.autocast("cpu", dtype=torch.bfloat16):
        flow = LucasKanade()(a[None].requires_grad_(), b[None])
    assert not flow.requires_grad and flow.dtype == torch.float32
    assert (flow[0] - truth).norm(dim=0)[12:-12, 12:-12].mean() < 0.05


@pytest.mark.parametrize("settings", [{"window": 8}, {"window": 1}, {"levels": 0}, {"iterations": 0}, {"damping": 0.0}])
def test_lucas_kanade_refuses_settings_out_of_range(settings: dict):
    with pytest.raises(UserError, match=next(iter(settings))):
        LucasKanade(**settings)


# ----------------------------------------------------------------------------------------------------
# RAFT: networks with random weights, so only what surrounds them can be right or wrong


@pytest.fixture(scope="module")
def network() -> torch.nn.Module:
    torch.manual_seed(0)
    return optical_flow.raft_small(weights=None, progress=False).eval()


@pytest.fixture(scope="module")
def weights(network: torch.nn.Module, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("weights") / "raft.pth"
    torch.save(network.state_dict(), path)
    return path


def test_raft_is_the_network_of_torchvision(network, weights: Path):
    a, b = torch.rand(2, 1, 3, 136, 128)
    with torch.no_grad():
        expected = network(2 * a - 1, 2 * b - 1, num_flow_updates=2)[-1]
    torch.testing.assert_close(RAFT(weights, updates=2)(a, b), expected)
    assert RAFT(weights).variant == "small" and RAFT(weights).updates == 12


def test_raft_runs_where_it_is_told_and_answers_where_its_input_is(weights: Path):
    device = torch.device("cuda" if torch.cuda.is_available() else "meta")
    raft = build_estimator("raft", weights, device)
    a, b = torch.rand(2, 1, 3, 128, 128)
    if device.type == "cuda":
        torch.testing.assert_close(raft(a, b), RAFT(weights)(a, b), atol=1e-2, rtol=1e-2)
    else:  # a device that computes nothing
        with pytest.raises(RuntimeError):
            raft(a, b)
    assert next(raft.network.parameters()).device.type == device.type


@pytest.mark.parametrize("size", [(40, 131), (133, 150)])
def test_raft_pads_any_size_and_cuts_it_off_again(network, weights: Path, size: tuple[int, int]):
    a, b = torch.rand(2, 2, 3, *size)
    top, left = ((max(128, -(-side // 8) * 8) - side) // 2 for side in size)
    whole = [max(128, -(-side // 8) * 8) for side in size]
    padding = (left, whole[1] - size[1] - left, top, whole[0] - size[0] - top)
    one, other = (F.pad(2 * image - 1, padding, mode="replicate") for image in (a, b))
    with torch.no_grad():
        expected = network(one, other, num_flow_updates=1)[-1]
    flow = RAFT(weights, updates=1)(a, b)
    assert flow.shape == (2, 2, *size)
    torch.testing.assert_close(flow, expected[..., top : top + size[0], left : left + size[1]])


def test_keys_tell_estimators_apart(weights: Path, tmp_path: Path):
    state = torch.load(weights, weights_only=True)
    name = next(iter(state))
    torch.save({**state, name: state[name] + 1}, tmp_path / "other.pth")
    torch.save(state, tmp_path / "same.pth")
    keys = [RAFT(weights).key, RAFT(tmp_path / "other.pth").key, RAFT(weights, updates=6).key]
    keys += [DIS().key, DIS("fast").key, LucasKanade().key, LucasKanade(window=9).key, LucasKanade(damping=1e-4).key]
    assert len(set(keys)) == len(keys)
    assert RAFT(tmp_path / "same.pth").key == keys[0]
    assert all(set(key) <= set("abcdefghijklmnopqrstuvwxyz0123456789._-") for key in keys), "they become file names"


def test_wrong_weights_are_one_line(weights: Path, tmp_path: Path, monkeypatch):
    state = torch.load(weights, weights_only=True)
    (tmp_path / "text.pth").write_text("not weights")
    (tmp_path / "empty.pth").touch()
    torch.save({"module.fnet.conv1.weight": torch.zeros(1)}, tmp_path / "original.pth")
    torch.save([1, 2], tmp_path / "list.pth")
    torch.save({"model": state}, tmp_path / "nested.pth")
    torch.save(dict(list(state.items())[:-2]), tmp_path / "part.pth")
    torch.save({**state, list(state)[-1]: torch.zeros(5)}, tmp_path / "shape.pth")
    torch.save(torch.nn.Linear(2, 2), tmp_path / "pickled.pth")
    for name, message in (
        ("absent.pth", "no such file; .*torchvision's layout"),
        ("text.pth", "not a file of weights"),
        ("empty.pth", "not a file of weights"),
        ("pickled.pth", "not a file of weights"),
        ("original.pth", r"not in torchvision's layout of RAFT \(it holds module.fnet.conv1.weight"),
        ("list.pth", "no state dict"),
        ("nested.pth", "no state dict"),
        ("part.pth", "in 2 of"),
        ("shape.pth", "in 1 of"),
    ):
        with pytest.raises(UserError, match=message) as raised:
            RAFT(tmp_path / name)
        assert "\n" not in str(raised.value) and name in str(raised.value)
    with pytest.raises(UserError, match="holds RAFT small, not large"):
        RAFT(weights, variant="large")


def test_a_download_only_happens_on_the_users_word(monkeypatch, network):
    asked = []

    def fetch(*args, **kwargs):
        asked.append(args)
        raise URLError("no network")

    monkeypatch.setattr("torchvision.models._api.load_state_dict_from_url", fetch)
    with pytest.raises(UserError, match="no such file"):
        RAFT("nowhere.pth")
    with pytest.raises(UserError, match="flow_weights=torchvision"):
        build_estimator("raft")
    assert not asked
    with pytest.raises(UserError, match=r"cannot download RAFT small .*no network.*; give the path"):
        RAFT(BY_TORCHVISION)
    assert len(asked) == 1
    monkeypatch.setattr("torchvision.models._api.load_state_dict_from_url", lambda *a, **k: network.state_dict())
    assert RAFT(BY_TORCHVISION).variant == "small"


# ----------------------------------------------------------------------------------------------------
# Their common face


def test_estimators_are_built_by_name(weights: Path):
    assert isinstance(build_estimator("dis"), DIS) and build_estimator("dis").preset == "medium"
    assert isinstance(build_estimator("lucas_kanade"), LucasKanade)
    assert isinstance(build_estimator("raft", str(weights)), RAFT)


@pytest.mark.parametrize("name", ["dis", "lucas_kanade", "raft"])
def test_no_pairs_have_no_flow(name: str, weights: Path):
    estimate = build_estimator(name, weights if name == "raft" else None)
    assert estimate(torch.zeros(0, 3, 32, 40), torch.zeros(0, 3, 32, 40)).shape == (0, 2, 32, 40)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("diss",), "did you mean 'dis'"),
        (("dis", "x.pth"), "flow=dis has no weights"),
        (("raft",), "flow_weights=<path"),
    ],
)
def test_mistakes_are_one_line(arguments: tuple[str, ...], message: str):
    with pytest.raises(UserError, match=message) as raised:
        build_estimator(*arguments)
    assert "\n" not in str(raised.value)
    with pytest.raises(UserError, match="did you mean 'medium'"):
        DIS("medum")
    with pytest.raises(UserError, match="variant=smal"):
        RAFT("x", variant="smal")
