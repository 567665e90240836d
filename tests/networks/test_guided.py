import pytest
import torch
import torch.nn.functional as F

from tests.networks.behaviour import assert_far_pixels_do_not_matter
from vst.networks import ConvGRU, GuidedGenerator, Stateless, Stylizer


def trained(width=8):
    torch.manual_seed(0)
    stylizer = Stylizer(GuidedGenerator(width, 1), ConvGRU(width))
    with torch.no_grad():
        for parameter in stylizer.parameters():
            parameter.add_(0.05 * torch.randn_like(parameter))
    return stylizer.eval()


def test_the_gate_passes_detail_and_without_it_means_are_left():
    torch.manual_seed(0)
    generator, frames = GuidedGenerator(8, 1), torch.rand(1, 3, 32, 48)
    smooth = F.interpolate(F.avg_pool2d(frames, 4), scale_factor=4, mode="bilinear")
    with torch.no_grad():
        generator.head.weight.zero_()
        for bias, gate in ((0.0, 0.5), (-20.0, 0.0), (20.0, 1.0)):
            generator.head.bias[-1] = bias
            out, _ = Stylizer(generator, Stateless()).train()(frames)
            torch.testing.assert_close(out, smooth + gate * (frames - smooth), atol=1e-5, rtol=0)


def test_the_residual_is_added_as_it_is_where_it_is_even():
    generator, frames = GuidedGenerator(8, 1), torch.rand(1, 3, 32, 32)
    plain = generator.decode(generator.encode(frames), frames)
    with torch.no_grad():
        generator.head.bias[:12] += torch.tensor([0.1, 0.2, 0.3]).repeat_interleave(4)
        painted = generator.decode(generator.encode(frames), frames)
    expected = torch.tensor([0.1, 0.2, 0.3])[:, None, None].expand(3, 32, 32)
    torch.testing.assert_close((painted - plain)[0], expected, atol=1e-5, rtol=0)


def test_a_flat_frame_has_no_lattice():
    out, _ = trained()(torch.full((1, 3, 96, 96), 0.5))
    assert out[..., 40:-40, 40:-40].std(dim=(-1, -2)).max() < 1e-5


@pytest.mark.parametrize("size", [(16, 16), (17, 31), (50, 37), (128, 72)])
def test_any_size_comes_out_as_it_went_in(size):
    stylizer = trained()
    out, (state,) = stylizer(torch.rand(1, 3, *size))
    assert out.shape[-2:] == size and state.shape[1] == 4


def test_what_happens_far_away_does_not_matter():
    assert_far_pixels_do_not_matter(trained())


def test_every_parameter_learns():
    stylizer, clip = trained().train(), torch.rand(1, 2, 3, 48, 48)
    out, _ = stylizer(clip)
    out.square().mean().backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in stylizer.parameters())
