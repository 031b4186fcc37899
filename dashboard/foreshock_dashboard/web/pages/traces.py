"""Traces: find requests by service, duration and errors, and see where the time of one went."""

from __future__ import annotations

from dataclasses import replace

from dash import dcc, html
from dash.development.base_component import Component

from foreshock_dashboard.model.query import Json
from foreshock_dashboard.model.snapshot import HubView
from foreshock_dashboard.web.charts import Chart, Look
from foreshock_dashboard.web.figures.scatter import scatter
from foreshock_dashboard.web.params import TRACE_PARAMETERS, trace_query
from foreshock_dashboard.web.registry import Page
from foreshock_dashboard.web.shell import chart, page_of, panel
from foreshock_dashboard.web.view import View


def layout() -> Component:
    """Filters, the picture of all that match, the list, and the trace that is open."""
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
                        "scatter", "Duration over time", "one mark a trace; click to open it, drag to zoom", wide=True
                    ),
                    panel("list", "Matching traces", "", wide=True),
                ],
                className="panels",
            ),
        ],
        "/api/warnings",
    )


MOST_MARKS = 500
"""Traces in the picture."""


def _scatter(hub: HubView, seen: View, look: Look) -> Json:
    world = hub.snapshot.world
    filters = {name: value for name, value in seen.given.items() if name in TRACE_PARAMETERS}
    query = trace_query(filters | {"limit": str(MOST_MARKS)}, hub.now(), world.services if world else ())
    query = replace(query, start=seen.start, end=seen.end)
    return scatter(hub.traces.search(query), seen.start, seen.end, look.colours)


PAGE = Page("/traces", "Traces", "Traces", layout, key="t", charts=(Chart("scatter", _scatter),))
