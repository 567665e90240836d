"""`vst export`: write a stylizer for other programs."""

from __future__ import annotations

from omegaconf import DictConfig

from vst.config import command, plain
from vst.export import export_stylizer
from vst.schema import ExportConfig


@command("export", ExportConfig)
def export(cfg: DictConfig) -> None:
    """Write a stylizer for other programs, checked against the checkpoint."""
    report = export_stylizer(**plain(cfg))
    if report.quality is not None:
        print(report.quality.to_markdown())
    print(report.path)
