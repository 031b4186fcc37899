"""Plotly line charts over time, as pure functions of arrays and theme."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from html import escape
from typing import Any, NamedTuple

import numpy as np

from foreshock_dashboard.model.types import Floats, Json
from foreshock_dashboard.render.words.panels import EMPTY
from foreshock_dashboard.web.charts.chart import Look
from foreshock_dashboard.web.charts.theme import service_color

MAX_TEXT_LENGTH = 80
MAX_TOOLTIP_LENGTH = 300


def escape_label(text: str, longest: int = MAX_TEXT_LENGTH) -> str:
    """The text with HTML escaped, cut to `longest` characters before escaping."""
    return escape(text if len(text) <= longest else text[: longest - 1] + "…", quote=False)


FONT = "Inter, system-ui, -apple-system, 'Segoe UI', Roboto, sans-serif"
MAX_POINTS = 360
"""Largest number of points of a line. Above it, each point is the maximum of a bucket, which keeps peaks."""
AXIS_PIXELS, LEGEND_ROW_PIXELS = 24, 20
"""Pixels below a chart: for the axis labels, and for each row of the legend."""
LEGEND_ROW_LENGTH = 46
"""Characters of names, with their marks, in a legend row of a narrow chart."""
MAX_LEGEND_ROWS = 4
"""Largest number of legend rows. Above it, there is no legend, and names appear on hover only."""
LEGEND_MARK_LENGTH = 6
"""Width of the mark before a name, in characters."""
MAX_LINES = 10
"""Largest number of lines that a reader can distinguish."""
UNITS = {
    "s": (",.3~r", " s"),
    "ms": (",.3~r", " ms"),
    "ratio": (",.0%", ""),
    "count": (",.3~r", ""),
    "per_second": (",.3~r", " req/s"),
    "tokens_per_second": (",.3~r", " tokens/s"),
    "watts": (",.0f", " W"),
    "celsius": (",.0f", " °C"),
    "gibibytes": (",.3~r", " GiB"),
}
"""d3 format and suffix of the tick labels, by unit. Counts have no SI prefix: 0.5 is not `500m`."""
UNIT_CHARACTER_PIXELS = 9
"""Left margin per character of a unit, which leaves room for the number before it."""
DAY_SECONDS, SHORT_SECONDS = 86_400.0, 240.0
"""A time range from which ticks have a date, and one up to which they have seconds."""
MAX_UNIT_TICKS = 5
"""Largest count for which an axis has a tick at each integer."""


@dataclass(frozen=True, slots=True)
class Line:
    """A line of a Plotly chart. color: a token of the theme, or "" for the color of the service with this name.

    values: one per time, NaN for a gap. fill: the area below it is shaded.
    """

    name: str
    values: Floats
    color: str = ""
    dash: str = "solid"
    fill: bool = False
    stack: str = ""


class Mark(NamedTuple):
    """A marked instant, Unix seconds; `color` is a token of the theme. details: text of the tooltip of its name."""

    time: float
    name: str
    color: str = "muted"
    details: str = ""


class Threshold(NamedTuple):
    """A limit, such as an SLO, in the unit of the chart; `name` says which: "SLO 16.4 s"."""

    value: float
    name: str


def lines(
    times: Floats,
    candidates: Sequence[Line],
    look: Look,
    *,
    unit: str,
    span: tuple[float, float],
    marks: Sequence[Mark] = (),
    threshold: Threshold | None = None,
    empty: str = "",
    top: float | None = None,
    legend: bool = False,
    row: int = LEGEND_ROW_LENGTH,
) -> Json:
    """Plotly figure of lines over a time range.

    times: Unix seconds, shape (points,). unit: a key of `UNITS`; seconds are drawn in milliseconds where all are below
    one. span: Unix seconds of the axis. threshold: drawn as a line with its name. empty: text where no line has a
    value. top: the axis reaches at least this value, in the unit. legend: show the legend for a single line too, as
    where the other candidates have no value. row: characters of names in a row of the legend.
    """
    drawn = [line for line in candidates if np.isfinite(line.values).any()]
    if not drawn:
        return blank(empty or EMPTY["chart"], look)
    at, rows = _downsampled(times, drawn)
    stamps = [stamp(time, look) for time in at.tolist()]
    highest = max(float(np.nanmax(line.values)) for line in drawn)
    if threshold is not None:
        top = max(top or 0.0, threshold.value * 1.05)
    shown, factor = ("ms", 1000.0) if unit == "s" and max(highest, top or 0.0) < 1.0 else (unit, 1.0)
    layout = frame(look, shown, span)
    layout["margin"]["l"] = max(layout["margin"]["l"], UNIT_CHARACTER_PIXELS * len(UNITS[shown][1]))
    if unit == "count" and highest <= MAX_UNIT_TICKS:
        layout["yaxis"]["dtick"] = 1
    if top is not None:
        layout["yaxis"]["range"] = [0, max(top, highest * 1.05) * factor]
    legend_rows = _legend_rows(drawn, look, row) if legend or len(candidates) > 1 else 0
    layout["showlegend"] = 0 < legend_rows <= MAX_LEGEND_ROWS
    layout["margin"]["b"] = AXIS_PIXELS + LEGEND_ROW_PIXELS * legend_rows * layout["showlegend"]
    draw_marks(layout, marks, look, span)
    if threshold is not None:
        layout["shapes"].append(_threshold_line(threshold.value * factor, look))
        layout["annotations"].append(_threshold_label(threshold, threshold.value * factor, look))
    return {
        "data": [_trace(line, stamps, row * factor, look, shown) for line, row in zip(drawn, rows, strict=True)],
        "layout": layout,
    }


def _legend_rows(drawn: Sequence[Line], look: Look, row: int) -> int:
    """Number of legend rows; Plotly reserves no space for them. On a phone each name has its own row."""
    if look.narrow:
        return len(drawn)
    widths = [min(len(line.name), MAX_TEXT_LENGTH) + LEGEND_MARK_LENGTH for line in drawn]
    return 1 if sum(widths) <= row else math.ceil(len(widths) / max(1, row // max(widths)))


def blank(text: str, look: Look) -> Json:
    """Plotly figure with a text in place of data."""
    axes = {axis: {"visible": False, "fixedrange": True} for axis in ("xaxis", "yaxis")}
    annotation = {
        "text": escape_label(text, 300),
        "showarrow": False,
        "xref": "paper",
        "yref": "paper",
        "x": 0.5,
        "y": 0.5,
        "font": {"size": 14, "color": look.colors["muted"]},
    }
    return {"data": [], "layout": _base_layout(look) | axes | {"annotations": [annotation]}}


def frame(look: Look, unit: str, span: tuple[float, float]) -> dict[str, Any]:
    """The layout of a chart over time."""
    shape, suffix = UNITS[unit]
    axis = {"gridcolor": look.colors["line"], "zeroline": False, "linecolor": look.colors["line"], "tickangle": 0}
    return _base_layout(look) | {
        "hovermode": "x unified",
        "dragmode": "zoom",
        "legend": {"orientation": "h", "x": 0, "y": 0, "yanchor": "bottom", "yref": "container"},
        "xaxis": axis | {"type": "date", "range": [stamp(edge, look) for edge in span]} | _time_format(span),
        "yaxis": axis | {"rangemode": "tozero", "tickformat": shape, "ticksuffix": suffix, "fixedrange": True},
    }


def _time_format(span: tuple[float, float]) -> dict[str, str]:
    """Ticks of the time axis; the date is in the tooltip, and in the ticks only of a range beyond a day."""
    length = span[1] - span[0]
    ticks = "%b %-d" if length > 3 * DAY_SECONDS else "%b %-d, %H:%M" if length > DAY_SECONDS else "%H:%M"
    return {"tickformat": "%H:%M:%S" if length <= SHORT_SECONDS else ticks, "hoverformat": "%b %-d, %H:%M:%S"}


def stamp(time: float, look: Look) -> str:
    """Unix seconds as local time of the browser, which Plotly shows unchanged."""
    return f"{datetime.fromtimestamp(time + look.offset, UTC):%Y-%m-%d %H:%M:%S}"


def _base_layout(look: Look) -> dict[str, Any]:
    return {
        "paper_bgcolor": "rgba(0,0,0,0)",
        "plot_bgcolor": "rgba(0,0,0,0)",
        "font": {"family": FONT, "size": 12, "color": look.colors["muted"]},
        "margin": {"l": 56, "r": 12, "t": 18, "b": AXIS_PIXELS},
        "uirevision": "keep",
        "hoverlabel": {
            "bgcolor": look.colors["raised"],
            "bordercolor": look.colors["line"],
            "font": {"color": look.colors["text"]},
        },
    }


def _downsampled(times: Floats, series: Sequence[Line]) -> tuple[Floats, list[Floats]]:
    """Times and values of up to `MAX_POINTS` points: the maximum of each bucket, at its start."""
    size = math.ceil(len(times) / MAX_POINTS)
    if size <= 1:
        return times, [line.values for line in series]
    starts = np.arange(0, len(times), size)
    return times[starts], [np.fmax.reduceat(line.values, starts) for line in series]


def _trace(line: Line, stamps: Sequence[str], row: Floats, look: Look, unit: str) -> Json:
    color = look.colors[line.color] if line.color else service_ink(line.name, look)
    shape, suffix = UNITS[unit]
    trace: Json = {
        "type": "scatter",
        "mode": "lines",
        "name": escape_label(line.name),
        "x": list(stamps),
        "y": [None if not math.isfinite(value) else float(f"{value:.4g}") for value in row.tolist()],
        "line": {"color": color, "width": 2, "dash": line.dash},
        "hovertemplate": f"%{{y:{shape}}}{suffix}",
    }
    if line.fill:
        trace |= {"fill": "tozeroy"}
    if line.stack:
        trace |= {"stackgroup": line.stack, "line": {"color": color, "width": 0.5}}
    return trace


def service_ink(name: str, look: Look) -> str:
    """The color of a service in a theme."""
    return look.colors["services"].split()[service_color(name)]


def draw_marks(layout: Json, marks: Sequence[Mark], look: Look, span: tuple[float, float]) -> None:
    """Add marks to the layout of a Plotly figure over a time range in Unix seconds."""
    layout["shapes"] = [*layout.get("shapes", ()), *(_mark_line(mark, look) for mark in marks)]
    labels = (_mark_label(mark, look, row, span) for row, mark in enumerate(marks))
    layout["annotations"] = [*layout.get("annotations", ()), *labels]


def _mark_line(mark: Mark, look: Look) -> Json:
    at = stamp(mark.time, look)
    line = {"color": look.colors[mark.color], "width": 1, "dash": "dot"}
    return {"type": "line", "x0": at, "x1": at, "yref": "paper", "y0": 0, "y1": 1, "line": line}


def _mark_label(mark: Mark, look: Look, row: int, span: tuple[float, float]) -> Json:
    """The name of a mark as a Plotly annotation, on the side with more space."""
    late = mark.time > (span[0] + span[1]) / 2
    tooltip = {"hovertext": f"{escape_label(mark.details, MAX_TOOLTIP_LENGTH)}<br>{stamp(mark.time, look)}"}
    return (tooltip if mark.details else {}) | {
        "x": stamp(mark.time, look),
        "yref": "paper",
        "y": 1 - 0.09 * (row % 3),
        "yanchor": "bottom",
        "xanchor": "right" if late else "left",
        "showarrow": False,
        "text": escape_label(mark.name),
        "font": {"size": 12, "color": look.colors[mark.color]},
    }


def _threshold_line(value: float, look: Look) -> Json:
    line = {"color": look.colors["crit"], "width": 1, "dash": "dash"}
    return {"type": "line", "xref": "paper", "x0": 0, "x1": 1, "y0": value, "y1": value, "line": line}


def _threshold_label(threshold: Threshold, value: float, look: Look) -> Json:
    return {
        "xref": "paper",
        "x": 0,
        "xshift": 4,
        "y": value,
        "xanchor": "left",
        "yanchor": "bottom",
        "showarrow": False,
        "text": escape_label(threshold.name),
        "font": {"size": 12, "color": look.colors["crit"]},
        "bgcolor": look.colors["panel"],  # lines may pass below it
    }
