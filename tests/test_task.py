import copy
import functools
from dataclasses import replace

import pytest
import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import ModelCheckpoint
from torch.utils.data import DataLoader

from vst.batch import ClipBatch
from vst.checkpoint import load_stylizer, save_stylizer
from vst.curriculum import Curriculum, Phase
from vst.errors import UserError
from vst.losses import (
    Adversarial,
    FeatureWarp,
    FrameDifference,
    GradientPenalty,
    LongTerm,
    LossSet,
    RelaxedLuminance,
    SlicedWasserstein,
    SuccessGate,
    WarpConsistency,
)
from vst.networks import PatchDiscriminator, build_stylizer
from vst.schedules import FlatLinear
from vst.task import StyleTransferTask, disturbed

MODEL = {
    "generator": {"_target_": "vst.networks.ResidualGenerator", "width": 8, "num_blocks": 1},
    "temporal": {"_target_": "vst.networks.ConvGRU", "channels": 8},
}


ADAM = functools.partial(torch.optim.Adam, lr=1e-3)


def make_task(adversarial=True, optimizer=ADAM, gate=None, phases=None, **kwargs):
    torch.manual_seed(0)
    terms = {"style": SlicedWasserstein(1.0, levels=2), "temporal": WarpConsistency(1.0)}
    if adversarial:
        terms["adversarial"] = Adversarial(0.1, penalties={"gradient": GradientPenalty(1.0, every=2)}, gate=gate)
    return StyleTransferTask(
        build_stylizer(MODEL),
        PatchDiscriminator(8, 2) if adversarial else None,
        LossSet(terms),
        {"generator": optimizer, "discriminator": optimizer},
        FlatLinear(0.25, 0.1),
        Curriculum(phases or {"clips": Phase(share=1.0, frames=2)}),
        model_config=MODEL,
        style_name="test",
        margin=8,
        **kwargs,
    )


def batches(count=4, length=2):
    torch.manual_seed(1)
    return [
        ClipBatch(
            frames=torch.rand(2, length, 3, 48, 48),
            style=torch.rand(2, 3, 32, 32),
            source=["a", "b"],
            flow=torch.zeros(2, length - 1, 2, 48, 48),
            valid=torch.ones(2, length - 1, 1, 48, 48),
        )
        for _ in range(count)
    ]


def fit(task, tmp_path, epochs=2, data=None, **kwargs):
    checkpoint = ModelCheckpoint(tmp_path, "{epoch}", save_top_k=-1, save_on_train_epoch_end=True)
    callbacks = [checkpoint, *kwargs.pop("callbacks", [])]
    resume = kwargs.pop("resume", None)
    trainer = pl.Trainer(
        max_epochs=epochs,
        accelerator="cpu",
        logger=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        default_root_dir=tmp_path,
        num_sanity_val_steps=0,
        callbacks=callbacks,
        **kwargs,
    )
    loader = DataLoader(data or batches(), batch_size=None, collate_fn=lambda x: x)
    trainer.fit(task, loader, DataLoader(batches(1), batch_size=None, collate_fn=lambda x: x), ckpt_path=resume)
    return trainer


def weights(module):
    return {name: value.clone() for name, value in module.state_dict().items()}


def same(a, b):
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


def course():
    """Phases of all kinds: 3 batches of single frames, then 5 of clips that are cut and lose their memory."""
    clips = Phase(share=0.625, frames=3, single=0.3, reset=0.5, splice=0.5, terms=["temporal"])
    return {"images": Phase(share=0.375, frames=1), "clips": clips}


@pytest.mark.parametrize("phases", [None, course()], ids=["clips", "phases"])
def test_resuming_after_one_of_two_epochs_is_bit_identical(tmp_path, phases):
    straight, resumed = make_task(phases=phases), make_task(phases=phases)
    data = batches(length=3 if phases else 2)
    fit(straight, tmp_path, data=data)
    torch.manual_seed(12345)  # the state of the generator at hand must not matter
    trainer = fit(resumed, tmp_path / "resumed", data=data, resume=tmp_path / "epoch=0.ckpt")
    assert same(weights(straight), weights(resumed))
    assert trainer.current_epoch == 2 and resumed.clips_seen == straight.clips_seen == 16
    for a, b in zip(trainer.optimizers, straight.trainer.optimizers, strict=True):
        for left, right in zip(a.state.values(), b.state.values(), strict=True):
            assert torch.equal(left["exp_avg_sq"], right["exp_avg_sq"])


class Watch(pl.Callback):
    """Notes what each optimizer step changed."""

    def __init__(self, task):
        self.changed = []
        for name in ("_train_discriminator", "_train_generator"):
            setattr(task, name, functools.partial(self._around, task, getattr(task, name)))

    def _around(self, task, step, *args):
        before = weights(task.stylizer), weights(task.discriminator)
        result = step(*args)
        after = weights(task.stylizer), weights(task.discriminator)
        self.changed.append(tuple(not same(a, b) for a, b in zip(before, after, strict=True)))
        return result


def test_the_two_players_take_turns(tmp_path):
    task = make_task()
    watch = Watch(task)
    trainer = fit(task, tmp_path, epochs=1)
    generator, discriminator = (True, False), (False, True)
    assert watch.changed == [discriminator, generator] * 4
    assert trainer.global_step == 4, "one global step a batch, so that checkpoints and loggers count batches"
    assert all(p.requires_grad for p in task.discriminator.parameters())


class Swinging(SuccessGate):
    """A rate that swings about 0.5, whatever the discriminator does."""

    def observe(self, success):
        super().observe(1 - self.rate.round())


def test_a_gate_lets_one_player_wait(tmp_path):
    class Turns(pl.Callback):
        """What each batch changed, and the rate before it."""

        def __init__(self):
            self.seen = []

        def on_train_batch_start(self, trainer, task, *_):
            self.rate = task.adversarial.gate.rate.item()
            self.before = weights(task.stylizer), weights(task.discriminator), weights(task.ema)

        def on_train_batch_end(self, trainer, task, *_):
            after = weights(task.stylizer), weights(task.discriminator), weights(task.ema)
            moved = [not same(a, b) for a, b in zip(self.before, after, strict=True)]
            self.seen.append((self.rate, *moved, trainer.global_step))

    def gated():
        return make_task(gate=Swinging(0.5, 0.5, momentum=0.6), ema_decay=0.5)

    straight, turns = gated(), Turns()
    fit(straight, tmp_path, callbacks=[turns])
    for batch, (rate, generator, discriminator, average, global_step) in enumerate(turns.seen):
        assert generator == average == (rate >= 0.5) and discriminator == (rate <= 0.5)
        assert global_step == batch + 1, "one global step a batch, whoever plays"
    assert {seen[1] for seen in turns.seen} == {True, False}, "both have to wait once, or this test shows nothing"
    assert straight.trainer.callback_metrics["loss/success"] == straight.adversarial.gate.rate

    resumed = gated()
    fit(resumed, tmp_path / "resumed", resume=tmp_path / "epoch=0.ckpt")
    assert same(weights(straight), weights(resumed))


def test_the_average_follows_the_formula_and_is_what_a_checkpoint_gives(tmp_path):
    class Oracle(pl.Callback):
        def on_train_batch_end(self, trainer, task, outputs, batch, n):
            now = copy.deepcopy(task.stylizer.state_dict())
            decay = min(0.9, (1 + n) / (10 + n))  # of no meaning for the first, which is copied
            self.average = {k: decay * self.average[k] + (1 - decay) * v for k, v in now.items()} if n else now

    task, oracle = make_task(ema_decay=0.9), Oracle()
    fit(task, tmp_path, epochs=1, callbacks=[oracle])
    loaded = load_stylizer(tmp_path / "epoch=0.ckpt")
    for name, value in loaded.state_dict().items():
        torch.testing.assert_close(value, oracle.average[name], atol=1e-6, rtol=1e-5)
    assert not same(weights(loaded), weights(task.stylizer))


def test_learning_rates_follow_the_schedule(tmp_path):
    class Rates(pl.Callback):
        def on_train_batch_end(self, trainer, *_):
            seen.append([o.param_groups[0]["lr"] for o in trainer.optimizers])

    seen = []
    fit(make_task(), tmp_path, callbacks=[Rates()])
    expected = [1e-3 * FlatLinear(0.25, 0.1)(i / 8) for i in range(8)]
    assert [g for g, _ in seen] == pytest.approx(expected)
    assert [d for _, d in seen] == pytest.approx(expected)


@pytest.mark.parametrize(
    "optimizer",
    [functools.partial(torch.optim.SGD, lr=1e-2, momentum=0.9), functools.partial(torch.optim.AdamW, lr=1e-3)],
    ids=["sgd", "adamw"],
)
def test_other_optimizers_train_as_well(tmp_path, optimizer):
    task = make_task(optimizer=optimizer)
    before = weights(task.stylizer)
    fit(task, tmp_path, epochs=1)
    assert not same(before, weights(task.stylizer))


def test_without_a_discriminator_there_is_no_game(tmp_path):
    task = make_task(adversarial=False)
    before = weights(task.stylizer)
    trainer = fit(task, tmp_path, epochs=1)
    assert len(trainer.optimizers) == 1 and not same(before, weights(task.stylizer))
    assert not any("discriminator" in name for name in trainer.callback_metrics)


def test_bf16_mixed_trains_and_keeps_float32_weights(tmp_path):
    task = make_task()
    fit(task, tmp_path, epochs=1, precision="bf16-mixed")
    assert all(p.dtype == torch.float32 and p.isfinite().all() for p in task.parameters())


def test_a_diverged_step_stops_the_run(tmp_path):
    bad = batches()
    bad[1].frames[0, 0, 0, 24, 24] = float("nan")
    for adversarial, message in (
        (True, r"^batch 2 of the run diverged, generator: not finite: its pictures, loss/discriminator"),
        (False, r"^batch 2 of the run diverged, generator: not finite: its pictures, loss/style, loss/temporal; lower"),
    ):
        with pytest.raises(UserError, match=message) as caught:
            fit(make_task(adversarial), tmp_path, data=bad)
        assert "\n" not in str(caught.value)


def test_a_diverged_run_leaves_the_checkpoint_before_it_whole(tmp_path):
    class Poison(pl.Callback):
        def on_train_batch_start(self, trainer, task, *_):
            if task.batches_seen == 5:  # the second batch of the second epoch
                torch.nn.init.constant_(task.stylizer.generator.head.bias, float("nan"))

    with pytest.raises(
        UserError, match=r"^batch 6 of the run diverged, generator: not finite: its pictures, loss/disc"
    ):
        fit(make_task(), tmp_path, callbacks=[Poison()])
    assert [path.name for path in tmp_path.glob("*.ckpt")] == ["epoch=0.ckpt"]
    assert all(weight.isfinite().all() for weight in load_stylizer(tmp_path / "epoch=0.ckpt").state_dict().values())
    healed = make_task()
    fit(healed, tmp_path / "resumed", resume=tmp_path / "epoch=0.ckpt")
    assert healed.epochs_done == 2 and all(weight.isfinite().all() for weight in healed.parameters())


def test_a_discriminator_that_diverged_is_named(tmp_path):
    task = make_task()
    torch.nn.init.constant_(next(task.discriminator.parameters()), float("inf"))
    with pytest.raises(UserError, match=r"^batch 1 .*, discriminator: not finite: loss/disc.*optimizer\.discriminator"):
        fit(task, tmp_path)


def test_a_gradient_that_is_not_finite_stops_the_run_too(tmp_path):
    task = make_task(adversarial=False)
    task.stylizer.generator.head.bias.register_hook(lambda gradient: gradient * float("inf"))
    before = weights(task.stylizer)
    with pytest.raises(UserError, match=r"^batch 1 .*generator: its losses are finite, their gradient is not"):
        fit(task, tmp_path)
    assert same(before, weights(task.stylizer))


def test_training_learns_the_style(tmp_path):
    """On a style of one colour the picture must move towards this colour."""
    data = batches(8)
    for batch in data:
        batch.style[:] = torch.tensor([0.9, 0.2, 0.1]).view(3, 1, 1) + 0.02 * torch.randn(2, 3, 32, 32)
    task = make_task(optimizer=functools.partial(torch.optim.Adam, lr=5e-3), ema_decay=0.5)
    fit(task, tmp_path, epochs=8, data=data)
    out, _ = task.inference_stylizer()(data[0].frames)
    red, green, blue = out.mean(dim=(0, 1, 3, 4))
    assert red > green + 0.2 and red > blue + 0.2


# ----------------------------------------------------------------------------------------------------
# Phases, lost memory, cuts, and weights to start from


class Seen(pl.Callback):
    """What the generator's forward pass of each batch was given."""

    def __init__(self, task):
        self.frames, self.cuts, self.resets, self.weights = [], [], [], []
        self.forward, task.outputs = task.outputs, self.outputs

    def outputs(self, stylizer, batch, resets=(), warm_up=0):
        if stylizer.training:
            self.frames.append(batch.frames.shape[1])
            self.cuts.append(batch.cut)
            self.resets.append(list(resets))
        return self.forward(stylizer, batch, resets, warm_up)

    def on_train_batch_start(self, trainer, task, *_):
        self.weights.append(task.losses.terms["temporal"].weight_at(task.progress_of_run))


def test_steps_have_the_frames_and_the_weights_that_the_phases_say(tmp_path):
    task = make_task(phases=course())
    seen = Seen(task)
    fit(task, tmp_path, data=batches(length=3), callbacks=[seen])
    assert seen.frames == [task.curriculum.frames(n, n / 8) for n in range(8)] == [1, 1, 1, 3, 3, 1, 3, 3]
    assert seen.weights == pytest.approx([0, 0, 0, 0, 0.4, 0.8, 1, 1]), "half of 5 batches, in eighths of the run"
    assert [cut is None for cut in seen.cuts] == [frames == 1 for frames in seen.frames]
    assert not any(resets for resets, frames in zip(seen.resets, seen.frames, strict=True) if frames == 1)
    assert any(seen.resets)


def test_disturbances_come_as_often_as_the_phase_says():
    (batch,) = batches(1, length=3)
    cuts, resets = [], []
    for _ in range(400):
        out, dropped = disturbed(batch, Phase(share=1.0, frames=3, reset=0.2, splice=0.3))
        cuts += out.cut.any(dim=1).tolist()
        resets += [t in dropped for t in (1, 2)]
    assert sum(cuts) / 800 == pytest.approx(0.3, abs=0.06) and sum(resets) / 800 == pytest.approx(0.2, abs=0.06)
    before = torch.get_rng_state()
    assert disturbed(batch, Phase(share=1.0, frames=3)) == (batch, [])
    assert torch.equal(before, torch.get_rng_state()), "a phase without disturbances draws nothing"


def remembering():
    """A task whose memory matters: a fresh ConvGRU changes next to nothing."""
    task = make_task(adversarial=False)
    torch.nn.init.normal_(task.stylizer.temporal.candidate.weight, std=0.3)
    torch.nn.init.zeros_(task.stylizer.temporal.gates.bias)
    return task


def test_after_a_reset_a_frame_is_stylised_as_the_first_of_a_film():
    task, (batch,) = remembering(), batches(1, length=4)
    with torch.no_grad():
        carried, dropped = (task.outputs(task.stylizer, batch, resets)[1].clip for resets in ((), (2,)))
        fresh = task.stylizer(batch.frames[:, 2:])[0][..., 8:-8, 8:-8]
    torch.testing.assert_close(dropped[:, 2:], fresh)
    assert torch.equal(dropped[:, :2], carried[:, :2])
    assert (carried[:, 2:] - fresh).abs().mean() > 1e-3, "or this test shows nothing"
    task.outputs(task.stylizer, batch.first(1), (2,))  # a reset beyond the clip is none


@pytest.mark.parametrize("term", [WarpConsistency, FrameDifference, RelaxedLuminance, LongTerm, FeatureWarp])
def test_nothing_is_learnt_across_a_cut(term):
    task, (batch,) = remembering(), batches(1, length=4)
    whole, spliced = (b.interior(8) for b in (batch, batch.spliced(torch.tensor([2, 2]))))
    clip = torch.rand(2, 4, 3, 32, 32)

    def gradient(batch, length):
        """Of the term in the stylised frames; and its value."""
        _, outputs = task.outputs(task.stylizer, batch)
        outputs.clip = clip[:, :length].clone().requires_grad_()
        value = term(1.0)(batch, outputs)
        return (torch.autograd.grad(value, outputs.clip, allow_unused=True)[0], value)

    task.margin = 0
    # A clip of two frames with the cut between: nothing is left to compare.
    pair = replace(spliced, frames=spliced.frames[:, 1:3], flow=spliced.flow[:, 1:2], valid=spliced.valid[:, 1:2])
    pair.cut = spliced.cut[:, 1:2]
    if term is not LongTerm:
        across, value = gradient(pair, 2)
        assert value == 0 and (across is None or not across.any())
    else:  # the first frame is before the cut, frames 3 and 4 after it
        across, value = gradient(spliced, 4)
        assert value == 0 and not across.any()
    uncut, value = gradient(whole, 4)
    assert value > 0 and (uncut is None or uncut.any()), "or this test shows nothing"


@pytest.mark.parametrize("kind", ["stylizer.pt", "epoch=0.ckpt"])
def test_a_run_starts_from_the_weights_of_another(tmp_path, kind):
    first = make_task()
    fit(first, tmp_path, epochs=1)
    save_stylizer(tmp_path / "stylizer.pt", first.stylizer_content())
    second = make_task()
    torch.nn.init.normal_(second.stylizer.generator.head.weight)
    said = second.start_from(str(tmp_path / kind))
    (batch,) = batches(1)
    expected = first.inference_stylizer()(batch.frames)[0]
    assert torch.equal(second.inference_stylizer()(batch.frames)[0], expected)
    assert torch.equal(second.stylizer.eval()(batch.frames)[0], expected)
    with_opponent = kind.endswith("ckpt")
    assert same(weights(first.discriminator), weights(second.discriminator)) == with_opponent
    opponent = "taken" if with_opponent else "new"
    assert said.endswith(f"(style test): generator taken, memory taken, discriminator {opponent}")
    assert second.batches_seen == 0, "the run itself begins anew"
