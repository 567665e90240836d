import cmath
from itertools import pairwise

import pytest
import torch

from tests.networks.behaviour import texture
from vst.networks.similarity import after, camera_motion, joined, moved, parts, still, zoomed


def pose(s=1 + 0j, x=0.0, y=0.0):
    return torch.tensor([[complex(s).real, complex(s).imag, x, y]])


def middle(picture, margin=30):
    return picture[..., margin:-margin, margin:-margin].contiguous()


@pytest.mark.parametrize(
    "motion",
    [
        pose(),
        pose(x=0.1, y=-0.05),
        pose(x=1.3, y=-0.4),
        pose(x=12.0, y=5.0),
        pose(cmath.rect(1.02, 0.015), 4.0, 2.0),
        pose(cmath.rect(0.97, -0.02), -6.0, 3.0),
    ],
)
def test_it_finds_the_motion_of_a_camera(motion):
    before = texture(150, 200)
    now = moved(before, motion)[0]
    found = camera_motion(middle(now), middle(before))
    torch.testing.assert_close(found[:, :2], motion[:, :2], atol=6e-4, rtol=0)
    torch.testing.assert_close(found[:, 2:], motion[:, 2:], atol=0.06, rtol=0)


def test_each_clip_of_a_batch_has_its_own():
    before = torch.cat([texture(150, 200), texture(150, 200, seed=1)])
    motion = torch.cat([pose(x=3.0), pose(y=-2.0)])
    found = camera_motion(middle(moved(before, motion)[0]), middle(before))
    torch.testing.assert_close(found, motion, atol=0.05, rtol=0)


def test_noise_and_light_on_a_tripod_are_no_motion():
    before = middle(texture(150, 200))
    noise = 0.01 * torch.randn(before.shape, generator=torch.Generator().manual_seed(1))
    assert torch.equal(camera_motion(before * 0.97 + 0.02 + noise, before), still(1, before))


def test_what_moves_by_itself_does_not_count():
    before = texture(150, 200)
    now = moved(before, pose(x=2.0, y=1.0))[0]
    now[..., 60:90, 70:110] = texture(150, 200, seed=3)[..., 60:90, 70:110]  # a tenth of what is seen
    torch.testing.assert_close(camera_motion(middle(now), middle(before)), pose(x=2.0, y=1.0), atol=0.1, rtol=0)


@pytest.mark.parametrize("size", [(16, 16), (16, 40), (1, 30)])
def test_flat_and_small_pictures_do_not_move(size):
    flat = torch.full((1, 1, *size), 0.4)
    assert torch.equal(camera_motion(flat, flat), still(1, flat))


def test_motions_follow_each_other():
    first, second = pose(cmath.rect(1.1, 0.2), 3, 4), pose(cmath.rect(0.9, -0.1), -1, 2)
    z = torch.tensor([5.0 + 7.0j])
    (s1, t1), (s2, t2), (s, t) = (parts(motion) for motion in (first, second, after(first, second)))
    torch.testing.assert_close(s * z + t, s2 * (s1 * z + t1) + t2)
    torch.testing.assert_close(joined(*parts(first)), first)
    torch.testing.assert_close(zoomed(first, 2.0), pose(cmath.rect(1.1, 0.2), 6, 8))


@pytest.mark.parametrize("frames", [6, 12, 25])
def test_a_light_that_fades_is_no_motion(frames):
    y, x = torch.meshgrid(torch.linspace(-1, 1, 90), torch.linspace(-1.8, 1.8, 160), indexing="ij")
    spot = torch.exp(-2 * (x**2 + y**2))[None, None]
    for picture in (spot, middle(texture(150, 200))):
        levels = [1 - i / frames for i in range(frames + 1)]
        for brighter, darker in pairwise(levels):
            for now, before in ((darker, brighter), (brighter, darker)):
                found = camera_motion((picture * now * 255).round() / 255, (picture * before * 255).round() / 255)
                assert (found - still(1, found)).abs().max() < 0.3, (now, before, found)


def test_a_camera_is_followed_through_a_change_of_light():
    before = texture(150, 200)
    now = 0.7 * moved(before, pose(x=2.0, y=-1.0))[0] + 0.1
    torch.testing.assert_close(camera_motion(middle(now), middle(before)), pose(x=2.0, y=-1.0), atol=0.06, rtol=0)


def test_what_is_no_camera_is_no_motion():
    nothing = torch.full((1, 1, 40, 60), torch.nan)
    assert torch.equal(camera_motion(nothing, middle(texture(150, 200))[..., :40, :60]), still(1, nothing))
    noise = [torch.rand(1, 1, 64, 64, generator=torch.Generator().manual_seed(n)) for n in range(8)]
    for now, before in pairwise(noise):
        assert 0.8 <= camera_motion(now, before)[:, :2].norm() <= 1.25
