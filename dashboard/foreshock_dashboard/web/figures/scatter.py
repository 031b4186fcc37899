"""Traces as marks: how long each took over when it began."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from foreshock_dashboard.analysis.sentence import duration
from foreshock_dashboard.model.query import Json
from foreshock_dashboard.model.span import TraceSummary
from foreshock_dashboard.web.figures.text import plain

FONT = "system-ui, -apple-system, 'Segoe UI', Roboto, sans-serif"

SHORTEST = 1e-6
"""Seconds. Where a logarithmic axis ends; shorter traces are drawn there."""


def scatter(found: Sequence[TraceSummary], start: float, end: float, theme: Mapping[str, str]) -> Json:
    """A mark a trace; those with errors are squares in the critical colour.

    start, end: the range that was asked for, Unix seconds. The horizontal axis counts minutes back from its end, so it
    needs no time zone; the vertical one is logarithmic, seconds. `customdata` holds the trace id.
    """
    fine = [item for item in found if not item.errors]
    failed = [item for item in found if item.errors]
    span = (end - start) / 60
    ticks = log_ticks([item.duration for item in found])
    return {
        "data": [
            _marks("ok", fine, end, theme["ok"], "circle"),
            _marks("with errors", failed, end, theme["crit"], "square"),
        ],
        "layout": {
            "paper_bgcolor": "rgba(0,0,0,0)",
            "plot_bgcolor": "rgba(0,0,0,0)",
            "font": {"family": FONT, "size": 12, "color": theme["muted"]},
            "margin": {"l": 64, "r": 12, "t": 8, "b": 40},
            "showlegend": bool(failed),
            "legend": {"orientation": "h", "x": 1, "xanchor": "right", "y": 1.08},
            "hovermode": "closest",
            "hoverlabel": {
                "bgcolor": theme["raised"],
                "bordercolor": theme["line"],
                "font": {"color": theme["text"]},
            },
            "xaxis": _axis(theme) | {"title": {"text": "minutes before the end of the range"}, "range": [-span, 0]},
            "yaxis": _axis(theme)
            | {
                "type": "log",
                "tickvals": ticks,
                "ticktext": [duration(t) for t in ticks],
            },
        },
    }


def log_ticks(seconds: Sequence[float]) -> list[float]:
    """Marks for a logarithmic axis that spans these: 1, 2 and 5 of each decade, or whole decades beyond two of them."""
    known = [max(value, SHORTEST) for value in seconds] or [1.0]
    low, high = math.floor(math.log10(min(known))), math.ceil(math.log10(max(known)))
    steps = (1, 2, 5) if high - low <= 2 else (1,)
    return [float(f"{step}e{decade}") for decade in range(low, high + 1) for step in steps]


def _axis(theme: Mapping[str, str]) -> dict[str, Any]:
    return {"gridcolor": theme["line"], "zeroline": False, "linecolor": theme["line"], "tickcolor": theme["line"]}


def _marks(name: str, found: Sequence[TraceSummary], end: float, colour: str, symbol: str) -> Json:
    return {
        "type": "scatter",
        "mode": "markers",
        "name": name,
        "x": [round((item.start - end) / 60, 4) for item in found],
        "y": [max(item.duration, SHORTEST) for item in found],
        "customdata": [item.trace_id for item in found],
        "text": [f"{plain(str(item.service))} {plain(item.operation)}<br>{duration(item.duration)}" for item in found],
        "hovertemplate": "%{text}<extra></extra>",
        "marker": {"color": colour, "symbol": symbol, "size": 8, "opacity": 0.85},
    }
