"""All traces that match as a heat map of duration over time, with those worth opening as marks."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from foreshock_dashboard.analysis.sentence import duration
from foreshock_dashboard.model.heat import Heat
from foreshock_dashboard.model.query import Floats, Json
from foreshock_dashboard.model.span import TraceSummary
from foreshock_dashboard.web.charts import Look
from foreshock_dashboard.web.figures.lines import blank, frame, stamp
from foreshock_dashboard.web.figures.text import plain

SHORTEST = 1e-6
"""Seconds. Where a logarithmic axis ends; shorter traces are drawn there."""
ROOM = 1.15
"""Factor by which the axis goes beyond what is drawn."""


def heat_map(found: Heat, marks: Sequence[TraceSummary], look: Look, span: tuple[float, float], empty: str) -> Json:
    """A cell a bin, darker with more traces (their logarithm decides); marks can be opened, `customdata` is the id.

    span: Unix seconds that the axis covers. empty: what is said where nothing matches.
    """
    counts, bins = found.counts, found.bins
    rows = np.flatnonzero(counts.any(axis=1))
    if not len(rows) and not marks:
        return blank(empty, look)
    lengths = bins.lengths
    first, last = (int(rows[0]), int(rows[-1]) + 1) if len(rows) else (0, 0)
    edges = [*lengths[[first, last]].tolist()] if len(rows) else []
    ends = [max(item.duration, SHORTEST) for item in marks] + edges
    low, high = min(ends) / ROOM, max(ends) * ROOM
    layout = frame(look, "s", span)
    ticks = log_ticks([low, high])
    if sum(low <= tick <= high for tick in ticks) < 2:  # an axis with no two marks tells no size
        low = max((tick for tick in ticks if tick <= low), default=low)
        high = min((tick for tick in ticks if tick >= high), default=high)
    layout |= {"hovermode": "closest", "showlegend": any(item.errors for item in marks)}
    layout["yaxis"] |= {
        "type": "log",
        "range": [math.log10(low), math.log10(high)],
        "tickvals": ticks,
        "ticktext": [_tick(tick) for tick in ticks],
        "ticksuffix": "",
        "fixedrange": False,
        "rangemode": "normal",
    }
    layout["legend"] |= {"x": 1, "xanchor": "right"}
    if found.note:
        layout["annotations"] = [note(f"Counted: {found.note}.", look)]
    layout["margin"] |= {"l": 60, "b": 60 if layout["showlegend"] else 40}
    failed = [item for item in marks if item.errors]
    fine = [item for item in marks if not item.errors]
    cells = [_cells(counts[first:last], bins.times, lengths[first : last + 1], look)] if len(rows) else []
    return {
        "data": [
            *cells,
            _marks("slowest", fine, look, "text", "circle-open"),
            _marks("with errors", failed, look, "crit", "square"),
        ],
        "layout": layout,
    }


def log_ticks(seconds: Sequence[float]) -> list[float]:
    """Marks for a logarithmic axis that spans these: 1, 2 and 5 of each decade, or whole decades beyond two of them."""
    known = [max(value, SHORTEST) for value in seconds] or [1.0]
    low, high = math.floor(math.log10(min(known))), math.ceil(math.log10(max(known)))
    steps = (1, 2, 5) if high - low <= 2 else (1,)
    return [float(f"{step}e{decade}") for decade in range(low, high + 1) for step in steps]


def note(text: str, look: Look) -> Json:
    """A line above what is drawn."""
    place = {"xref": "paper", "yref": "paper", "x": 0, "y": 1, "xanchor": "left", "yanchor": "bottom"}
    return place | {
        "text": plain(text, 300),
        "showarrow": False,
        "font": {"size": 11, "color": look.colours["muted"]},
    }


def _tick(seconds: float) -> str:
    """A round duration: `50 µs`, `2 ms`, `10 s`."""
    for size, unit in ((1.0, "s"), (1e-3, "ms"), (1e-6, "µs")):
        if seconds >= size * 0.999:
            return f"{seconds / size:g} {unit}"
    return f"{seconds * 1e6:g} µs"


def _cells(counts: Floats, times: Floats, lengths: Floats, look: Look) -> Json:
    """Colours by the logarithm of the counts, so that one slow trace is seen beside a thousand quick ones."""
    ramp = look.colours["ramp"].split()
    told = [
        [
            f"{count:,.0f} trace{'' if count == 1 else 's'} of {duration(short)} to {duration(long)}" if count else ""
            for count in row
        ]
        for row, short, long in zip(counts.tolist(), lengths[:-1].tolist(), lengths[1:].tolist(), strict=True)
    ]
    with np.errstate(divide="ignore"):
        shown = np.where(counts > 0, np.log1p(counts), np.nan)
    return {
        "type": "heatmap",
        "x": [stamp(time, look) for time in times.tolist()],
        "y": [float(f"{value:.5g}") for value in lengths.tolist()],
        "z": [[None if math.isnan(value) else round(value, 3) for value in row] for row in shown.tolist()],
        "text": told,
        "hovertemplate": "%{text}<extra></extra>",
        "hoverongaps": False,
        "showscale": False,
        "zmin": 0.0,
        "colorscale": [[i / (len(ramp) - 2), colour] for i, colour in enumerate(ramp[1:])],
        "xgap": 1,
        "ygap": 1,
    }


def _marks(name: str, found: Sequence[TraceSummary], look: Look, colour: str, symbol: str) -> Json:
    return {
        "type": "scatter",
        "mode": "markers",
        "name": name,
        "x": [stamp(item.start, look) for item in found],
        "y": [max(item.duration, SHORTEST) for item in found],
        "customdata": [item.trace_id for item in found],
        "text": [f"{plain(str(item.service))} {plain(item.operation)}<br>{duration(item.duration)}" for item in found],
        "hovertemplate": "%{text}<br>click to open<extra></extra>",
        "marker": {"color": look.colours[colour], "symbol": symbol, "size": 8, "line": {"width": 1.5}},
    }
