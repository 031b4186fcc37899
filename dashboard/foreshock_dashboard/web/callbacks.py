"""The few callbacks of Dash: which page is shown, and the figure of the trace list. All of them only read."""

from __future__ import annotations

from urllib.parse import parse_qsl

from dash import ClientsideFunction, Dash, Input, Output
from dash.development.base_component import Component
from starlette.concurrency import run_in_threadpool

from foreshock_dashboard.model.query import Json, SourceError
from foreshock_dashboard.model.snapshot import HubView
from foreshock_dashboard.web import theme as themes
from foreshock_dashboard.web.figures.scatter import scatter
from foreshock_dashboard.web.params import TRACE_PARAMETERS, BadParameterError, trace_query
from foreshock_dashboard.web.registry import Page, find
from foreshock_dashboard.web.shell import not_found

MOST_MARKS = 500
LONGEST_SEARCH = 4000


def filters_of(search: object) -> dict[str, str]:
    """The trace filters in an address's query string; what is no filter (such as the open trace) is left out."""
    if not isinstance(search, str) or len(search) > LONGEST_SEARCH:
        return {}
    return {name: value for name, value in parse_qsl(search.lstrip("?")) if name in TRACE_PARAMETERS}


async def _figure(hub: HubView, search: object, scheme: object) -> Json:
    colours = themes.DARK if scheme == "dark" else themes.LIGHT
    now = hub.now()
    try:
        world = hub.snapshot.world
        filters = filters_of(search) | {"limit": str(MOST_MARKS)}
        query = trace_query(filters, now, world.services if world else ())
        found = await run_in_threadpool(hub.traces.search, query)
    except (BadParameterError, SourceError):
        return scatter((), now - 900, now, colours)  # the list beside it says what is wrong
    return scatter(found, query.start, query.end, colours)


def register(app: Dash, hub: HubView, pages: tuple[Page, ...]) -> None:
    """Add the callbacks to the app."""

    @app.callback(Output("page", "children"), Input("url", "pathname"))
    async def show_page(pathname: object) -> Component:
        page = find(pages, pathname) if isinstance(pathname, str) else None
        return page.layout() if page else not_found()

    @app.callback(Output("scatter", "figure"), Input("url", "search"), Input("tick", "data"), Input("theme", "data"))
    async def draw_scatter(search: object, _tick: object, scheme: object) -> Json:
        return await _figure(hub, search, scheme)

    app.clientside_callback(  # type: ignore[no-untyped-call]  # Dash's
        ClientsideFunction("foreshock", "open_point"), Output("picked", "data"), Input("scatter", "clickData")
    )
