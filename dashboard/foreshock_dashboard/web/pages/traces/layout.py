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
from foreshock_dashboard.web.charts.chart import Chart, Look, seen_at
from foreshock_dashboard.web.charts.lines import blank
from foreshock_dashboard.web.pages.traces.figures import heat_map
from foreshock_dashboard.web.pages.traces.parameters import TraceParameters
from foreshock_dashboard.web.panels import service_charts as figures
from foreshock_dashboard.web.shell.page import Page
from foreshock_dashboard.web.shell.shell import chart, page_of, panel
from foreshock_dashboard.web.state.time_range import View

COLUMNS = 72
"""Bins of time in the picture."""
MARKS = 40
"""Slowest traces, and failed ones, that are marked in it."""
GRID = 10.0
"""Seconds to which the range that is read is rounded outward, so that those who look at the same share what is read."""
HOLD = 30.0
"""Seconds for which that holds at most: traces arrive late."""
MOST_READ = 32
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
    filters = {name: value for name, value in seen.given.items() if name in TraceParameters.model_fields}
    query = TraceParameters.read(filters).query(hub.now(), world.services if world else ())
    return replace(query, start=seen.start, end=seen.end)


class _Read(NamedTuple):
    """What the picture is made of. source: kept with it, so that no other one is taken for it."""

    source: TraceSource
    heat: Heat
    marks: tuple[TraceSummary, ...]


_kept: SingleFlightCache[_Read] = SingleFlightCache(MOST_READ)


def _read(hub: HubView, query: TraceQuery) -> _Read:
    """Read for a rounded range, and for all who look at about the same: it takes three searches."""
    source = hub.traces
    query = replace(query, start=math.floor(query.start / GRID) * GRID, end=math.ceil(query.end / GRID) * GRID)

    errors = query.status in (None, "error")  # else those that failed are not what was asked for

    def read() -> _Read:
        heat = heat_of(source, query, Bins.of(query, COLUMNS))
        slowest = source.search(replace(query, order="slowest", limit=MARKS))
        failed = source.search(replace(query, status="error", order="newest", limit=MARKS)) if errors else ()
        marks = {item.trace_id: item for item in (*slowest, *failed)}
        return _Read(source, heat, tuple(marks.values()))

    return _kept.get((id(source), repr(query), hub.now() // HOLD), read)


def _heat(hub: HubView, seen: View, look: Look) -> Json:
    found, span = _read(hub, _query(hub, seen)), (seen.start, seen.end)
    inside = [item for item in found.marks if span[0] <= item.start <= span[1]]
    return heat_map(found.heat, inside, look, span, "No trace matches in this range.")


def _durations(hub: HubView, seen: View, look: Look) -> Json:
    query, world = _query(hub, seen), hub.over(seen.start, seen.end)
    if world is None or query.service is None or query.service not in world.services:
        return blank("Nothing is known of its requests in this range.", look)
    promise = next((each for each in seen_at(hub, seen).forecast.slos if each.service == query.service), None)
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
    charts=(Chart("heat", _heat), Chart("trace-durations", _durations), Chart("trace-requests", _requests)),
)
