"""The way there and back: its value, its gradients, and a training that resumes with its second network."""

import pytest
import torch
from torch import nn

from tests.losses.cases import make
from tests.test_task import batches, fit, make_task, same, weights
from vst.checkpoint import load_stylizer
from vst.errors import UserError
from vst.losses import Cycle
from vst.networks import ResidualGenerator, Stateless, Stylizer

MARGIN = 6


class Network(nn.Module):
    generator = temporal = nn.Identity()


class Back(Network):
    """x -> gain * x + offset, in the place of the second network; notes what it is shown."""

    def __init__(self, gain=1.0, offset=0.0):
        super().__init__()
        self.gain, self.offset, self.seen = nn.Parameter(torch.tensor(gain)), offset, []

    def forward(self, frames):
        self.seen.append(frames)
        return self.gain * frames + self.offset, ()


def cycle(back, generator, photo, style):
    """The term for `generator(frames (B, T, 3, h, w)) -> same size`, whose margin is cut off afterwards."""

    def stylise(frames):
        return generator(frames)[..., MARGIN:-MARGIN, MARGIN:-MARGIN]

    frames = nn.functional.pad(photo, (MARGIN,) * 4, mode="reflect")[:, None]
    clip = stylise(frames)
    return Cycle(1.0, back)(*make(clip[:, 0], photo=photo, style=style, clip=clip, frames=frames, stylise=stylise))


def pictures(size=24):
    return torch.rand(2, 3, size, size)


def test_networks_that_undo_each_other_cost_nothing():
    """Also where the way back moves the picture: both are continued beyond the border before they are shown."""
    assert cycle(Back(2.0, -0.5), lambda x: (x + 0.5) / 2, pictures(), pictures()) < 1e-6

    class Shift(Network):
        def forward(self, frames):
            return frames.roll(2, -1), ()

    inside = torch.zeros(2, 3, 24, 24)
    inside[..., 8:16, 8:16] = torch.rand(2, 3, 8, 8)
    assert cycle(Shift(), lambda x: x.roll(-2, -1), inside, inside) == 0
    assert cycle(Shift(), lambda x: x, inside, inside) > 0.01


def test_the_value_is_the_sum_of_both_ways():
    """G adds a and F multiplies by g: |g (x + a) - x| and |g y + a - y|."""
    photo, style, gain, added = pictures(), pictures(16), 0.8, 0.3
    expected = (gain * (photo + added) - photo).abs().mean() + (gain * style + added - style).abs().mean()
    value = cycle(Back(gain), lambda x: x + added, photo, style)
    assert value.item() == pytest.approx(expected.item(), rel=1e-5)


def test_both_networks_learn_to_undo_each_other():
    gain, back = torch.tensor(0.5, requires_grad=True), Back(0.5)
    parameters = [gain, back.gain]
    for _ in range(200):
        value = cycle(back, lambda x: gain * x, pictures(), pictures())
        slopes = torch.autograd.grad(value, parameters)
        assert all(slope < 0 for slope in slopes) or value < 0.1, "both too dark: both have to grow"
        with torch.no_grad():
            for parameter, slope in zip(parameters, slopes, strict=True):
                parameter -= 0.02 * slope
    assert (gain * back.gain).item() == pytest.approx(1, abs=0.05)


def test_the_way_back_sees_the_result_and_the_style_beyond_their_borders():
    back, style = Back(), pictures(16)
    cycle(back, lambda x: 1 - x, torch.full((2, 3, 24, 24), 0.25), style)
    there, painting = back.seen
    assert there.shape[-2:] == (24 + 2 * MARGIN,) * 2 and (there == 0.75).all()
    assert torch.equal(painting[..., MARGIN:-MARGIN, MARGIN:-MARGIN], style)


@pytest.mark.parametrize(
    ("network", "what"),
    [
        (None, "null"),
        (ResidualGenerator(8, 1), "a ResidualGenerator"),
        (Stylizer(ResidualGenerator(8, 1), None), "a Stylizer"),
    ],
)
def test_what_is_no_stylizer_is_refused(network, what):
    with pytest.raises(ValueError, match=f"network: {what} is no way back; give a whole vst.networks.Stylizer"):
        Cycle(1.0, network)


# ----------------------------------------------------------------------------------------------------
# In training


def task_with_cycle():
    torch.manual_seed(0)
    task = make_task()
    task.losses.terms["cycle"] = Cycle(1.0, Stylizer(ResidualGenerator(8, 1), Stateless()))
    return task


def test_the_second_network_is_trained_resumed_bit_for_bit_and_not_shipped(tmp_path):
    straight, resumed = task_with_cycle(), task_with_cycle()
    before = weights(straight.losses.terms["cycle"].network)
    fit(straight, tmp_path)
    trained = weights(straight.losses.terms["cycle"].network)
    assert before.keys() == trained.keys() and not any(
        torch.equal(before[name], trained[name])
        for name, _ in straight.losses.terms["cycle"].network.named_parameters()
    ), "every weight moves"
    assert straight.trainer.callback_metrics["loss/cycle"] > 0 and "val/cycle" in straight.trainer.callback_metrics

    trainer = fit(resumed, tmp_path / "resumed", resume=tmp_path / "epoch=0.ckpt")
    assert same(weights(straight), weights(resumed))
    for a, b in zip(trainer.optimizers, straight.trainer.optimizers, strict=True):
        assert len(a.state) == len(b.state) > 0
        for left, right in zip(a.state.values(), b.state.values(), strict=True):
            assert torch.equal(left["exp_avg"], right["exp_avg"]) and torch.equal(
                left["exp_avg_sq"], right["exp_avg_sq"]
            )
    ways = sum(1 for _ in straight.stylizer.parameters()) + sum(1 for _ in straight.losses.terms.parameters())
    assert len(trainer.optimizers[0].state) == ways, "Adam knows both networks"

    content = straight.stylizer_content()
    assert content["weights"].keys() == load_stylizer(tmp_path / "epoch=1.ckpt").state_dict().keys()
    assert not any("cycle" in name for name in content["weights"])


def test_a_way_back_that_diverged_stops_the_run(tmp_path):
    task = task_with_cycle()
    before = weights(task.stylizer)
    with torch.no_grad():
        task.losses.terms["cycle"].network.generator.head.bias.fill_(float("inf"))
    with pytest.raises(UserError, match=r"^batch 1 of the run diverged, generator: not finite: loss/cycle; lower"):
        fit(task, tmp_path, data=batches(1))
    assert same(before, weights(task.stylizer))
