"""`vst evaluate`: measure checkpoints and finished videos."""

from __future__ import annotations

import sys

from omegaconf import DictConfig
from rich.console import Console

from vst.commands.common import ending, open_device, open_loggers
from vst.config import claim_output, command, plain
from vst.evaluate import check_folder, evaluate_videos, log_evaluation, tables, write_reports
from vst.schema import EvaluateConfig


@command("evaluate", EvaluateConfig)
def evaluate(cfg: DictConfig) -> None:
    """Measure checkpoints and finished videos on clips."""
    cfg.output = str(claim_output(cfg, "output"))
    folder = check_folder(cfg.output, cfg.overwrite)
    loggers = open_loggers(cfg.logger)
    asked = plain(cfg)
    options = ("clips", "videos", "styles", "width", "frames", "metrics", "controls", "drift_frames", "attack_steps")
    with ending(loggers):
        evaluation = evaluate_videos(
            checkpoints=asked["checkpoint"],
            device=open_device(cfg.device),
            **{name: asked[name] for name in (*options, "flow", "flow_weights", "flow_truth")},
            **asked["weights"],
        )
        for logger in loggers:
            log_evaluation(evaluation, logger)
    Console(width=None if sys.stdout.isatty() else 120).print(*tables(evaluation))
    for what, why in evaluation.skipped.items():
        print(f"skipped {what}: {why}")
    for line in [*evaluation.notes, *write_reports(evaluation, folder, overwrite=True)]:
        print(line)
