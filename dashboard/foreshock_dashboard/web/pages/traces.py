"""Traces: find requests by service, duration and errors, and see where the time of one went."""

from __future__ import annotations

from dash import dcc, html
from dash.development.base_component import Component

from foreshock_dashboard.web.registry import Page
from foreshock_dashboard.web.shell import attributes, panel


def layout() -> Component:
    """Filters, the picture of all that match, the list, and the trace that is open."""
    return html.Div(
        [
            html.H1("Traces"),
            html.Div(id="filters"),
            dcc.Store(id="picked"),
            html.Div(
                [
                    panel("trace", "Trace", "", wide=True),
                    html.Section(
                        [
                            html.Div(
                                [
                                    html.H2("Duration over time", id="scatter-title"),
                                    html.Span("one mark a trace; click to open it", className="hint"),
                                ],
                                className="panel-head",
                            ),
                            dcc.Graph(
                                id="scatter",
                                config={"displayModeBar": False, "responsive": True},
                                style={"height": "230px"},
                            ),
                        ],
                        className="panel wide",
                        **attributes(aria_labelledby="scatter-title"),
                    ),
                    panel("list", "Matching traces", "", wide=True),
                ],
                className="panels",
            ),
        ],
        className="page-traces",
        **attributes(data_page="traces", data_feed="/api/warnings"),
    )


PAGE = Page("/traces", "Traces", "Traces", layout)
