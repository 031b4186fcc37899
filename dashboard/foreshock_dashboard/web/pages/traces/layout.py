"""The Traces page: search by service, duration, errors, and wait; and the time of one trace."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import NamedTuple

from dash import dcc, html
from dash.development.base_component import Component

from foreshock_dashboard.common.single_flight_cache import SingleFlightCache
from foreshock_dashboard.model.snapshot import HubView
from foreshock_dashboard.model.span import TraceQuery, TraceSource, TraceSummary
from foreshock_dashboard.model.trace_heatmap import Bins, Heatmap, heatmap
from foreshock_dashboard.model.types import Json
from foreshock_dashboard.web.charts.chart import Chart, Look, snapshot_at
from foreshock_dashboard.web.charts.lines import blank
from foreshock_dashboard.web.pages.traces.figures import heat_map
from foreshock_dashboard.web.pages.traces.parameters import TraceParameters
from foreshock_dashboard.web.panels import service_charts as figures
from foreshock_dashboard.web.shell.page import Page
from foreshock_dashboard.web.shell.shell import chart, page_of, panel
from foreshock_dashboard.web.state.time_range import View

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
            dcc.Store(id="picked"),
            html.Div(
                [
                    panel("trace", "Trace", "", wide=True),
                    chart(
                        "heat",
                        "Duration over time",
                        "traces that match, darker where more; drag to look into a part, click a mark to open it",
                        wide=True,
                        height=260,
                    ),
                    chart(
                        "trace-durations",
                        "How long its requests take",
                        "of the service that is filtered by",
                        height=180,
                    ),
                    chart("trace-requests", "Its requests and failures", "each second", height=180),
                    panel("list", "Matching traces", "", wide=True),
                ],
                className="panels",
            ),
        ],
        "/api/warnings",
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
        read, span = self._read(hub, _query(hub, view)), (view.start, view.end)
        inside = [item for item in read.marks if span[0] <= item.start <= span[1]]
        return heat_map(read.heat, inside, look, span, "No trace matches in this range.")

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


def _durations(hub: HubView, view: View, look: Look) -> Json:
    query, world = _query(hub, view), hub.over(view.start, view.end)
    if world is None or query.service is None or query.service not in world.services:
        return blank("Nothing is known of its requests in this range.", look)
    slo_ = next((slo for slo in snapshot_at(hub, view).forecast.slos if slo.service == query.service), None)
    return figures.durations(world, query.service, look, (view.start, view.end), slo_)


def _requests(hub: HubView, view: View, look: Look) -> Json:
    query, world = _query(hub, view), hub.over(view.start, view.end)
    if world is None or query.service is None or query.service not in world.services:
        return blank("Nothing is known of its requests in this range.", look)
    return figures.requests(world, query.service, look, (view.start, view.end))


PAGE = Page(
    "/traces",
    "Traces",
    "Traces",
    layout,
    key="t",
    charts=(Chart("heat", _Heatmap().draw), Chart("trace-durations", _durations), Chart("trace-requests", _requests)),
)
