"""Motion as a part of the model: what it sees, what it carries along, and where it gives up."""

from itertools import pairwise

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from tests.networks.behaviour import frame_by_frame, texture
from vst.networks import DenseMotion, FlowGrain, ResidualGenerator, SlowTone, Stateless, Stylizer, build_stylizer
from vst.networks.grain import PERIOD
from vst.networks.motion import _sums, resized_flow, warped

ESTIMATORS = ["dis", "lucas_kanade"]


def panning(shift=(3, -2), count=3, size=(180, 240), seed=0):
    """A camera that moves over a texture, (1, T, 3, H, W): frame t+1 shows at p what frame t shows at p + shift."""
    wide = texture(size[0] + 100, size[1] + 100, 3, seed)
    places = [(50 + t * shift[1], 50 + t * shift[0]) for t in range(count)]
    return torch.stack([wide[..., y : y + size[0], x : x + size[1]] for y, x in places], 1)


def following(motion, clip, flow=None):
    """The motion's state at each frame."""
    state, made = None, []
    for number, frame in enumerate(clip.unbind(1)):
        known = None if flow is None or number == 0 else flow[:, number - 1]
        state = motion.follow(frame, state, known)
        made.append(state)
    return made


@pytest.mark.parametrize("estimator", ESTIMATORS)
def test_a_pan_is_found_and_trusted_but_for_what_comes_into_view(estimator):
    motion = DenseMotion(estimator).eval()
    _, flow, confidence = following(motion, panning((6, 0)))[-1]
    inner = flow[..., 20:-20, 20:-20]
    torch.testing.assert_close(inner.mean((0, 2, 3)), torch.tensor([6.0, 0.0]), atol=0.15, rtol=0)
    assert confidence[..., 20:-20, 20:-20].mean() > 0.9
    assert confidence[..., -6:].max() == 0, "the right border was not in the frame before"


def test_the_first_frame_has_nothing_before_it():
    _, flow, confidence = DenseMotion().follow(torch.rand(1, 3, 64, 64), None)
    assert flow.abs().max() == 0 and confidence.max() == 0


def test_another_scene_is_not_trusted():
    a, b = texture(180, 240, 3, 0), texture(180, 240, 3, 1)
    motion = DenseMotion().eval()
    assert following(motion, torch.stack([a, b * 0.3], 1))[-1][2].mean() < 0.2


@pytest.mark.parametrize("estimator", ESTIMATORS)
def test_a_film_on_a_tripod_stands_perfectly_still(estimator):
    generator = torch.Generator().manual_seed(0)
    frame = texture(180, 240, 3)
    noisy = [frame + 0.004 * torch.randn(frame.shape, generator=generator) for _ in range(4)]
    assert all(state[1].abs().max() < 0.05 for state in following(DenseMotion(estimator).eval(), torch.stack(noisy, 1)))


def test_a_known_motion_is_taken_as_it_is_and_in_training_with_errors():
    clip, known = panning((4, 2), 2), torch.tensor([4.0, 2.0]).view(1, 1, 2, 1, 1).expand(1, 1, 2, 180, 240)
    motion = DenseMotion(rows=90)
    assert torch.allclose(following(motion.eval(), clip, known)[-1][1], known[:, 0, :, ::2, ::2] / 2)
    error = following(motion.train(), clip, known)[-1][1] - known[:, 0, :, ::2, ::2] / 2
    assert 0 < error.abs().mean() < 0.3


def test_pictures_accumulate_along_the_motion():
    """White noise painted on each frame anew averages out, what moves along stays."""
    clip = panning((3, 1), 12)
    motion, generator = DenseMotion(history=0.8).eval(), torch.Generator().manual_seed(1)
    picture, errors = None, []
    for frame, state in zip(clip.unbind(1), following(motion, clip), strict=True):
        painted = frame + 0.2 * torch.randn(frame.shape, generator=generator)
        picture = painted if picture is None else motion.accumulate(painted, picture, state)
        errors.append(float((picture - frame)[..., 40:-40, 60:-60].std()))
    # Of independent noise an exponential mean of share .2 leaves sqrt(.2 / 1.8), a third; warping blurs it further.
    assert errors[0] == pytest.approx(0.2, rel=0.05) and errors[-1] < 0.08


def test_without_confidence_or_history_nothing_accumulates():
    clip = panning((3, 1), 2)
    now, before = torch.rand(2, 1, 3, 180, 240)
    state = following(DenseMotion().eval(), clip)[-1]
    assert torch.equal(DenseMotion(history=0.0).accumulate(now, before, state), now)
    blind = (*state[:2], torch.zeros_like(state[2]))
    assert torch.equal(DenseMotion().accumulate(now, before, blind), now)


def test_a_flow_of_a_view_fits_frames_that_are_no_multiple_of_it():
    flow = torch.full((1, 2, 20, 30), 1.5)
    large = resized_flow(flow, (61, 92), 3)
    assert large.shape == (1, 2, 61, 92) and torch.allclose(large, torch.tensor(4.5))


def test_warping_by_whole_samples_copies_them():
    picture = torch.rand(1, 3, 20, 30)
    for mode in ("bilinear", "bicubic"):
        moved, inside = warped(picture, torch.tensor([2.0, -1.0]).view(1, 2, 1, 1).expand(1, 2, 20, 30), mode)
        torch.testing.assert_close(moved[..., 3:-3, 3:-3], picture[..., 2:-4, 5:-1], atol=1e-5, rtol=1e-5)
    assert inside[0, 0, 0].sum() == 0 and inside[0, 0, 1:, :28].min() == 1 and inside[0, 0, 1:, 28:].max() == 0


def noise_along(clip, flow=None, rows=90):
    """The noise (1, C, H/4, W/4) of each frame of a clip, and the coordinates."""
    motion, grain = DenseMotion(rows=rows).eval(), FlowGrain(4, 4)
    cell, coordinates, made = motion.cell(min(clip.shape[-2:])), None, []
    for state in following(motion, clip, flow):
        coordinates = grain.follow(state, coordinates, cell)
        made.append(grain(coordinates, cell, tuple(side // 4 for side in clip.shape[-2:])))
    return made, coordinates


def test_the_noise_moves_with_the_film_and_does_not_blur():
    shift = (8, -4)  # two places and minus one
    known = torch.tensor([*map(float, shift)]).view(1, 1, 2, 1, 1).expand(1, 20, 2, 180, 240)
    noise, _ = noise_along(panning(shift, 5), known)
    for before, now in pairwise(noise):
        torch.testing.assert_close(now[..., 2:-2, 2:-6], before[..., 1:-3, 4:-4], atol=0.05, rtol=0)
    assert noise[-1].std() > 0.95 * noise[0].std()


def test_a_still_film_has_the_same_noise_for_ever():
    noise, _ = noise_along(texture(180, 240, 3)[:, None].expand(1, 6, 3, 180, 240))
    assert all(torch.equal(noise[0], other) for other in noise)


def test_what_comes_into_view_has_noise_of_its_own_and_nothing_stretches():
    """The camera moves on by the width of the frame: all of what is seen is new, and its grains are as large."""
    shift = (12, 0)
    known = torch.tensor([12.0, 0.0]).view(1, 1, 2, 1, 1).expand(1, 40, 2, 180, 240)
    wide = texture(180, 900, 3)
    clip = torch.stack([wide[..., shift[0] * t : shift[0] * t + 240] for t in range(25)], 1)
    noise, _ = noise_along(clip, known)

    def roughness(x):
        return float((x[..., 1:] - x[..., :-1]).square().mean() / x.square().mean())

    assert roughness(noise[-1]) == pytest.approx(roughness(noise[0]), rel=0.3)


def test_a_zoom_does_not_stretch_the_noise_without_end():
    """Each frame enlarges the one before by 4 %: 40 of them are a factor of 4.8."""
    y, x = torch.meshgrid(torch.arange(180) - 89.5, torch.arange(240) - 119.5, indexing="ij")
    flow = torch.stack([x, y])[None, None] * (1 / 1.04 - 1)
    frame = torch.full((1, 41, 3, 180, 240), 0.5)
    noise, coordinates = noise_along(frame, flow.expand(1, 40, 2, 180, 240))
    area = (coordinates[..., 1:, 1:] - coordinates[..., :-1, :-1]).abs().mean()
    assert noise[-1].std() > 0.6 and area > 0.25, "a sample of two pixels is half a place to begin with"


def test_an_hour_of_panning_keeps_the_precision_of_the_coordinates():
    grain = FlowGrain(4, 4)
    view = torch.zeros(1, 1, 90, 120)
    state = (view, torch.full((1, 2, 90, 120), 4000.0), torch.ones_like(view))
    coordinates = grain.follow(state, None, 2)
    for _ in range(50):
        coordinates = grain.follow(state, coordinates, 2)
    assert coordinates.abs().max() <= PERIOD


@pytest.mark.parametrize("estimator", ESTIMATORS)
def test_a_clip_equals_its_frames(estimator):
    torch.manual_seed(0)
    parts = ResidualGenerator(8, 1, grain=4), Stateless(), SlowTone(), FlowGrain(), DenseMotion(estimator, rows=32)
    stylizer, clip = Stylizer(*parts).eval(), torch.cat([panning((3, 1), 4, (64, 80)), panning((0, 2), 4, (64, 80))])
    whole, state = stylizer(clip)
    single, last = frame_by_frame(stylizer, clip)
    for a, b in zip((whole, *state), (single, *last), strict=True):
        torch.testing.assert_close(a, b)


def test_a_known_flow_goes_with_a_state_too():
    parts = ResidualGenerator(8, 1, grain=4), Stateless(), None, FlowGrain(), DenseMotion(rows=32)
    stylizer, clip = Stylizer(*parts).eval(), panning((3, 1), 4, (64, 80))
    flow = torch.tensor([3.0, 1.0]).view(1, 1, 2, 1, 1).expand(1, 3, 2, 64, 80)
    whole, _ = stylizer(clip, flow=flow)
    first, state = stylizer(clip[:, :2], flow=flow[:, :1])
    rest, _ = stylizer(clip[:, 2:], None, state, flow[:, 1:])
    torch.testing.assert_close(torch.cat([first, rest], 1), whole)


def test_gradients_reach_the_network_through_accumulated_pictures():
    stylizer = Stylizer(ResidualGenerator(8, 1, grain=4), Stateless(), None, FlowGrain(), DenseMotion(rows=32)).train()
    stylizer(panning((2, 0), 3, (64, 80)))[0][:, -1].mean().backward()
    assert stylizer.generator.head.weight.grad.abs().sum() > 0


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ({"estimator": "raft"}, "estimator: 'raft' is not one of dis, dis_fast, lucas_kanade"),
        ({"rows": 8}, "rows: 8 is not 16 or more"),
        ({"history": 1.0}, r"history: 1.0 does not lie in \[0, 1\)"),
    ],
)
def test_arguments_that_cannot_be_are_named(arguments, told):
    with pytest.raises(ValueError, match=told):
        DenseMotion(**arguments)


def test_a_flowing_grain_needs_a_motion():
    config = {
        "generator": {"_target_": "vst.networks.ResidualGenerator", "width": 8, "num_blocks": 1, "grain": 4},
        "temporal": {"_target_": "vst.networks.Stateless"},
        "grain": {"_target_": "vst.networks.FlowGrain", "channels": 4, "cell": 4},
    }
    with pytest.raises(Exception, match="model/grain=flow moves with the motion; choose model/motion=dis"):
        build_stylizer(config)


def test_a_still_noisy_film_is_calmer_than_without_history():
    torch.manual_seed(0)
    generator = ResidualGenerator(8, 1, grain=4)
    with torch.no_grad():
        generator.head.weight.mul_(10)
    noise = torch.Generator().manual_seed(2)
    frame = F.interpolate(texture(64, 80, 3), (64, 80))
    clip = torch.stack([frame + 0.02 * torch.randn(frame.shape, generator=noise) for _ in range(12)], 1)

    def flicker(history):
        stylizer = Stylizer(generator, Stateless(), None, FlowGrain(), DenseMotion(rows=32, history=history)).eval()
        painted = stylizer(clip)[0]
        return float(np.square((painted[:, 7:].diff(dim=1)).detach().numpy()).mean())

    assert flicker(0.8) < 0.2 * flicker(0.0)


@pytest.mark.parametrize("side", [1, 7, 41])
def test_sums_are_those_of_the_windows(side):
    x = torch.rand(2, 1, 45, 60)
    expected = F.avg_pool2d(x.double(), side, 1) * side**2
    torch.testing.assert_close(_sums(x, side).double(), expected, rtol=1e-5, atol=1e-4)
