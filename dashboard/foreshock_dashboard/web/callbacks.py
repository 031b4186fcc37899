"""The few callbacks of Dash: which page is shown, and the figures of its charts. All of them only read."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from dash import ClientsideFunction, Dash, Input, Output
from dash.development.base_component import Component
from starlette.concurrency import run_in_threadpool

from foreshock_dashboard.model.query import Json, SourceError
from foreshock_dashboard.model.snapshot import HubView
from foreshock_dashboard.web.charts import Chart, Look
from foreshock_dashboard.web.figures.lines import blank
from foreshock_dashboard.web.params import BadParameterError
from foreshock_dashboard.web.registry import Page, find
from foreshock_dashboard.web.shell import not_found
from foreshock_dashboard.web.view import view_of


def register(app: Dash, hub: HubView, pages: tuple[Page, ...]) -> None:
    """Add the callbacks to the app."""

    @app.callback(Output("page", "children"), Input("url", "pathname"))
    async def show_page(pathname: object) -> Component:
        page = find(pages, pathname) if isinstance(pathname, str) else None
        return page.layout() if page else not_found()

    for page in pages:
        for chart in page.charts:
            inputs = (Input("url", "search"), Input("url", "pathname"), Input("tick", "data"), Input("browser", "data"))
            app.callback(Output(chart.id, "figure"), *inputs)(_figure(hub, page, chart))
            app.clientside_callback(  # type: ignore[no-untyped-call]  # Dash's
                ClientsideFunction("foreshock", "zoomed"),
                Output(chart.id, "className"),
                Input(chart.id, "relayoutData"),
                prevent_initial_call=True,
            )
    app.clientside_callback(  # type: ignore[no-untyped-call]  # Dash's
        ClientsideFunction("foreshock", "open_point"), Output("picked", "data"), Input("heat", "clickData")
    )


def _figure(hub: HubView, page: Page, chart: Chart) -> Callable[[object, object, object, object], Awaitable[Json]]:
    async def draw(search: object, pathname: object, _tick: object, browser: object) -> Json:
        look = Look.of(browser)
        seen = view_of(search, hub.now(), page.rest(pathname))
        try:
            return await run_in_threadpool(chart.draw, hub, seen, look)
        except (BadParameterError, SourceError) as error:
            return blank(str(error), look)

    return draw
