"""Now: what is wrong, who starves whom, and what it looks like on the map and on the GPUs."""

from __future__ import annotations

from dash import html
from dash.development.base_component import Component

from foreshock_dashboard.web.registry import Page
from foreshock_dashboard.web.shell import attributes, panel


def layout() -> Component:
    """The sentence first, then the evidence from coarse to fine."""
    return html.Div(
        [
            html.H1("GPU contention now", className="visually-hidden"),
            html.Section(
                [
                    html.P("Loading…", id="headline", className="headline", role="alert"),
                    html.Div(id="verdict-detail", className="verdict-detail"),
                ],
                id="verdict",
                className="verdict",
                **attributes(data_state="loading", aria_label="Verdict"),
            ),
            html.Div(id="figures", className="figures"),
            html.Div(
                [
                    panel(
                        "matrix",
                        "Who starves whom",
                        "row waits, column runs: share of time stalled, at most; red: slower for it",
                    ),
                    panel("grid", "GPUs", "share of time busy"),
                    panel("map", "Service map", "callers left, callees right; width is requests per second", wide=True),
                    panel("warnings", "Warnings", "open now, the worst first", wide=True),
                    panel("services", "Services", "requests each service received", wide=True),
                ],
                className="panels",
            ),
        ],
        className="page-now",
        **attributes(data_page="now", data_feed="/api/now"),
    )


PAGE = Page("/", "Now", "GPU contention now", layout)
