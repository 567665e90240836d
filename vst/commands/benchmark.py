"""`vst benchmark`: speed of models, of the pipeline, of training."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Sequence
from importlib import resources
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from hydra.utils import instantiate
from omegaconf import DictConfig
from rich.console import Console

from vst.benchmark.entries import Model, check_engines, read_sizes
from vst.benchmark.models import run_models
from vst.benchmark.pipeline import run_pipeline
from vst.benchmark.report import check_folder, log_benchmark, table, write_reports
from vst.benchmark.results import Benchmark
from vst.checkpoint import load_stylizer
from vst.commands.common import CHECKPOINTS, build_trainer, ending, open_device, open_loggers, quiet_libraries
from vst.commands.train import build_task, describe_device, describe_model, fit_loss, take_pruned_model
from vst.companions import brought_along
from vst.config import claim_output, command, compose_job, compose_or_explain, plain
from vst.errors import UserError, suggest
from vst.evaluate.circumstances import circumstances
from vst.networks import build_stylizer
from vst.networks.baselines import BASELINES, build_baseline
from vst.runtime import FILE_ENGINES, open_engine
from vst.schema import BenchmarkConfig, TrainConfig
from vst.video import probe

WARMUP_STEPS = 5


@command("benchmark", BenchmarkConfig)
def benchmark(cfg: DictConfig) -> None:
    """Measure the speed of models and engines, of a film from file to file, or of training."""
    cfg.output = str(claim_output(cfg, "output"))
    folder = check_folder(cfg.output, cfg.overwrite)
    asked, device = plain(cfg), open_device(cfg.device)
    settings = circumstances(device)
    measure = {"models": _measure_models, "pipeline": _measure_pipeline, "training": _measure_training}[cfg.mode]
    loggers = open_loggers(cfg.logger)
    with ending(loggers):
        result = measure(asked, device, settings)
        for logger in loggers:
            log_benchmark(result, logger)
    Console(width=None if sys.stdout.isatty() else 140).print(table(result))
    for what, why in result.skipped.items():
        print(f"could not run {what}: {why}")
    for line in [*result.notes, *write_reports(result, folder)]:
        print(line)


def _measure_models(asked: dict[str, Any], device: torch.device, settings: dict[str, Any]) -> Benchmark:
    engines, precisions, sizes = asked["engines"], asked["precisions"], read_sizes(asked["sizes"])
    check_engines(engines, precisions)
    models = [benchmark_model(str(name)) for name in asked["models"]]
    pace = {"rounds": asked["rounds"], "seconds": asked["seconds"]}
    return run_models(models, sizes, engines, precisions, device, settings, **pace)


def _measure_pipeline(asked: dict[str, Any], device: torch.device, settings: dict[str, Any]) -> Benchmark:
    check_engines(asked["engines"], asked["precisions"])
    model = benchmark_model(str(asked["models"][0]))
    engine, precision = (asked["engines"] or model.engines)[0], asked["precisions"][0]
    probe(asked["input"])  # before an engine is built, which may take a while
    opened = open_engine(model.source, engine, precision, device)
    encoder = {name: asked[name] for name in ("codec", "crf", "preset", "planes")}
    settings = settings | {"model": model.name}
    return run_pipeline(opened, asked["input"], settings, rounds=asked["rounds"], **encoder)


def _measure_training(asked: dict[str, Any], device: torch.device, settings: dict[str, Any]) -> Benchmark:
    return measure_training(shlex.split(asked["train"]), asked["steps"], asked["output"], settings)


def measure_training(overrides: Sequence[str], steps: int, output: str | Path, settings: dict[str, Any]) -> Benchmark:
    """A run in miniature, of all its phases but without previews, checkpoints, validation and loggers.

    It learns what train.py would: its notes say what choices brought along.

    Args:
        overrides: of train.py; its trainer chooses the device.
        steps: that are measured; `WARMUP_STEPS` come before, while workers start and kernels are chosen.
        output: folder; nothing is written.
    """
    quiet_libraries()
    total = steps + WARMUP_STEPS
    fixed = ["logger=none", "callbacks=none", f"data.steps_per_epoch={total}", "trainer.max_epochs=1"]
    cfg, hydra = compose_job("train", [*overrides, *fixed, f"output_dir={output}"], TrainConfig)
    notes = brought_along(cfg, hydra)
    take_pruned_model(cfg)
    pl.seed_everything(cfg.seed, workers=True, verbose=False)
    style = instantiate(cfg.style)
    if note := fit_loss(cfg, style.count, hydra.overrides.task, hydra.runtime.choices.loss):
        notes.append(note)
    task, data = build_task(cfg, style.name), instantiate(cfg.data, style=style)
    meter = instantiate({"_target_": "callbacks.throughput.Throughput", "warmup": WARMUP_STEPS})
    options = {"logger": False, "enable_checkpointing": False, "limit_val_batches": 0, "limit_train_batches": total}
    trainer = build_trainer(cfg.trainer, callbacks=[meter], default_root_dir=str(output), **options)
    trainer.fit(task, datamodule=data)
    settings = settings | {"device": describe_device(trainer), "train": list(overrides), "data": data.describe()}
    row = {"precision": str(trainer.precision), "batch": cfg.data.batch_size, "clip": cfg.clip_length}
    row |= {"crop": cfg.data.crop, "workers": cfg.data.num_workers, **meter.row()}
    return Benchmark("training", settings | {"model": describe_model(task)}, [row], notes=notes)


def benchmark_model(name: str) -> Model:
    """A checkpoint, an exported file, a baseline, or a choice of conf/model; the last two with fixed weights."""
    path = Path(name)
    if path.suffix in (*CHECKPOINTS, *FILE_ENGINES):
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
