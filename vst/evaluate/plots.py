"""Plots of the report as SVG."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from html import escape

from vst.evaluate.pictures import Views
from vst.evaluate.results import Row

WIDTH, HEIGHT = 660, 400
LEFT, RIGHT, TOP, BOTTOM = 76, 20, 16, 46
COLOURS = ("#1f77b4", "#d62728", "#2ca02c", "#9467bd", "#ff7f0e", "#17becf", "#8c564b", "#e377c2")
RESULTS = ("model", "video")
COLUMNS, LINE, LONGEST = 2, 16, 44  # of the legend: columns, pixels between lines, letters of a name
SMALLEST = 0.05  # on the axis of ratios, which is logarithmic: a frozen frame has 0


def pareto(rows: Sequence[Row], x: str, y: str) -> str:
    """A numbered point for each row with both metrics, a legend, and the frontier of the results.

    `x` is on a logarithmic axis, `y` on a linear one. Results are filled, controls hollow squares, the input a diamond;
    the frontier joins the results that no other result beats in both. Down and to the left is better.
    """
    points = [(row, row.values[x], row.values[y]) for row in rows if None not in (row.values.get(x), row.values.get(y))]
    if not points:
        return f"<p>{escape(x)} could not be measured.</p>"
    places = [max(SMALLEST, value) for _, value, _ in points]
    low, high = math.log10(min(0.7, *places) * 0.8), math.log10(max(1.5, *places) * 1.3)
    heights = [height for *_, height in points]
    margin = 0.08 * (max(heights) - min(heights)) or 0.1 * max(heights) or 1.0
    bottom, top = max(0.0, min(heights) - margin), max(heights) + margin

    def across(value: float) -> float:
        return LEFT + (math.log10(max(SMALLEST, value)) - low) / (high - low) * (WIDTH - LEFT - RIGHT)

    def up(value: float) -> float:
        return HEIGHT - BOTTOM - (value - bottom) / (top - bottom) * (HEIGHT - TOP - BOTTOM)

    ticks_x = [t for t in (0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 50, 100) if low <= math.log10(t) <= high]
    ticks_y = [t for t in _ticks(top - bottom, bottom) if bottom <= t <= top]
    parts = [_axes(x, y, [(across(t), f"{t:g}") for t in ticks_x], [(up(t), f"{t:.3g}") for t in ticks_y])]
    parts.append(f"<line x1='{across(1):.1f}' x2='{across(1):.1f}' y1='{TOP}' y2='{HEIGHT - BOTTOM}' stroke='#bbb' />")
    best = frontier([(value, height) for row, value, height in points if row.kind in RESULTS])
    corners = " ".join(f"{across(value):.1f},{up(height):.1f}" for value, height in best)
    parts.append(f"<polyline points='{corners}' fill='none' stroke='#888' stroke-dasharray='5 3' />")
    marks = [_Mark(row, _colour(row, rows), across(value), up(height)) for row, value, height in points]
    labels = _placed([(mark.x, mark.y) for mark in marks])
    for number, (mark, (at, height)) in enumerate(zip(marks, labels, strict=True), 1):
        _, value, vertical = points[number - 1]
        title = f"{number} {mark.row.entry}: {x} {value:.3f}, {y} {vertical:.3f}"
        parts.append(f"<g>{mark.svg()}<title>{escape(title)}</title></g>")
        if math.hypot(at - mark.x, height - mark.y) > 20:
            ends = f"x1='{mark.x:.1f}' y1='{mark.y:.1f}' x2='{at:.1f}' y2='{height:.1f}'"
            parts.append(f"<line {ends} stroke='#ccc' stroke-width='0.8' />")
        centred = "text-anchor='middle' font-size='11'"
        parts.append(f"<text x='{at:.1f}' y='{height + 4:.1f}' {centred} fill='{mark.colour}'>{number}</text>")
    return _svg([*parts, *_legend(marks, [value for _, value, _ in points])], _legend_end(len(marks)))


def frontier(points: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    """The points that no other beats in both coordinates (smaller is better), from left to right."""
    best: list[tuple[float, float]] = []
    for x, y in sorted(points):
        if not best or y < best[-1][1]:
            best.append((x, y))
    return best


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


@dataclass(frozen=True)
class _Mark:
    """The sign of an entry at a place of the drawing."""

    row: Row
    colour: str
    x: float
    y: float

    def svg(self) -> str:
        x, y, colour = self.x, self.y, self.colour
        if self.row.kind == "control":
            return f"<rect x='{x - 4:.1f}' y='{y - 4:.1f}' width='8' height='8' fill='#fff' stroke='{colour}' />"
        if self.row.kind == "input":
            return f"<path d='M{x:.1f},{y - 6:.1f} l6,6 l-6,6 l-6,-6 Z' fill='{colour}' />"
        return f"<circle cx='{x:.1f}' cy='{y:.1f}' r='5' fill='{colour}' />"


def _placed(places: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    """A centre for the number of each point, near it, on no other point and no other number."""
    taken = [*places]
    centres = []
    for x, y in places:
        ways = [(0.0, -1.0), (1.0, 0.0), (-1.0, 0.0), (0.0, 1.0), (0.7, -0.7), (-0.7, -0.7), (0.7, 0.7), (-0.7, 0.7)]
        near = [(x + step * dx, y + step * dy) for step in (12, 18, 26, 36, 48) for dx, dy in ways]
        inside = [c for c in near if LEFT + 8 < c[0] < WIDTH - RIGHT and TOP < c[1] < HEIGHT - BOTTOM - 6] or near
        free = (c for c in inside if all(abs(c[0] - a) > 13 or abs(c[1] - b) > 11 for a, b in taken))
        centres.append(next(free, inside[0]))
        taken.append(centres[-1])
    return centres


def _legend(marks: Sequence[_Mark], values: Sequence[float]) -> list[str]:
    """Below the plot, in columns: number, sign, name."""
    parts, lines = [], -(-len(marks) // COLUMNS)
    for index, (mark, value) in enumerate(zip(marks, values, strict=True)):
        x = LEFT + index // lines * ((WIDTH - LEFT) / COLUMNS)
        y = HEIGHT + 12 + LINE * (index % lines)
        sign = replace(mark, x=x + 22, y=y - 4).svg()
        name = mark.row.entry if len(mark.row.entry) <= LONGEST else f"{mark.row.entry[: LONGEST - 1]}…"
        edge = f" ({value:.2g}, at the edge)" if value < SMALLEST else ""
        parts.append(f"<text x='{x + 10:.0f}' y='{y}' font-size='11' text-anchor='end'>{index + 1}</text>{sign}")
        parts.append(f"<text x='{x + 32:.0f}' y='{y}' font-size='11' fill='{mark.colour}'>{escape(name)}{edge}</text>")
    return parts


def _legend_end(count: int) -> int:
    return HEIGHT + 12 + LINE * -(-count // COLUMNS)


def _colour(row: Row, rows: Sequence[Row]) -> str:
    """Black for the input; a control has the colour of what it belongs to."""
    entries = [other.entry for other in rows if other.kind in RESULTS]
    owners = [entry for entry in entries if row.entry == entry or row.entry.startswith(f"{entry} ")]
    return COLOURS[entries.index(max(owners, key=len)) % len(COLOURS)] if owners else "#000"


def _ticks(span: float, begin: float = 0.0) -> list[float]:
    """About five round numbers from `begin` on, over `span`."""
    step = 10.0 ** math.floor(math.log10(span / 2))
    step = next(step * factor for factor in (1, 2, 5, 10) if span / (step * factor) <= 6)
    first = math.ceil(begin / step)
    return [step * index for index in range(first, int((begin + span) / step) + 1)]


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
