"""Items depend on (seed, index) alone: not on workers, passes or the epoch at which a run starts."""

import itertools
from types import SimpleNamespace

import numpy as np
import pytest
import pytorch_lightning as pl
import torch
from torch.utils.data import DataLoader

from data_modules.base import ClipDataModule, ClipDataset, EpochSampler, FramePlan, collate
from vst.batch import Clip, ClipBatch
from vst.errors import UserError


class TinyClips:
    def __init__(self, length: int = 3, size: int = 20, known: bool = True) -> None:
        self.length, self.size, self.known = length, size, known

    def sample(self, rng: np.random.Generator, length: int | None = None) -> Clip:
        length = length or self.length
        frames = torch.from_numpy(rng.random((length, 3, self.size, self.size), dtype=np.float32))
        if not self.known:
            return Clip(frames, source="tiny")
        pairs = length - 1
        flow = torch.from_numpy(rng.random((pairs, 2, self.size, self.size), dtype=np.float32))
        return Clip(frames, source="tiny", flow=flow, valid=torch.ones(pairs, 1, self.size, self.size))

    def describe(self) -> str:
        return "tiny clips"


class TinyStyle:
    name = "tiny"

    def sample(self, rng: np.random.Generator) -> torch.Tensor:
        return torch.from_numpy(rng.random((3, 12, 12), dtype=np.float32))

    def describe(self) -> str:
        return "tiny style"

    def reference(self) -> torch.Tensor:
        return torch.zeros(3, 12, 12)


class TinyModule(ClipDataModule):
    built = 0

    def train_source(self) -> TinyClips:
        self.built += 1
        return TinyClips(self.clip_length, self.size)

    def val_source(self) -> TinyClips:
        return TinyClips(self.clip_length, self.size)


def tiny_module(**changes) -> TinyModule:
    options = dict(clip_length=3, crop=16, margin=2, batch_size=2, steps_per_epoch=3, num_workers=0, seed=7)
    module = TinyModule(TinyStyle(), **(options | changes))
    module.setup()
    return module


def epoch_of(loader: DataLoader, epoch: int) -> list[ClipBatch]:
    loader.sampler.set_epoch(epoch)
    return list(loader)


def same(a: ClipBatch, b: ClipBatch) -> bool:
    pairs = ((a.frames, b.frames), (a.style_pool, b.style_pool), (a.flow, b.flow), (a.valid, b.valid))
    return all(torch.equal(x, y) for x, y in pairs) and a.source == b.source


def test_item_is_a_function_of_seed_and_index():
    first = ClipDataset(TinyClips(), TinyStyle(), seed=1, length=4)
    again = ClipDataset(TinyClips(), TinyStyle(), seed=1, length=4)
    other = ClipDataset(TinyClips(), TinyStyle(), seed=2, length=4)
    _ = first[0], first[3]
    assert len(first) == 4
    assert torch.equal(first[2][0].frames, again[2][0].frames) and torch.equal(first[2][1], again[2][1])
    assert not torch.equal(first[2][0].frames, first[1][0].frames)
    assert not torch.equal(first[2][0].frames, other[2][0].frames)


@pytest.mark.parametrize("workers", [1, 2])
def test_workers_do_not_change_the_data(workers):
    alone = tiny_module(num_workers=0).train_dataloader()
    parallel = tiny_module(num_workers=workers).train_dataloader()
    assert parallel.persistent_workers
    # The second epoch is served by the workers that the first one started.
    for epoch in (0, 1):
        pairs = list(zip(epoch_of(alone, epoch), epoch_of(parallel, epoch), strict=True))
        assert len(pairs) == 3 and all(same(a, b) for a, b in pairs)


def test_starting_at_an_epoch_continues_the_straight_sequence():
    straight = tiny_module().train_dataloader()
    run = [batch for epoch in range(3) for batch in epoch_of(straight, epoch)]
    resumed = tiny_module().train_dataloader()
    assert all(same(a, b) for a, b in zip(epoch_of(resumed, 2), run[6:], strict=True))
    first_pixels = {float(batch.frames[i, 0, 0, 0, 0]) for batch in run for i in range(2)}
    assert len(first_pixels) == 18, "items repeat"


def test_epoch_sampler():
    sampler = EpochSampler(5)
    assert list(sampler) == [0, 1, 2, 3, 4] and len(sampler) == 5
    sampler.set_epoch(3)
    assert list(sampler) == [15, 16, 17, 18, 19] == list(sampler)


class Plan:
    """One frame for the first four batches, then 3 and 2 in turn."""

    def __init__(self, batches_seen: int = 0) -> None:
        self.batches_seen = batches_seen

    def frames_of_batch(self, number: int, total: int) -> int:
        assert total == 9
        return 1 if number < 4 else 3 - number % 2


def test_no_frames_are_made_that_the_plan_does_not_ask_for():
    assert list(EpochSampler(6, plan=FramePlan(Plan(), 9, 2))) == [(i, 1) for i in range(6)]
    sampler = EpochSampler(6, 1, FramePlan(Plan(3), 9, 2))
    assert list(sampler) == [(6, 1), (7, 1), (8, 3), (9, 3), (10, 2), (11, 2)]
    task = Plan(3)
    coming = iter(EpochSampler(4, 1, FramePlan(task, 9, 2)))
    task.batches_seen += 1  # a loader asks for its items while the run goes on
    assert list(coming) == [(4, 1), (5, 1), (6, 3), (7, 3)]


class Planned(pl.LightningModule, Plan):
    """Notes how many frames the batches of a run have."""

    def __init__(self) -> None:
        super().__init__()
        self.batches_seen, self.epochs_done, self.seen = 0, 0, []
        self.automatic_optimization = False
        self.weight = torch.nn.Parameter(torch.zeros(1))

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters())

    def training_step(self, batch: ClipBatch, _: int) -> None:
        self.seen.append((batch.frames.shape[1], batch.flow.shape[1], float(batch.frames[0, 0, 0, 0, 0])))
        self.batches_seen += 1

    def on_train_epoch_end(self) -> None:
        self.epochs_done += 1


@pytest.mark.parametrize("workers", [0, 1])
@pytest.mark.parametrize("limit", [{}, {"limit_train_batches": 3}, {"limit_train_batches": 0.5}])
def test_a_run_is_fed_by_its_plan_from_any_epoch_on(workers, limit):
    trainer = pl.Trainer(
        max_epochs=3, accelerator="cpu", logger=False, enable_checkpointing=False, limit_val_batches=0,
        enable_progress_bar=False, enable_model_summary=False, **limit,
    )  # fmt: skip
    straight, resumed = Planned(), Planned()
    steps = 6 if limit else 3
    trainer.fit(straight, tiny_module(num_workers=workers, steps_per_epoch=steps))
    assert trainer.num_training_batches == 3
    assert [frames for frames, _, _ in straight.seen] == [1, 1, 1, 1, 3, 2, 3, 2, 3]
    assert [pairs for _, pairs, _ in straight.seen] == [0, 0, 0, 0, 2, 1, 2, 1, 2]
    resumed.batches_seen, resumed.epochs_done = 3, 1
    module = tiny_module(num_workers=workers, steps_per_epoch=steps)
    module.trainer = SimpleNamespace(
        lightning_module=resumed, max_epochs=3, limit_train_batches=trainer.limit_train_batches
    )
    batches = list(itertools.islice(module.train_dataloader(), 3))
    assert [float(b.frames[0, 0, 0, 0, 0]) for b in batches] == [pixel for _, _, pixel in straight.seen[3:6]]
    assert [b.frames.shape[1] for b in batches] == [1, 3, 2]


def test_validation_is_the_same_on_each_pass_and_for_each_seed():
    loader = tiny_module(seed=1, val_clips=5).val_dataloader()
    first, second = list(loader), list(loader)
    other_run = list(tiny_module(seed=2, val_clips=5).val_dataloader())
    assert sum(len(batch.source) for batch in first) == 5
    for a, b, c in zip(first, second, other_run, strict=True):
        assert same(a, b) and same(a, c)


def test_shapes_of_a_batch():
    batch = next(iter(tiny_module().train_dataloader()))
    assert isinstance(batch, ClipBatch)
    assert batch.frames.shape == (2, 3, 3, 20, 20) and batch.style.shape == (2, 3, 12, 12)
    assert batch.flow.shape == (2, 2, 2, 20, 20) and batch.valid.shape == (2, 2, 1, 20, 20)
    assert batch.source == ["tiny", "tiny"]
    many = next(iter(tiny_module(style_crops=5).train_dataloader()))
    assert many.style.shape == (2, 3, 12, 12) and many.all_style.shape == (10, 3, 12, 12)
    assert torch.equal(many.style, many.all_style[::5]) and len(many.all_style.flatten(1).unique(dim=0)) == 10


def test_unknown_motion_stays_unknown_and_is_never_mixed():
    rng = np.random.default_rng(0)
    unknown = [(TinyClips(known=False).sample(rng), TinyStyle().sample(rng)) for _ in range(2)]
    known = (TinyClips().sample(rng), TinyStyle().sample(rng))
    batch = collate(unknown)
    assert batch.flow is None and batch.valid is None and batch.frames.shape[0] == 2
    with pytest.raises(AssertionError, match="one batch"):
        collate([known, unknown[0]])


def test_sources_are_built_once():
    module = tiny_module()
    module.setup("fit")
    module.setup("validate")
    assert module.built == 1
    assert module.describe() == "clips: tiny clips; validation: tiny clips; style: tiny style"


@pytest.mark.parametrize("option", ["clip_length", "crop", "batch_size", "steps_per_epoch", "val_clips"])
def test_numbers_that_are_too_small_are_named(option):
    with pytest.raises(UserError, match=rf"data\.{option} is 0, it has to be at least"):
        tiny_module(**{option: 0})


class Recorder(pl.LightningModule):
    """Notes which items Lightning hands out in training."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = torch.nn.Linear(1, 1)
        self.seen: list[tuple[int, float]] = []

    def training_step(self, batch: ClipBatch, _: int) -> torch.Tensor:
        assert isinstance(batch, ClipBatch)
        self.seen += [(self.current_epoch, float(item[0, 0, 0, 0])) for item in batch.frames]
        return self.layer(batch.frames.mean().view(1, 1)).sum()

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), 0.0)


def fit(folder, epochs: int, resume: str | None = None, workers: int = 0) -> tuple[Recorder, pl.Trainer]:
    recorder = Recorder()
    trainer = pl.Trainer(
        accelerator="cpu",
        max_epochs=epochs,
        limit_val_batches=0,
        default_root_dir=folder,
        logger=False,
        enable_checkpointing=False,
        enable_model_summary=False,
        enable_progress_bar=False,
    )
    trainer.fit(recorder, datamodule=tiny_module(num_workers=workers), ckpt_path=resume)
    return recorder, trainer


@pytest.mark.filterwarnings("ignore::Warning:pytorch_lightning", "ignore::Warning:lightning_fabric")
def test_lightning_moves_the_epoch_on_and_resumes_it(tmp_path):
    straight, _ = fit(tmp_path, epochs=3)
    assert len({pixel for _, pixel in straight.seen}) == 3 * 3 * 2, "an item came twice"
    parallel, trainer = fit(tmp_path, epochs=2, workers=2)
    assert parallel.seen == straight.seen[:12]
    trainer.save_checkpoint(tmp_path / "two.ckpt")
    resumed, _ = fit(tmp_path, epochs=3, resume=str(tmp_path / "two.ckpt"))
    assert resumed.seen == straight.seen[12:]
