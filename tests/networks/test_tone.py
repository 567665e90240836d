import pytest
import torch

from tests.networks.behaviour import frame_by_frame
from vst.networks import ConvGRU, ResidualGenerator, SlowTone, Stylizer, build_stylizer
from vst.networks.tone import frame_moments


def moments_of(frames):
    return frames.mean((2, 3)), frames.std((2, 3), correction=0)


def test_a_frame_takes_the_mean_and_deviation_of_the_style():
    torch.manual_seed(0)
    style, frame = 0.2 + 0.4 * torch.rand(3, 40, 50), 0.3 + 0.3 * torch.rand(1, 3, 48, 48)
    tone = SlowTone()
    tone.set_style([style])
    toned, _ = tone(frame)
    for ours, theirs in zip(moments_of(toned), moments_of(style[None]), strict=True):
        torch.testing.assert_close(ours, theirs, atol=1e-5, rtol=0)


def test_pictures_of_a_style_count_the_same_whatever_their_size():
    tone = SlowTone()
    tone.set_style([torch.zeros(3, 16, 16), torch.ones(3, 64, 200)])
    torch.testing.assert_close(tone.mean, torch.full((3,), 0.5))
    torch.testing.assert_close(tone.deviation, torch.full((3,), 0.5))


def test_the_style_itself_stays_as_it_is():
    torch.manual_seed(0)
    style, tone = torch.rand(3, 32, 32), SlowTone()
    tone.set_style([style])
    torch.testing.assert_close(tone(style[None])[0][0], style, atol=1e-5, rtol=0)


def test_moments_follow_the_film_at_their_pace():
    tone, dark, bright = SlowTone(pace=0.1), torch.full((1, 3, 16, 16), 0.5), torch.full((1, 3, 16, 16), 0.6)
    _, moments = tone(dark)
    for n in range(1, 30):
        _, moments = tone(bright, moments)
        expected = 0.6 - 0.1 * 0.9**n
        assert moments[0, 0].item() == pytest.approx(expected, abs=1e-5), n


def test_a_flat_film_is_not_blown_up():
    torch.manual_seed(0)
    flat = 0.5 + 0.001 * torch.rand(1, 3, 32, 32)
    toned, _ = SlowTone(max_gain=2.0)(flat)
    for ours, before in zip(moments_of(toned)[1:], moments_of(flat)[1:], strict=True):
        assert (ours <= 2.0001 * before).all()


@pytest.fixture(params=[(0.45, 0.2), (0.75, 0.15), (0.2, 0.15)], ids=["middle", "pale", "dark"])
def tone(request):
    tone = SlowTone().eval()
    tone.mean.fill_(request.param[0])
    tone.deviation.fill_(request.param[1])
    return tone


def lights(tone, shares):
    """Mean of what becomes of a picture shown with these shares of its light, frame after frame."""
    torch.manual_seed(0)
    picture = 0.1 + 0.8 * torch.rand(1, 3, 36, 64)
    toned, moments = [], None
    for share in shares:
        frame, moments = tone(share * picture, moments)
        toned.append(frame.mean().item())
    return torch.tensor(toned)


@pytest.mark.parametrize("frames", [25, 100])
def test_a_film_that_fades_out_becomes_black_and_stays_so(tone, frames):
    toned = lights(tone, [1.0] * 10 + torch.linspace(1, 0, frames).tolist() + [0.0] * 50)
    assert (toned.diff() <= 1e-3).all() and toned[0] > 0.15
    assert toned[10 + round(0.9 * frames)] < 0.6 * toned[0] and toned[-50:].max() < 1e-3


def test_a_film_that_fades_in_begins_black_and_does_not_flash(tone):
    toned = lights(tone, [0.0] * 10 + torch.linspace(0, 1, 25).tolist() + [1.0] * 200)
    assert toned[:10].max() < 1e-3 and toned.diff().max() < 0.15
    assert toned.max() - toned[-1] < 0.12
    assert toned[-1].item() == pytest.approx(tone.mean[0].item(), abs=0.02)


def test_noise_of_a_black_film_stays_dark(tone):
    torch.manual_seed(0)
    toned, _ = tone(0.01 * torch.rand(1, 3, 36, 64))
    assert toned.mean() < 0.15 * tone.mean[0] + 0.02


def test_an_object_that_enters_does_not_make_the_film_pulse(tone):
    torch.manual_seed(0)
    picture = 0.1 + 0.6 * torch.rand(1, 3, 36, 64)
    darkened, lit = picture.clone(), picture.clone()
    darkened[..., :28] *= 0.2
    lit[..., :16] = 0.75
    for entered in (darkened, lit):
        before, moments = tone(picture)
        after, _ = tone(entered, moments)
        same = slice(30, None)
        assert (after - before)[..., same].abs().max() < 0.07 and not torch.equal(entered, picture)


def test_frames_of_a_batch_do_not_see_each_other():
    torch.manual_seed(0)
    tone, frames = SlowTone(), torch.rand(2, 3, 32, 32)
    both, moments = tone(frames)
    for n in range(2):
        alone, own = tone(frames[n : n + 1])
        torch.testing.assert_close(both[n : n + 1], alone)
        torch.testing.assert_close(moments[n : n + 1], own)


def test_samples_stand_for_the_frame():
    torch.manual_seed(0)
    frame = torch.nn.functional.interpolate(torch.rand(1, 3, 9, 16), size=(720, 1280), mode="bicubic").clamp(0, 1)
    whole = torch.cat([frame.mean((2, 3)), frame.square().mean((2, 3))], 1)
    torch.testing.assert_close(frame_moments(frame), whole, atol=0.01, rtol=0)


@pytest.mark.parametrize(("option", "value"), [("pace", 0.0), ("pace", 1.5), ("max_gain", 0.5)])
def test_senseless_values_are_refused(option, value):
    with pytest.raises(ValueError, match=option):
        SlowTone(**{option: value})


def test_a_stylizer_with_tone_carries_it_in_its_state():
    torch.manual_seed(0)
    stylizer = Stylizer(ResidualGenerator(8, 1), ConvGRU(8), SlowTone(pace=0.5)).eval()
    clip = torch.rand(2, 3, 3, 32, 40) * torch.tensor([0.3, 0.6, 1.0]).view(1, 3, 1, 1, 1)
    whole, last = stylizer(clip)
    painted, state = frame_by_frame(stylizer, clip)
    torch.testing.assert_close(whole, painted, atol=1e-5, rtol=0)
    assert len(last) == len(state) == 2
    torch.testing.assert_close(last[0], state[0])
    fresh, _ = stylizer(clip[:, 2])
    assert (fresh - painted[:, 2]).abs().max() > 1e-3, "the tone of the film so far must matter"


def test_a_model_names_its_tone_or_has_none():
    config = {
        "generator": {"_target_": "vst.networks.ResidualGenerator", "width": 8, "num_blocks": 1},
        "temporal": {"_target_": "vst.networks.Stateless"},
    }
    assert build_stylizer(config).tone is None
    assert build_stylizer(config | {"tone": None}).tone is None
    toned = build_stylizer(config | {"tone": {"_target_": "vst.networks.SlowTone", "pace": 0.2}})
    assert toned.tone.pace == 0.2
