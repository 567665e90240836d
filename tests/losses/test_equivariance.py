import pytest
import torch
import torch.nn.functional as F

from tests.losses.cases import make
from vst.losses import Identity, NoiseConsistency, PingPong, ShiftEquivariance
from vst.networks import CameraGrain

MARGIN = 6


def run(term, generator, frames, beside=False, **kwargs):
    """The term's value for `generator(frames (B, T, 3, h, w)) -> same size`, whose margin is cut off afterwards.

    `beside`: it takes the offset of its frames as well.
    """

    def stylise(x, offset=(0.0, 0.0)):
        grained = (x, offset) if beside else (x,)
        result = generator(*grained)
        return result[..., MARGIN : x.shape[-2] - MARGIN, MARGIN : x.shape[-1] - MARGIN]

    clip = stylise(frames)
    return term(*make(clip[:, 0], clip=clip, frames=frames, stylise=stylise, **kwargs))


def clip_of(length=3, batch=2, size=40):
    return torch.rand(batch, length, 3, size, size)


# --- shifts


def test_convolutions_move_with_their_picture():
    weight = torch.randn(3, 3, 5, 5) / 5

    def blur(x):
        return F.conv2d(x.flatten(0, 1), weight, padding=2).unflatten(0, x.shape[:2])

    for _ in range(10):
        assert run(ShiftEquivariance(1.0), blur, clip_of()) < 1e-10, "the margin hides the border"


def test_a_lattice_costs_what_it_changes():
    """Columns of +a and -a added in turn: an odd shift sees a difference of 2a everywhere, an even one none."""

    def lattice(x):
        return x + 0.1 * (1 - 2 * (torch.arange(x.shape[-1]) % 2))

    values = {round(run(ShiftEquivariance(1.0), lattice, clip_of(1)).item(), 5) for _ in range(20)}
    assert values == {0.0, 0.04}


def test_every_shift_is_drawn_but_none():
    seen, frames = set(), clip_of(1)
    for _ in range(200):
        run(ShiftEquivariance(1.0, reach=2), lambda x: seen.add(tuple(x.shape[-2:])) or x, frames)
    assert {(40 - h, 40 - w) for h, w in seen} == {(i, j) for i in range(3) for j in range(3)}  # 0, 0 is the clip's own
    values = [run(ShiftEquivariance(1.0, reach=1), lambda x: x * 0 + sum(x.shape[-2:]), frames) for _ in range(30)]
    assert min(values) > 0


def test_a_crop_sees_the_grain_of_its_clip():
    """Else the term would teach to leave the grain alone."""
    grain = CameraGrain(2, cell=1)

    def grained(x, offset):
        with grain.beside(offset):
            noise = grain(grain.follow(x[:, 0], None), x.shape[-2:], x.shape[-2:])
        return x + noise[:, None, :1]

    for _ in range(5):
        assert run(ShiftEquivariance(1.0), grained, clip_of(1), beside=True) < 1e-10
    assert run(ShiftEquivariance(1.0), lambda x: grained(x, (0.0, 0.0)), clip_of(1)) > 0.01


# --- noise


def test_noise_costs_its_variance_times_the_squared_gain():
    frames = clip_of(2, batch=4, size=60)
    value = run(NoiseConsistency(1.0, sigma=(0.02, 0.02)), lambda x: 3 * x, frames)
    assert value.item() == pytest.approx((3 * 0.02) ** 2, rel=0.03)
    assert run(NoiseConsistency(1.0), lambda x: 0 * x + 0.5, frames) == 0


def test_each_clip_has_its_own_strength_of_noise_within_the_range():
    frames = clip_of(1, batch=200, size=20)
    deviations = []

    def watch(x):
        deviations.append((x - frames).std(dim=(1, 2, 3, 4)))
        return x

    run(NoiseConsistency(1.0, sigma=(0.01, 0.02)), watch, frames)
    drawn = deviations[-1]
    assert 0.0085 < drawn.min() < 0.012 and 0.018 < drawn.max() < 0.0215


# --- ping-pong


def test_a_generator_without_memory_plays_ping_pong_for_nothing():
    assert run(PingPong(1.0), lambda x: x.square(), clip_of(4)) == 0


def test_drift_is_counted_by_the_frames_between_two_visits():
    """A memory that adds d with every frame: o_t and o'_t are 2 (T - t) frames apart."""

    def drifting(x):
        return x + 0.01 * torch.arange(x.shape[1]).view(-1, 1, 1, 1)

    length = 4
    expected = 0.01 * sum(2 * (length - t) for t in range(1, length)) / (length - 1)
    assert run(PingPong(1.0), drifting, clip_of(length)).item() == pytest.approx(expected, rel=1e-4)


def test_ping_pong_shows_the_clip_forwards_and_then_back():
    frames, shown = clip_of(3), []
    run(PingPong(1.0), lambda x: shown.append(x) or x, frames)
    assert torch.equal(shown[-1], frames[:, [0, 1, 2, 1, 0]])


def test_ping_pong_teaches_both_directions():
    """The gradient of |o_1 - o'_1| for a result that leaks the frame index must be to leak less."""
    leak = torch.tensor(0.5, requires_grad=True)
    run(PingPong(1.0), lambda x: x + leak * torch.arange(x.shape[1]).view(-1, 1, 1, 1), clip_of(3)).backward()
    assert leak.grad > 0


# --- identity


def test_identity_asks_that_paintings_stay():
    style = torch.rand(2, 3, 30, 30)
    assert run(Identity(1.0), lambda x: x, clip_of(), style=style) == 0
    assert run(Identity(1.0), lambda x: x + 0.25, clip_of(), style=style).item() == pytest.approx(0.25)
    assert run(Identity(1.0), lambda x: x, clip_of(), style=torch.rand(2, 3, 5, 5)) == 0, "smaller than the margin"


# --- all


TERMS = [ShiftEquivariance(1.0), NoiseConsistency(1.0), PingPong(1.0), Identity(1.0)]


@pytest.mark.parametrize("term", TERMS, ids=lambda term: type(term).__name__)
def test_the_generator_is_taught(term):
    gain = torch.tensor(2.0, requires_grad=True)

    def generator(x):
        columns, rows = torch.arange(x.shape[-1]).mul(1.3).sin(), torch.arange(x.shape[-2])[:, None].mul(1.7).sin()
        return x + gain * (x + columns + rows + 0.1 * torch.arange(x.shape[1]).view(-1, 1, 1, 1))

    run(term, generator, clip_of(), style=torch.rand(2, 3, 20, 20)).backward()
    assert gain.grad > 0


@pytest.mark.parametrize(
    ("kind", "arguments", "message"),
    [
        (ShiftEquivariance, {"reach": 0}, "reach: 0"),
        (NoiseConsistency, {"sigma": (0.02, 0.01)}, r"sigma: needs two numbers.*got \[0.02, 0.01\]"),
        (NoiseConsistency, {"sigma": (0.01,)}, "sigma: needs two numbers"),
    ],
)
def test_arguments_out_of_range_are_refused(kind, arguments, message):
    with pytest.raises(ValueError, match=message):
        kind(1.0, **arguments)
