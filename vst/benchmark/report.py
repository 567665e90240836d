"""A benchmark as a table on the console, Markdown, CSV, JSON and a chart."""

from __future__ import annotations

import csv
import json
import os
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from rich import box
from rich.table import Table

from vst.benchmark.results import Benchmark, Value
from vst.report_folder import report_folder
from vst.text import READABLE

HEADINGS = {
    "p50_ms": "p50 ms",
    "p95_ms": "p95 ms",
    "p99_ms": "p99 ms",
    "peak_mb": "MB",
    "parameters": "params",
    "kmac_per_px": "kMAC/px",
    "act_per_px": "act/px",
    "limit_ms": "limit ms",
    "of_limit": "limit / p50",
    "cpu_ms": "CPU ms",
    "clips_per_s": "clips/s",
    "waiting": "waiting for data",
}
SHARES = ("of_limit", "waiting", "of_slowest")
NOT_ON_CONSOLE = ("kind", "frames", "act_per_px", "bound")
RATES = (30, 60)  # lines in the chart: real time


def table(benchmark: Benchmark) -> Table:
    """The rows for the console; the files have all columns."""
    columns = [name for name in benchmark.columns if name not in NOT_ON_CONSOLE]
    result = Table(*map(_heading, columns), box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0))
    for column, name in zip(result.columns, columns, strict=True):
        if not isinstance(benchmark.rows[0][name], str):
            column.justify = "right"
    for row in benchmark.rows:
        result.add_row(*(shown(name, row[name]) for name in columns))
    return result


def check_folder(folder: str | Path, overwrite: bool) -> Path:
    """`vst.report_folder.report_folder` of a benchmark."""
    return report_folder(folder, "a benchmark", ("benchmark.json",), overwrite)


def write_reports(benchmark: Benchmark, folder: str | Path) -> list[str]:
    """Write benchmark.json, .csv and .md into `folder`, and .png of models where matplotlib is installed.

    Returns a line for each file, and one for a chart that could not be drawn.
    """
    folder = Path(folder)
    writers = {"benchmark.json": _write_json, "benchmark.csv": _write_csv, "benchmark.md": _write_markdown}
    lines = []
    if benchmark.mode == "models":
        if find_spec("matplotlib") is not None:
            writers["benchmark.png"] = _write_chart
        else:
            lines.append("no chart: it needs the package matplotlib: pip install 'vst[benchmarks]'")
    for name, write in writers.items():
        part = folder / f".part.{name}"
        write(benchmark, part)
        os.replace(part, folder / name)
        lines.append(str(folder / name))
    return lines


def log_benchmark(benchmark: Benchmark, logger: Any) -> None:
    """Hand the rows to a logger of a run: W&B's gets a table, others the numbers by `row/column`."""
    if hasattr(logger, "log_table"):
        data = [list(row.values()) for row in benchmark.rows]
        logger.log_table(key=f"benchmark/{benchmark.mode}", columns=benchmark.columns, data=data)
        return
    for row in benchmark.rows:
        name = "/".join(value for value in row.values() if isinstance(value, str))
        logger.log_metrics({f"{name}/{key}": value for key, value in row.items() if isinstance(value, float)})


def to_markdown(benchmark: Benchmark) -> str:
    """Circumstances, table, what could not run, notes."""
    rows = [[shown(name, row[name]) for name in benchmark.columns] for row in benchmark.rows]
    marks = ["---" if isinstance(value, str) else "---:" for value in benchmark.rows[0].values()]
    table = [map(_heading, benchmark.columns), marks, *rows]
    lines = [f"# Benchmark: {benchmark.mode}", ""]
    lines += [f"- {name}: {_flat(value)}" for name, value in benchmark.settings.items()]
    lines += ["", *(f"| {' | '.join(cells)} |" for cells in table), ""]
    if benchmark.skipped:
        lines += ["Could not run:", "", *(f"- {what}: {why}" for what, why in benchmark.skipped.items()), ""]
    return "\n".join([*lines, *(f"- {note}" for note in benchmark.notes)]) + "\n"


def shown(column: str, value: Value) -> str:
    """A cell: three significant digits, shares in percent, a dash for what is not known."""
    if value is None:
        return "-"
    if column in SHARES:
        return f"{100 * value:.0f} %"
    if column == "parameters":
        return f"{value / 1e6:.3g} M" if value >= 1e6 else f"{value / 1e3:.3g} k"
    if isinstance(value, float):
        return f"{value:.0f}" if abs(value) >= 100 else f"{value:.3g}"
    return str(value)


def _heading(column: str) -> str:
    return HEADINGS.get(column, column.replace("_", " "))


def _flat(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{key} {_flat(content)}" for key, content in value.items())
    if isinstance(value, (list, tuple)):
        return "; ".join(map(_flat, value))
    return shown("", value) if isinstance(value, float) else str(value)


def _write_json(benchmark: Benchmark, path: Path) -> None:
    path.write_text(json.dumps(vars(benchmark), indent=1, allow_nan=False) + "\n", encoding="utf-8")


def _write_csv(benchmark: Benchmark, path: Path) -> None:
    with path.open("w", newline="", encoding="utf-8", errors=READABLE) as file:
        writer = csv.DictWriter(file, benchmark.columns)
        writer.writeheader()
        writer.writerows(benchmark.rows)


def _write_markdown(benchmark: Benchmark, path: Path) -> None:
    path.write_text(to_markdown(benchmark), encoding="utf-8", errors=READABLE)


def _write_chart(benchmark: Benchmark, path: Path) -> None:
    """Frames a second on a logarithmic axis, a panel for each size, with the computed limits."""
    from matplotlib.figure import Figure

    sizes = list(dict.fromkeys(row["size"] for row in benchmark.rows))
    groups = [[row for row in benchmark.rows if row["size"] == size] for size in sizes]
    figure = Figure(figsize=(9, sum(0.28 * len(group) + 1.1 for group in groups)), layout="constrained")
    shares = {"height_ratios": [len(group) + 3 for group in groups]}
    panels = figure.subplots(len(groups), 1, squeeze=False, sharex=True, gridspec_kw=shares)[:, 0]
    for panel, size, group in zip(panels, sizes, groups, strict=True):
        group = sorted(group, key=lambda row: row["fps"])
        panel.plot([row["fps"] for row in group], range(len(group)), "o", color="#4c72b0", label="measured")
        for place, row in enumerate(group):
            at = {"xytext": (6, 0), "textcoords": "offset points", "va": "center", "fontsize": 8}
            panel.annotate(shown("fps", row["fps"]), (row["fps"], place), **at)
        limits = [(1e3 / row["limit_ms"], place) for place, row in enumerate(group) if row["limit_ms"]]
        if limits:
            panel.plot(*zip(*limits, strict=True), "|", color="black", markersize=9, label="computed limit")
        panel.set_yticks(range(len(group)), [f"{r['model']} {r['engine']} {r['precision']}" for r in group], fontsize=8)
        panel.set_ylim(-0.7, len(group) - 0.3)
        panel.grid(axis="x", alpha=0.3)
        for rate in RATES:
            panel.axvline(rate, color="#c44e52", linewidth=0.8, linestyle=":")
        panel.set_xscale("log")
        panel.tick_params(labelbottom=True)
        panel.set_title(f"{size}, frames a second (dotted: {' and '.join(map(str, RATES))})", fontsize=10, loc="left")
    figure.legend(*panels[0].get_legend_handles_labels(), loc="outside lower right", ncols=2, fontsize=8)
    figure.savefig(path, dpi=130, format="png")
