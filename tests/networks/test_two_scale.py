"""The generator that thinks at a quarter of the resolution and paints at a half."""

import pytest
import torch

from tests.networks.behaviour import assert_far_pixels_do_not_matter, frame_by_frame, texture
from vst.networks import DenseMotion, FlowGrain, Stateless, Stylizer, TwoScaleGenerator


def generator(grain=0, strong=True, seed=0):
    torch.manual_seed(seed)
    made = TwoScaleGenerator(16, 3, half=16, grain=grain).eval()
    if strong:
        with torch.no_grad():
            made.head.weight.mul_(30)
            made.up.weight.normal_(0, 0.1)  # training has parted the phases of the shuffle
    return made


@pytest.mark.parametrize("size", [(64, 64), (90, 122), (17, 33)])
def test_pictures_have_the_size_of_their_frames(size):
    stylizer = Stylizer(generator(4), Stateless(), None, FlowGrain(4, 2), DenseMotion(rows=32)).eval()
    painted, state = stylizer(torch.rand(2, 3, *size))
    assert painted.shape == (2, 3, *size) and painted.min() >= 0 and painted.max() <= 1
    assert stylizer(torch.rand(2, 3, *size), None, state)[0].shape == (2, 3, *size)


def test_a_flat_film_shows_no_lattice():
    """Whatever its weights: each shuffle is followed by a low-pass with nulls at the frequencies of its phases."""
    frame = torch.full((1, 3, 128, 128), 0.5)
    painter = generator()
    with torch.no_grad():
        painted = painter.decode(painter.encode(frame), frame)[..., 40:-40, 40:-40]
        flat = painted.std(dim=(2, 3))
        assert (painted.mean(dim=(2, 3)) - 0.5).abs().max() > 0.02, "it paints"
        assert flat.max() < 1e-4
        painter.smooth = torch.nn.Identity()
        lattice = painter.decode(painter.encode(frame), frame)[..., 40:-40, 40:-40].std(dim=(2, 3))
    assert lattice.max() > 100 * flat.max(), "without the low-pass there is one"


def test_a_new_one_is_nearly_the_smooth_film():
    frame = texture(64, 64, 3)
    made = generator(strong=False)
    painted = made.decode(made.encode(frame), frame)
    assert (painted - frame).abs().mean() < 0.1


def test_far_pixels_do_not_matter():
    assert_far_pixels_do_not_matter(Stylizer(generator(), Stateless()).eval())


def test_grain_changes_the_picture():
    made, frame = generator(4), torch.full((1, 3, 64, 64), 0.5)
    plain = made.decode(made.encode(frame), frame)
    grained = made.decode(made.encode(frame, torch.randn(1, 4, 32, 32)), frame)
    assert (grained - plain).abs().mean() > 0.002


def test_a_clip_equals_its_frames():
    stylizer = Stylizer(generator(), Stateless()).eval()
    clip = torch.rand(1, 3, 3, 48, 48)
    torch.testing.assert_close(stylizer(clip)[0], frame_by_frame(stylizer, clip)[0])
