"""Layout of the Now page: the verdict, the numbers beside their limits, and the evidence."""

from __future__ import annotations

from dash import html
from dash.development.base_component import Component

from foreshock_dashboard.web.shell.shell import Page, attributes, page_of, panel


def layout() -> Component:
    """What is wrong and what to do first, then the evidence from coarse to fine."""
    return page_of(
        "now",
        "Now",
        [
            html.P(id="verdict-alert", className="visually-hidden", role="alert"),
            html.Section(
                [
                    html.Div(id="verdict-state", className="verdict-state"),
                    html.P("Loading…", id="headline", className="headline"),
                    html.Div(id="verdict-detail", className="verdict-detail"),
                ],
                id="verdict",
                className="verdict",
                **attributes(data_state="loading", aria_label="Verdict"),
            ),
            html.Div(id="figures", className="figures"),
            html.Div(
                [
                    panel("timeline", "Timeline", wide=True),
                    panel("services", "Services", wide=True),
                    panel("evidence", "Evidence", wide=True),
                    panel("grid", "GPU utilization"),
                    panel("matrix", "GPU wait"),
                ],
                className="panels now-panels",
            ),
        ],
        "/api/now",
        takes="from",
        hidden=True,
    )


PAGE = Page("/", "Now", "Now", layout, key="n")
