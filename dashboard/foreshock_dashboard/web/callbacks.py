"""Dash's callbacks: the page at an address, and the figures of its charts. All of them only read."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

from anyio import CapacityLimiter, to_thread
from dash import ClientsideFunction, Dash, Input, Output
from dash.development.base_component import Component

from foreshock_dashboard.common.single_flight_cache import SingleFlightCache
from foreshock_dashboard.model.hub.view import HubView
from foreshock_dashboard.model.query import SourceError
from foreshock_dashboard.model.types import Json
from foreshock_dashboard.web.charts.chart import Chart, Look
from foreshock_dashboard.web.charts.lines import blank
from foreshock_dashboard.web.shell.shell import Page, find, not_found
from foreshock_dashboard.web.state.parameters import MAX_SEARCH_LENGTH, BadParameterError, cluster_of, view_of

CHART_INPUTS = (("url", "search"), ("url", "pathname"), ("tick", "data"), ("browser", "data"))
MAX_CONCURRENT_FIGURES = 8
"""Most charts drawn at once, and most on one page; further ones wait."""
MAX_CACHED_NUMBERS = 500_000
"""Numbers in the cached figures of one snapshot, 32 bytes each."""
FIGURE_OVERHEAD_NUMBERS = 1000
"""Size of a figure's layout and key, in numbers."""


def register(
    app: Dash, hub: HubView, pages: tuple[Page, ...], of_cluster: Callable[[str], HubView]
) -> Mapping[str, Sequence[tuple[str, str]]]:
    """Add the callbacks to the app. Returns id and property of the inputs of each, by its output `id.property`.

    of_cluster: the hub as a cluster sees it.
    """
    inputs_by_output: dict[str, Sequence[tuple[str, str]]] = {}

    def add(output: tuple[str, str], inputs: Sequence[tuple[str, str]], answer: Callable[..., Awaitable[Any]]) -> None:
        inputs_by_output[".".join(output)] = inputs
        app.callback(Output(*output), *(Input(*name) for name in inputs))(answer)

    async def show_page(pathname: object) -> Component:
        page = find(pages, pathname) if isinstance(pathname, str) else None
        return page.layout() if page else not_found()

    add(("page", "children"), (("url", "pathname"),), show_page)
    figures = Figures(hub, of_cluster)
    for page in pages:
        for chart in page.charts:
            add((chart.id, "figure"), CHART_INPUTS, figures.callback(page, chart))
            app.clientside_callback(  # type: ignore[no-untyped-call]  # Dash's
                ClientsideFunction("foreshock", "zoomed"),
                Output(chart.id, "className"),
                Input(chart.id, "relayoutData"),
                prevent_initial_call=True,
            )
    app.clientside_callback(  # type: ignore[no-untyped-call]  # Dash's
        ClientsideFunction("foreshock", "open_point"), Output("picked", "data"), Input("heat", "clickData")
    )
    return inputs_by_output


class Figures:
    """The figures of charts, drawn once per snapshot for all viewers, in dedicated threads.

    Other responses, such as /metrics, never wait for a figure.
    """

    def __init__(self, hub: HubView, of_cluster: Callable[[str], HubView]) -> None:
        self._hub, self._of_cluster = hub, of_cluster
        self._cache: SingleFlightCache[Json] = SingleFlightCache(MAX_CACHED_NUMBERS, _numbers)
        self._threads = CapacityLimiter(MAX_CONCURRENT_FIGURES)

    def callback(self, page: Page, chart: Chart) -> Callable[[object, object, object, object], Awaitable[Json]]:
        """The Dash callback of a chart: its figure by address, evaluation, and browser."""

        async def draw(search: object, pathname: object, _tick: object, browser: object) -> Json:
            look, rest = Look.from_store(browser), page.rest(pathname)
            query = search if isinstance(search, str) and len(search) <= MAX_SEARCH_LENGTH else ""
            snapshot = self._hub.snapshot

            def drawn() -> Json:
                return chart.draw(self._of_cluster(cluster_of(query)), view_of(query, self._hub.now(), rest), look)

            key = (chart.id, query, rest, look.key)
            try:
                return await to_thread.run_sync(self._cache.get, key, drawn, snapshot, limiter=self._threads)
            except (BadParameterError, SourceError) as error:
                return blank(str(error), look)

        return draw


def _numbers(figure: Json) -> int:
    values = [value for trace in figure["data"] for value in trace.values() if isinstance(value, list)]
    return FIGURE_OVERHEAD_NUMBERS + sum(len(row) if isinstance(row, list) else 1 for value in values for row in value)
