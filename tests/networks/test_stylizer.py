import pytest
import torch

from tests.networks.behaviour import assert_far_pixels_do_not_matter, frame_by_frame
from vst.networks import AlignedConvGRU, ConvGRU, ResidualGenerator, Stateless, Stylizer
from vst.networks.layers import LocalContrast, lattice_lowpass


def trained(width=8, recurrent=True, **options):
    """A stylizer whose weights have left their special starting point, as after training."""
    torch.manual_seed(0)
    stylizer = Stylizer(ResidualGenerator(width, 2, **options), ConvGRU(width) if recurrent else Stateless())
    with torch.no_grad():
        for parameter in stylizer.parameters():
            parameter.add_(0.05 * torch.randn_like(parameter))
    return stylizer.eval()


@pytest.mark.parametrize("recurrent", [True, False])
def test_clip_equals_frame_by_frame(recurrent):
    stylizer, clip = trained(recurrent=recurrent), torch.rand(2, 4, 3, 40, 36)
    whole, last = stylizer(clip)
    painted, state = frame_by_frame(stylizer, clip)
    torch.testing.assert_close(whole, painted, atol=1e-5, rtol=0)
    for a, b in zip(last, state, strict=True):
        torch.testing.assert_close(a, b, atol=1e-5, rtol=0)


def test_memory_is_in_the_state_and_nowhere_else():
    stylizer, first, frame = trained(), torch.rand(1, 3, 32, 32), torch.rand(1, 3, 32, 32)
    _, state = stylizer(first)
    fresh, _ = stylizer(frame)
    after, _ = stylizer(frame, None, state)
    again, _ = stylizer(frame)
    assert (fresh - after).abs().max() > 1e-4, "the state must matter"
    assert torch.equal(fresh, again), "a call without state must not remember the calls before it"


@pytest.mark.parametrize("size", [(16, 16), (17, 31), (50, 37), (128, 72)])
@pytest.mark.parametrize("training", [True, False])
def test_any_size_comes_out_as_it_went_in(size, training):
    stylizer = trained().train(training)
    out, _ = stylizer(torch.rand(1, 3, *size))
    assert out.shape[-2:] == size


def test_too_small_frames_are_refused():
    with pytest.raises(ValueError, match="at least 16x16, got 20x12"):
        trained()(torch.rand(1, 3, 12, 20))


def test_the_gate_passes_detail_and_the_residual_repaints_the_rest():
    torch.manual_seed(0)
    generator, frames = ResidualGenerator(8, 2), torch.rand(1, 3, 32, 32)
    smooth = generator.lowpass(frames)
    with torch.no_grad():
        generator.head.weight.zero_()
        for bias, gate in ((0.0, 0.5), (-20.0, 0.0), (20.0, 1.0)):
            generator.head.bias[-1] = bias
            out, _ = Stylizer(generator, Stateless()).train()(frames)
            torch.testing.assert_close(out, smooth + gate * (frames - smooth), atol=1e-5, rtol=0)


def test_local_contrast_is_blind_to_brightness_and_contrast_down_to_the_floor():
    picture = torch.rand(1, 3, 40, 40)
    contrast = LocalContrast(3, floor=0.01)
    torch.testing.assert_close(contrast(0.3 + 0.5 * picture), contrast(picture), atol=0.02, rtol=0)
    assert contrast(1e-4 * picture).abs().max() < 0.02 < 0.5 < contrast(0.2 * picture).std()


def test_what_happens_far_away_does_not_matter():
    assert_far_pixels_do_not_matter(trained())


def test_instance_norm_is_the_control_that_pulses():
    frame = torch.rand(1, 3, 320, 320)
    changed = frame.clone()
    changed[..., :32, :32] = 1.0
    stylizer = trained(norm="instance")
    a, b = stylizer(frame)[0], stylizer(changed)[0]
    assert (a - b)[..., -64:, -64:].abs().max() > 1e-4
    with pytest.raises(ValueError, match="'batch' is neither none nor instance"):
        ResidualGenerator(8, 2, norm="batch")


def test_eval_clamps_and_training_does_not():
    stylizer = trained()
    with torch.no_grad():
        stylizer.generator.head.bias.fill_(3.0)
    frames = torch.rand(1, 3, 32, 32)
    assert stylizer(frames)[0].max() == 1.0
    assert stylizer.train()(frames)[0].max() > 1.0


def test_a_flat_frame_has_no_lattice():
    """Pixel shuffle alone would paint a fixed 4-pixel screen on it."""
    out, _ = trained()(torch.full((1, 3, 64, 64), 0.5))
    interior = out[..., 24:-24, 24:-24]
    assert interior.std(dim=(-1, -2)).max() < 1e-5


def test_lowpass_has_nulls_at_the_lattice_and_keeps_the_mean():
    x = torch.zeros(1, 1, 64, 64)
    for period in (2, 4):
        x[..., ::period] += 1.0
    out = lattice_lowpass(1)(x)[..., 8:-8, 8:-8]
    torch.testing.assert_close(out, torch.full_like(out, x[..., 8:-8, 8:-8].mean()), atol=1e-6, rtol=0)


def test_style_tensor_is_refused():
    with pytest.raises(ValueError, match="style must be None"):
        trained()(torch.rand(1, 3, 32, 32), torch.rand(1, 3, 32, 32))


def test_gru_follows_its_equations():
    """Against the equations of the docstring, written out for one pixel with 1x1 support."""
    torch.manual_seed(1)
    gru = ConvGRU(2)
    with torch.no_grad():
        for p in gru.parameters():
            p.normal_()
    features, h = torch.randn(1, 2, 1, 1), torch.randn(1, 1, 1, 1)
    out, (state,) = gru(features, (h,))
    x, w, c = features[0, 1, 0, 0], gru.gates.weight[:, :, 1, 1], gru.candidate.weight[:, :, 1, 1]
    z = torch.sigmoid(w[0, 0] * x + w[0, 1] * h.item() + gru.gates.bias[0])
    r = torch.sigmoid(w[1, 0] * x + w[1, 1] * h.item() + gru.gates.bias[1])
    candidate = x + c[0, 0] * x + c[0, 1] * r * h.item() + gru.candidate.bias[0]
    expected = (1 - z) * h.item() + z * candidate
    torch.testing.assert_close(state.item(), expected.item(), atol=1e-5, rtol=0)
    assert out[0, 0] == features[0, 0] and out[0, 1] == state[0, 0]


def test_an_aligned_memory_follows_what_moves():
    torch.manual_seed(0)
    memory, features = AlignedConvGRU(8, reach=2), torch.randn(1, 8, 24, 24)
    with torch.no_grad():
        memory.log_sharpness.fill_(4.0)
        memory.bias.zero_()
        _, (h, before) = memory(features, None)
        for shift in ((0, 0), (1, -2), (2, 2)):
            _, (_, key) = memory(features.roll(shift, (-2, -1)), None)
            followed = memory.align(h, before, key)
            error = (followed - h.roll(shift, (-2, -1)))[..., 3:-3, 3:-3].abs().mean()
            assert error < 0.15 * h.abs().mean(), shift
        _, (_, key) = memory(features.roll(7, -1), None)
        lost = memory.align(h, before, key)
        assert (lost - h.roll(7, -1))[..., 8:-3].abs().mean() > 0.5 * h.abs().mean(), "beyond its reach"


def test_aligned_memory_in_a_stylizer_is_its_state():
    torch.manual_seed(0)
    stylizer, clip = Stylizer(ResidualGenerator(8, 1), AlignedConvGRU(8)).eval(), torch.rand(1, 3, 3, 40, 36)
    whole, last = stylizer(clip)
    _, state = stylizer(clip[:, :2])
    out, end = stylizer(clip[:, 2], None, state)
    torch.testing.assert_close(out, whole[:, 2], atol=1e-5, rtol=0)
    assert [tuple(x.shape) for x in end] == [tuple(x.shape) for x in last]
    assert (stylizer(clip[:, 2])[0] - out).abs().max() > 1e-4
    with pytest.raises(ValueError, match="reach: 0 is not 1 or more"):
        AlignedConvGRU(8, reach=0)
    with pytest.raises(ValueError, match="update: 1 does not lie between 0 and 1"):
        ConvGRU(8, update=1)
