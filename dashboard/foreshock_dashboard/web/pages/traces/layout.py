"""Traces: find requests by service, duration, errors and waiting, and see where the time of one went."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import NamedTuple

from dash import dcc, html
from dash.development.base_component import Component

from foreshock_dashboard.common.single_flight_cache import SingleFlightCache
from foreshock_dashboard.model.snapshot import HubView
from foreshock_dashboard.model.span import TraceQuery, TraceSource, TraceSummary
from foreshock_dashboard.model.trace_heatmap import Bins, Heat, heat_of
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
"""Bins of time in the picture."""
MAX_MARKS = 40
"""Slowest traces, and failed ones, that are marked in it."""
RANGE_ROUNDING_SECONDS = 10.0
"""Seconds to which the range that is read is rounded outward, so that those who look at the same share what is read."""
CACHE_SECONDS = 30.0
"""Seconds for which that holds at most: traces arrive late."""
MAX_CACHED_HEATMAPS = 32
FILTERS = tuple(name for name in TraceParameters.model_fields if name not in ("start", "end", "limit", "waits"))
"""What the address takes of a search's parameters; the range of time is that of every page."""


def layout() -> Component:
    """The trace that is open, filters, the picture of all that match, how their service does, and the list."""
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


def _query(hub: HubView, seen: View) -> TraceQuery:
    """What the filters ask for.

    Raises:
        BadParameterError: one cannot be read.
    """
    world = hub.snapshot.world
    filters = {name: value for name, value in seen.parameters.items() if name in TraceParameters.model_fields}
    query = TraceParameters.read(filters).query(hub.now(), world.services if world else ())
    return replace(query, start=seen.start, end=seen.end)


class _Read(NamedTuple):
    """What the picture is made of. source: kept with it, so that no other one is taken for it."""

    source: TraceSource
    heat: Heat
    marks: tuple[TraceSummary, ...]


class _Heatmap:
    """The chart of trace durations. What it reads is shared by all who look at about the same range."""

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
            heat = heat_of(source, query, Bins.of(query, TIME_BINS))
            marks = list(source.search(replace(query, order="slowest", limit=MAX_MARKS)))
            if query.status in (None, "error"):
                marks += source.search(replace(query, status="error", order="newest", limit=MAX_MARKS))
            return _Read(source, heat, tuple({item.trace_id: item for item in marks}.values()))

        return self._cache.get((id(source), repr(query), hub.now() // CACHE_SECONDS), read)


def _durations(hub: HubView, seen: View, look: Look) -> Json:
    query, world = _query(hub, seen), hub.over(seen.start, seen.end)
    if world is None or query.service is None or query.service not in world.services:
        return blank("Nothing is known of its requests in this range.", look)
    promise = next((each for each in snapshot_at(hub, seen).forecast.slos if each.service == query.service), None)
    return figures.durations(world, query.service, look, (seen.start, seen.end), promise)


def _requests(hub: HubView, seen: View, look: Look) -> Json:
    query, world = _query(hub, seen), hub.over(seen.start, seen.end)
    if world is None or query.service is None or query.service not in world.services:
        return blank("Nothing is known of its requests in this range.", look)
    return figures.requests(world, query.service, look, (seen.start, seen.end))


PAGE = Page(
    "/traces",
    "Traces",
    "Traces",
    layout,
    key="t",
    charts=(Chart("heat", _Heatmap().draw), Chart("trace-durations", _durations), Chart("trace-requests", _requests)),
)
