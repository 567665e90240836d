"""The weighted sum, the terms on a picture's regularity, and all terms together on a real generator."""

import functools
import inspect

import pytest
import torch

import vst.losses
from tests.losses.cases import make, moving
from tests.losses.test_perceptual import Colours
from vst.batch import ClipBatch
from vst.curriculum import Curriculum, Phase
from vst.losses import Adversarial, LossSet, LossTerm, RangePenalty, TotalVariation
from vst.networks import PatchDiscriminator, ResidualGenerator, Stateless, Stylizer, build_stylizer
from vst.rules import LEAST_FRAMES
from vst.schedules import Constant, Ramp
from vst.task import StyleTransferTask

TERMS = {
    name: kind
    for name, kind in vars(vst.losses).items()
    if inspect.isclass(kind) and issubclass(kind, LossTerm) and kind is not LossTerm
}


# --- the sum


class Always(LossTerm):
    def forward(self, batch, outputs):
        assert self.weight_at(1.0) != 0, "a term without weight must not be computed"
        return torch.tensor(2.0)


class Film(Always):
    least_frames = 3


def test_total_is_the_weighted_sum_and_values_are_unweighted():
    losses = LossSet({"a": Always(3.0), "b": Always(0.5, Ramp(0.0, 0.5)), "off": Always(0.0)})
    total, values = losses(*make(torch.rand(1, 3, 8, 8)), progress=0.25)
    assert total == 3.0 * 2 + 0.5 * 0.5 * 2
    assert values == {"a": 2.0, "b": 2.0}


@pytest.mark.parametrize(("length", "names"), [(2, {"picture"}), (3, {"picture", "film"})])
def test_terms_that_need_more_frames_than_there_are_wait(length, names):
    clip = torch.rand(1, length, 3, 8, 8)
    _, values = LossSet({"picture": Always(1.0), "film": Film(1.0)})(*make(clip[:, 0], clip=clip), progress=1.0)
    assert set(values) == names


# --- regularity


def test_total_variation_of_stripes():
    stripes = torch.zeros(1, 3, 16, 16)
    stripes[..., ::2] = 1.0
    assert TotalVariation(1.0)(*make(stripes)) == pytest.approx(1.0, rel=0.1)
    assert TotalVariation(1.0)(*make(torch.full((1, 3, 16, 16), 0.3))) == 0


def test_range_penalty_counts_only_what_lies_outside():
    clip = torch.tensor([-0.5, 0.2, 1.0, 1.25]).view(1, 1, 1, 2, 2).repeat(1, 1, 3, 1, 1)
    assert RangePenalty(1.0)(*make(clip[:, 0], clip=clip)) == pytest.approx((0.5 + 0.25) / 4)


# --- every term, on the outputs of a real task


@functools.cache
def task():
    torch.manual_seed(0)
    model = {
        "generator": {"_target_": "vst.networks.ResidualGenerator", "width": 8, "num_blocks": 1},
        "temporal": {"_target_": "vst.networks.ConvGRU", "channels": 8},
    }
    losses = LossSet({"adversarial": Adversarial(1.0)})
    return StyleTransferTask(
        build_stylizer(model),
        PatchDiscriminator(8, 2),
        losses,
        {},
        Constant(),
        Curriculum({"clips": Phase(share=1.0, frames=3)}),
        model_config=model,
        style_name="test",
        margin=8,
    )


def real_batch(length):
    clip, flow, valid = (x.repeat(2, 1, 1, 1, 1) for x in moving(shift=2, length=length, size=56))
    return ClipBatch(clip, torch.rand(2, 3, 40, 40), ["a", "b"], flow, valid)


def value_of(term, batch):
    batch, outputs = task().outputs(task().stylizer, batch)
    height, width = (side // 4 for side in outputs.still.shape[-2:])
    outputs.along = torch.full((len(outputs.still), 2, height, width), 0.5**0.5)  # noise with a direction
    losses = LossSet({"term": term}, Colours() if term.taps else None)
    total, values = losses(batch.interior(8), outputs, progress=1.0)
    return total, values


def another_stylizer():
    return Stylizer(ResidualGenerator(8, 1), Stateless())


GIVEN = {"taps": lambda: ["relu1_1", "relu2_1"], "network": another_stylizer, "teacher": another_stylizer}


def small(kind):
    own = inspect.signature(kind).parameters
    return kind(1.0, **{name: make_it() for name, make_it in GIVEN.items() if name in own})


@pytest.mark.parametrize("name", TERMS)
def test_every_term_teaches_the_generator(name):
    batch = real_batch(length=3)
    total, _ = value_of(small(TERMS[name]), batch)
    parameters = list(task().stylizer.parameters())
    gradients = torch.autograd.grad(total, parameters, allow_unused=True)
    assert total.shape == () and total.isfinite()
    assert all(g is None or g.isfinite().all() for g in gradients)
    if name != "RangePenalty":  # may have nothing to say
        assert any(g is not None and g.abs().sum() > 0 for g in gradients)


@pytest.mark.parametrize("name", TERMS)
def test_every_term_is_float32_in_mixed_precision(name):
    batch, values = real_batch(length=3), []
    for precision in (False, True):
        torch.manual_seed(1)
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=precision):
            values.append(value_of(small(TERMS[name]), batch)[0])
    assert values[1].dtype == torch.float32
    torch.testing.assert_close(values[1], values[0], rtol=0.25, atol=0.02)


@pytest.mark.parametrize("name", TERMS)
def test_every_term_says_how_many_frames_it_needs(name):
    """One frame less and the sum leaves it out; and the configuration's rule knows the same number."""
    needs = TERMS[name].least_frames
    assert LEAST_FRAMES.get(name, 1) == needs
    assert "term" in value_of(small(TERMS[name]), real_batch(needs))[1]
    if needs > 1:
        assert "term" not in value_of(small(TERMS[name]), real_batch(needs - 1))[1]


def test_the_table_of_frames_names_only_terms_that_exist():
    assert LEAST_FRAMES.keys() <= TERMS.keys()


def test_values_are_float32_under_autocast():
    class Halved(LossTerm):
        def forward(self, batch, outputs):
            assert outputs.clip.dtype == torch.float32 and not torch.is_autocast_enabled("cpu")
            return outputs.clip.flatten() @ outputs.clip.flatten()

    batch, outputs = make(torch.rand(1, 3, 8, 8, dtype=torch.bfloat16))
    with torch.autocast("cpu", torch.bfloat16):
        total, values = LossSet({"a": Halved(1.0)})(batch, outputs, progress=1.0)
    assert total.dtype == values["a"].dtype == torch.float32
