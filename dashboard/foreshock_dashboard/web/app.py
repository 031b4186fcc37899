"""The app factory: one ASGI app that serves pages, JSON API, metrics and health of a hub."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection
from pathlib import Path

from dash import Dash
from dash.backends import _fastapi as backend
from dash.development.base_component import Component
from fastapi import FastAPI, Request
from fastapi.responses import HTMLResponse, Response
from starlette.middleware.gzip import GZipMiddleware

from foreshock_dashboard.model.snapshot import HubView
from foreshock_dashboard.web import callbacks
from foreshock_dashboard.web.api.routes import Api
from foreshock_dashboard.web.charts import theme
from foreshock_dashboard.web.documents import runbooks
from foreshock_dashboard.web.http import plotly_js
from foreshock_dashboard.web.http.answer_cache import Again
from foreshock_dashboard.web.http.authentication import Access, Authenticated
from foreshock_dashboard.web.http.json_cache import LEVEL, SHORTEST
from foreshock_dashboard.web.http.responses import Answers
from foreshock_dashboard.web.http.security import (
    MOST_BODY,
    BodyLimit,
    KnownHost,
    SameSite,
    SecurityHeaders,
    callback_fault,
    policy,
)
from foreshock_dashboard.web.http.static_gzip import Packed, stamped
from foreshock_dashboard.web.pages.cascade import layout
from foreshock_dashboard.web.pages.contention import layout as contention
from foreshock_dashboard.web.pages.fleet import layout as fleet
from foreshock_dashboard.web.pages.now import layout as now
from foreshock_dashboard.web.pages.services import layout as services
from foreshock_dashboard.web.pages.status import layout as status
from foreshock_dashboard.web.pages.traces import layout as traces
from foreshock_dashboard.web.shell.page import Page, find
from foreshock_dashboard.web.shell.shell import FEED, INDEX, feed_of, shell

PAGES: tuple[Page, ...] = (
    now.PAGE,
    contention.PAGE,
    layout.PAGE,
    fleet.PAGE,
    traces.PAGE,
    services.PAGE,
    services.ONE,
    status.PAGE,
)
CALLBACK_PATH = "/_dash-update-component"
ASSETS = Path(__file__).parent / "assets"


def create_app(
    hub: HubView, *, version: str, hosts: Collection[str] | None = None, access: Access | None = None
) -> FastAPI:
    """Build the app of a hub. No state outside the app; several may live in one process.

    hosts: names and addresses, without ports, that requests may be for besides localhost and loopback addresses; "*"
    among them allows all. Others get 421. access: who may look; anyone where nothing is told.
    """
    server = FastAPI(title="foreshock", version=version, openapi_url="/api/openapi.json", docs_url=None, redoc_url=None)
    api = Api(hub, version)
    api.register(server)
    server.add_api_route("/theme.css", _theme, include_in_schema=False)
    runbooks.register(server)
    plotly_js.register(server)
    dash = _dash(server, hub)
    callbacks.register(dash, hub, PAGES)
    server.add_api_route("/{path:path}", _page(dash), include_in_schema=False)
    _protect(server, dash, api.answers, hosts, access or Access())
    return server


class _Dash(Dash):
    """Dash, whose pages name the state of each script and style in its address."""

    def interpolate_index(self, **parts: str) -> str:  # type: ignore[override]  # Dash itself passes all by name
        """The page around the app."""
        return stamped(super().interpolate_index(**parts), ASSETS)  # type: ignore[no-untyped-call]  # Dash's


def _dash(server: FastAPI, hub: HubView) -> Dash:
    def frame() -> Component:
        world, bounds = hub.snapshot.world, hub.snapshot.bounds
        return shell(PAGES, simulated=world is not None and world.simulated, recorded=bounds is not None)

    app = _Dash(
        __name__,
        server=server,  # type: ignore[arg-type]  # Dash's annotation knows only its own factories
        backend="fastapi",
        assets_folder=str(ASSETS),
        assets_ignore=r"theme\.js",
        index_string=INDEX.replace(FEED, feed_of(now.PAGE)),  # Dash itself answers for /
        title="foreshock",
        update_title=None,  # type: ignore[arg-type]  # None is documented: the title is ours
        use_async=True,
        enable_mcp=False,
        add_log_handler=False,
        suppress_callback_exceptions=True,
    )
    # Otherwise every browser keeps a WebSocket open for callbacks that this app does not have.
    app.backend.websocket_capability = False
    app.layout = frame
    return app


def _page(dash: Dash) -> Callable[[Request], Awaitable[Response]]:
    """Every address that nothing else has: the shell, with 404 where no page is."""

    async def page(request: Request) -> Response:
        token = backend.set_current_request(request)  # type: ignore[no-untyped-call]  # Dash's
        try:
            html = dash.index()  # type: ignore[no-untyped-call]  # Dash's
            found = find(PAGES, request.url.path)
            return HTMLResponse(html.replace(feed_of(now.PAGE), feed_of(found), 1), 200 if found else 404)
        finally:
            backend.reset_current_request(token)  # type: ignore[no-untyped-call]  # Dash's

    return page


async def _theme() -> Response:
    return Response(theme.stylesheet(), media_type="text/css", headers={"Cache-Control": "no-cache"})


def _protect(server: FastAPI, dash: Dash, answers: Answers, hosts: Collection[str] | None, access: Access) -> None:
    """Add the middleware; what is added last sees a request first."""
    # Dash fills callback_map at the first request otherwise.
    dash._setup_server()  # type: ignore[no-untyped-call]  # noqa: SLF001
    server.add_middleware(Again, given=answers.given, send=answers.again)
    server.add_middleware(GZipMiddleware, minimum_size=SHORTEST, compresslevel=LEVEL)
    server.add_middleware(Packed)
    server.add_middleware(
        BodyLimit, most=MOST_BODY, path=CALLBACK_PATH, check=lambda body: callback_fault(body, dash.callback_map)
    )
    server.add_middleware(SameSite)
    server.add_middleware(Authenticated, access=access)
    server.add_middleware(KnownHost, hosts=hosts)
    server.add_middleware(SecurityHeaders, csp=policy(dash.csp_hashes()))
