"""Layout and charts of the Traces page: search, the heatmap of durations, and one trace."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import pairwise
from textwrap import wrap
from typing import NamedTuple

import numpy as np
from dash import dcc, html
from dash.development.base_component import Component

from foreshock_dashboard.common.single_flight_cache import SingleFlightCache
from foreshock_dashboard.model.hub.view import HubView
from foreshock_dashboard.model.service import Service
from foreshock_dashboard.model.span import TraceQuery, TraceSource, TraceSummary
from foreshock_dashboard.model.trace_heatmap import MIN_DURATION_SECONDS, Bins, Heatmap, heatmap
from foreshock_dashboard.model.types import Floats, Json
from foreshock_dashboard.model.world import World
from foreshock_dashboard.render.units import counted, duration
from foreshock_dashboard.render.words.panels import EMPTY
from foreshock_dashboard.web.charts.chart import Chart, Look, snapshot_at
from foreshock_dashboard.web.charts.lines import Mark, blank, draw_marks, escape_label, frame, stamp
from foreshock_dashboard.web.pages.traces.parameters import TraceParameters
from foreshock_dashboard.web.panels import service_charts
from foreshock_dashboard.web.shell.shell import Page, chart, page_of, panel
from foreshock_dashboard.web.state.conditions import open_incidents
from foreshock_dashboard.web.state.parameters import View

MIN_AXIS_SECONDS = 1e-6
"""Lowest end of a logarithmic axis."""
MIN_INSTANT_DISTANCE = 0.07
"""Smallest distance of a tick from the tick `0 s`, as a ratio of the axis."""
AXIS_MARGIN, SLOWEST_MARGIN = 1.15, 1.6
"""Factors by which the axis extends below and above the data, where the marks of the slowest traces need space."""
MAX_MARK_ROWS, MARK_ROW_PIXELS = 3, 15
"""Rows of names of marks above the heatmap."""
EMPTY_NOTE_LENGTH = 18
"""Characters of a line of the note in a part without cells, which is narrow on a phone."""
MIN_EMPTY_RATIO = 0.2
"""Share of the time range without cells from which the picture says why right there."""
TIME_BINS = 72
"""Bins of the time axis of the heatmap."""
MAX_MARKS = 40
"""Slowest traces, and failed ones, with a mark."""
RANGE_ROUNDING_SECONDS = 10.0
"""Rounding of the range that is read, so that viewers of about the same range share it."""
CACHE_SECONDS = 30.0
"""Time for which it is cached: traces arrive late."""
MAX_CACHED_HEATMAPS = 32
FILTERS = tuple(name for name in TraceParameters.model_fields if name not in ("start", "end", "limit", "waits"))
"""Parameters of the page's address; the time range is common to all pages."""


def layout() -> Component:
    """The open trace, filters, the heatmap of matching traces, the charts of their service, and the list."""
    return page_of(
        "traces",
        "Traces",
        [
            html.Div(id="filters"),
            html.P(id="incident-traces", className="note"),
            dcc.Store(id="picked"),
            html.Div(
                [
                    panel("trace", "Trace", "", wide=True),
                    chart(
                        "heat",
                        "Trace duration",
                        ["traces: few", html.Span(className="ramp"), "many"],
                        wide=True,
                        height=260,
                    ),
                    chart(
                        "trace-durations",
                        "Latency",
                        "selected service",
                        height=180,
                    ),
                    chart("trace-requests", "Request rate and errors", "selected service", height=180),
                    panel("list", "Traces", "", wide=True),
                ],
                className="panels",
            ),
        ],
        "/api/incidents?state=open",
        keeps=" ".join((*FILTERS, "trace", "span")),
    )


def _query(hub: HubView, view: View) -> TraceQuery:
    """The search of the filters.

    Raises:
        BadParameterError: one cannot be read.
    """
    world = hub.snapshot.world
    filters = {name: value for name, value in view.parameters.items() if name in TraceParameters.model_fields}
    query = TraceParameters.read(filters).query(hub.now(), world.services if world else ())
    return replace(query, start=view.start, end=view.end)


class _Read(NamedTuple):
    """The readings of the heatmap. source: kept alive, so that its id stays unique."""

    source: TraceSource
    heat: Heatmap
    marks: tuple[TraceSummary, ...]


class _Heatmap:
    """The chart of trace durations. Viewers of about the same range share its readings."""

    def __init__(self) -> None:
        self._cache: SingleFlightCache[_Read] = SingleFlightCache(MAX_CACHED_HEATMAPS)

    def draw(self, hub: HubView, view: View, look: Look) -> Json:
        """The figure."""
        query, span, world = _query(hub, view), (view.start, view.end), hub.over(view.start, view.end)
        read = self._read(hub, query)
        inside = [item for item in read.marks if span[0] <= item.start <= span[1]]
        figure = heat_map(read.heat, inside, look, span, EMPTY["traces"])
        if world is not None and figure["data"]:
            services = {query.service} if query.service else world.services
            incidents = [item for item in open_incidents(snapshot_at(hub, view)) if item.affected]
            marks = [
                Mark(item.since, f"first anomaly of {item.service.name}", "warn")
                for item in incidents
                if span[0] < item.since < span[1]
            ]
            changes = service_charts.change_marks(world.changes, services, span)
            draw_marks(figure["layout"], [*marks, *changes], look, span)
            _label_above(figure["layout"], len(marks) + len(changes))
        return figure

    def _read(self, hub: HubView, query: TraceQuery) -> _Read:
        """The heatmap and the marks of a rounded range: three searches."""
        source, rounding = hub.traces, RANGE_ROUNDING_SECONDS
        query = replace(
            query, start=math.floor(query.start / rounding) * rounding, end=math.ceil(query.end / rounding) * rounding
        )

        def read() -> _Read:
            heat = heatmap(source, query, Bins.of(query, TIME_BINS))
            marks = list(source.search(replace(query, order="slowest", limit=MAX_MARKS)))
            if query.status in (None, "error"):
                marks += source.search(replace(query, status="error", order="newest", limit=MAX_MARKS))
            return _Read(source, heat, tuple({item.trace_id: item for item in marks}.values()))

        return self._cache.get((id(source), repr(query), hub.now() // CACHE_SECONDS), read)


def heat_map(heat: Heatmap, marks: Sequence[TraceSummary], look: Look, span: tuple[float, float], empty: str) -> Json:
    """Plotly heatmap of trace counts by time and duration, with marks; `customdata` of a mark is its trace id."""
    if not heat.counts.any() and not marks:
        return blank(empty, look)
    rows = _rows(heat, marks)
    longest = max(rows.edges[-1].item(), *(item.duration for item in marks), 0.0)
    low, high = rows.edges[0].item() / AXIS_MARGIN, longest * SLOWEST_MARGIN
    layout = frame(look, "s", span)
    ticks = [tick for tick in log_ticks([low, high]) if tick > rows.instant * (high / low) ** MIN_INSTANT_DISTANCE]
    if sum(low <= tick <= high for tick in ticks) < 2:  # an axis needs two ticks to show its scale
        low = max((tick for tick in ticks if tick <= low), default=low)
        high = min((tick for tick in ticks if tick >= high), default=high)
    half = 5 * max((tick for tick in ticks if tick <= longest), default=math.inf)
    if longest > half / 2 and half < 10 * longest and half not in ticks:  # whole decades, far below the slowest traces
        ticks, high = sorted([*ticks, half]), max(high, half)
    layout |= {"hovermode": "closest", "showlegend": bool(marks)}
    layout["yaxis"] |= {
        "type": "log",
        "range": [math.log10(low), math.log10(high)],
        "tickvals": [rows.instant, *ticks] if rows.instant else ticks,
        "ticktext": [*(["0 s"] if rows.instant else []), *map(_tick, ticks)],
        "ticksuffix": "",
        "fixedrange": False,
        "rangemode": "normal",
    }
    layout["legend"] |= {"x": 1, "xanchor": "right"}
    if heat.note:
        layout["annotations"] = [_empty_note(heat, look, span) or note(f"{heat.note}.", look)]
    layout["margin"] |= {"l": 60, "b": 60 if layout["showlegend"] else 40}
    failed = [item for item in marks if item.errors]
    fine = [item for item in marks if not item.errors]
    cells = [_cells(rows, heat.bins.times, look)] if rows.counts.any() else []
    return {
        "data": [
            *cells,
            _marks("slowest traces", fine, rows.instant, look, "text", "circle-open"),
            _marks("traces with errors", failed, rows.instant, look, "crit", "square"),
        ],
        "layout": layout,
    }


def _label_above(layout: Json, count: int) -> None:
    """Move the names of the last `count` marks above the plot, where they hide no trace, in up to `MAX_MARK_ROWS`."""
    rows = min(count, MAX_MARK_ROWS)
    for i, label in enumerate(layout["annotations"][len(layout["annotations"]) - count :]):
        label |= {"y": 1, "yshift": MARK_ROW_PIXELS * (rows - 1 - i % MAX_MARK_ROWS)}
    layout["margin"]["t"] += MARK_ROW_PIXELS * max(0, rows - 1)


class _Rows(NamedTuple):
    """counts, edges: the shown bins, shape (rows, columns) and (rows + 1,), in seconds.

    instant: place of traces without a measurable duration in the lowest row; 0 without any.
    """

    counts: Floats
    edges: Floats
    instant: float


def _rows(heat: Heatmap, marks: Sequence[TraceSummary]) -> _Rows:
    """The rows from the fastest to the slowest, and right below them traces that failed at once.

    At their own place these would stretch the axis over empty decades.
    """
    counts, lengths = heat.counts, heat.bins.lengths
    least = float(lengths[1]) if heat.bins.shortest <= MIN_DURATION_SECONDS else 0.0
    filled = np.flatnonzero(counts.any(axis=1)).tolist()
    places = np.searchsorted(lengths, [item.duration for item in marks if item.duration > least], side="right") - 1
    timed = [*(row for row in filled if row or not least), *places.clip(0, len(counts) - 1).tolist()]
    first, last = (min(timed), max(timed) + 1) if timed else (1, 1)
    if not least or (0 not in filled and all(item.duration > least for item in marks)):
        return _Rows(counts[first:last], lengths[first : last + 1], 0.0)
    instant = math.sqrt(lengths[first - 1] * lengths[first])
    return _Rows(np.vstack([counts[:1], counts[first:last]]), lengths[first - 1 : last + 1], instant)


def log_ticks(seconds: Sequence[float]) -> list[float]:
    """Ticks of a logarithmic axis: 1, 2 and 5 of each decade, or whole decades beyond two of them."""
    known = [max(value, MIN_AXIS_SECONDS) for value in seconds] or [1.0]
    low, high = math.floor(math.log10(min(known))), math.ceil(math.log10(max(known)))
    steps = (1, 2, 5) if high - low <= 2 else (1,)
    return [float(f"{step}e{decade}") for decade in range(low, high + 1) for step in steps]


def note(text: str, look: Look) -> Json:
    """Annotation below the time axis."""
    place = {"xref": "paper", "yref": "paper", "x": 0, "y": 0, "xanchor": "left", "yanchor": "top", "yshift": -22}
    return place | {
        "text": escape_label(text, 300),
        "showarrow": False,
        "font": {"size": 12, "color": look.colors["muted"]},
    }


def _empty_note(heat: Heatmap, look: Look, span: tuple[float, float]) -> Json | None:
    """The note in the middle of the time before the first cells; None where that is short."""
    filled = np.flatnonzero(heat.counts.any(axis=0))
    if not filled.size:
        return None
    ratio = (heat.bins.times[filled[0]].item() - span[0]) / (span[1] - span[0])
    if ratio < MIN_EMPTY_RATIO:
        return None
    text = "<br>".join(map(escape_label, wrap(heat.note, EMPTY_NOTE_LENGTH)))
    return note("", look) | {
        "x": ratio / 2,
        "y": 0.4,
        "xanchor": "center",
        "yanchor": "middle",
        "yshift": 0,
        "text": text,
    }


def _tick(seconds: float) -> str:
    """A round duration: `50 µs`, `2 ms`, `10 s`."""
    for size, unit in ((1.0, "s"), (1e-3, "ms"), (1e-6, "µs")):
        if seconds >= size * 0.999:
            return f"{seconds / size:g} {unit}"
    return f"{seconds * 1e6:g} µs"


def _cells(rows: _Rows, times: Floats, look: Look) -> Json:
    """Colors by the logarithm of the counts, so that one slow trace shows beside a thousand fast ones."""
    ramp, counts, edges = look.colors["ramp"].split(), rows.counts, rows.edges.tolist()
    lengths = [f"of {duration(short)} to {duration(long)}" for short, long in pairwise(edges)]
    if rows.instant:
        lengths[0] = "of 0 s"
    texts = [
        [f"{counted(count, 'trace')} {length}" if count else "" for count in row]
        for row, length in zip(counts.tolist(), lengths, strict=True)
    ]
    with np.errstate(divide="ignore"):
        shown = np.where(counts > 0, np.log1p(counts), np.nan)
    return {
        "type": "heatmap",
        "x": [stamp(time, look) for time in times.tolist()],
        "y": [float(f"{value:.5g}") for value in edges],
        "z": [[None if math.isnan(value) else round(value, 3) for value in row] for row in shown.tolist()],
        "text": texts,
        "hovertemplate": "%{text}<extra></extra>",
        "hoverongaps": False,
        "showscale": False,
        "zmin": 0.0,
        "colorscale": [[i / (len(ramp) - 2), color] for i, color in enumerate(ramp[1:])],
        "xgap": 1,
        "ygap": 1,
    }


def _marks(name: str, traces: Sequence[TraceSummary], least: float, look: Look, color: str, symbol: str) -> Json:
    return {
        "type": "scatter",
        "mode": "markers",
        "name": name,
        "x": [stamp(item.start, look) for item in traces],
        "y": [max(item.duration, least) for item in traces],
        "customdata": [item.trace_id for item in traces],
        "text": [
            f"{escape_label(str(item.service))} {escape_label(item.operation)}<br>{duration(item.duration)}"
            for item in traces
        ],
        "hovertemplate": "%{text}<br>click to open<extra></extra>",
        "marker": {"color": look.colors[color], "symbol": symbol, "size": 8, "line": {"width": 1.5}},
    }


def _service_chart(name: str, draw: Callable[[HubView, View, World, Service, Look], Json]) -> Chart:
    def drawn(hub: HubView, view: View, look: Look) -> Json:
        query, world = _query(hub, view), hub.over(view.start, view.end)
        if world is None or query.service is None or query.service not in world.services:
            return blank(EMPTY["traffic"], look)
        return draw(hub, view, world, query.service, look)

    return Chart(name, drawn)


def _durations(hub: HubView, view: View, world: World, service: Service, look: Look) -> Json:
    slo = next((slo for slo in snapshot_at(hub, view).forecast.slos if slo.service == service), None)
    return service_charts.durations(world, service, look, (view.start, view.end), slo, _changes(view, world, service))


def _requests(_: HubView, view: View, world: World, service: Service, look: Look) -> Json:
    return service_charts.requests(world, service, look, (view.start, view.end), _changes(view, world, service))


def _changes(view: View, world: World, service: Service) -> list[Mark]:
    return service_charts.change_marks(world.changes, {service}, (view.start, view.end))


CHARTS = (
    Chart("heat", _Heatmap().draw),
    _service_chart("trace-durations", _durations),
    _service_chart("trace-requests", _requests),
)
PAGE = Page("/traces", "Traces", "Traces", layout, key="t", charts=CHARTS)
