"""The frame around every page: bar, navigation, badges, and the place where the page goes."""

from __future__ import annotations

from typing import Any

from dash import dcc, html
from dash.development.base_component import Component

from foreshock_dashboard.web.registry import Page

INDEX = """<!DOCTYPE html>
<html lang="en">
  <head>
    <meta name="color-scheme" content="light dark">
    {%metas%}
    <title>{%title%}</title>
    <link rel="icon" type="image/svg+xml" href="/assets/icon.svg">
    <link rel="stylesheet" href="/theme.css">
    <script src="/assets/theme.js"></script>
    {%css%}
  </head>
  <body>
    <noscript>foreshock draws in the browser: allow JavaScript for this address, or read /api/warnings.</noscript>
    {%app_entry%}
    {%config%}
    {%scripts%}
    {%renderer%}
  </body>
</html>
"""


def attributes(**named: str) -> dict[str, Any]:
    """HTML attributes whose names have a dash: `data_page="now"` is `data-page`."""
    return {name.replace("_", "-"): value for name, value in named.items()}


def shell(pages: tuple[Page, ...]) -> Component:
    """The frame; it is sent once, the page inside follows the address."""
    return html.Div(
        [
            dcc.Location(id="url", refresh="callback-nav"),
            dcc.Store(id="tick"),
            dcc.Store(id="theme"),
            html.A("Skip to the page", href="#main", className="skip"),
            html.Header(
                [
                    html.Div(
                        [html.Span(className="mark", **attributes(aria_hidden="true")), "foreshock"],
                        className="brand",
                    ),
                    html.Nav(
                        [dcc.Link(page.name, href=page.path, id=f"nav-{page.name.lower()}") for page in pages],
                        **attributes(aria_label="Pages"),
                    ),
                    html.Span("SIMULATED", id="simulated", className="badge simulated", hidden=True),
                    html.Div(id="live", className="badge live", role="status", **attributes(data_state="loading")),
                    html.Button("Theme", id="theme-toggle", className="badge", type="button"),
                ],
                className="bar",
            ),
            html.Main(
                [
                    html.P(id="lost", className="lost", hidden=True),
                    html.Div(id="page"),
                ],
                id="main",
                tabIndex="-1",
            ),
        ],
        id="shell",
    )


def panel(name: str, title: str, hint: str, wide: bool = False) -> Component:
    """An empty panel. The scripts fill `name` and set the panel's one state: loading, ready, empty, stale or error."""
    return html.Section(
        [
            html.Div(
                [
                    html.H2(title, id=f"{name}-title"),
                    html.Span(hint, className="hint", id=f"{name}-hint"),
                    html.Span("stale", className="stale-mark"),
                ],
                className="panel-head",
            ),
            html.Div(id=name, className="panel-body"),
            html.P(id=f"{name}-message", className="panel-message"),
        ],
        id=f"{name}-panel",
        className="panel wide" if wide else "panel",
        **attributes(data_state="loading", aria_labelledby=f"{name}-title"),
    )


def not_found() -> Component:
    """The page for an address that has none."""
    return html.Div(
        [html.H1("No such page"), html.P("This address has no page."), dcc.Link("Go to Now", href="/")],
        className="plain",
        **attributes(data_page="none"),
    )
