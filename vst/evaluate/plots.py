"""Plots of the report as SVG."""

from __future__ import annotations

import math
from collections.abc import Sequence
from html import escape

from vst.evaluate.pictures import Views
from vst.evaluate.results import Row

WIDTH, HEIGHT = 660, 400
LEFT, RIGHT, TOP, BOTTOM = 64, 20, 16, 46
COLOURS = ("#1f77b4", "#d62728", "#2ca02c", "#9467bd", "#ff7f0e", "#17becf", "#8c564b", "#e377c2")
SMALLEST = 0.05  # on the axis of ratios, which is logarithmic: a frozen frame has 0


def pareto(rows: Sequence[Row], x: str, y: str) -> str:
    """A point for each row with both metrics; `x` on a logarithmic axis, `y` on a linear one from 0."""
    points = [(row, row.values[x], row.values[y]) for row in rows if None not in (row.values.get(x), row.values.get(y))]
    if not points:
        return f"<p>{escape(x)} could not be measured.</p>"
    places = [max(SMALLEST, value) for _, value, _ in points]
    low, high = math.log10(min(0.5, *places) * 0.9), math.log10(max(2.0, *places) * 1.4)
    top = max(value for _, _, value in points) * 1.1 or 1.0

    def across(value: float) -> float:
        return LEFT + (math.log10(max(SMALLEST, value)) - low) / (high - low) * (WIDTH - LEFT - RIGHT)

    def up(value: float) -> float:
        return HEIGHT - BOTTOM - value / top * (HEIGHT - TOP - BOTTOM)

    ticks_x = [t for t in (0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 50, 100) if low <= math.log10(t) <= high]
    parts = [_axes(x, y, [(across(t), f"{t:g}") for t in ticks_x], [(up(t), f"{t:.2g}") for t in _ticks(top)])]
    parts.append(f"<line x1='{across(1):.1f}' x2='{across(1):.1f}' y1='{TOP}' y2='{HEIGHT - BOTTOM}' stroke='#bbb' />")
    placed = [(row, across(horizontal), up(vertical), horizontal, vertical) for row, horizontal, vertical in points]
    taken = [(at, height + 4) for _, at, height, _, _ in placed]
    for row, at, height, horizontal, vertical in sorted(placed, key=lambda point: point[2]):
        colour = {"input": "#000", "control": "#999"}.get(row.kind) or _colour(row, rows)
        parts.append(f"<circle cx='{at:.1f}' cy='{height:.1f}' r='5' fill='{colour}'>")
        parts.append(f"<title>{escape(row.entry)}: {x} {horizontal:.3f}, {y} {vertical:.3f}</title></circle>")
        below = f"{horizontal:.2g} (at the edge): " if horizontal < SMALLEST else ""
        side, anchor = (-9, "end") if at > WIDTH - 200 else (9, "start")
        text_at = height + 4
        while any(abs(at + side - a) < 150 and abs(text_at - b) < 12 for a, b in taken if (a, b) != (at, height + 4)):
            text_at += 4
        taken.append((at + side, text_at))
        parts.append(
            f"<text x='{at + side:.1f}' y='{text_at:.1f}' font-size='11' fill='{colour}' text-anchor='{anchor}'>"
            f"{below}{escape(row.entry)}</text>"
        )
    return _svg(parts)


def curves(views: Sequence[Views]) -> str:
    """The warping error of every pair of frames, a line for each entry; gaps where nothing could be measured."""
    known = [value for view in views for value in view.curve if value is not None]
    length = max(len(view.curve) for view in views)
    if not known or length < 2:
        return ""
    top = max(known) * 1.1 or 1.0
    bottom = BOTTOM + 16 * len(views)

    def place(index: int, value: float) -> str:
        x = LEFT + index / (length - 1) * (WIDTH - LEFT - RIGHT)
        return f"{x:.1f},{HEIGHT - BOTTOM - value / top * (HEIGHT - TOP - BOTTOM):.1f}"

    ticks_x = [(float(place(i, 0).split(",")[0]), str(i)) for i in range(0, length, max(1, length // 6))]
    ticks_y = [(float(place(0, t).split(",")[1]), f"{t:.1e}") for t in _ticks(top)]
    parts = [_axes("frame", "ewarp_mean@1", ticks_x, ticks_y)]
    for number, view in enumerate(views):
        colour = "#000" if number == 0 else COLOURS[(number - 1) % len(COLOURS)]
        for run in _runs(view.curve):
            line = " ".join(place(index, value) for index, value in run)
            parts.append(f"<polyline points='{line}' fill='none' stroke='{colour}' stroke-width='1.5' />")
        y = HEIGHT + 16 * number + 4
        parts.append(f"<rect x='{LEFT}' y='{y}' width='14' height='4' fill='{colour}' />")
        parts.append(f"<text x='{LEFT + 20}' y='{y + 6}' font-size='11'>{escape(view.entry)}</text>")
    return _svg(parts, HEIGHT + bottom - BOTTOM + 8)


def _runs(curve: Sequence[float | None]) -> list[list[tuple[int, float]]]:
    runs: list[list[tuple[int, float]]] = [[]]
    for index, value in enumerate(curve):
        if value is None:
            runs.append([])
        else:
            runs[-1].append((index, value))
    return [run for run in runs if run]


def _colour(row: Row, rows: Sequence[Row]) -> str:
    entries = [other.entry for other in rows if other.kind in ("model", "video")]
    return COLOURS[entries.index(row.entry) % len(COLOURS)]


def _ticks(top: float) -> list[float]:
    """About five round numbers from 0 to `top`."""
    step = 10.0 ** math.floor(math.log10(top / 2))
    step = next(step * factor for factor in (1, 2, 5, 10) if top / (step * factor) <= 6)
    return [step * index for index in range(int(top / step) + 1)]


def _axes(x: str, y: str, ticks_x: list[tuple[float, str]], ticks_y: list[tuple[float, str]]) -> str:
    base = HEIGHT - BOTTOM
    parts = [f"<path d='M{LEFT},{TOP} V{base} H{WIDTH - RIGHT}' fill='none' stroke='#444' />"]
    for at, text in ticks_x:
        parts.append(f"<text x='{at:.1f}' y='{base + 16}' font-size='11' text-anchor='middle'>{text}</text>")
    for at, text in ticks_y:
        parts.append(f"<text x='{LEFT - 6}' y='{at + 4:.1f}' font-size='11' text-anchor='end'>{text}</text>")
    parts.append(f"<text x='{WIDTH / 2}' y='{base + 36}' font-size='12' text-anchor='middle'>{escape(x)}</text>")
    turned = f"x='14' y='{HEIGHT / 2}' transform='rotate(-90 14 {HEIGHT / 2})'"
    parts.append(f"<text {turned} font-size='12' text-anchor='middle'>{escape(y)}</text>")
    return "".join(parts)


def _svg(parts: Sequence[str], height: int = HEIGHT) -> str:
    size = f"width='{WIDTH}' height='{height}' viewBox='0 0 {WIDTH} {height}'"
    return f"<svg xmlns='http://www.w3.org/2000/svg' {size} font-family='system-ui, sans-serif'>{''.join(parts)}</svg>"
