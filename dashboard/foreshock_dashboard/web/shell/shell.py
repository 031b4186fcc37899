"""The frame around every page: bar, navigation, badges, and the place where the page goes."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from typing import Any

from dash import dcc, html
from dash.development.base_component import Component

from foreshock_dashboard.web.shell.page import Page

FEED = '<meta name="feed">'
ASSET_TAGS = "<!-- assets -->"
INDEX = """<!DOCTYPE html>
<html lang="en">
  <head>
    <meta name="color-scheme" content="light dark">
    {%metas%}
    <meta name="feed">
    <title>{%title%}</title>
    <link rel="stylesheet" href="/theme.css">
    <!-- assets -->
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


def shell(pages: tuple[Page, ...], *, simulated: bool = False, recorded: bool = False) -> Component:
    """The frame; it is sent once, the page inside follows the address.

    simulated: some of the data is; recorded: the hub stands in a recording. What the frame then has more is there from
    the beginning, so that nothing moves when the values come.
    """
    return html.Div(
        [
            dcc.Location(id="url", refresh="callback-nav"),
            dcc.Store(id="tick"),
            dcc.Store(id="browser"),
            html.A("Skip to the page", href="#main", className="skip"),
            html.Header(
                [
                    html.Div(
                        [html.Span(className="mark", **attributes(aria_hidden="true")), "foreshock"],
                        className="brand",
                    ),
                    html.Nav([_link(page) for page in pages if page.name], **attributes(aria_label="Pages")),
                    html.Span("SIMULATED", id="simulated", className="badge simulated", hidden=not simulated),
                    html.Button("Search", id="search-open", className="badge", type="button"),
                    html.Div(id="time", className="time"),
                    html.Div(id="live", className="badge live", role="status", **attributes(data_state="loading")),
                    html.Button("Theme", id="theme-toggle", className="badge", type="button"),
                    html.Button("?", id="help-open", className="badge", type="button", title="Keys and meanings"),
                ],
                className="bar",
            ),
            html.Div(
                id="rewind",
                className="rewind",
                hidden=not recorded,
                **(attributes(data_recorded="true") if recorded else {}),
            ),
            html.Main(
                [
                    html.P(id="lost", className="lost", hidden=True),
                    html.P(id="wrong", className="lost", role="alert", hidden=True),
                    html.P(id="ignored", className="ignored", role="status", hidden=True),
                    html.Div(id="page"),
                ],
                id="main",
                tabIndex="-1",
            ),
        ],
        id="shell",
    )


def feed_of(page: Page | None) -> str:
    """Says in the frame which values the page will ask for, before the page is there; none where there is no page."""
    if page is None:
        return FEED
    told = page.layout().to_plotly_json()["props"]  # type: ignore[no-untyped-call]  # Dash's
    return f'<meta name="feed" data-feed="{escape(told["data-feed"])}" data-takes="{escape(told["data-takes"])}">'


def _link(page: Page) -> Component:
    """A page in the navigation; the script keeps the time range in its address."""
    return html.A(
        page.name,
        href=page.path,
        id=f"nav-{page.name.lower()}",
        **attributes(data_go="true", data_page_path=page.path, data_key=page.key),
    )


def page_of(
    name: str,
    title: str,
    body: Sequence[Component],
    feed: str,
    takes: str = "",
    keeps: str = "",
    orders: str = "",
    hidden: bool = False,
) -> Component:
    """The skeleton of a page: its h1 and its panels, and where the script asks for its values.

    feed: the address of its values, `{rest}` in it is what of the page's address lies below its own; empty where the
    page asks on its own. takes: the parameters of the page's address that the feed takes as well, apart by spaces;
    keeps: those that only the page reads; orders: those that say how its tables are sorted. Of any other the page says
    that it is ignored. hidden: the title is for screen readers alone.
    """
    return html.Div(
        [html.H1(title, className="visually-hidden" if hidden else ""), *body],
        className=f"page-{name}",
        **attributes(
            data_page=name, data_feed=feed, data_takes=takes, data_keeps=keeps, data_orders=orders, data_title=title
        ),
    )


def panel(
    name: str, title: str, hint: str, wide: bool = False, csv: str = "", promql: str = "", fold: bool = False
) -> Component:
    """An empty panel. The scripts fill `name` and set the panel's one state: loading, ready, empty, stale or error.

    csv: the address of its figures as a table; the script adds what is looked at. promql: the query that gives them.
    fold: on a phone it is its title alone until it is opened.
    """
    return html.Section(
        [
            _head(name, title, hint, csv, promql, fold=fold),
            html.Div(id=name, className="panel-body"),
            html.P(id=f"{name}-message", className="panel-message"),
        ],
        id=f"{name}-panel",
        className="panel wide" if wide else "panel",
        **attributes(data_state="loading", aria_labelledby=f"{name}-title"),
    )


def chart(
    name: str,
    title: str,
    hint: str,
    wide: bool = False,
    height: int = 220,
    csv: str = "",
    promql: str = "",
    fold: bool = False,
) -> Component:
    """A panel with a figure of Plotly, which the chart of the same name draws; dragging on it zooms all."""
    picture = dcc.Graph(
        id=name,
        config={"displaylogo": False, "modeBarButtons": [["toImage"]], "responsive": True, "doubleClick": False},
        style={"height": f"{height}px"},
        figure={"data": [], "layout": {"xaxis": {"visible": False}, "yaxis": {"visible": False}}},
        responsive=True,
    )
    return html.Section(
        [
            _head(name, title, hint, csv, promql, fold=fold),
            html.Div(picture, className="chart", style={"minHeight": f"{height}px"}),  # until what draws it has come
            html.Details(
                [html.Summary("as a table"), html.Div(className="twin-body")],
                className="twin",
                **attributes(data_twin=name),
            ),
        ],
        id=f"{name}-panel",
        className="panel wide" if wide else "panel",
        **attributes(data_state="ready", aria_labelledby=f"{name}-title"),
    )


def _head(name: str, title: str, hint: str, csv: str, promql: str, fold: bool) -> Component:
    tools: list[Component] = []
    if csv:
        tools.append(html.A("CSV", href=csv, download="", **attributes(data_viewed=csv)))
    if promql:
        tools.append(html.Button("PromQL", type="button", title=promql, **attributes(data_copy=promql)))
    return html.Div(
        [
            html.H2(title, id=f"{name}-title"),
            html.Span(hint, className="hint", id=f"{name}-hint"),
            html.Span("stale", className="stale-mark"),
            html.Span(tools, className="tools"),
            *([_fold(name, title)] if fold else []),
        ],
        className="panel-head",
    )


def _fold(name: str, title: str) -> Component:
    """Opens and closes a panel on a phone; elsewhere it is not there."""
    return html.Button(
        html.Span(title, className="visually-hidden"),
        type="button",
        className="fold",
        **attributes(data_fold=name, aria_expanded="false"),
    )


def not_found() -> Component:
    """The page for an address that has none."""
    return html.Div(
        [html.H1("No such page"), html.P("This address has no page."), html.A("Go to Now", href="/")],
        className="plain",
        **attributes(data_page="none"),
    )
