"""Now: what is wrong, who starves whom, and what it looks like on the map and on the GPUs."""

from __future__ import annotations

from dash import html
from dash.development.base_component import Component

from foreshock_dashboard.web.registry import Page
from foreshock_dashboard.web.shell import attributes, page_of, panel


def layout() -> Component:
    """The sentence first, then the evidence from coarse to fine."""
    return page_of(
        "now",
        "GPU contention now",
        [
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
        "/api/now",
        hidden=True,
    )


PAGE = Page("/", "Now", "GPU contention now", layout, key="n")
