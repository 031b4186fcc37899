"""Requests of the API for one cluster: `cluster=NAME` in the query of any address."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from urllib.parse import parse_qsl, urlencode

from starlette.concurrency import run_in_threadpool
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Receive, Scope, Send

from foreshock_dashboard.model.hub.view import HubView
from foreshock_dashboard.model.snapshot import clusters_of
from foreshock_dashboard.web.state.one_cluster import OneCluster
from foreshock_dashboard.web.state.parameters import (
    CLUSTER_PARAMETER,
    MAX_VALUE_LENGTH,
    BadParameterError,
    cluster_of,
)


class ClusterViews:
    """The views of a hub by cluster, and the app of each. Thread-safe.

    make: the app with the API's routes for a hub; each has its own caches. It takes 0.1 s of CPU and 1 MB.
    """

    def __init__(self, hub: HubView, make: Callable[[HubView], ASGIApp]) -> None:
        self._hub, self._make = hub, make
        self._lock = threading.Lock()
        self._views: Mapping[str, tuple[HubView, ASGIApp]] = {}

    def hub(self, cluster: str) -> HubView:
        """The hub as one cluster sees it; the whole one for "". Raises BadParameterError: the cluster is unknown."""
        return self._view(cluster)[0] if cluster else self._hub

    async def app(self, cluster: str) -> ASGIApp:
        """The API of one cluster. Raises BadParameterError: the cluster is unknown."""
        found = self._views.get(cluster)
        return found[1] if found else (await run_in_threadpool(self._view, cluster))[1]

    def _view(self, cluster: str) -> tuple[HubView, ASGIApp]:
        with self._lock:
            if cluster not in self._views:
                known = clusters_of(self._hub.snapshot)
                if cluster not in known:
                    problem = f"{CLUSTER_PARAMETER}={cluster[:MAX_VALUE_LENGTH]!r}: unknown cluster"
                    raise BadParameterError(f"{problem}. /api/status lists all")
                view = OneCluster(self._hub, cluster)
                kept = {name: self._views[name] for name in known if name in self._views}
                self._views = {**kept, cluster: (view, self._make(view))}
            return self._views[cluster]


class ByCluster:
    """Middleware that answers API requests with `cluster=NAME` by the routes of that cluster."""

    def __init__(self, app: ASGIApp, views: ClusterViews) -> None:
        self._app, self._views = app, views

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request."""
        app = self._app
        if scope["type"] == "http" and scope["path"].startswith("/api/"):
            query = scope["query_string"].decode("latin-1")
            pairs = parse_qsl(query, keep_blank_values=True)
            rest = [(name, value) for name, value in pairs if name != CLUSTER_PARAMETER]
            if len(rest) < len(pairs):
                scope = {**scope, "query_string": urlencode(rest).encode()}
            if (cluster := cluster_of(query)) and scope["method"] not in ("GET", "HEAD"):
                problem = f"cluster: limits what is read. Write names with their cluster, such as {cluster}//shop/cart"
                app = JSONResponse({"error": problem}, 400)
            elif cluster:
                try:
                    app = await self._views.app(cluster)
                except BadParameterError as error:
                    app = JSONResponse({"error": str(error)}, 404)
        await app(scope, receive, send)
