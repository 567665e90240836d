"""An evaluation as a table on the console, JSON, CSV, and an HTML page."""

from __future__ import annotations

import csv
import json
import os
from dataclasses import asdict
from pathlib import Path
from typing import Any

from rich import box
from rich.table import Table

from vst.evaluate.page import page
from vst.evaluate.results import Evaluation, Row
from vst.report_folder import report_folder
from vst.text import READABLE

FILES = ("evaluation.json", "evaluation.csv", "evaluation.html")
CONSOLE = {
    "calm": ("ratio", "detail", "per_detail", "change", "flicker", "ratio@10", "tof_in"),
    "style and content": ("patch_style", "colour_style", "gram", "adain", "ssim"),
    "network": ("flicker_static", "cut_recovery_frames", "pgd@4", "noise@4", "jpeg@50"),
}  # what a terminal has room for; the files have everything


def tables(evaluation: Evaluation) -> list[Table]:
    """The means over clips for the console: the metrics that matter most, in tables for a terminal of 100 columns."""
    metrics, clips = evaluation.metrics(), len({row.clip for row in evaluation.rows})
    result = []
    for title, names in CONSOLE.items():
        present = [name for name in names if name in metrics]
        rows = [row for row in evaluation.means() if any(row.values.get(name) is not None for name in present)]
        if not rows:
            continue
        heading = f"{title} (mean of {clips} clip{'' if clips == 1 else 's'})"
        table = Table(heading, *present, box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0))
        for column in table.columns[1:]:
            column.justify = "right"
        for row in rows:
            style = {"control": "dim", "input": ""}.get(row.kind, "bold")
            table.add_row(row.entry, *(number(row.values.get(name)) for name in present), style=style)
        result.append(table)
    return result


def check_folder(folder: str | Path, overwrite: bool) -> Path:
    """`vst.report_folder.report_folder` of an evaluation."""
    return report_folder(folder, "an evaluation", FILES, overwrite)


def write_reports(evaluation: Evaluation, folder: str | Path, overwrite: bool = False) -> list[Path]:
    """Write `evaluation.json`, `.csv` and `.html` (self-contained) into `folder`, each whole or not at all."""
    folder = check_folder(folder, overwrite)
    paths = [folder / name for name in FILES]
    for path, write in zip(paths, (_write_json, _write_csv, _write_html), strict=True):
        part = path.with_name(f".{path.name}.part")
        write(evaluation, part)
        os.replace(part, path)
    return paths


def log_evaluation(evaluation: Evaluation, logger: Any) -> None:
    """Hand the result to a logger of a run: W&B's gets tables, others the means by `entry/metric`."""
    metrics = evaluation.metrics()
    if hasattr(logger, "log_table"):
        for key, rows in (("evaluation/means", evaluation.means()), ("evaluation/clips", evaluation.rows)):
            columns, lines = wide(rows, metrics)
            logger.log_table(key=key, columns=columns, data=lines)
        return
    for row in evaluation.means():
        known = {f"{row.entry}/{name}": value for name, value in row.values.items() if value is not None}
        logger.log_metrics(known)


def number(value: float | None) -> str:
    """Three or four significant digits; a dash for what was not measured."""
    if value is None:
        return "-"
    if value == 0 or 0.01 <= abs(value) < 1000:
        return f"{value:.3f}"
    return f"{value:.2e}"


def wide(rows: list[Row], metrics: list[str]) -> tuple[list[str], list[list[str | int | float | None]]]:
    """Columns and lines of a table of rows, for CSV and W&B."""
    lines = [[r.entry, r.kind, r.style, r.clip, r.frames, *(r.values.get(name) for name in metrics)] for r in rows]
    return ["entry", "kind", "style", "clip", "frames", *metrics], lines


def _write_json(evaluation: Evaluation, path: Path) -> None:
    content = {
        "settings": evaluation.settings,
        "means": [asdict(row) for row in evaluation.means()],
        "rows": [asdict(row) for row in evaluation.rows],
        "skipped": evaluation.skipped,
        "notes": evaluation.notes,
    }
    path.write_text(json.dumps(content, indent=1, allow_nan=False) + "\n", encoding="utf-8")


def _write_csv(evaluation: Evaluation, path: Path) -> None:
    columns, lines = wide(evaluation.rows + evaluation.means(), evaluation.metrics())
    with path.open("w", newline="", encoding="utf-8", errors=READABLE) as file:
        writer = csv.writer(file)
        writer.writerow(columns)
        writer.writerows(lines)


def _write_html(evaluation: Evaluation, path: Path) -> None:
    path.write_text(page(evaluation, number), encoding="utf-8", errors=READABLE)
