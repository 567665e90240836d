import copy
from itertools import pairwise

import pytest
import torch
from torch import Tensor

from vst.networks import ColourTransport, ResidualGenerator, SlowTone, Stateless, Stylizer
from vst.networks.transport import COLOURS, median_cut


def painting(seed: int = 0) -> Tensor:
    """Much dark blue, some blue and little yellow: more than mean and deviation of each channel tell of."""
    torch.manual_seed(seed)
    share = torch.nn.functional.interpolate(torch.rand(1, 1, 9, 9), (64, 64), mode="bilinear")[0] ** 3
    dark, blue, yellow = (
        torch.tensor(c)[:, None, None] for c in ([0.05, 0.05, 0.3], [0.2, 0.4, 0.8], [0.95, 0.8, 0.2])
    )
    picture = dark + (blue - dark) * (2 * share).clamp(max=1) + (yellow - blue) * (2 * share - 1).clamp(min=0)
    return (picture + 0.02 * torch.randn(3, 64, 64)).clamp(0, 1)


def photograph(seed: int = 1) -> Tensor:
    torch.manual_seed(seed)
    grey = torch.nn.functional.interpolate(torch.rand(1, 1, 6, 8), (96, 128), mode="bicubic").clamp(0, 1)
    return (grey * torch.tensor([0.6, 0.7, 0.5]).view(1, 3, 1, 1) + 0.02 * torch.rand(1, 3, 96, 128)).clamp(0, 1)


def distance(a: Tensor, b: Tensor) -> float:
    """Sliced Wasserstein-1 distance of the colours of two pictures (3, H, W), by directions of its own."""
    directions = torch.nn.functional.normalize(torch.randn(64, 3, generator=torch.Generator().manual_seed(7)), dim=1)
    levels = torch.linspace(0.005, 0.995, 100)
    a, b = (torch.quantile(picture.flatten(1).T @ directions.T, levels, dim=0) for picture in (a, b))
    return (a - b).abs().mean().item()


@pytest.fixture
def tone() -> ColourTransport:
    made = ColourTransport()
    made.set_style([painting()])
    return made.eval()


def test_a_frame_takes_the_colours_of_the_style_and_more_of_them_than_by_two_moments(tone):
    slow = SlowTone().eval()
    slow.set_style([painting()])
    frame = photograph()
    left = [distance(made(frame)[0][0], painting()) for made in (tone, slow)]
    assert left[0] < 0.7 * left[1] < distance(frame[0], painting())


def test_the_style_itself_stays_about_as_it_is(tone):
    made = tone(painting()[None])[0][0]
    assert (made - painting()).abs().mean() < 0.03


def test_the_map_has_no_seams(tone):
    """Neighbouring colours stay neighbours: no step of the photograph becomes twelve times as large."""
    ramp = torch.linspace(0, 1, 512).view(1, 1, 1, -1).repeat(1, 3, 1, 1)
    _, film = tone(photograph())
    assert tone.mapped(ramp, film).diff(dim=-1).abs().max() < 12 / 511


def test_a_flat_film_is_not_blown_up():
    torch.manual_seed(0)
    tone = ColourTransport(max_gain=2.0)
    tone.set_style([painting()])
    flat = 0.5 + 0.001 * torch.rand(1, 3, 32, 32)
    toned, _ = tone(flat)
    assert (toned.std((2, 3)) <= 2.5 * flat.std((2, 3))).all()


def test_black_becomes_black_and_a_film_fades_into_it(tone):
    frame, film, light = photograph(), None, []
    for share in (1.0, 1.0, 0.7, 0.4, 0.2, 0.1, 0.05, 0.0):
        toned, film = tone(share * frame, film)
        light.append(toned.mean().item())
    assert light[-1] < 1e-3 and all(after <= before + 0.01 for before, after in pairwise(light[1:]))
    assert tone(torch.zeros(1, 3, 32, 32))[0].max() < 1e-3


def test_the_statistics_follow_the_film_at_their_pace():
    tone = ColourTransport(pace=0.1).eval()
    tone.set_style([painting()])
    first = tone.observe(photograph())
    second = first + 0.01 * torch.randn(first.shape)
    second[:, :3] = first[:, :3]
    followed = tone.follow(second, tone.follow(first, None))
    torch.testing.assert_close(followed[:, :-2], first + 0.1 * (second - first), atol=1e-4, rtol=1e-4)


def poor_beginnings() -> dict[str, list[Tensor]]:
    scene, lights = photograph(), torch.linspace(0, 1, 25)[:-1]
    return {
        "a black frame": [torch.zeros_like(scene)],
        "a fade": [share * scene for share in lights],
        "a grey card": [torch.full_like(scene, 0.5)] * 5,
        "white": [torch.full_like(scene, 0.98)] * 5,
    }


@pytest.mark.parametrize("name", poor_beginnings())
def test_a_poor_beginning_is_soon_left_behind(name):
    tone, scene, film = ColourTransport().eval(), photograph(), None
    tone.set_style([painting()])
    expected = tone(scene)[0]
    for frame in [*poor_beginnings()[name], *[scene] * 50]:
        made, film = tone(frame, film)
    assert (made - expected).abs().mean() < 8 / 255


def test_frames_of_a_batch_do_not_see_each_other(tone):
    frames = torch.cat([photograph(1), photograph(2)])
    both, film = tone(frames)
    for n in range(2):
        alone, own = tone(frames[n : n + 1])
        torch.testing.assert_close(both[n : n + 1], alone, atol=1.1 / 255, rtol=0)
        torch.testing.assert_close(film[n : n + 1], own, atol=1e-3, rtol=1e-3)


def test_gradients_reach_the_frames():
    tone = ColourTransport().train()
    tone.set_style([painting()])
    frame = photograph().requires_grad_()
    tone(frame)[0].sum().backward()
    assert frame.grad.isfinite().all() and frame.grad.abs().max() > 0


def test_median_cut_stands_for_equal_shares():
    torch.manual_seed(0)
    pixels = torch.cat([torch.rand(3000, 3) * 0.1, 0.9 + torch.rand(1000, 3) * 0.1])
    colours = median_cut(pixels, COLOURS)
    assert colours.shape == (COLOURS, 3)
    assert (colours.mean(1) > 0.5).float().mean().item() == pytest.approx(0.25, abs=0.02)
    torch.testing.assert_close(colours.mean(0), pixels.mean(0), atol=0.01, rtol=0)


def test_pictures_of_a_style_count_the_same_whatever_their_size():
    tone = ColourTransport()
    tone.set_style([torch.zeros(3, 16, 16), torch.ones(3, 64, 200)])
    assert tone.colours.mean().item() == pytest.approx(0.5, abs=0.01)


def test_it_lies_in_the_weights_of_a_stylizer():
    made = Stylizer(ResidualGenerator(8, 1), Stateless(), ColourTransport())
    made.tone.set_style([painting()])
    other = Stylizer(ResidualGenerator(8, 1), Stateless(), ColourTransport())
    other.load_state_dict(made.state_dict())
    torch.testing.assert_close(other.tone.colours, made.tone.colours)
    made.eval(), other.eval()
    clip = photograph()[:, None].expand(-1, 2, -1, -1, -1)
    torch.testing.assert_close(made(clip)[0], other(clip)[0])


def test_a_grade_gives_the_painted_film_the_colours_that_painting_took_from_it(tone):
    torch.manual_seed(0)
    generator, grade = ResidualGenerator(8, 1), ColourTransport()
    grade.set_style([painting()])
    with torch.no_grad():
        generator.head.bias[:-1] = 0.2  # it paints everything lighter
    pale, graded = (Stylizer(generator, Stateless(), tone, grade=part).eval() for part in (None, grade))
    clip = torch.stack([photograph(seed) for seed in (1, 1, 2)], 1)
    with torch.no_grad():
        left = [distance(model(clip)[0][0, 0], painting()) for model in (graded, pale)]
        whole, state = graded(clip)
        first, kept = graded(clip[:, :1])
        rest, last = graded(clip[:, 1:], None, kept)
    assert left[0] < 0.5 * left[1]
    torch.testing.assert_close(torch.cat([first, rest], 1), whole)
    assert len(state) == len(last) == 2 and all(
        torch.allclose(*both, atol=1e-3) for both in zip(state, last, strict=True)
    )
    pale.train(), graded.train()
    assert torch.equal(pale(clip)[0], graded(clip)[0]), "crops in training have not the colours of a film"


def test_another_style_is_noticed():
    torch.manual_seed(0)
    frames, pictures = torch.rand(1, 3, 48, 64), [torch.rand(3, 64, 64) ** power for power in (1, 3)]
    changed, loaded, fresh = (ColourTransport() for _ in range(3))
    fresh.set_style(pictures[1:])
    with torch.inference_mode():
        for tone in (changed, loaded):
            tone.set_style(pictures[:1])
            assert not torch.allclose(tone.observe(frames), fresh.observe(frames), atol=1e-2)
    changed.set_style(pictures[1:])
    loaded.load_state_dict(fresh.state_dict())
    for tone in (changed, loaded, copy.deepcopy(loaded)):
        assert torch.equal(tone.observe(frames), fresh.observe(frames))
