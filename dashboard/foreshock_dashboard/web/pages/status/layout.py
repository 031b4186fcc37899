"""Layout of the Status page: stale targets, missing signals, dropped data, and the store."""

from __future__ import annotations

from dash import html
from dash.development.base_component import Component

from foreshock_dashboard.web.shell.shell import Page, page_of, panel, verdict


def layout() -> Component:
    """The verdict first, then its evidence."""
    doubts = html.Div(id="doubts", className="verdict-detail")
    return page_of(
        "status",
        "Can this be trusted?",
        [
            verdict("status-verdict", "Answer", "trust", doubts, role="alert"),
            html.Div(id="status-figures", className="figures"),
            html.Div(
                [
                    panel("signals", "Signals", "what is read, and what is lost without it", wide=True),
                    panel("targets", "Targets", "silent ones first", wide=True, csv="/api/csv/targets"),
                    panel("spans", "Spans and series", "since the hub started"),
                    panel("store", "Sources and store", "where figures come from, and what is kept"),
                    panel("connect", "Point things at it", "", wide=True),
                ],
                className="panels",
            ),
        ],
        "/api/pages/status",
        orders="signals targets",
    )


PAGE = Page("/status", "Status", "Can this be trusted?", layout, key="u")
