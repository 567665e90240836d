"""The training task: two optimizers take turns. No architecture and no formula lives here."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from contextlib import nullcontext
from itertools import pairwise
from typing import Any

import pytorch_lightning as pl
import torch
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim.swa_utils import AveragedModel
from torch.profiler import record_function
from torchmetrics.image import StructuralSimilarityIndexMeasure

from vst.batch import ClipBatch
from vst.checkpoint import initialise, stylizer_content
from vst.curriculum import Curriculum, Phase
from vst.errors import UserError
from vst.losses import Adversarial, LossSet, Outputs
from vst.networks import Stylizer
from vst.networks.temporal import State

PROGRESS = ("clips_seen", "batches_seen", "epochs_done")  # counters of the task that a checkpoint keeps
OptimizerFactory = Callable[[Iterable[nn.Parameter]], Optimizer]


class StyleTransferTask(pl.LightningModule):
    """Alternates, for every batch: train D with G frozen, then train G with D frozen; then average G's weights.

    One forward pass of G over the clip serves both. The generator's loss is a LossSet; with no discriminator (and no
    adversarial term) the first half is skipped, and a gate of the adversarial term may skip either. Every draw of
    random numbers in a step depends only on the seed and the number of the batch, so a resumed run repeats an
    uninterrupted one bit for bit.

    Args:
        stylizer: the generator with its temporal module.
        discriminator: or None.
        losses: the generator's terms; the Adversarial among them also has the discriminator's loss.
        optimizers: {"generator": params -> optimizer, "discriminator": params -> optimizer}.
        schedule: progress of the run in [0, 1] -> factor on both learning rates.
        curriculum: what the steps train on in the course of the run. A loss term that it names joins by its ramp.
        model_config: plain dictionary that `vst.networks.build_stylizer` rebuilds the stylizer from; the only thing
            beside weights that a checkpoint holds of it.
        style_name: written into the checkpoint.
        ema_decay: decay of the exponential moving average of the generator, per batch; it starts lower.
        clip_norm: largest norm of the generator's and of the discriminator's gradient.
        margin: pixels cut off each side of clip and result before any loss looks.
        seed: of the random draws in the steps.
    """

    def __init__(
        self,
        stylizer: Stylizer,
        discriminator: nn.Module | None,
        losses: LossSet,
        optimizers: dict[str, OptimizerFactory],
        schedule: Callable[[float], float],
        curriculum: Curriculum,
        *,
        model_config: dict[str, Any],
        style_name: str,
        ema_decay: float = 0.995,
        clip_norm: float = 5.0,
        margin: int = 24,
        seed: int = 1,
    ) -> None:
        super().__init__()
        self.automatic_optimization = False
        self.stylizer = stylizer
        self.ema = AveragedModel(stylizer, avg_fn=_Average(ema_decay))
        self.ema.requires_grad_(False).eval()
        self.discriminator = discriminator
        self.losses = losses
        played = (term for term in losses.terms.values() if isinstance(term, Adversarial))
        if discriminator is None:  # a term of weight 0 may stand there, which waits for one
            played = (term for term in played if term.weight != 0)
        self.adversarial = next(played, None)
        assert (self.discriminator is None) == (self.adversarial is None), "an adversarial term and a discriminator"
        self.optimizer_factories = optimizers
        self.schedule = schedule
        self.curriculum = curriculum
        for name, term in losses.terms.items():
            term.schedule = curriculum.schedule_of(name) or term.schedule
        self.model_config = model_config
        self.style_name = style_name
        self.clip_norm = clip_norm
        self.margin = margin
        self.seed = seed
        self.ssim = StructuralSimilarityIndexMeasure(data_range=1.0)
        self.run_config: dict[str, Any] | None = None  # written into checkpoints, for resuming
        self.clips_seen = 0
        self.batches_seen = 0
        self.epochs_done = 0

    def configure_optimizers(self) -> list[Optimizer]:
        players = ("generator",) if self.discriminator is None else ("generator", "discriminator")
        return [self.optimizer_factories[player](self._trained_by(player)) for player in players]

    def _trained_by(self, player: str) -> list[nn.Parameter]:
        """What the player trains; for the generator that is also what terms of its loss own, such as a way back."""
        if player == "discriminator":
            return list(self.discriminator.parameters())
        return [*self.stylizer.parameters(), *self.losses.terms.parameters()]

    def train(self, mode: bool = True) -> StyleTransferTask:
        super().train(mode)
        self.ema.eval()  # the average is only ever used for inference
        return self

    @property
    def progress_of_run(self) -> float:
        """Share of the run's batches that are done, in [0, 1]."""
        return _share(self.batches_seen, self._total())

    def frames_of_batch(self, number: int, total: int) -> int:
        """Frames that batch `number`, from 0, of `total` in a run trains on: a data module need not make more."""
        return self.curriculum.frames(number, _share(number, total))

    def _total(self) -> int:
        return self.trainer.num_training_batches * self.trainer.max_epochs

    def set_tone(self, pictures: list[Tensor], teacher: dict[str, Tensor] | None = None) -> None:
        """Give tone and grade, if the stylizer has them, the colours of `pictures` (3, H, W), or those of a teacher's
        weights.

        For a new run; a resumed one has them in its checkpoint.
        """
        for part in ("tone", "grade"):
            tone = getattr(self.stylizer, part)
            if tone is None:
                continue
            theirs = {name: (teacher or {}).get(f"{part}.{name}") for name in tone.state_dict()}
            if all(values is not None for values in theirs.values()):
                tone.load_state_dict(theirs)
            else:
                tone.set_style(pictures)
        self.ema.module.load_state_dict(self.stylizer.state_dict())

    def start_from(self, path: str, smaller: float = 0.0) -> str:
        """Take the weights of a trained model, see `vst.checkpoint.initialise`; returns one line for the log."""
        taken = initialise(self.stylizer, self.discriminator, path, smaller)
        self.ema.module.load_state_dict(self.stylizer.state_dict())
        return taken

    def inference_stylizer(self) -> Stylizer:
        """The averaged stylizer in eval mode, on the task's device: what previews, benchmarks and checkpoints use."""
        return self.ema.module

    def training_step(self, batch: ClipBatch, batch_idx: int) -> None:
        torch.manual_seed(hash((self.seed, self.batches_seen)) % 2**63)
        generator_turn = self.adversarial is None or self.adversarial.generator_turn()
        # Lightning counts a global step for each step through its own wrapper: so one player a batch goes through it.
        optimizer_g = self.optimizers(use_pl_optimizer=True)
        optimizer_d = None
        if self.discriminator is not None:
            optimizer_g = optimizer_g[0]
            optimizer_d = self.optimizers(use_pl_optimizer=not generator_turn)[1]
        self._set_learning_rates()
        frames = self.frames_of_batch(self.batches_seen, self._total())
        assert batch.frames.shape[1] >= frames, f"a clip of {batch.frames.shape[1]} frames, {frames} are asked for"
        batch = batch.first(frames)
        phase = self.curriculum.phase_at(self.progress_of_run)
        batch, resets = disturbed(batch, phase)

        if self.stylizer.grain is not None:
            self.stylizer.grain.shuffle()
        with record_function("G/forward"), torch.set_grad_enabled(generator_turn):
            batch, outputs = self.outputs(self.stylizer, batch, resets, phase.warm_up if frames > 1 else 0)
        inner = batch.interior(self.margin)
        logs: dict[str, Tensor] = {}
        if optimizer_d is not None:
            logs |= self._train_discriminator(optimizer_d, inner, outputs)
        if generator_turn:
            logs |= self._train_generator(optimizer_g, inner, outputs)
            with record_function("G/average"):
                self.ema.update_parameters(self.stylizer)
        self.batches_seen += 1
        self.clips_seen += len(batch.source)
        self.log_dict({f"loss/{name}": value for name, value in logs.items()}, batch_size=len(batch.source))

    def _train_discriminator(self, optimizer: Any, batch: ClipBatch, outputs: Outputs) -> dict[str, Tensor]:
        turn = self.adversarial.discriminator_turn()
        with record_function("D/step"):
            with torch.set_grad_enabled(turn):
                values = self.adversarial.discriminator_loss(self.discriminator, batch, outputs, self.batches_seen)
            if not turn:
                return values
            optimizer.zero_grad()
            self.manual_backward(values["discriminator"])
            self._clip_gradient("discriminator", values, outputs.clip)
            optimizer.step()
        return values

    def _train_generator(self, optimizer: Any, batch: ClipBatch, outputs: Outputs) -> dict[str, Tensor]:
        self.toggle_optimizer(optimizer)  # no gradients are computed for the discriminator's weights
        with record_function("G/loss"):
            total, values = self.losses(batch, outputs, self.progress_of_run)
        with record_function("G/backward"):
            optimizer.zero_grad()
            self.manual_backward(total)
            norm = self._clip_gradient("generator", values, outputs.clip)
            optimizer.step()
        self.untoggle_optimizer(optimizer)
        return {"total": total, "gradient_norm": norm, **values}

    def _clip_gradient(self, player: str, values: dict[str, Tensor], pictures: Tensor) -> Tensor:
        """Clip the gradient and return its norm before. Raises UserError where it is not finite: the run diverged."""
        norm = nn.utils.clip_grad_norm_(self._trained_by(player), self.clip_norm)
        if norm.isfinite():
            return norm
        terms = [f"loss/{name}" for name, value in values.items() if not torch.as_tensor(value).isfinite().all()]
        if not pictures.isfinite().all():  # whoever noticed it, the generator made them
            player, terms = "generator", ["its pictures", *terms]
        what = f"not finite: {', '.join(terms)}" if terms else "its losses are finite, their gradient is not"
        raise UserError(
            f"batch {self.batches_seen + 1} of the run diverged, {player}: {what}; lower optimizer.{player}.lr or "
            "clip_norm, and start again"
        )

    def outputs(
        self, stylizer: Stylizer, batch: ClipBatch, resets: Sequence[int] = (), warm_up: int = 0
    ) -> tuple[ClipBatch, Outputs]:
        """Stylise clips (B, T, 3, H, W) and draw a frame of each for the picture terms.

        The state is carried along a clip, and dropped before the frames of the numbers `resets`. The first `warm_up`
        frames only bring the state to where it is in the middle of a film, without a gradient; what is returned, the
        clips and what became of them, is what comes after them.
        """

        def stylise(frames: Tensor, offset: tuple[float, float] = (0.0, 0.0)) -> Tensor:
            with nullcontext() if stylizer.grain is None else stylizer.grain.beside(offset):
                return _cut(run(stylizer, frames, None, [t for t in resets if t < frames.shape[1]])[0], self.margin)

        state = None
        if warm_up:
            with torch.no_grad():
                _, state = run(stylizer, batch.frames[:, :warm_up], batch.flow, resets)
        clip, _ = run(stylizer, batch.frames[:, warm_up:], batch.flow, [t - warm_up for t in resets], warm_up, state)
        resets, batch = [t - warm_up for t in resets if t > warm_up], batch.since(warm_up)
        clip, frames = _cut(clip, self.margin), _cut(batch.frames, self.margin)
        along = _tangents(stylizer.grain, clip)
        rows = torch.arange(clip.shape[0], device=clip.device)
        drawn = torch.randint(clip.shape[1], (clip.shape[0],)).to(clip.device)
        tone = stylizer.tone
        with torch.no_grad():
            toned = None if tone is None else _cut(tone(batch.frames[rows, drawn])[0], self.margin)
        return batch, Outputs(
            clip=clip,
            still=clip[rows, drawn],
            photo=frames[rows, drawn],
            encode=stylizer.generator.encode,
            frames=batch.frames,
            stylise=stylise,
            toned=toned,
            grain=stylizer.grain,
            along=None if along is None else along[rows, drawn],
            discriminator=self.discriminator,
        )

    def validation_step(self, batch: ClipBatch, batch_idx: int) -> None:
        """Every term on held-out clips with the averaged weights, the same draws in every epoch; and the structural
        similarity of picture and photograph, which falls as the style takes over."""
        torch.manual_seed(self.seed + batch_idx)
        batch, outputs = self.outputs(self.inference_stylizer(), batch)
        total, values = self.losses(batch.interior(self.margin), outputs, progress=1.0)
        self.ssim.update(outputs.still.float(), outputs.photo.float())
        logs = {f"val/{name}": value for name, value in {"total": total, **values}.items()}
        self.log_dict({**logs, "val/ssim": self.ssim}, batch_size=len(batch.source))

    def _set_learning_rates(self) -> None:
        factor = self.schedule(self.progress_of_run)
        for optimizer in self.trainer.optimizers:
            for group in optimizer.param_groups:
                group["lr"] = group.setdefault("initial_lr", group["lr"]) * factor
        self.log("lr", self.trainer.optimizers[0].param_groups[0]["lr"])

    def on_train_epoch_end(self) -> None:
        self.epochs_done += 1

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        checkpoint["progress"] = {name: getattr(self, name) for name in PROGRESS}
        checkpoint["stylizer"] = self.stylizer_content()
        checkpoint["config"] = self.run_config

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        for name in PROGRESS:
            setattr(self, name, checkpoint["progress"][name])

    def stylizer_content(self) -> dict[str, Any]:
        """The averaged stylizer as `vst.checkpoint.load_stylizer` reads it."""
        return stylizer_content(self.inference_stylizer(), self.model_config, style=self.style_name)


def run(
    stylizer: Stylizer,
    frames: Tensor,
    flow: Tensor | None,
    resets: Sequence[int],
    at: int = 0,
    state: State | None = None,
) -> tuple[Tensor, State]:
    """Stylise frames (B, T, 3, H, W), the state carried along but dropped before the frames of the numbers `resets`.

    Args:
        flow: of a clip (B, N, 2, H, W) that holds these frames from its frame `at` on; None where it is not known.
        state: after the frame before them, None for none.
    """
    made, bounds = [], [0, *(t for t in resets if 0 < t < frames.shape[1]), frames.shape[1]]
    for start, end in pairwise(bounds):
        state = None if start in resets else state
        known = None if flow is None else flow[:, at + start - (state is not None) : at + end - 1]
        out, state = stylizer(frames[:, start:end], None, state, known)
        made.append(out)
    return torch.cat(made, dim=1), state


def disturbed(batch: ClipBatch, phase: Phase) -> tuple[ClipBatch, list[int]]:
    """Splice clips, and draw the frames before which the state is dropped, as `phase` says: (batch, frames)."""
    size, length = batch.frames.shape[:2]
    if length == 1:
        return batch, []
    if phase.splice > 0:
        starts = torch.randint(1, length, (size,))
        batch = batch.spliced(torch.where(torch.rand(size) < phase.splice, starts, length))
    if phase.reset == 0:
        return batch, []
    return batch, [t for t in range(1, length) if torch.rand(()).item() < phase.reset]


class _Average:
    """Exponential moving average with a warm-up: after n updates the decay is at most (1 + n) / (10 + n).

    With the full decay from the start, a short run would drag its first weights along for a third of its length.
    """

    def __init__(self, decay: float) -> None:
        self.decay = decay

    def __call__(self, average: Tensor, current: Tensor, updates: Tensor | int) -> Tensor:
        decay = min(self.decay, (1 + int(updates)) / (10 + int(updates)))
        return torch.lerp(current, average, decay)


def _share(number: int, total: int) -> float:
    return min(number / max(total, 1), 1.0)


def _tangents(grain: nn.Module | None, clip: Tensor) -> Tensor | None:
    """Tangents (B, T, 2, h, w) of the noise that was drawn last, for the middle (B, T, 3, H, W) of what was painted.

    None for another kind of noise, and for a clip that was painted in parts.
    """
    along = getattr(grain, "along", None)
    if along is None or len(along) != clip.shape[0] * clip.shape[1]:
        return None
    rows, columns = (side // grain.cell for side in clip.shape[-2:])
    top, left = (along.shape[-2] - rows) // 2, (along.shape[-1] - columns) // 2
    return along[..., top : top + rows, left : left + columns].unflatten(0, clip.shape[:2])


def _cut(x: Tensor, margin: int) -> Tensor:
    return x[..., margin : x.shape[-2] - margin, margin : x.shape[-1] - margin]
