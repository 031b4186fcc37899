"""Layout of the Cost page: unused GPUs, the total, and who holds which GPU time."""

from __future__ import annotations

from dash import html
from dash.development.base_component import Component

from foreshock_dashboard.web.shell.shell import Page, attributes, page_of, panel, verdict


def layout() -> Component:
    """The headline first, then the evidence."""
    return page_of(
        "cost",
        "Cost",
        [
            verdict("cost-verdict", "Cost", "cost-headline", html.Div(id="cost-detail", className="verdict-detail")),
            html.Div(id="cost-choices", className="filters"),
            html.Div(id="cost-figures", className="figures"),
            html.Div(
                [
                    panel("unused", "Idle GPUs", "unused ones first", wide=True),
                    panel(
                        "gpu-time",
                        "GPU time",
                        "GPU-hours in the time range, with shared GPUs split equally",
                        wide=True,
                        csv="/api/csv/cost",
                    ),
                ],
                className="panels",
                **attributes(data_kind="cost"),
            ),
        ],
        "/api/pages/cost",
        takes="range by",
        orders="sort",
    )


PAGE = Page("/cost", "Cost", "Cost", layout, key="m")
