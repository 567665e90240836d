"""`vst train`: train a style."""

from __future__ import annotations

import logging
import os
import re
import shlex
from collections.abc import Sequence
from importlib import resources
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from hydra.core.hydra_config import HydraConfig
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import InstantiationException
from hydra.utils import instantiate
from omegaconf import DictConfig, OmegaConf

from vst.checkpoint import PARTS, check_resumable, read_progress, read_stylizer, read_training, streak_of
from vst.commands.common import build_trainer, ending, quiet_libraries
from vst.companions import brought_along
from vst.config import command, plain, validate
from vst.errors import UserError, suggest
from vst.jobs import ignore_interrupts, is_interrupt
from vst.networks import NO_PART, build_stylizer
from vst.pruning import prune
from vst.run_folder import CONFIG, begin, claim_run_folder, finish, goes_on, latest_checkpoint, rewind
from vst.schema import TrainConfig
from vst.shell import key_value, relative
from vst.task import StyleTransferTask

log = logging.getLogger("vst")

FEW_PICTURES = 10
DEFAULT_LOSS = "default"
FREE_ON_RESUME = ("resume", "output_dir", "trainer", "logger", "callbacks", "data.num_workers", "optimized_metric")
BEFORE = dict.fromkeys(("tone", "grain", "motion", "grade"), NO_PART) | {"short_side": None}
"""What a model has of what the configurations of runs from before there were such do not name."""


@command("train", TrainConfig)
def train(cfg: DictConfig) -> float | None:
    """Train, and return the metric that a sweeper minimises, if one is asked for."""
    metrics, _ = run_training(cfg)
    if cfg.optimized_metric is None:
        return None
    if cfg.optimized_metric not in metrics:
        near, measured = suggest(cfg.optimized_metric, metrics), ", ".join(sorted(metrics))
        raise UserError(
            f"optimized_metric={cfg.optimized_metric}: not measured in this run{near}; measured: {measured}"
        )
    return metrics[cfg.optimized_metric]


def run_training(cfg: DictConfig) -> tuple[dict[str, float], dict[str, Any]]:
    """Build everything from the configuration, train, and return (metrics, objects).

    An exception that breaks it off gets a note that says how to go on, or to start anew.
    """
    quiet_libraries()
    output = _output_dir(cfg)
    try:
        return _run_in(output, cfg)
    except (UserError, InstantiationException):  # a mistake, in one line
        raise
    except BaseException as error:
        if is_interrupt(error):
            ignore_interrupts()  # a second one must not cut off what the first one has to say
        error.add_note(how_to_go_on(output, _given_overrides()))
        raise


def _run_in(output: Path, cfg: DictConfig) -> tuple[dict[str, float], dict[str, Any]]:
    notes = brought_along(cfg, HydraConfig.get()) if HydraConfig.initialized() and cfg.resume is None else []
    for line in notes:
        log.info("choices   %s", line)
    if cfg.resume is not None:
        cfg = continued(cfg, read_training(cfg.resume), _given_overrides())
        validate(cfg, TrainConfig)  # a run of another version may lack a key
    else:
        take_pruned_model(cfg)
    teacher = read_stylizer(cfg.teacher) if cfg.teacher else None  # before anything is built
    if teacher is not None:
        _check_streaks(cfg, teacher["model"])
        if not any(override.startswith("model.short_side=") for override in _given_overrides()):
            cfg.model.short_side = teacher["model"].get("short_side")  # strokes as broad as those that are taught
    pl.seed_everything(cfg.seed, workers=True, verbose=False)
    style = instantiate(cfg.style)
    if note := fit_loss(cfg, style.count, _given_overrides(), _chosen_loss()):
        log.info("choices   %s", note)
        notes.append(note)
    if note := few_pictures(plain(cfg.loss), style.count):
        log.warning("style     %s", note)
    # Before the data, which may take minutes to prepare.
    task = build_task(cfg, style_name=(teacher or {}).get("style") or style.name)
    log.info("model     %s", describe_model(task))
    if cfg.resume is not None:
        check_resumable(cfg.resume, task.state_dict(), cfg.trainer.max_epochs)
        _check_is_latest(cfg.resume, output)
    elif cfg.init_from is not None:
        log.info("init_from %s", task.start_from(cfg.init_from, smaller=cfg.prune))
    if cfg.resume is None:
        task.set_tone(style.gallery(), (teacher or {}).get("weights"))
    task.losses.set_style(style.gallery())
    log.info("phases    %s", task.curriculum.describe())
    data = instantiate(cfg.data, style=style)
    log.info("data      %s", data.describe())
    callbacks = list(instantiate(cfg.callbacks).values())
    loggers = list(instantiate(cfg.logger).values())
    trainer = build_trainer(cfg.trainer, callbacks=callbacks, logger=loggers, default_root_dir=str(output))
    log.info("device    %s, precision %s", describe_device(trainer), trainer.precision)
    log.info("output    %s", output)
    begin(output)
    own = {}
    if goes_on(output, cfg.resume):
        rewind(output, *_progress_of(cfg.resume))
        own = {"resume": None}  # it is one run, which did not come from another
    config = plain(cfg) | own
    task.run_config = OmegaConf.to_container(cfg, resolve=False) | own
    remarks = "".join(f"# {line}\n" for line in notes)
    (output / CONFIG).write_text(remarks + OmegaConf.to_yaml(OmegaConf.create(config)), encoding="utf-8")
    with ending(loggers):
        for logger in loggers:
            logger.log_hyperparams({**config, "origin": data.describe()})
        trainer.fit(task, datamodule=data, ckpt_path=cfg.resume, weights_only=True)
    finish(output)
    metrics = {name: float(value) for name, value in trainer.callback_metrics.items()}
    return metrics, {"task": task, "data": data, "trainer": trainer, "style": style}


def _check_streaks(cfg: DictConfig, taught: dict[str, Any]) -> None:
    """UserError where model and teacher would see different noise: the student would learn the mean of its strokes."""
    ours, theirs = streak_of(plain(cfg.model)), streak_of(taught)
    if None not in (ours, theirs) and ours != theirs:
        raise UserError(
            f"teacher={cfg.teacher}: its grain is drawn out by {theirs} places, that of the model by {ours}; "
            f"add model.grain.streak={theirs}"
        )


def take_pruned_model(cfg: DictConfig) -> None:
    """Put the generator and the memory of `init_from`, narrowed by the share `prune`, in the place of cfg's own.

    Where nothing is to be pruned, cfg stays as it is.
    """
    if cfg.prune == 0:
        return
    large = read_stylizer(cfg.init_from)
    small = prune(large, cfg.prune)
    for part in PARTS:
        OmegaConf.update(cfg, f"model.{part}", small["model"].get(part, NO_PART), merge=False)
    cfg.model.short_side = small["model"].get("short_side")
    widths = (f"{content['model']['generator']['width']} channels" for content in (large, small))
    counts = (f"{sum(value.numel() for value in content['weights'].values()):,}" for content in (large, small))
    sizes = f"{' -> '.join(widths)}, {' -> '.join(counts)} parameters"
    log.info("prune     %s of %s: %s", cfg.prune, cfg.init_from, sizes)


def continued(cfg: DictConfig, saved: dict[str, Any], overrides: Sequence[str]) -> DictConfig:
    """The configuration to resume with: that of the run, `saved`, with the `overrides` that do not change its course.

    Those are of `FREE_ON_RESUME`. Raises UserError for another one, unless it says what the run has anyway.
    """
    saved = saved | {"model": BEFORE | saved["model"]}
    whole, ours, theirs = OmegaConf.create(saved), OmegaConf.create(plain(cfg)), None
    for override in OverridesParser.create().parse_overrides(list(overrides)):
        key = override.key_or_group.replace("/", ".")
        if key == "experiment":
            continue
        if key.startswith(FREE_ON_RESUME):
            parent, _, name = key.rpartition(".")
            if override.is_delete():
                (OmegaConf.select(whole, parent) if parent else whole).pop(name, None)
            else:
                OmegaConf.update(whole, key, OmegaConf.select(ours, key), merge=False)
            continue
        theirs = theirs or OmegaConf.create(plain(OmegaConf.create(saved)))
        if OmegaConf.select(ours, key) != OmegaConf.select(theirs, key):
            raise UserError(
                f"{override.input_line}: the run to resume has other settings there; leave it out (its own are taken), "
                "or start a new run"
            )
    whole.resume, whole.output_dir = cfg.resume, cfg.output_dir
    return whole


def build_task(cfg: DictConfig, style_name: str) -> StyleTransferTask:
    model = plain(cfg.model)
    return StyleTransferTask(
        build_stylizer(model),
        instantiate(cfg.model.discriminator),
        instantiate(cfg.loss),
        {player: instantiate(cfg.optimizer[player]) for player in ("generator", "discriminator")},
        instantiate(cfg.scheduler),
        instantiate(cfg.curriculum),
        model_config=model,
        style_name=style_name,
        ema_decay=cfg.ema_decay,
        clip_norm=cfg.clip_norm,
        margin=cfg.margin,
        seed=cfg.seed,
    )


def fit_loss(cfg: DictConfig, count: int, overrides: Sequence[str], choice: str = DEFAULT_LOSS) -> str | None:
    """Choose loss=few_pictures where a discriminator would learn `count` pictures by heart, and return a line on it.

    What the user or an experiment chose stays: a loss that is no longer the default, or one of its terms.

    Args:
        overrides: of the job.
        choice: its choice of the group loss.
    """
    chosen = choice != DEFAULT_LOSS or any(re.match(r"[+~]*loss\b", line) for line in overrides)
    if chosen or cfg.resume is not None or few_pictures(plain(cfg.loss), count) is None:
        return None
    fitting = OmegaConf.load(str(resources.files("conf") / "loss" / "few_pictures.yaml"))
    cfg.loss = OmegaConf.merge(cfg.loss, {"terms": fitting.terms})
    return (
        f"loss=few_pictures is chosen, since a discriminator learns {_pictures(count)} by heart "
        f"(loss={DEFAULT_LOSS} says otherwise)"
    )


def few_pictures(loss: dict[str, Any], count: int) -> str | None:
    """A line to warn with where a discriminator would learn `count` pictures by heart; the other terms still train."""
    for name, term in loss.get("terms", {}).items():
        plays = term["_target_"].endswith(".Adversarial") and term.get("weight") != 0
        if plays and count < FEW_PICTURES and not (term.get("augment") or {}).get("probability"):
            return (
                f"{_pictures(count)}: a discriminator learns so few by heart; give "
                f"{FEW_PICTURES} or more, or choose loss=few_pictures (or loss.terms.{name}.augment.probability=1)"
            )
    return None


def _pictures(count: int) -> str:
    return f"{count} picture{'' if count == 1 else 's'}"


def describe_model(task: StyleTransferTask) -> str:
    def parameters(module: torch.nn.Module | None) -> int:
        return sum(p.numel() for p in module.parameters()) if module is not None else 0

    parts = [task.stylizer.generator, task.stylizer.temporal, task.discriminator]
    names = ", ".join(f"{type(part).__name__} {parameters(part):,}" for part in parts if part is not None)
    return f"{names} parameters"


def describe_device(trainer: pl.Trainer) -> str:
    device = trainer.strategy.root_device
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    return f"{device.type}, {torch.get_num_threads()} threads"


def how_to_go_on(output: Path, overrides: Sequence[str]) -> str:
    """Two lines for a run that broke off: the command to go on with, or to start anew with `overrides`."""
    checkpoint = latest_checkpoint(output)
    if checkpoint is None:
        again = shlex.join(["python", "train.py", *overrides])
        return f"before the first checkpoint, so there is nothing to go on from; to start anew:\n{again}"
    command = f"python train.py {key_value('resume', relative(checkpoint))}"
    return f"to go on after epoch {_progress_of(checkpoint)[1]}, in the same folder:\n{command}"


def _check_is_latest(resume: str, output: Path) -> None:
    """UserError where a run would go on from a checkpoint that it has left behind."""
    if not goes_on(output, resume):
        return
    latest = latest_checkpoint(output)
    if _progress_of(latest) > _progress_of(resume):
        raise UserError(
            f"resume={resume}: the run went further, to {latest}, which would be overwritten; resume from there, or "
            "give a new folder: output_dir=..."
        )


def _progress_of(checkpoint: str | Path) -> tuple[int, int]:
    """Batches and whole epochs that a run had done."""
    progress = read_progress(checkpoint)
    return progress["batches_seen"], progress["epochs_done"]


def _output_dir(cfg: DictConfig) -> Path:
    """The run folder that Hydra made (a sweep gives each job its own), written back so that the groups see it."""
    if HydraConfig.initialized():
        cfg.output_dir = os.path.relpath(HydraConfig.get().runtime.output_dir)
    return claim_run_folder(cfg.output_dir, resume=cfg.resume)


def _chosen_loss() -> str:
    return HydraConfig.get().runtime.choices.loss if HydraConfig.initialized() else DEFAULT_LOSS


def _given_overrides() -> list[str]:
    return list(HydraConfig.get().overrides.task) if HydraConfig.initialized() else []
