"""What a hub reads, where it listens and how long it keeps things, for whoever asks whether it can be trusted."""

from __future__ import annotations

from urllib.parse import urlsplit

from foreshock_dashboard.model.types import Json
from foreshock_dashboard.settings.settings import Settings


def data_sources(settings: Settings, grpc: int, http: int) -> Json:
    """grpc, http: the ports of the OTLP receivers. No address in it has a password."""
    recording = f"recording {settings.recording}" if settings.recording else ""
    elsewhere = (("Tempo", settings.tempo_url), ("Jaeger", settings.jaeger_url))
    traces = next((f"{name} {_bare(url)}" for name, url in elsewhere if url), "")
    prometheus = f"Prometheus {_bare(settings.prometheus_url)}" if settings.prometheus_url else ""
    return {
        "metrics": recording or prometheus or "embedded store",
        "traces": recording or traces or "embedded store",
        "scrape_interval": settings.scrape_interval,
        "retention": settings.retention,
        "trace_retention": settings.trace_retention,
        "retention_size": settings.retention_size,
        "otlp_grpc_port": grpc,
        "otlp_http_port": http,
        "asks": sorted(
            name
            for name, given in (
                ("passwords", settings.auth_basic_file),
                ("tokens", settings.auth_token_file),
                ("a proxy", settings.auth_header),
            )
            if given
        ),
    }


def _bare(url: str) -> str:
    """The address without a user and a password."""
    parts = urlsplit(url)
    host = parts.netloc.rpartition("@")[2]
    return f"{parts.scheme}://{host}{parts.path}"
