"""Layout of the Status page: stale targets, missing signals, dropped data, and the store."""

from __future__ import annotations

from dash import html
from dash.development.base_component import Component

from foreshock_dashboard.web.shell.shell import Page, page_of, panel, verdict


def layout() -> Component:
    """The verdict first, then its evidence."""
    problems = html.Div(id="problems", className="verdict-detail")
    return page_of(
        "status",
        "Status",
        [
            verdict("status-verdict", "Data health", "health", problems, role="alert"),
            html.Div(id="status-figures", className="figures"),
            html.Div(
                [
                    panel("targets", "Targets", wide=True, csv="/api/csv/targets"),
                    panel("unjoined", "Unjoined model servers", wide=True, hidden=True),
                    panel("signals", "Signals", wide=True),
                    panel("notifications", "Notifications", "since start", wide=True, hidden=True),
                    panel("spans", "Span ingestion", "since start"),
                    panel("store", "Sources and storage"),
                    panel("audit", "Audit log", "for admins", wide=True, hidden=True),
                    panel("connect", "Connect data sources", wide=True),
                ],
                className="panels",
            ),
        ],
        "/api/pages/status",
        orders="signals targets unjoined notifications audit",
    )


PAGE = Page("/status", "Status", "Status", layout, key="u")
