"""Factories by settings: scrape targets, clients of remote metrics and traces, and the page's server and access."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import urlsplit

from fastapi import FastAPI

from foreshock_dashboard.access.audit import AuditLog
from foreshock_dashboard.access.roles import Roles
from foreshock_dashboard.access.tls import TlsFiles
from foreshock_dashboard.access.users import Users
from foreshock_dashboard.changes.github import webhook_secret
from foreshock_dashboard.hub.intake import listen, naming, tokens
from foreshock_dashboard.model.service import Service
from foreshock_dashboard.render.rules.rule_files import EXPORTER_JOB
from foreshock_dashboard.settings.option_types import EXPORTER_PORT, TargetOption
from foreshock_dashboard.settings.settings import HubError, Settings
from foreshock_dashboard.sources.discovery.jobs import Discovery
from foreshock_dashboard.sources.discovery.scrape_config import read_targets_file
from foreshock_dashboard.sources.http_config.reading import read_http_config
from foreshock_dashboard.sources.http_config.values import HttpConfig
from foreshock_dashboard.sources.prometheus.recorded import RecordedSource
from foreshock_dashboard.sources.prometheus.target import ScrapeTarget
from foreshock_dashboard.sources.traces.jaeger import JaegerTraces
from foreshock_dashboard.sources.traces.tempo import TempoTraces
from foreshock_dashboard.web.http.authentication import Access
from foreshock_dashboard.web.http.oidc import Oidc, OidcOptions
from foreshock_dashboard.web.http.server import WebServer


def scrape_target(option: TargetOption) -> ScrapeTarget:
    """A target of the settings. The service that it is assigned to wins over labels of its series.

    Without one, its job is that of exporters at their port, else its host: a job may become the name of a service.
    """
    if not option.service:
        parts = urlsplit(option.url)
        return ScrapeTarget(option.url, EXPORTER_JOB if parts.port == EXPORTER_PORT else parts.hostname or "", {})
    service = Service.parse(option.service)
    labels = {"service_name": service.name, "service_namespace": service.namespace}
    return ScrapeTarget(option.url, service.name, {name: value for name, value in labels.items() if value})


def remote_traces(settings: Settings) -> TempoTraces | JaegerTraces:
    """The traces of the configured Tempo or Jaeger. Raises HubError for both, or an option that cannot be used."""
    if settings.tempo_url and settings.jaeger_url:
        raise HubError("--tempo-url, --jaeger-url: traces are read from only one of them; remove one")
    flag, source = ("--tempo-url", TempoTraces) if settings.tempo_url else ("--jaeger-url", JaegerTraces)
    with naming("--traces-config"), naming(flag, ValueError):
        return source(settings.tempo_url or settings.jaeger_url, config=http_config(settings.traces_config))


def remote_metrics(settings: Settings) -> RecordedSource:
    """The configured Prometheus. Raises HubError for an option that cannot be used beside it, or at all."""
    if settings.targets or settings.targets_file:
        option = "--targets" if settings.targets else "--targets-file"
        raise HubError(f"{option}: has no effect with --prometheus-url. Let Prometheus scrape, or remove one.")
    with naming("--prometheus-config"), naming("--prometheus-url", ValueError):
        config = http_config(settings.prometheus_config)
        return RecordedSource(settings.prometheus_url, config=config, concurrency=settings.prometheus_concurrency)


def discovery(settings: Settings) -> Discovery:
    """The targets of the configured file; without one, none. Raises HubError if the file cannot be used."""
    with naming("--targets-file"):
        return Discovery(read_targets_file(settings.targets_file) if settings.targets_file else ())


def http_config(path: Path | None) -> HttpConfig | None:
    """The HTTP configuration in a file, if there is one. Raises FileError."""
    return read_http_config(path) if path else None


def page_access(settings: Settings) -> Access:
    """Authentication of the page, the API, and the metrics. Raises HubError if a file cannot be used."""
    with naming("--auth-basic-file"):
        users = Users(settings.auth_basic_file) if settings.auth_basic_file else None
    with naming("--audit-log", OSError):
        audit = AuditLog(settings.audit_log)
    roles = Roles(settings.roles, settings.default_role)
    oidc = None
    if settings.oidc_issuer and settings.oidc_client_secret_file:
        options = OidcOptions(
            settings.oidc_issuer,
            settings.oidc_client_id,
            settings.oidc_client_secret_file,
            settings.oidc_ca,
            settings.oidc_scopes,
            settings.oidc_user_claim,
            settings.oidc_groups_claim,
            settings.external_url,
        )
        with naming("--oidc-client-secret-file, --oidc-ca"):
            oidc = Oidc(options, roles, audit)
    with naming("--github-webhook-secret-file"):
        path = settings.github_webhook_secret_file
        secret = webhook_secret(path) if path else None
    return Access(
        tokens("--auth-token-file", settings.auth_token_file),
        users,
        settings.auth_header,
        settings.auth_proxies,
        oidc,
        roles,
        settings.rate_limit,
        audit,
        secret,
    )


def page_server(app: FastAPI, settings: Settings) -> WebServer:
    """The server of the page. Raises HubError if its port is in use, or the certificate cannot be used."""
    tls = TlsFiles(settings.tls_cert, settings.tls_key) if settings.tls_cert and settings.tls_key else None
    with naming("--tls-cert"):
        return listen("--port", lambda: WebServer(app, settings.host, settings.port, tls=tls))
