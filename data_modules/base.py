"""What all data modules share: items that are a pure function of (seed, index), and loaders to match.

An item draws everything it needs from a generator seeded with (seed, index), and the index carries the epoch.
So the data does not depend on the number of workers, no two epochs are alike, and a run resumed at epoch e
goes on with the very items that the uninterrupted run would have seen.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Protocol

import cv2
import numpy as np
import pytorch_lightning as pl
import torch
from torch import Tensor
from torch.utils.data import Dataset, Sampler

from data_modules.loader import ClipLoader, hand_over, workers_allowed, workers_that_fit
from data_modules.sensor import Sensor
from vst.batch import Clip, ClipBatch
from vst.errors import UserError

# The same clips validate every run, whatever its seed, so that curves of different runs can be compared.
VALIDATION_SEED = 20_250_101


class ClipSource(Protocol):
    """Where clips come from."""

    def sample(self, rng: np.random.Generator, length: int | None = None) -> Clip:
        """Draw one clip, all randomness from `rng`; of `length` frames where fewer than the source's own will do."""
        ...

    def describe(self) -> str:
        """One line for the log, for example `5 photographs of scikit-image in synthetic motion`."""
        ...


class StyleSource(Protocol):
    """Where pictures of the style come from; `count` says how many there are."""

    name: str
    count: int

    def sample(self, rng: np.random.Generator) -> Tensor:
        """Draw one crop (3, S, S), RGB in [0, 1]; all randomness comes from `rng`."""
        ...

    def describe(self) -> str:
        """One line for the log."""
        ...

    def reference(self) -> Tensor:
        """A representative whole picture (3, h, w), RGB in [0, 1], for previews."""
        ...


class Planned(Protocol):
    """A task that knows how many frames its batches train on, such as `vst.task.StyleTransferTask`."""

    batches_seen: int

    def frames_of_batch(self, number: int, total: int) -> int:
        """Frames of the clips of batch `number`, from 0, of the `total` of the run."""
        ...


class FramePlan:
    """Frames of the samples to come, in a run of `total` batches. Frames that no batch trains on need not be made."""

    def __init__(self, task: Planned, total: int, batch_size: int) -> None:
        self.task, self.total, self.batch_size = task, total, batch_size

    def from_here(self) -> Callable[[int], int]:
        """A function: number of a sample, counted from now on -> its frames, whatever the task has seen by then."""
        first = self.task.batches_seen
        return lambda sample: self.task.frames_of_batch(first + sample // self.batch_size, self.total)


class ClipDataset(Dataset[tuple[Clip, Tensor]]):
    """Clips paired with crops of the style (K, 3, S, S); item `index` is a pure function of (`seed`, `index`).

    An item may be asked for as (`index`, frames of its clip) too. `length` is the nominal size of one epoch. Indices
    beyond it are valid: `EpochSampler` uses them. `style_crops` is K.
    """

    def __init__(self, source: ClipSource, style: StyleSource, seed: int, length: int, style_crops: int = 1) -> None:
        self.source = source
        self.style = style
        self.seed = seed
        self.length = length
        self.style_crops = style_crops

    def __len__(self) -> int:
        return self.length

    def __getitem__(self, item: int | tuple[int, int]) -> tuple[Clip, Tensor]:
        index, *frames = item if isinstance(item, tuple) else (item,)
        rng = np.random.default_rng([self.seed, index])
        clip = self.source.sample(rng, *frames)
        return clip, torch.stack([self.style.sample(rng) for _ in range(self.style_crops)])


class EpochSampler(Sampler[int | tuple[int, int]]):
    """Yields `epoch * num_samples + i` for i in 0 .. num_samples - 1; with a plan each as (index, frames).

    Lightning calls `set_epoch` with the current epoch before each training epoch. Worker processes are asked for
    their first items before the first of these calls, so a resumed run gives its epoch here.
    """

    def __init__(self, num_samples: int, epoch: int = 0, plan: FramePlan | None = None) -> None:
        self.num_samples = num_samples
        self.epoch = epoch
        self.plan = plan

    def set_epoch(self, epoch: int) -> None:
        self.epoch = epoch

    def __iter__(self) -> Iterator[int | tuple[int, int]]:
        indices = range(self.epoch * self.num_samples, (self.epoch + 1) * self.num_samples)
        if self.plan is None:
            return iter(indices)
        frames = self.plan.from_here()
        return ((index, frames(i)) for i, index in enumerate(indices))

    def __len__(self) -> int:
        return self.num_samples


def collate(items: Sequence[tuple[Clip, Tensor]]) -> ClipBatch:
    """Stack items of `ClipDataset`. Either every clip of a batch knows its motion or none does.

    The first crop of the style in each item is the batch's `style`, all of them are its `style_pool`.
    """
    clips = [clip for clip, _ in items]
    known = {clip.flow is not None for clip in clips} | {clip.valid is not None for clip in clips}
    assert len(known) == 1, "clips with and without known motion in one batch"
    flow = valid = None
    if known == {True}:
        flow = torch.stack([clip.flow for clip in clips])
        valid = torch.stack([clip.valid for clip in clips])
    batch = ClipBatch(
        frames=torch.stack([clip.frames for clip in clips]),
        style=torch.stack([crops[0] for _, crops in items]),
        style_pool=torch.cat([crops for _, crops in items]),
        source=[clip.source for clip in clips],
        flow=flow,
        valid=valid,
    )
    return hand_over(batch)


class ClipDataModule(pl.LightningDataModule):
    """Base of the data modules: subclasses say where training and validation clips come from.

    Args:
        style: pictures of the style.
        clip_length: frames per clip, T.
        crop: side of the square that the losses see, pixels.
        margin: pixels around the crop that are computed but kept out of the losses; frames of an item are
            squares of side `crop + 2 * margin`.
        batch_size: clips per step.
        steps_per_epoch: batches per epoch.
        num_workers: worker processes of the training loader; 0 loads in the main process.
        seed: seed of the training items.
        val_clips: number of validation clips, the same in each run.
        style_crops: crops of the style per clip. Terms that match quantiles (of patches, of colours) see all of them:
            few crops of a collection lack its range of tones. The others see one a clip.
        noise, coarse, gain, gamma, blur: what the camera does to training clips, see `data_modules.sensor.Sensor`.
            Validation has its own, the same in each run.

    Raises:
        UserError: a number is out of range.
    """

    def __init__(
        self,
        style: StyleSource,
        *,
        clip_length: int,
        crop: int,
        margin: int,
        batch_size: int,
        steps_per_epoch: int,
        num_workers: int,
        seed: int,
        val_clips: int = 4,
        style_crops: int = 1,
        noise: Sequence[float] = (0.0, 0.0),
        coarse: float = 0.0,
        gain: float = 0.0,
        gamma: float = 0.0,
        blur: float = 0.0,
    ) -> None:
        super().__init__()
        for name, value, least in (
            ("clip_length", clip_length, 1),
            ("crop", crop, 16),
            ("margin", margin, 0),
            ("batch_size", batch_size, 1),
            ("steps_per_epoch", steps_per_epoch, 1),
            ("num_workers", num_workers, 0),
            ("seed", seed, 0),
            ("val_clips", val_clips, 1),
            ("style_crops", style_crops, 1),
        ):
            if value < least:
                raise UserError(f"data.{name} is {value}, it has to be at least {least}")
        self.style = style
        self.clip_length = clip_length
        self.crop = crop
        self.margin = margin
        self.batch_size = batch_size
        self.steps_per_epoch = steps_per_epoch
        self.num_workers = num_workers
        self.seed = seed
        self.val_clips = val_clips
        self.style_crops = style_crops
        self.sensor = Sensor(noise, coarse, gain, gamma, blur)
        self._sources: tuple[ClipSource, ClipSource] | None = None

    @property
    def size(self) -> int:
        """Side of the frames of an item, pixels."""
        return self.crop + 2 * self.margin

    def train_source(self) -> ClipSource:
        """Build the source of training clips."""
        raise NotImplementedError

    def val_source(self) -> ClipSource:
        """Build the source of validation clips, of material that training never sees."""
        raise NotImplementedError

    def preview_source(self, index: int, length: int, size: int) -> ClipSource:
        """Build the source of preview clip `index`: longer, larger and plainer than those of training."""
        raise NotImplementedError

    def preview_clips(self, count: int, length: int, size: int) -> list[Clip]:
        """`count` clips of at most `length` frames and `size` x `size` pixels to look at, the same in every run.

        All have one size and one length; both are smaller where the material is.
        """
        rng = np.random.default_rng(VALIDATION_SEED)
        clips = [self.preview_source(index, length, size).sample(rng) for index in range(count)]
        shortest = min(len(clip.frames) for clip in clips)
        return [Clip(clip.frames[:shortest], clip.source) for clip in clips]

    def setup(self, stage: str | None = None) -> None:
        if self._sources is None:
            self._sources = (self.train_source(), self.val_source())

    def describe(self) -> str:
        """One line that says where clips and style come from."""
        self.setup()
        train, val = self._sources
        return f"clips: {train.describe()}; validation: {val.describe()}; style: {self.style.describe()}"

    def train_dataloader(self) -> ClipLoader:
        samples = self.steps_per_epoch * self.batch_size
        dataset = ClipDataset(self._sources[0], self.style, self.seed, samples, self.style_crops)
        # Of the task and not of the trainer, whose own count is not restored yet when the workers start.
        task = self.trainer.lightning_module if self.trainer is not None else None
        plan = None
        if hasattr(task, "frames_of_batch"):
            plan = FramePlan(task, self._batches_per_epoch() * self.trainer.max_epochs, self.batch_size)
        sampler = EpochSampler(samples, getattr(task, "epochs_done", 0), plan)
        workers = workers_allowed(self.num_workers)
        batch_bytes = self.batch_size * collate([dataset[0]]).nbytes if workers else 0
        return self._loader(dataset, self.batch_size, workers_that_fit(workers, batch_bytes), sampler)

    def _batches_per_epoch(self) -> int:
        """As Lightning will count them: it does so only after the workers have been asked for their first items."""
        limit = self.trainer.limit_train_batches
        steps = self.steps_per_epoch
        return min(limit, steps) if isinstance(limit, int) else int(limit * steps)

    def val_dataloader(self) -> ClipLoader:
        dataset = ClipDataset(self._sources[1], self.style, VALIDATION_SEED, self.val_clips, self.style_crops)
        # Few clips: they are made sooner than a worker process starts.
        return self._loader(dataset, min(self.batch_size, self.val_clips), 0, None)

    def _loader(
        self, dataset: ClipDataset, batch_size: int, num_workers: int, sampler: EpochSampler | None
    ) -> ClipLoader:
        return ClipLoader(
            dataset,
            batch_size=batch_size,
            sampler=sampler,
            num_workers=num_workers,
            collate_fn=collate,
            worker_init_fn=_init_worker,
            persistent_workers=num_workers > 0,
            pin_memory=torch.cuda.is_available(),
        )


def _init_worker(_: int) -> None:
    """One thread per worker: the workers are the parallelism, and OpenCV's pool does not survive a fork."""
    torch.set_num_threads(1)
    cv2.setNumThreads(0)
