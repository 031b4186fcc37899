"""Requests of the API for one cluster: `cluster=NAME` in the query of any address."""

from __future__ import annotations

import threading
from collections.abc import Callable
from urllib.parse import parse_qsl, urlencode

from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Receive, Scope, Send

from foreshock_dashboard.model.snapshot import HubView, clusters_of
from foreshock_dashboard.web.state.one_cluster import OneCluster
from foreshock_dashboard.web.state.parameters import CLUSTER_PARAMETER, MAX_VALUE_LENGTH


class ClusterViews:
    """The views of a hub by cluster, and the app of each. Thread-safe.

    make: the app with the API's routes for a hub; each has its own caches.
    """

    def __init__(self, hub: HubView, make: Callable[[HubView], ASGIApp]) -> None:
        self._hub, self._make = hub, make
        self._lock = threading.Lock()
        self._views: dict[str, tuple[HubView, ASGIApp]] = {}

    def hub(self, cluster: str) -> HubView:
        """The hub as one cluster sees it; the whole one for "" and for a cluster that it does not know."""
        found = self._view(cluster) if cluster else None
        return found[0] if found else self._hub

    def app(self, cluster: str) -> ASGIApp | None:
        """The API of one cluster; None for a cluster that the hub does not know."""
        found = self._view(cluster)
        return found[1] if found else None

    def _view(self, cluster: str) -> tuple[HubView, ASGIApp] | None:
        with self._lock:
            if cluster not in self._views:
                if cluster not in clusters_of(self._hub.snapshot):
                    return None
                view = OneCluster(self._hub, cluster)
                self._views[cluster] = view, self._make(view)
            return self._views[cluster]


class ByCluster:
    """Middleware that answers API requests with `cluster=NAME` by the routes of that cluster."""

    def __init__(self, app: ASGIApp, views: ClusterViews) -> None:
        self._app, self._views = app, views

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request."""
        if scope["type"] != "http" or not scope["path"].startswith("/api/"):
            await self._app(scope, receive, send)
            return
        pairs = parse_qsl(scope["query_string"].decode("latin-1"), keep_blank_values=True)
        rest = [(name, value) for name, value in pairs if name != CLUSTER_PARAMETER]
        cluster = next((value.strip() for name, value in pairs if name == CLUSTER_PARAMETER), "")
        app: ASGIApp | None = self._app
        if len(rest) < len(pairs):
            scope = {**scope, "query_string": urlencode(rest).encode()}
            if cluster:
                app = self._views.app(cluster)
        if app is None:
            problem = f"{CLUSTER_PARAMETER}={cluster[:MAX_VALUE_LENGTH]!r}: unknown cluster. /api/status lists all"
            await JSONResponse({"error": problem}, 404)(scope, receive, send)
            return
        await app(scope, receive, send)
