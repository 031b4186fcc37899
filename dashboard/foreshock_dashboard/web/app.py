"""The app factory: one ASGI app with the pages, JSON API, metrics, and health of a hub."""

from __future__ import annotations

import json
import re
from collections.abc import Awaitable, Callable, Collection

import httpx
from dash import Dash
from dash.development.base_component import Component
from dash.exceptions import DependencyException
from fastapi import FastAPI, Request
from fastapi.responses import HTMLResponse, Response
from starlette.middleware.gzip import GZipMiddleware
from starlette.routing import Route

from foreshock_dashboard.model.hub.view import HubView
from foreshock_dashboard.web import callbacks
from foreshock_dashboard.web.api import routes
from foreshock_dashboard.web.api.by_cluster import ByCluster, ClusterViews
from foreshock_dashboard.web.charts import theme
from foreshock_dashboard.web.documents import runbooks
from foreshock_dashboard.web.http.assets import Assets, CompressedFiles
from foreshock_dashboard.web.http.authentication import Access
from foreshock_dashboard.web.http.oidc import LOGOUT
from foreshock_dashboard.web.http.protection import protect
from foreshock_dashboard.web.http.responses import GZIP_LEVEL, MIN_GZIP_BYTES
from foreshock_dashboard.web.http.security import MAX_BODY_BYTES, BodyLimit, callback_fault, content_security_policy
from foreshock_dashboard.web.pages.capacity import layout as capacity
from foreshock_dashboard.web.pages.cascade import layout as cascade
from foreshock_dashboard.web.pages.contention import layout as contention
from foreshock_dashboard.web.pages.cost import layout as cost
from foreshock_dashboard.web.pages.fleet import layout as fleet
from foreshock_dashboard.web.pages.now import layout as now
from foreshock_dashboard.web.pages.services import layout as services
from foreshock_dashboard.web.pages.status import layout as status
from foreshock_dashboard.web.pages.traces import layout as traces
from foreshock_dashboard.web.shell.shell import ASSET_TAGS, FEED, INDEX, SIMULATED, Page, feed_of, find, shell

PAGES: tuple[Page, ...] = (
    now.PAGE,
    contention.PAGE,
    cascade.PAGE,
    fleet.PAGE,
    capacity.PAGE,
    cost.PAGE,
    traces.PAGE,
    services.PAGE,
    services.ONE,
    status.PAGE,
)
CALLBACK_PATH = "/_dash-update-component"


def create_app(
    hub: HubView,
    *,
    version: str,
    hosts: Collection[str] | None = None,
    access: Access | None = None,
    secure: bool = False,
    mcp: bool = False,
    badge: str = SIMULATED,
) -> FastAPI:
    """The app of a hub. It has no state outside itself; several may live in one process.

    hosts: accepted Host names and addresses, without ports, besides localhost and loopback addresses; "*" accepts all.
    Requests for others get 421. access: required credentials and roles; none without it. secure: whether browsers reach
    the app over TLS. mcp: whether `/mcp` has tools for agents. badge: that of pages with simulated data. Raises
    ModuleNotFoundError without the SDK.
    """
    access = access or Access()
    schema = "/api/openapi.json"

    def api(view: HubView) -> FastAPI:
        app = FastAPI(title="foreshock", version=version, openapi_url=schema, docs_url=None, redoc_url=None)
        routes.register(app, view, version, access)
        return app

    server, views = api(hub), ClusterViews(hub, api)
    server.add_middleware(ByCluster, views=views)
    if mcp:
        _add_mcp(server, version, access, views)
    if access.oidc:
        access.oidc.register(server)
    server.add_api_route("/theme.css", _theme, include_in_schema=False)
    runbooks.register(server)
    assets = Assets.packaged()
    assets.register(server)
    pages = FastAPI(openapi_url=None)
    routes.add_error_handlers(pages)
    dash = _dash(pages, hub, assets, access, badge)
    callback_inputs = callbacks.register(dash, hub, PAGES, views.hub)
    pages.add_exception_handler(DependencyException, _unknown_file)
    pages.add_api_route("/{path:path}", _page(pages, assets))
    server.mount("/", pages)
    server.add_middleware(GZipMiddleware, minimum_size=MIN_GZIP_BYTES, compresslevel=GZIP_LEVEL)
    server.add_middleware(CompressedFiles)
    server.add_middleware(
        BodyLimit, most=MAX_BODY_BYTES, path=CALLBACK_PATH, check=lambda body: callback_fault(body, callback_inputs)
    )
    protect(server, content_security_policy([*dash.csp_hashes(), assets.csp_hash]), hosts, access, secure=secure)
    return server


def _add_mcp(server: FastAPI, version: str, access: Access, views: ClusterViews) -> None:
    """Serve tools for agents. They query the routes that the app has by now, which have passed the same middleware."""
    from foreshock_dashboard.mcp.endpoint import PATH, McpEndpoint  # the SDK takes a second and 24 MB

    inner = FastAPI(openapi_url=None)
    inner.router.routes[:] = server.router.routes
    inner.add_middleware(ByCluster, views=views)
    routes.add_error_handlers(inner)
    endpoint = McpEndpoint(inner, version, access.audit)
    server.router.routes.append(Route(PATH, endpoint, include_in_schema=False))
    server.router.lifespan_context = endpoint.lifespan


UNUSED_SCRIPTS = re.compile(r'<script src="[^"]*/(?:dash_table/|dash_core_components-shared)[^"]*"></script>\n?')
"""No page has Dash's table. What the core components share is for charts, which load it themselves."""
POLYFILLS = re.compile(r'<script (src="[^"]*/polyfill@[^"]*")>')
"""Only charts need them, for `regeneratorRuntime`: `chart_library.js` runs them."""


class _Dash(Dash):
    """Dash, started by a module: it runs after the modules of the page, which its callbacks call."""

    def interpolate_index(self, **parts: str) -> str:  # type: ignore[override]  # Dash itself passes all by name
        """The page around the app."""
        parts["config"] = _without_websocket(parts["config"])
        scripts = UNUSED_SCRIPTS.sub("", parts["scripts"])
        parts["scripts"] = POLYFILLS.sub(r'<script id="polyfills" type="text/plain" \1>', scripts)
        parts["renderer"] = parts["renderer"].replace('type="application/javascript"', 'type="module"')
        return super().interpolate_index(**parts)  # type: ignore[no-untyped-call,no-any-return]  # Dash's


def _without_websocket(script: str) -> str:
    """Dash's configuration without its WebSocket: every browser would keep one open for callbacks that do not exist."""
    start, body, end = re.split(r"(?<=>)(.*)(?=</script>)", script, maxsplit=1, flags=re.DOTALL)
    config = json.loads(body)
    return start + json.dumps({name: value for name, value in config.items() if name != "websocket"}) + end


def _dash(server: FastAPI, hub: HubView, assets: Assets, access: Access, badge: str) -> Dash:
    def frame() -> Component:
        world = hub.snapshot.world
        simulated = world is not None and world.simulated
        sign_out = LOGOUT if access.oidc else ""
        return shell(PAGES, simulated=simulated, badge=badge, sign_out=sign_out, authenticated=access.required)

    index = INDEX.replace(FEED, _page_tags(assets, now.PAGE)).replace(ASSET_TAGS, assets.head)  # Dash answers for /
    app = _Dash(
        __name__,
        server=server,  # type: ignore[arg-type]  # Dash's annotation knows only its own factories
        backend="fastapi",
        assets_ignore=".",  # the frame has its own tags for them
        index_string=index,
        title="foreshock",
        update_title=None,  # type: ignore[arg-type]  # None is documented: the title is ours
        use_async=True,
        enable_mcp=False,
        add_log_handler=False,
        suppress_callback_exceptions=True,
    )
    app.layout = frame
    return app


def _page_tags(assets: Assets, page: Page | None) -> str:
    """The tags of a page's head that other pages do not have. They follow the import map, which its scripts need."""
    return feed_of(page) + (assets.preloads(page.folder) if page else "")


def _page(pages: FastAPI, assets: Assets) -> Callable[[Request], Awaitable[Response]]:
    """The handler of every address that nothing else has: the frame that Dash serves at /, and 404 without a page."""
    transport = httpx.ASGITransport(pages)

    async def page(request: Request) -> Response:
        async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as client:
            frame = (await client.get("/")).text
        found = find(PAGES, request.url.path)
        tags = _page_tags(assets, found)
        return HTMLResponse(frame.replace(_page_tags(assets, now.PAGE), tags, 1), 200 if found else 404)

    return page


async def _unknown_file(request: Request, _: Exception) -> Response:
    return Response(f"There is no file {request.url.path!r}.\n", 404, media_type="text/plain")


async def _theme() -> Response:
    return Response(theme.stylesheet(), media_type="text/css", headers={"Cache-Control": "no-cache"})
