"""The commands: `vst train`, `vst stylize`, `vst evaluate`, `vst export`, `vst benchmark`, also as train.py and so on.

With vst/config.py the only module that knows Hydra; each command builds objects from its configuration in a fixed order
and calls the library.
"""

from __future__ import annotations

import logging
import os
import shlex
import sys
import warnings
from collections.abc import Sequence
from importlib import resources
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from hydra.core.hydra_config import HydraConfig
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.utils import instantiate
from omegaconf import DictConfig, OmegaConf
from rich.console import Console

from vst.benchmark.entries import Model, check_engines, read_sizes
from vst.benchmark.models import run_models
from vst.benchmark.pipeline import run_pipeline
from vst.benchmark.report import check_folder as check_benchmark_folder
from vst.benchmark.report import log_benchmark, table
from vst.benchmark.report import write_reports as write_benchmark
from vst.benchmark.results import Benchmark
from vst.checkpoint import check_resumable, load_stylizer, read_training
from vst.config import command, compose_or_explain, plain, validate
from vst.errors import UserError, suggest
from vst.evaluate import check_folder, evaluate_videos, log_evaluation, tables, write_reports
from vst.evaluate.circumstances import circumstances
from vst.export import export_stylizer
from vst.networks import build_stylizer
from vst.networks.baselines import BASELINES, build_baseline
from vst.runtime import TILES, Engine, choose_engine, open_engine
from vst.schema import BenchmarkConfig, EvaluateConfig, ExportConfig, StylizeConfig, TrainConfig
from vst.stream import stylize_video
from vst.task import StyleTransferTask
from vst.video import probe

log = logging.getLogger("vst")

FEW_PICTURES = 10
EXPORTED = (".onnx", ".xml")
CHECKPOINTS = (".pt", ".ckpt")
WARMUP_STEPS = 5
FREE_ON_RESUME = ("resume", "output_dir", "trainer", "logger", "callbacks", "data.num_workers", "optimized_metric")


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
    """Build everything from the configuration, train, and return (metrics, objects)."""
    _quiet_libraries()
    output = _output_dir(cfg)
    if cfg.resume is not None:
        cfg = continued(cfg, read_training(cfg.resume), _given_overrides())
        validate(cfg, TrainConfig)  # a run of another version may lack a key
    pl.seed_everything(cfg.seed, workers=True, verbose=False)
    style = instantiate(cfg.style)
    if note := few_pictures(plain(cfg.loss), style.count):
        log.warning("style     %s", note)
    task = build_task(cfg, style_name=style.name)  # before the data, which may take minutes to prepare
    log.info("model     %s", describe_model(task))
    if cfg.resume is not None:
        check_resumable(cfg.resume, task.state_dict(), cfg.trainer.max_epochs)
    elif cfg.init_from is not None:
        log.info("init_from %s", task.start_from(cfg.init_from))
    log.info("phases    %s", task.curriculum.describe())
    data = instantiate(cfg.data, style=style)
    log.info("data      %s", data.describe())
    callbacks = list(instantiate(cfg.callbacks).values())
    loggers = list(instantiate(cfg.logger).values())
    one = {"devices": 1} if cfg.trainer.get("devices", "auto") == "auto" else {}
    trainer = instantiate(cfg.trainer, **one, callbacks=callbacks, logger=loggers, default_root_dir=str(output))
    log.info("device    %s, precision %s", describe_device(trainer), trainer.precision)
    log.info("output    %s", output)
    config = plain(cfg)
    task.run_config = OmegaConf.to_container(cfg, resolve=False)
    OmegaConf.save(OmegaConf.create(config), output / "config.yaml")
    for logger in loggers:
        logger.log_hyperparams({**config, "origin": data.describe()})
    failed = True
    try:
        trainer.fit(task, datamodule=data, ckpt_path=cfg.resume, weights_only=True)
        failed = False
    finally:
        for logger in loggers:
            logger.finalize("failed" if failed else "success")
        _finish_wandb(failed)
    metrics = {name: float(value) for name, value in trainer.callback_metrics.items()}
    return metrics, {"task": task, "data": data, "trainer": trainer, "style": style}


def continued(cfg: DictConfig, saved: dict[str, Any], overrides: Sequence[str]) -> DictConfig:
    """The configuration to resume with: that of the run, `saved`, with the `overrides` that do not change its course.

    Those are of `FREE_ON_RESUME`. Raises UserError for another one, unless it says what the run has anyway.
    """
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


@command("stylize", StylizeConfig)
def stylize(cfg: DictConfig) -> None:
    """Stylise a video file."""
    report = stylize_video(
        _engine(cfg),
        cfg.input,
        cfg.output,
        codec=cfg.codec,
        crf=cfg.crf,
        preset=cfg.preset,
        overwrite=cfg.overwrite,
    )
    cuts = f", {report.cuts} cut{'' if report.cuts == 1 else 's'}" if report.cuts else ""
    print(f"{report.frames} frames in {report.seconds:.1f} s ({report.fps:.1f} fps){cuts}")
    print(report.output)


@command("evaluate", EvaluateConfig)
def evaluate(cfg: DictConfig) -> None:
    """Measure checkpoints and finished videos on clips."""
    folder = check_folder(cfg.output, cfg.overwrite)
    loggers = list(instantiate(cfg.logger).values())
    asked = plain(cfg)
    options = ("clips", "videos", "styles", "width", "frames", "metrics", "controls", "drift_frames", "attack_steps")
    failed = True
    try:
        evaluation = evaluate_videos(
            checkpoints=asked["checkpoint"],
            device=_device(cfg.device),
            **{name: asked[name] for name in (*options, "flow", "flow_weights", "flow_truth")},
            **asked["weights"],
        )
        for logger in loggers:
            log_evaluation(evaluation, logger)
        failed = False
    finally:
        for logger in loggers:
            logger.finalize("failed" if failed else "success")
        _finish_wandb(failed)
    Console(width=None if sys.stdout.isatty() else 120).print(*tables(evaluation))
    for what, why in evaluation.skipped.items():
        print(f"skipped {what}: {why}")
    for line in [*evaluation.notes, *write_reports(evaluation, folder, overwrite=True)]:
        print(line)


@command("export", ExportConfig)
def export(cfg: DictConfig) -> None:
    """Write a stylizer for other programs, checked against the checkpoint."""
    report = export_stylizer(**plain(cfg))
    if report.quality is not None:
        print(f"{report.quality.frames} frames, the memory carried:\n{report.quality.to_markdown()}")
    print(report.path)


@command("benchmark", BenchmarkConfig)
def benchmark(cfg: DictConfig) -> None:
    """Measure the speed of models and engines, of a film from file to file, or of training."""
    folder = check_benchmark_folder(cfg.output, cfg.overwrite)
    asked, device = plain(cfg), _device(cfg.device)
    settings = circumstances(device)
    measure = {"models": _measure_models, "pipeline": _measure_pipeline, "training": _measure_training}[cfg.mode]
    loggers = list(instantiate(cfg.logger).values())
    failed = True
    try:
        result = measure(asked, device, settings)
        for logger in loggers:
            log_benchmark(result, logger)
        failed = False
    finally:
        for logger in loggers:
            logger.finalize("failed" if failed else "success")
        _finish_wandb(failed)
    Console(width=None if sys.stdout.isatty() else 140).print(table(result))
    for what, why in result.skipped.items():
        print(f"could not run {what}: {why}")
    for line in [*result.notes, *write_benchmark(result, folder)]:
        print(line)


def _measure_models(asked: dict[str, Any], device: torch.device, settings: dict[str, Any]) -> Benchmark:
    engines, precisions, sizes = asked["engines"], asked["precisions"], read_sizes(asked["sizes"])
    check_engines(engines, precisions)
    models = [benchmark_model(str(name)) for name in asked["models"]]
    pace = {"rounds": asked["rounds"], "seconds": asked["seconds"]}
    return run_models(models, sizes, engines, precisions, device, settings, **pace)


def _measure_pipeline(asked: dict[str, Any], device: torch.device, settings: dict[str, Any]) -> Benchmark:
    engine, precision = asked["engines"][:1], asked["precisions"][:1]
    check_engines(engine, precision)
    model = benchmark_model(str(asked["models"][0]))
    probe(asked["input"])  # before an engine is built, which may take a while
    opened = open_engine(model.source, engine[0], precision[0], device)
    encoder = {name: asked[name] for name in ("codec", "crf", "preset")}
    settings = settings | {"model": model.name}
    return run_pipeline(opened, asked["input"], settings, rounds=asked["rounds"], **encoder)


def _measure_training(asked: dict[str, Any], device: torch.device, settings: dict[str, Any]) -> Benchmark:
    return measure_training(shlex.split(asked["train"]), asked["steps"], asked["output"], settings)


def measure_training(overrides: Sequence[str], steps: int, output: str | Path, settings: dict[str, Any]) -> Benchmark:
    """A run in miniature, of all its phases but without previews, checkpoints, validation and loggers.

    Args:
        overrides: of train.py; its trainer chooses the device.
        steps: that are measured; `WARMUP_STEPS` come before, while workers start and kernels are chosen.
        output: folder; nothing is written.
    """
    _quiet_libraries()
    total = steps + WARMUP_STEPS
    fixed = ["logger=none", "callbacks=none", f"data.steps_per_epoch={total}", "trainer.max_epochs=1"]
    cfg = compose_or_explain("train", [*overrides, *fixed, f"output_dir={output}"], TrainConfig)
    pl.seed_everything(cfg.seed, workers=True, verbose=False)
    style = instantiate(cfg.style)
    task, data = build_task(cfg, style.name), instantiate(cfg.data, style=style)
    meter = instantiate({"_target_": "callbacks.throughput.Throughput", "warmup": WARMUP_STEPS})
    options = {"logger": False, "enable_checkpointing": False, "limit_val_batches": 0, "limit_train_batches": total}
    trainer = instantiate(cfg.trainer, callbacks=[meter], default_root_dir=str(output), **options)
    trainer.fit(task, datamodule=data)
    settings = settings | {"device": describe_device(trainer), "train": list(overrides), "data": data.describe()}
    row = {"precision": str(trainer.precision), "batch": cfg.data.batch_size, "clip": cfg.clip_length}
    row |= {"crop": cfg.data.crop, "workers": cfg.data.num_workers, **meter.row()}
    return Benchmark("training", settings | {"model": describe_model(task)}, [row])


def benchmark_model(name: str) -> Model:
    """A checkpoint, an exported file, a baseline, or a choice of conf/model; the last two with fixed weights."""
    path = Path(name)
    if path.suffix in CHECKPOINTS + EXPORTED:
        title = path.resolve().parent.name if path.stem in ("stylizer", "last") else path.stem
        if path.suffix in CHECKPOINTS:
            return Model(title, "checkpoint", load_stylizer(path))
        return Model(title, "file", path)
    presets = sorted(Path(file.name).stem for file in (resources.files("conf") / "model").iterdir() if file.is_file())
    if name not in presets and name not in BASELINES:
        known = [*presets, *BASELINES]
        raise UserError(
            f"models: '{name}' is unknown{suggest(name, known)}; give a .pt, .ckpt, .onnx or .xml file, or one of "
            + ", ".join(known)
        )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        if name in BASELINES:
            return Model(name, "baseline", build_baseline(name))
        cfg = compose_or_explain("train", [f"model={name}"], TrainConfig)
        return Model(name, "preset", build_stylizer(plain(cfg.model)))


COMMANDS = {"train": train, "stylize": stylize, "evaluate": evaluate, "export": export, "benchmark": benchmark}


def main() -> None:
    """The console command: `vst train model=convgru style=wikiart`."""
    name = sys.argv[1] if len(sys.argv) > 1 else "--help"
    if name in ("-h", "--help"):
        print(f"usage: vst {{{','.join(COMMANDS)}}} [key=value ...]   (vst train --help lists the keys)")
        return
    if name not in COMMANDS:
        sys.exit(f"error: vst {name}: no such command{suggest(name, COMMANDS)}; commands: {', '.join(COMMANDS)}")
    COMMANDS[name](sys.argv[2:])


def few_pictures(loss: dict[str, Any], count: int) -> str | None:
    """A line to warn with where a discriminator would learn `count` pictures by heart; the other terms still train."""
    for name, term in loss.get("terms", {}).items():
        plays = term["_target_"].endswith(".Adversarial") and term.get("weight") != 0
        if plays and count < FEW_PICTURES and not (term.get("augment") or {}).get("probability"):
            return (
                f"{count} picture{'' if count == 1 else 's'}: a discriminator learns so few by heart; give "
                f"{FEW_PICTURES} or more, or choose loss=few_pictures (or loss.terms.{name}.augment.probability=1)"
            )
    return None


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


def _quiet_libraries() -> None:
    """Keep what Lightning says of itself off the terminal: it is true of every run and asks for nothing."""
    for name in ("pytorch_lightning", "lightning_fabric"):
        logging.getLogger(name).setLevel(logging.WARNING)
    for message in (
        ".*LeafSpec.* is deprecated",
        "Experiment logs directory .* exists and is not empty",  # the run folder, which holds our config.yaml
        r"Found \d+ module\(s\) in eval mode",  # the moving average, which is only ever used for inference
        ".*does not have many workers",
        ".*number of training batches .* is smaller than the logging interval",
    ):
        warnings.filterwarnings("ignore", message=message)


def _output_dir(cfg: DictConfig) -> Path:
    """The run folder that Hydra made (a sweep gives each job its own), written back so that the groups see it."""
    if HydraConfig.initialized():
        cfg.output_dir = os.path.relpath(HydraConfig.get().runtime.output_dir)
    output = Path(cfg.output_dir)
    if (output / "config.yaml").exists():
        raise UserError(f"output_dir={output}: holds a run already, which would be overwritten; give another folder")
    output.mkdir(parents=True, exist_ok=True)
    return output


def _given_overrides() -> list[str]:
    return list(HydraConfig.get().overrides.task) if HydraConfig.initialized() else []


def _device(name: str) -> torch.device:
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        raise UserError(f"device={name}: not available here ({str(error).splitlines()[0]}); try device=auto") from error
    return device


def _engine(cfg: DictConfig) -> Engine:
    """The engine of `stylize`, which `engine=auto` chooses for the size of its input."""
    names = [cfg.device] if isinstance(cfg.device, str) else list(cfg.device)
    devices, exported = [_device(name) for name in names], Path(cfg.checkpoint).suffix in EXPORTED
    source = Path(cfg.checkpoint) if exported else load_stylizer(cfg.checkpoint)
    video = probe(cfg.input)  # before an engine is built, which may take a while
    engine, precision = cfg.engine, cfg.precision
    size = (video.width, video.height) if round(video.rotation / 90) % 2 == 0 else (video.height, video.width)
    if engine == "auto":
        measured = tuple(min(side, TILES[0]) for side in size)  # what is fastest there is so for what may not fit
        choice = choose_engine(source, measured, precision, devices[0])
        log.info("engine    %s %s, %s", choice.engine, choice.precision, choice.reason)
        engine, precision = choice.engine, choice.precision
    elif precision == "auto":
        raise UserError("precision=auto is for engine=auto; choose float32, bfloat16 or float16")
    opened = open_engine(source, engine, precision, devices, cfg.tile)
    opened.fit(size[1], size[0])  # before the output is begun
    return opened


def _finish_wandb(failed: bool) -> None:
    """Close the W&B run of this job, so that the next job of a sweep starts its own."""
    if "wandb" in sys.modules:
        import wandb

        wandb.finish(exit_code=1 if failed else 0)
