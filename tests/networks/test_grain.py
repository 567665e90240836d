import numpy as np
import pytest
import torch
import torch.nn.functional as F

from tests.networks.behaviour import frame_by_frame, texture
from vst.errors import UserError
from vst.networks import AlignedConvGRU, CameraGrain, ResidualGenerator, SlowTone, Stylizer, build_stylizer
from vst.networks.grain import PERIOD, STEPS, noise_plane


def photograph(height=200, width=260, seed=0):
    return texture(height, width, 3, seed)


def noise_of(grain, clip, cell=4):
    """The noise at each frame (1, 3, H, W) of a clip, the state handed on."""
    state, made = None, []
    for frame in clip:
        state = grain.follow(frame, state)
        size = frame.shape[-2:]
        made.append(grain(state, size, (size[0] // cell, size[1] // cell)))
    return made


def test_the_plane_is_periodic_of_deviation_one_and_always_the_same():
    plane = noise_plane(4)
    assert plane.shape == (1, 4, PERIOD, PERIOD)
    torch.testing.assert_close(plane.std(dim=(2, 3)), torch.ones(1, 4), atol=1e-3, rtol=0)
    fine, coarse = (plane[:, c : c + 1] for c in (0, 2))
    step = [float((p[..., 1:] - p[..., :-1]).std()) for p in (fine, coarse)]
    assert step[1] < step[0] / 2, "the second half is coarser"
    assert np.isclose(float(plane.double().abs().sum()), float(noise_plane(4).double().abs().sum()))


@pytest.mark.parametrize("streak", [0, 8])
def test_the_plane_has_no_seam(streak):
    inner = noise_plane(4, streak)
    for axis in (2, 3):
        steps = (inner.roll(-1, axis) - inner).square().mean((0, 1, 5 - axis)).sqrt()
        assert steps[-1] < steps[:-1].max(), "from the last line to the first as between all others"


def test_a_model_from_before_streaks_keeps_its_grain():
    config = {
        "generator": {"_target_": "vst.networks.ResidualGenerator", "width": 8, "num_blocks": 1, "grain": 4},
        "temporal": {"_target_": "vst.networks.Stateless"},
        "grain": {"_target_": "vst.networks.CameraGrain", "channels": 4, "cell": 4},
    }
    plane = build_stylizer(config).grain.plane
    assert torch.equal(plane, noise_plane(4)) and not torch.equal(plane, noise_plane(4, 8))
    assert float(plane.double().square().sum()) == pytest.approx(262307.35, rel=1e-6)


def test_a_plane_that_inference_made_serves_training_too():
    noise_plane.cache_clear()
    with torch.inference_mode(), torch.device("meta"):
        assert noise_plane(4, 8).device.type == "cpu"
    made = stylizer(grain=CameraGrain(streak=8)).train()
    made(photograph(64, 64)[:, None])[0].mean().backward()
    assert not made.grain.plane.is_inference() and made.generator.stem.weight.grad.abs().sum() > 0


@pytest.mark.parametrize("streak", [-1, 65, 1.5, True])
def test_streaks_that_cannot_be_drawn_are_refused(streak):
    with pytest.raises(ValueError, match="is not a whole number from 0 to 64"):
        CameraGrain(streak=streak)


def test_noise_of_other_streaks_is_not_repeated():
    student, teacher = CameraGrain(streak=8), CameraGrain()
    teacher.repeat(student)
    assert teacher.strength == 0
    other = CameraGrain(streak=8)
    other.repeat(student)
    assert other.strength == student.strength == 1


def test_streaks_are_long_and_bend():
    """Along the direction of least change it changes several times less than across, and directions are all there."""
    inner = noise_plane(4, streak=8)[..., :PERIOD, :PERIOD]
    torch.testing.assert_close(inner.std(dim=(2, 3)), torch.ones(1, 4), atol=1e-3, rtol=0)

    def directions(plane):
        x, y = (plane.roll(-1, axis) - plane.roll(1, axis) for axis in (2, 3))
        structure = [F.avg_pool2d(p, 8) for p in (x * x, y * y, x * y)]
        spread = ((structure[0] - structure[1]).square() + 4 * structure[2].square()).sqrt()
        angle = torch.atan2(2 * structure[2], structure[0] - structure[1]) / 2
        return spread / (structure[0] + structure[1]), angle  # 0 without a direction, 1 for parallel lines

    for channel, least in ((0, 0.7), (2, 0.8)):
        (round_ones, _), (long, angle) = (directions(noise_plane(4, s)[:, channel : channel + 1]) for s in (0, 8))
        assert round_ones.mean() < least - 0.1 and long.mean() > least, (round_ones.mean(), long.mean())
        assert torch.histc(angle, 8, -np.pi / 2, np.pi / 2).min() > 0.05 * angle.numel()


def test_it_moves_with_the_camera():
    grain, photo = CameraGrain().eval(), photograph()
    clip = [photo[..., 8 * t : 8 * t + 120, 12 * t : 12 * t + 160] for t in range(4)]
    made = noise_of(grain, clip)
    for t in range(1, 4):
        shifted = made[t][..., : 30 - 2, : 40 - 3]
        torch.testing.assert_close(shifted, made[t - 1][..., 2:, 3:], atol=0.15, rtol=0)  # two and three places on
        assert (made[t] - made[t - 1]).abs().mean() > 0.5


def test_it_is_as_exact_in_training_of_half_precision():
    grain, photo = CameraGrain(), photograph()
    clip = [photo[..., 5 * t : 5 * t + 120, 7 * t : 7 * t + 160] for t in range(3)]
    expected = noise_of(grain, clip)
    with torch.autocast("cpu", torch.bfloat16):
        found = noise_of(grain, clip)
    assert all(torch.equal(a, b) for a, b in zip(expected, found, strict=True))


def test_it_rests_with_a_camera_at_rest():
    noise = [0.01 * torch.randn(1, 3, 120, 160, generator=torch.Generator().manual_seed(t)) for t in range(3)]
    clip = [photograph(120, 160) + n for n in noise]
    first, *rest = noise_of(CameraGrain().eval(), clip)
    assert all(torch.equal(first, later) for later in rest)


def test_it_keeps_its_deviation_and_its_steps_wherever_it_is():
    grain = CameraGrain()
    for _ in range(5):
        grain.shuffle()
        grain.strength = 1.0
        (made,) = noise_of(grain, [photograph(400, 400)])
        assert 0.75 < made.std() < 1.1
        assert torch.equal((made * STEPS).round(), made * STEPS) and -4 <= made.min() and made.max() < 4


def test_a_zoom_is_forgotten():
    grain = CameraGrain()
    pose, step = torch.tensor([[1.0, 0, 0, 0]]), torch.tensor([[0.99, 0, 0, 0]])
    for _ in range(300):
        pose = grain._carried(pose, step)
    assert 0.4 < pose[:, :2].norm() < 0.8, "grains keep about their size"
    for _ in range(50):
        pose = grain._carried(pose, torch.tensor([[1.0, 0, 900.0, -900.0]]))
    assert (0 <= pose[:, 2:]).all() and (pose[:, 2:] < PERIOD * 4).all()


@pytest.mark.parametrize("enlargement", [0.01, 100.0])
def test_no_zoom_is_too_large_to_be_forgotten(enlargement):
    pose, none = torch.tensor([[enlargement, 0, 0, 0]]), torch.tensor([[1.0, 0, 0, 0]])
    grain = CameraGrain()
    for _ in range(300):
        pose = grain._carried(pose, none)
    assert 0.5 < pose[:, :2].norm() < 2


def test_a_fade_to_black_and_back_leaves_it_where_it_was():
    grain, photo = CameraGrain().eval(), photograph()
    levels = [1 - i / 12 for i in range(13)] + [0.0] * 3 + [i / 12 for i in range(13)]
    first, *_, last = noise_of(grain, [(photo * level * 255).round() / 255 for level in levels])
    assert (first - last).abs().mean() < 0.15


def test_it_fades_where_something_moves_and_comes_back():
    grain, photo, thing = CameraGrain().eval(), photograph(240, 320), photograph(60, 60, seed=5) * 0.6
    state = None
    for t in range(12):
        frame = photo.clone()
        frame[..., 90:150, 60 + 6 * t : 120 + 6 * t] = thing
        state = grain.follow(frame, state)
    noise = grain(state, (240, 320), (60, 80))
    on_it, far = noise[..., 24:36, 34:44].abs().mean(), noise[..., :, 65:].abs().mean()
    assert on_it < 0.25 * far and far > 0.5, (on_it, far)
    for _ in range(120):
        state = grain.follow(frame, state)
    assert grain(state, (240, 320), (60, 80))[..., 24:36, 34:44].abs().mean() > 0.5


def test_it_is_gone_from_what_moves_in_the_second_frame_and_later_fades_slowly():
    photo, thing = photograph(240, 320), photograph(60, 60, seed=5) * 0.6

    def frame(x):
        made = photo.clone()
        if x is not None:
            made[..., 90:150, x : x + 60] = thing
        return made

    def on_it(*clip):
        return noise_of(CameraGrain().eval(), [frame(x) for x in clip])[-1][..., 26:34, 24:30].abs().mean()

    assert on_it(80) > 0.5 and on_it(80, 90) < 0.2 * on_it(80)
    assert on_it(None, None, 80) > 0.6 * on_it(None)
    assert on_it(None, None, 74, 80, 86, 92, 98) < 0.2 * on_it(None)


@pytest.mark.parametrize("mix", [0.0, 0.3, 0.5])
def test_a_blend_or_a_flash_at_the_beginning_does_not_take_it_all(mix):
    """The first frame of a scene may still show the one before, or white."""
    photo, other = photograph(240, 320), photograph(240, 320, seed=3) if mix else torch.ones(1, 3, 240, 320)
    made = noise_of(CameraGrain().eval(), [mix * photo + (1 - mix) * other, photo, photo, photo])
    assert all(noise.abs().mean() > 0.6 * made[0].abs().mean() for noise in made)


def test_tiles_of_places_are_pieces_of_the_whole():
    grain = CameraGrain()
    state = grain.follow(photograph(120, 160), None)
    whole = grain(state, (120, 160), (42, 52), border=24)
    torch.testing.assert_close(whole[..., 6:36, 6:46], grain(state, (120, 160), (30, 40)))


def stylizer(**parts):
    torch.manual_seed(0)
    made = Stylizer(ResidualGenerator(8, 1, grain=4), AlignedConvGRU(8), **{"grain": CameraGrain()} | parts)
    with torch.no_grad():
        for parameter in made.parameters():
            parameter.add_(0.05 * torch.randn_like(parameter))
    return made.eval()


def test_a_stylizer_with_grain_and_tone_paints_clips_as_frames():
    made = stylizer(tone=SlowTone())
    clip = torch.stack([photograph(90, 110)[..., 3 * t : 3 * t + 75, 2 * t : 2 * t + 101] for t in range(4)], 1)
    whole, last = made(clip)
    painted, state = frame_by_frame(made, clip)
    torch.testing.assert_close(whole, painted, atol=1e-5, rtol=0)
    assert len(last) == len(state) == 3 + 1 + 2


def test_the_noise_gives_flat_pictures_something():
    made, flat = stylizer(), torch.full((1, 3, 96, 96), 0.5)
    assert made(flat)[0][..., 30:-30, 30:-30].std() > 1e-3
    made.grain.strength = 0.0
    assert made(flat)[0][..., 30:-30, 30:-30].std(dim=(2, 3)).max() < 1e-5


def test_films_beside_each_other_see_one_plane():
    """A crop of a frame has the noise that the frame has there, if it is told where it lies."""
    grain, frame = CameraGrain(), photograph(120, 160)
    (whole,) = noise_of(grain, [frame])
    with grain.beside((8 / 2, 16 / 2)):
        (crop,) = noise_of(grain, [frame[..., 16:, 8:]])
    torch.testing.assert_close(crop, whole[..., 4:, 2:])
    assert grain.origin == (0.0, 0.0)
    with pytest.raises(KeyError), grain.beside((3.0, 3.0)):
        raise KeyError
    assert grain.origin == (0.0, 0.0)


@pytest.mark.parametrize(
    ("generator", "grain", "said"),
    [
        ({}, {"channels": 4}, "takes 0 channels of grain, the grain has 4; leave out model.generator.grain"),
        ({"grain": 4}, None, "takes 4 channels of grain, the grain has 0"),
        ({"grain": 4, "stride": 8}, {"channels": 4}, "cells of 8 pixels, not of 4; leave out model.grain.cell"),
        ({"grain": 3}, {"channels": 3}, "channels: 3 is not an even number"),
        ({"_target_": "vst.networks.GuidedGenerator"}, {"channels": 4}, "GuidedGenerator takes no grain; choose"),
    ],
)
def test_a_grain_that_does_not_fit_is_told(generator, grain, said):
    config = {
        "generator": {"_target_": "vst.networks.ResidualGenerator", "width": 8, "num_blocks": 1, **generator},
        "temporal": {"_target_": "vst.networks.Stateless"},
        "grain": grain and {"_target_": "vst.networks.CameraGrain", **grain},
    }
    with pytest.raises(UserError, match=said):
        build_stylizer(config)
