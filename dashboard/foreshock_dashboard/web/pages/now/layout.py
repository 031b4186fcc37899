"""Layout of the Now page: the verdict, its cause, the next service at risk, and the action."""

from __future__ import annotations

from dash import html
from dash.development.base_component import Component

from foreshock_dashboard.web.shell.shell import Page, page_of, panel, verdict


def layout() -> Component:
    """The sentence first, then the evidence from coarse to fine."""
    detail = html.Div(id="verdict-detail", className="verdict-detail")
    return page_of(
        "now",
        "Now",
        [
            verdict("verdict", "Verdict", "headline", detail, role="alert"),
            html.Div(id="figures", className="figures"),
            html.Div(
                [
                    panel("timeline", "From first sign to impact", "in the order of the first sign", wide=True),
                    panel("services", "Most affected services", "the worst first"),
                    panel("matrix", "Who starves whom", "how much of its time one waits for another's work"),
                    panel("grid", "GPUs", "share of time busy", wide=True),
                    panel("warnings", "Incidents and their evidence", "open now, the worst first", wide=True),
                ],
                className="panels now-panels",
            ),
        ],
        "/api/now",
        hidden=True,
    )


PAGE = Page("/", "Now", "Now", layout, key="n")
