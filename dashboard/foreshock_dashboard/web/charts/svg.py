"""Line charts as small SVG files, for documents: no library, text stays text."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from html import escape
from itertools import groupby
from pathlib import Path
from typing import NamedTuple

WIDTH, HEIGHT = 640, 340
LEFT, RIGHT, TOP, BOTTOM = 62, 18, 40, 52
MIN_MARK_DISTANCE = 14.0
"""Distance below which the names of two marks would overlap."""
COLORS = ("#1f6feb", "#d1480f", "#2e8b57", "#8a63d2", "#b8860b", "#c71585")


@dataclass(frozen=True, slots=True)
class SvgLine:
    """A series of points; `dots` draws points instead of a line. Without a name it is not in the legend.

    Where y is NaN the line has a gap.
    """

    name: str
    x: Sequence[float]
    y: Sequence[float]
    dots: bool = False
    color: int = 0


@dataclass(frozen=True, slots=True)
class Axis:
    """An axis: its label, whether it is logarithmic, and whether it shows Unix seconds as time of day in UTC."""

    label: str
    log: bool = False
    clock: bool = False

    def place(self, value: float) -> float:
        """The value on a linear scale."""
        return math.log10(value) if self.log else value

    def ticks(self, low: float, high: float) -> list[float]:
        """About six round values between two."""
        if self.log:
            decades = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
            steps = (1, 2, 5) if math.log10(high / low) < 2.5 else (1,)
            ticks = [step * 10.0**decade for decade in decades for step in steps]
        elif self.clock:
            every = next((size for size in _CLOCK if (high - low) / 8 <= size), _CLOCK[-1])
            ticks = [float(every * index) for index in range(math.floor(low / every), math.ceil(high / every) + 1)]
        else:
            raw = (high - low) / 6 or 1.0
            size = 10.0 ** math.floor(math.log10(raw))
            step = next(size * factor for factor in (1, 2, 5, 10) if raw <= size * factor)
            ticks = [step * index for index in range(math.floor(low / step), math.ceil(high / step) + 1)]
        slack = 1e-9 * (abs(low) + abs(high))
        return [tick for tick in ticks if low - slack <= tick <= high + slack]

    def label_of(self, value: float) -> str:
        """The label of a tick."""
        return f"{datetime.fromtimestamp(value, UTC):%H:%M}" if self.clock else f"{value:g}"


_CLOCK = (60, 300, 600, 1200, 1800, 3600, 7200, 14_400, 28_800, 86_400)
"""Seconds between two ticks of a time axis."""


class SvgMark(NamedTuple):
    """A marked place on the x axis."""

    x: float
    name: str


def write(path: Path, title: str, x: Axis, y: Axis, lines: Sequence[SvgLine]) -> None:
    """Draw lines into a file."""
    path.write_text(draw(title, x, y, lines))


def draw(title: str, x: Axis, y: Axis, lines: Sequence[SvgLine], marks: Sequence[SvgMark] = ()) -> str:
    """The chart as SVG. At least one line with at least one point; positive values on logarithmic axes."""
    left, right = _range(x, [value for line in lines for value in line.x])
    low, high = _range(y, [value for line in lines for value in line.y if not math.isnan(value)])

    def across(value: float) -> float:
        return LEFT + (x.place(value) - x.place(left)) / (x.place(right) - x.place(left)) * (WIDTH - LEFT - RIGHT)

    def up(value: float) -> float:
        return (
            HEIGHT - BOTTOM - (y.place(value) - y.place(low)) / (y.place(high) - y.place(low)) * (HEIGHT - TOP - BOTTOM)
        )

    head = f'role="img" aria-label="{escape(title)}" font-family="sans-serif" font-size="12"'
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" {head}>',
        f'<rect width="{WIDTH}" height="{HEIGHT}" fill="#fff"/>',
        f'<text x="{LEFT}" y="18" font-size="14" font-weight="bold">{escape(title)}</text>',
    ]
    for tick in x.ticks(left, right):
        parts.append(f'<path d="M{across(tick):.1f} {TOP}V{HEIGHT - BOTTOM}" stroke="#e3e3e3"/>')
        place = f'x="{across(tick):.1f}" y="{HEIGHT - BOTTOM + 16}"'
        parts.append(f'<text {place} text-anchor="middle">{x.label_of(tick)}</text>')
    for tick in y.ticks(low, high):
        parts.append(f'<path d="M{LEFT} {up(tick):.1f}H{WIDTH - RIGHT}" stroke="#e3e3e3"/>')
        parts.append(f'<text x="{LEFT - 6}" y="{up(tick) + 4:.1f}" text-anchor="end">{y.label_of(tick)}</text>')
    parts.append(f'<text x="{(LEFT + WIDTH) / 2}" y="{HEIGHT - 14}" text-anchor="middle">{escape(x.label)}</text>')
    parts.append(
        f'<text transform="translate(14 {(TOP + HEIGHT - BOTTOM) / 2}) rotate(-90)" text-anchor="middle">'
        f"{escape(y.label)}</text>"
    )
    before, height = -math.inf, TOP + 4
    for moment in sorted(marks):
        at = across(moment.x)
        height = height + 62 if at - before < MIN_MARK_DISTANCE and height < HEIGHT - BOTTOM - 120 else TOP + 4
        before = at
        parts.append(f'<path d="M{at:.1f} {TOP}V{HEIGHT - BOTTOM}" stroke="#555" stroke-dasharray="4 3"/>')
        turned = f'transform="translate({at - 4:.1f} {height}) rotate(-90)"'
        parts.append(f'<text {turned} text-anchor="end" fill="#555">{escape(moment.name)}</text>')
    legend = LEFT + 4.0
    for line in lines:
        color = COLORS[line.color % len(COLORS)]
        for known, piece in groupby(zip(line.x, line.y, strict=True), key=lambda point: not math.isnan(point[1])):
            points = [(across(a), up(b)) for a, b in piece] if known else []
            if line.dots:
                parts += [f'<circle cx="{a:.1f}" cy="{b:.1f}" r="2.6" fill="{color}"/>' for a, b in points]
            elif points:
                way = " ".join(f"{a:.1f},{b:.1f}" for a, b in points)
                parts.append(f'<polyline points="{way}" fill="none" stroke="{color}" stroke-width="1.6"/>')
        if line.name:
            mark = "●" if line.dots else "—"
            parts.append(f'<text x="{legend:.0f}" y="{TOP - 6}" fill="{color}">{mark} {escape(line.name)}</text>')
            legend += 7.0 * len(line.name) + 34.0
    return "\n".join([*parts, "</svg>", ""])


def _range(axis: Axis, values: Sequence[float]) -> tuple[float, float]:
    low, high = min(values), max(values)
    if axis.clock:
        return low, max(high, low + 60.0)
    if axis.log:
        return low / 1.05, high * 1.05
    low = min(0.0, low)
    return low, high + 0.04 * (high - low or 1.0)
