"""The front: a process that asks several hubs, and serves one page, one list of incidents, and its own health."""

from __future__ import annotations

import time
from contextlib import ExitStack, closing

from fastapi import FastAPI
from fastapi.responses import HTMLResponse, JSONResponse, PlainTextResponse, Response
from prometheus_client.core import GaugeMetricFamily

from foreshock_dashboard import __version__
from foreshock_dashboard.common.addresses import is_loopback
from foreshock_dashboard.front.merge import Merged, merged
from foreshock_dashboard.front.page import page, ready_text
from foreshock_dashboard.front.shards import Shards
from foreshock_dashboard.hub.factories import http_config, page_access, page_server
from foreshock_dashboard.hub.intake import naming
from foreshock_dashboard.ingest.span_metrics.exposition import render_families
from foreshock_dashboard.model.types import Json
from foreshock_dashboard.settings.settings import HubError, Settings
from foreshock_dashboard.sources.http_config.values import HttpConfig
from foreshock_dashboard.web.charts import theme
from foreshock_dashboard.web.http.assets import Assets
from foreshock_dashboard.web.http.authentication import Access
from foreshock_dashboard.web.http.protection import protect
from foreshock_dashboard.web.http.security import content_security_policy
from foreshock_dashboard.web.state.incident_json import VERSION

NOT_OF_A_FRONT = (
    *("targets", "targets_file", "prometheus_url", "tempo_url", "jaeger_url", "recording", "postgres_url", "shard"),
    *("alertmanager_url", "notify_file", "at", "mcp"),
)
"""Settings that belong to its hubs."""


class Front:
    """It listens once constructed and works after `start`.

    Raises:
        HubError: an address is in use, a file cannot be used, or an option is one of hubs.
    """

    def __init__(self, settings: Settings) -> None:
        for name in NOT_OF_A_FRONT:
            if getattr(settings, name):
                flag = f"--{name.replace('_', '-')}"
                raise HubError(f"{flag}: has no effect with --shards. Set it on the hubs, and remove it here.")
        with ExitStack() as opened:
            with naming("--shards-config"), naming("--shards", ValueError):
                config = http_config(settings.shards_config) or HttpConfig()
                self.shards = opened.enter_context(closing(Shards(settings.shards, config)))
            hosts = settings.allowed_hosts if is_loopback(settings.host) else settings.allowed_hosts or ("*",)
            access = page_access(settings)
            opened.callback(access.audit.close)
            secure = bool(settings.tls_cert) or settings.external_url.startswith("https://")
            self.web = page_server(self._app(access, hosts, secure=secure), settings)
            opened.callback(self.web.close)
            self._opened = opened.pop_all()

    def start(self) -> None:
        """Begin to ask and to serve."""
        self.shards.start()
        self.web.start()

    def close(self) -> None:
        """Stop."""
        self._opened.close()

    def _now(self) -> Merged:
        return merged(self.shards.answers, time.time())

    def _app(self, access: Access, hosts: tuple[str, ...], *, secure: bool) -> FastAPI:
        app, assets = FastAPI(title="foreshock", openapi_url=None), Assets.packaged()
        assets.register(app)
        if access.oidc:
            access.oidc.register(app)

        def add(path: str, respond: object) -> None:
            app.add_api_route(path, respond, response_class=Response)  # type: ignore[arg-type]  # a function

        def now() -> Response:
            return HTMLResponse(page(self._now(), self.shards.answers, time.time(), assets.styles))

        def incidents() -> Response:
            found = self._now()
            return JSONResponse(
                {
                    "version": VERSION,
                    "time": time.time(),
                    "incidents": list(found.incidents),
                    "complete": not found.problems,
                    "problems": list(found.problems),
                }
            )

        def status() -> Response:
            return JSONResponse(self._status())

        def ready() -> Response:
            reason = ready_text(self._now(), self.shards.answers)
            if reason and access.required:
                reason = "see the page and the log for the reason"
            return PlainTextResponse(f"not ready: {reason}\n" if reason else "ready\n", 503 if reason else 200)

        add("/", now)
        add("/api/incidents", incidents)
        add("/api/status", status)
        add("/healthz", lambda: PlainTextResponse("alive\n"))
        add("/readyz", ready)
        add("/metrics", lambda: PlainTextResponse(self._metrics()))
        add("/theme.css", lambda: Response(theme.stylesheet(), media_type="text/css"))
        protect(app, content_security_policy([]), hosts, access, secure=secure)
        return app

    def _status(self) -> Json:
        found, now = self._now(), time.time()
        reason = ready_text(found, self.shards.answers)
        return {
            "version": __version__,
            "ready": not reason,
            "reason": reason,
            "targets": [
                {
                    "instance": hub.url,
                    "job": f"shard {hub.part}" if hub.part else "hub",
                    "up": not hub.problem(now),
                    "age_seconds": None if hub.read_at is None else now - hub.read_at,
                    "error": hub.problem(now),
                    "clusters": list(hub.clusters),
                    "gpus": hub.gpus,
                    "services": hub.services,
                }
                for hub in self.shards.answers
            ],
        }

    def _metrics(self) -> str:
        now = time.time()
        up = GaugeMetricFamily(
            "foreshock_front_hub_up", "Whether the list of incidents of a hub is current.", labels=("url", "shard")
        )
        for hub in self.shards.answers:
            up.add_metric([hub.url, hub.part], float(not hub.problem(now)))
        return render_families([up])
