import numpy as np
import pytest
import torch
from scipy.ndimage import map_coordinates

from tests.losses.cases import descend, make, moving
from vst.losses import FeatureWarp, FrameDifference, LongTerm, RelativeWarp, RelaxedLuminance, WarpConsistency
from vst.losses.temporal import flows_to_first

FLOW_TERMS = [WarpConsistency, RelativeWarp, RelaxedLuminance, LongTerm]


def still_camera(*values, size=16):
    """A clip (1, T, 3, size, size) of flat frames, with zero flow."""
    clip = torch.stack([torch.full((1, 3, size, size), float(v)) for v in values], 1)
    return clip, torch.zeros(1, len(values) - 1, 2, size, size), torch.ones(1, len(values) - 1, 1, size, size)


def following(clip, flow, valid, frames=None):
    return make(clip[:, 0], clip=clip, frames=frames, flow=flow, valid=valid)


@pytest.mark.parametrize("kind", FLOW_TERMS)
def test_a_clip_that_follows_its_motion_costs_nothing(kind):
    clip, flow, valid = moving(length=4)
    grey = torch.full_like(clip, 0.5)  # as input: for terms that allow the input's own changes
    assert kind(1.0)(*following(clip, flow, valid, grey)) < 1e-5
    assert kind(1.0)(*following(clip, -flow, valid, grey)) > 1e-2


@pytest.mark.parametrize("kind", FLOW_TERMS)
def test_what_is_occluded_or_comes_into_the_frame_does_not_count(kind):
    clip, flow, valid = moving(length=3)
    grey = torch.full_like(clip, 0.5)
    clip[:, 1:, :, 20:30, 20:30] = torch.rand(1, 2, 3, 10, 10)
    spoilt = kind(1.0)(*following(clip, flow, valid, grey))
    valid[..., 20:30, 17:33] = 0  # where it is, and where it will have moved to
    assert kind(1.0)(*following(clip, flow, valid, grey)) < 1e-5 < spoilt
    assert kind(1.0)(*following(torch.rand_like(clip), flow, 0 * valid, grey)) == 0


@pytest.mark.parametrize("kind", [WarpConsistency, RelativeWarp, RelaxedLuminance, LongTerm, FrameDifference])
def test_gradients_calm_a_flickering_film(kind):
    clip, flow, valid = moving(shift=0, length=4, size=16)
    term, start = kind(1.0), clip + 0.2 * torch.randn_like(clip)
    end = descend(term, lambda x: following(x, flow, valid, clip), start, rate=0.01)
    assert end.diff(dim=1).square().mean() < 0.8 * start.diff(dim=1).square().mean()


def test_flicker_costs_what_the_formula_says():
    clip, flow, valid = still_camera(0.0, 0.5)
    assert WarpConsistency(1.0)(*following(clip, flow, valid)) == pytest.approx(0.5 + 4 * 0.25)


# --- relaxed luminance


def test_relative_warp_neither_rewards_nor_punishes_contrast():
    clip, flow, valid = moving(length=3)
    flickering = clip + 0.1 * torch.randn_like(clip)
    costs = [float(RelativeWarp(1.0)(*following(c * flickering, flow, valid))) for c in (1.0, 0.5)]
    assert costs[0] == pytest.approx(costs[1], rel=1e-4) and costs[0] > 0.1
    contrast = torch.tensor(1.0, requires_grad=True)  # its gradient points to what warps better alone
    RelativeWarp(1.0)(*following(contrast * clip, flow, valid)).backward()
    assert contrast.grad.abs() < 1e-6


def test_relaxed_luminance_lets_the_result_change_as_the_light_does():
    clip, flow, valid = still_camera(0.5, 0.6)
    light, _, _ = still_camera(0.2, 0.3)
    dark, _, _ = still_camera(0.3, 0.2)
    assert RelaxedLuminance(1.0)(*following(clip, flow, valid, light)) < 1e-12
    assert RelaxedLuminance(1.0)(*following(clip, flow, valid, dark)) == pytest.approx(0.2**2)
    assert RelaxedLuminance(1.0)(*following(clip, flow, valid, clip * 0)) == pytest.approx(0.1**2)


@pytest.mark.parametrize(("channel", "share"), [(0, 0.2126), (1, 0.7152), (2, 0.0722)])
def test_relaxed_luminance_weighs_the_channels_of_the_input(channel, share):
    clip, flow, valid = still_camera(0.5, 0.5)
    frames = clip.clone()
    frames[:, 1, channel] += 0.4
    assert RelaxedLuminance(1.0)(*following(clip, flow, valid, frames)) == pytest.approx((0.4 * share) ** 2, rel=1e-4)


# --- features


def test_features_that_move_with_their_pixels_cost_nothing():
    """Four pixels a frame are one cell of the 4x4 means: the flow must arrive in the units of the features."""
    clip, flow, valid = moving(shift=4, length=3)
    assert FeatureWarp(1.0)(*following(clip, flow, valid)) < 1e-9
    for wrong in (flow / 4, -flow, 0 * flow):
        assert FeatureWarp(1.0)(*following(clip, wrong, valid)) > 1e-3


def test_each_axis_of_the_flow_has_its_own_factor():
    clip, flow, valid = moving(shift=4, length=3)
    tall = [x.transpose(-1, -2) for x in (clip, flow.flip(2), valid)]  # the motion is down now
    batch, outputs = following(*tall)
    outputs.encode = lambda x: torch.nn.functional.avg_pool2d(x, (4, 8))
    assert FeatureWarp(1.0)(batch, outputs) < 1e-9
    flat = following(clip, flow, valid)
    flat[1].encode = lambda x: torch.nn.functional.avg_pool2d(x, (8, 4))
    assert FeatureWarp(1.0)(*flat) < 1e-9


def test_features_cannot_win_by_shrinking():
    clip, flow, valid = moving(shift=4)
    batch, outputs = following(clip, -flow, valid)
    value = FeatureWarp(1.0)(batch, outputs)
    outputs.encode = lambda x: 1e-2 * torch.nn.functional.avg_pool2d(x, 4)
    torch.testing.assert_close(FeatureWarp(1.0)(batch, outputs), value, rtol=1e-3, atol=0)


def test_a_feature_counts_only_where_all_of_its_pixels_do():
    clip, flow, valid = moving(shift=4)
    clip[:, 1:, :, 20:24, 20:24] = 5.0
    valid[..., 20, 20] = 0  # one pixel of the 4x4 that are spoilt
    valid[:, 1:, :, 21, 25] = 0  # and one of those that come from there
    assert FeatureWarp(1.0)(*following(clip, flow, valid)) < 1e-9


# --- long term


def test_long_term_is_the_distance_to_the_first_frame():
    clip, flow, valid = still_camera(0.0, 0.9, 0.2, 0.4)
    assert LongTerm(1.0)(*following(clip, flow, valid)) == pytest.approx((0.2 + 0.4) / 2)


def test_long_term_sees_drift_that_neighbours_let_pass():
    clip, flow, valid = moving(shift=3, length=6)
    drift = 0.02 * torch.arange(6.0).view(1, 6, 1, 1, 1)
    drifting = following(clip + drift, flow, valid)
    assert LongTerm(1.0)(*drifting).item() == pytest.approx(0.02 * (2 + 3 + 4 + 5) / 4, rel=0.05)


def affine_flow(matrix, shift, size):
    """The flow of p -> A p + b about the middle of a size x size frame, (2, size, size) of x and y."""
    rows, columns = np.mgrid[:size, :size] - (size - 1) / 2
    p = np.stack([columns, rows])
    return np.einsum("ij,jhw->ihw", matrix, p) + np.reshape(shift, (2, 1, 1)) - p


def test_flows_over_a_distance_are_exact_for_affine_motion():
    """Composition of affine maps is the product of their matrices."""
    size, rng = 24, np.random.default_rng(0)
    maps = [(np.eye(2) + 0.05 * rng.standard_normal((2, 2)), 1.5 * rng.standard_normal(2)) for _ in range(3)]
    flow = torch.from_numpy(np.stack([affine_flow(a, b, size) for a, b in maps])).float()[None]
    matrix, shift = np.eye(2), np.zeros(2)
    for (total, seen), (a, b) in zip(flows_to_first(flow, torch.ones(1, 3, 1, size, size)), maps, strict=True):
        matrix, shift = matrix @ a, matrix @ b + shift
        expected = torch.from_numpy(affine_flow(matrix, shift, size)).float()
        inner = seen[0, 0].bool()
        assert inner.float().mean() > 0.5
        torch.testing.assert_close(total[0][:, inner], expected[:, inner], rtol=0, atol=1e-4)


def test_a_pixel_is_followed_only_as_long_as_it_is_seen():
    _, flow, valid = moving(shift=3, length=4, size=24)
    valid[:, 0, :, 10, 10] = 0  # not to be followed from frame 2 to 1
    masks = [seen[0, 0] for _, seen in flows_to_first(flow, valid)]
    assert torch.equal(masks[0], valid[0, 0, 0])
    assert masks[1][10, 13] == 0 and masks[1][10, 10] == 1 and masks[2][10, 16] == 0
    for steps, mask in enumerate(masks[1:], 1):
        assert not mask[:, : 3 * steps].any(), "it came into the frame on the way"
        assert mask[:8, 3 * steps :].all()


def test_flows_between_pixels_are_interpolated():
    flow = torch.from_numpy(np.random.default_rng(0).uniform(-0.5, 0.5, (1, 2, 2, 12, 12))).float()
    _, (total, _) = flows_to_first(flow, torch.ones(1, 2, 1, 12, 12))
    first, second = flow[0].numpy()
    rows, columns = np.mgrid[:12, :12]
    at = np.clip([rows + second[1], columns + second[0]], 0, 11)
    expected = [second[i] + map_coordinates(first[i], at, order=1) for i in range(2)]
    np.testing.assert_allclose(total[0].numpy(), expected, atol=1e-5)


# --- frame difference


def test_frame_difference_is_zero_for_the_input_plus_anything_that_stands_still():
    frames, picture = torch.rand(2, 4, 3, 16, 16), torch.rand(2, 1, 3, 16, 16)
    assert FrameDifference(1.0)(*following(frames + picture, None, None, frames)) < 1e-12


def test_frame_difference_is_the_mean_squared_difference_of_differences():
    clip, frames = torch.rand(2, 3, 3, 8, 8), torch.rand(2, 3, 3, 8, 8)
    expected = np.mean((np.diff(clip.numpy(), axis=1) - np.diff(frames.numpy(), axis=1)) ** 2)
    assert FrameDifference(1.0)(*following(clip, None, None, frames)).item() == pytest.approx(expected, rel=1e-5)
