"""The performance table as Markdown."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby

from bench.support.figures import Figure

HEAD = """| | value | goal | times as good | peer | times as good | growth |
|---|---|---|---|---|---|---|"""


@dataclass(frozen=True)
class Row:
    """A figure of a benchmark. small: its value at `1 / size_ratio` of the size; none if it was not measured."""

    title: str
    figure: Figure
    small: float | None = None
    size_ratio: float = 1.0


def number(value: float) -> str:
    """Three significant digits; thousands with commas."""
    if value >= 1000:
        return f"{value:,.0f}"
    return f"{value:.3g}"


def markdown(rows: Sequence[Row]) -> str:
    """A table with a line for each figure, under the title of its benchmark."""
    lines, title = [HEAD], ""
    for row in rows:
        if row.title != title:
            title = row.title
            lines.append(f"| **{title}** | | | | | | |")
        lines.append(f"| {' | '.join(_cells(row))} |")
    return "\n".join(lines) + "\n"


def with_rows(section: str, rows: Sequence[Row], machine: str) -> str:
    """A document's table with the lines of some benchmarks replaced, and a remark that says so. machine: of these.

    Raises:
        ValueError: the table has no such benchmark.
    """
    for title, own in groupby(rows, key=lambda row: row.title):
        lines = "".join(f"{line}\n" for line in markdown([*own]).splitlines()[2:])
        known = re.compile(rf"^\| \*\*{re.escape(title)}\*\* .*\n(\| (?!\*\*).*\n)*", re.MULTILINE)
        if not known.search(section):
            raise ValueError(f"the document has no benchmark {title!r}. Leave out --only.")
        section = known.sub(lines.replace("\\", r"\\"), section)
        section = re.sub(rf"^Measured later: {re.escape(title)}, .*\n", "", section, flags=re.MULTILINE)
        section = section.replace(f"\n{HEAD}", f"Measured later: {title}, {machine}.\n\n{HEAD}", 1)
    return section


def _cells(row: Row) -> list[str]:
    figure = row.figure
    goal = "" if math.isnan(figure.goal) else f"{'≥' if figure.more_is_better else '≤'} {number(figure.goal)}"
    return [
        figure.name,
        _with_unit(figure.value, figure.unit),
        goal,
        _ratio(figure.to_goal, 1.0),
        f"{figure.peer}: {number(figure.peer_value)}" if figure.peer else "",
        _ratio(figure.to_peer, figure.min_ratio),
        "" if row.small is None else f"{number(row.small)} → {number(figure.value)} for {row.size_ratio:g}x the size",
    ]


def _with_unit(value: float, unit: str) -> str:
    return f"{number(value)}{'' if unit.startswith('%') else ' '}{unit}".strip()


def _ratio(ratio: float, goal: float) -> str:
    if math.isnan(ratio):
        return ""
    text = "∞" if math.isinf(ratio) else f"{ratio:.2f}"
    return f"**{text}, missed**" if ratio < goal else text
