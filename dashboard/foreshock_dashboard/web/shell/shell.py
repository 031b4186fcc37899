"""The frame around every page, the registry entry of a page, and the parts of layouts."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from html import escape
from typing import Any
from urllib.parse import unquote

from dash import dcc, html
from dash.development.base_component import Component

from foreshock_dashboard.render.words.panels import EMPTY
from foreshock_dashboard.render.words.status import STATUS_TEXTS
from foreshock_dashboard.web.charts.chart import Chart

FEED = '<meta name="feed">'
ASSET_TAGS = "<!-- assets -->"
INDEX = """<!DOCTYPE html>
<html lang="en">
  <head>
    <meta name="color-scheme" content="light dark">
    {%metas%}
    <title>{%title%}</title>
    <link rel="stylesheet" href="/theme.css">
    <!-- assets -->
    <meta name="feed">
    {%css%}
  </head>
  <body>
    <noscript>foreshock needs JavaScript. Without it, use the API: /api.</noscript>
    {%app_entry%}
    {%config%}
    {%scripts%}
    {%renderer%}
  </body>
</html>
"""
SIMULATED = "Simulated"
"""The badge of pages with simulated data."""
MAX_ADDRESS_LENGTH = 600
"""Characters of an address that are read."""


@dataclass(frozen=True, slots=True)
class Page:
    """A page. `layout` is called at each visit; `name` is in the navigation unless blank; `title` is its h1.

    key: with `g`, the letter that opens it. deep: addresses below `path` belong to the page too, such as
    `/services/prod/embedder`.
    """

    path: str
    name: str
    title: str
    layout: Callable[[], Component]
    key: str = ""
    charts: tuple[Chart, ...] = ()
    deep: bool = False

    @property
    def folder(self) -> str:
        """The folder of its scripts, below `web/`."""
        return f"pages/{self.layout.__module__.split('.')[-2]}"

    def rest(self, address: object) -> str:
        """The part of an address below the page's own: `prod/embedder`; "" without one."""
        if not self.deep or not isinstance(address, str) or len(address) > MAX_ADDRESS_LENGTH:
            return ""
        below = address.removeprefix(f"{self.path}/") if address.startswith(f"{self.path}/") else ""
        return unquote(below).strip("/")


def find(pages: tuple[Page, ...], path: str) -> Page | None:
    """The page at an address, with or without a trailing slash."""
    wanted = path.rstrip("/") or "/"
    return next((page for page in pages if page.path == wanted or (page.deep and page.rest(path))), None)


def attributes(**named: str) -> dict[str, Any]:
    """HTML attributes whose names have a dash: `data_page="now"` is `data-page`."""
    return {name.replace("_", "-"): value for name, value in named.items()}


def shell(
    pages: tuple[Page, ...],
    *,
    simulated: bool = False,
    badge: str = SIMULATED,
    sign_out: str = "",
    authenticated: bool = False,
) -> Component:
    """The frame; it is sent once, and the page inside follows the address.

    simulated: some of the data is simulated; known before values arrive, so that nothing moves then. badge: its
    text. sign_out: address that ends the session; "" without one. authenticated: whether users sign in, so that the
    frame has a name to show.
    """
    return html.Div(
        [
            dcc.Location(id="url", refresh="callback-nav"),
            dcc.Store(id="tick"),
            dcc.Store(id="browser"),
            html.A("Skip to content", href="#main", className="skip"),
            html.Header(
                [
                    html.A(
                        [
                            html.Span(className="mark", **attributes(aria_hidden="true")),
                            html.Span("foreshock", className="brand-name"),
                        ],
                        href="/",
                        className="brand",
                        **attributes(data_go="true", aria_label="foreshock"),
                    ),
                    html.Button(
                        "Menu", id="menu-open", className="badge", type="button", **attributes(aria_expanded="false")
                    ),
                    html.Div(
                        [
                            html.Nav([_link(page) for page in pages if page.name], **attributes(aria_label="Pages")),
                            html.Div(id="clusters", hidden=True),
                            html.Button("Search", id="search-open", className="badge", type="button"),
                            html.Button("Silences", id="silences-open", className="badge", type="button"),
                            html.Button("Theme", id="theme-toggle", className="badge", type="button"),
                            html.Button("?", id="help-open", className="badge", type="button", title="Help"),
                            *([_user(sign_out)] if authenticated or sign_out else []),
                        ],
                        className="bar-menu",
                    ),
                    html.Span(
                        badge,
                        id="simulated",
                        className="badge simulated",
                        title=f"{badge}. {STATUS_TEXTS['simulated']}",
                        hidden=not simulated,
                    ),
                    html.Div(id="time", className="time"),
                    html.Div(id="live", className="badge live", role="status", **attributes(data_state="loading")),
                ],
                className="bar",
            ),
            html.Div(id="rewind", className="rewind", hidden=True),
            html.Main(
                [
                    html.P(id="lost", className="lost", hidden=True),
                    html.P(id="wrong", className="lost", role="alert", hidden=True),
                    html.P(id="ignored", className="ignored", role="status", hidden=True),
                    html.P(id="incident-line", className="incident-line", hidden=True),
                    html.P(id="incident-status", className="visually-hidden", role="status"),
                    html.Div(id="page"),
                ],
                id="main",
                tabIndex="-1",
            ),
        ],
        id="shell",
    )


def feed_of(page: Page | None) -> str:
    """The meta tag with the address of the page's values, so that they load before the page; blank without a page."""
    if page is None:
        return FEED
    properties = page.layout().to_plotly_json()["props"]  # type: ignore[no-untyped-call]  # Dash's
    feed, takes = escape(properties["data-feed"]), escape(properties["data-takes"])
    return f'<meta name="feed" data-feed="{feed}" data-takes="{takes}">'


def _user(sign_out: str) -> Component:
    """The menu of the signed-in user; a script fills in the name and the role."""
    role = html.Span(id="user-role", className="muted")
    return html.Div(
        [
            html.Button(id="user-open", className="badge", type="button", **attributes(aria_expanded="false")),
            html.Div(
                [html.Span(id="user-name"), role, *([html.A("Sign out", href=sign_out)] if sign_out else [])],
                className="menu-body",
            ),
        ],
        id="user",
        className="menu user",
        hidden=True,
    )


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
    """The skeleton of a page: its h1, its panels, and the address of its values.

    feed: the address of the values; `{rest}` in it is the part of the page's address below its own; blank where the
    page loads on its own. takes: parameters of the page that the feed takes, space-separated. keeps: parameters that
    only the page reads. orders: parameters with the sort order of tables. The page reports any other parameter as
    ignored. hidden: the title is for screen readers only.
    """
    return html.Div(
        [html.H1(title, className="visually-hidden" if hidden else ""), *body],
        className=f"page-{name}",
        **attributes(
            data_page=name, data_feed=feed, data_takes=takes, data_keeps=keeps, data_orders=orders, data_title=title
        ),
    )


def verdict(name: str, label: str, headline: str, detail: Component, **headline_attributes: str) -> Component:
    """The section with the headline of a page. label: its name for screen readers. headline: id of the sentence."""
    return html.Section(
        [html.P("Loading…", id=headline, className="headline", **attributes(**headline_attributes)), detail],
        id=name,
        className="verdict",
        **attributes(data_state="loading", aria_label=label),
    )


def panel(
    name: str,
    title: str,
    hint: str = "",
    wide: bool = False,
    csv: str = "",
    promql: str = "",
    fold: bool = False,
    hidden: bool = False,
) -> Component:
    """An empty panel. The scripts fill `name` and set its state: loading, ready, empty, stale, or error.

    csv: the address of its figures as a table. promql: the query of its figures. fold: on a phone it is collapsed at
    first. hidden: until a script shows it.
    """
    body = [html.Div(id=name, className="panel-body"), html.P(id=f"{name}-message", className="panel-message")]
    return _section(name, _head(name, title, hint, csv, promql, fold=fold), body, "loading", wide=wide, hidden=hidden)


def chart(
    name: str,
    title: str,
    hint: str | Sequence[str | Component] = "",
    wide: bool = False,
    height: int = 220,
    csv: str = "",
    promql: str = "",
    fold: bool = False,
) -> Component:
    """A panel with a Plotly figure, drawn by the chart of the same name; dragging on it zooms all charts."""
    picture = dcc.Graph(
        id=name,
        config={"displaylogo": False, "modeBarButtons": [["toImage"]], "responsive": True, "doubleClick": False},
        style={"height": f"{height}px"},
        figure={"data": [], "layout": {"xaxis": {"visible": False}, "yaxis": {"visible": False}}},
        responsive=True,
    )
    table = [html.Summary("Table"), html.Div(className="twin-body")]
    body = [
        html.Div(picture, className="chart", style={"minHeight": f"{height}px"}),  # until what draws it has come
        html.Details(table, className="twin", **attributes(data_twin=name)),
    ]
    return _section(name, _head(name, title, hint, csv, promql, fold=fold), body, "ready", wide=wide)


def _section(
    name: str, head: Component, body: Sequence[Component], state: str, wide: bool, hidden: bool = False
) -> Component:
    return html.Section(
        [head, *body],
        id=f"{name}-panel",
        hidden=hidden,
        className="panel wide" if wide else "panel",
        **attributes(data_state=state, aria_labelledby=f"{name}-title"),
    )


def _head(name: str, title: str, hint: str | Sequence[str | Component], csv: str, promql: str, fold: bool) -> Component:
    tools: list[Component] = []
    if csv:
        tools.append(html.A("CSV", href=csv, download="", **attributes(data_viewed=csv)))
    if promql:
        tools.append(html.Button("PromQL", type="button", title=promql, **attributes(data_copy=promql)))
    button = html.Button(  # on a phone, it expands and collapses the panel
        html.Span(title, className="visually-hidden"),
        type="button",
        className="fold",
        **attributes(data_fold=name, aria_expanded="false"),
    )
    return html.Div(
        [
            html.H2(title, id=f"{name}-title"),
            html.Span(hint, className="hint", id=f"{name}-hint"),
            html.Span("stale", className="stale-mark"),
            html.Span(tools, className="tools"),
            *([button] if fold else []),
        ],
        className="panel-head",
    )


def not_found() -> Component:
    """The page of an unknown address."""
    return html.Div(
        [html.H1("Page not found"), html.P(EMPTY["no_page"]), html.A("Go to Now", href="/")],
        className="plain",
        **attributes(data_page="none"),
    )
