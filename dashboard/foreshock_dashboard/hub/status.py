"""Status of the hub as JSON: its counters, its data sources, and its retention."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, field
from typing import NamedTuple

from prometheus_client import Histogram

from foreshock_dashboard.analysis.baseline.slos import Slo
from foreshock_dashboard.common.addresses import without_credentials
from foreshock_dashboard.hub.memory import MemoryUsage
from foreshock_dashboard.hub.service_overrides import Unmatched
from foreshock_dashboard.model.capacity.forecast import CapacityForecast
from foreshock_dashboard.model.change import Change
from foreshock_dashboard.model.cost.report import CostReport
from foreshock_dashboard.model.snapshot import Snapshot
from foreshock_dashboard.model.types import Json
from foreshock_dashboard.notify.channel_state import ChannelStats
from foreshock_dashboard.render.units import counted
from foreshock_dashboard.settings.settings import Settings
from foreshock_dashboard.shared.state import SharedState
from foreshock_dashboard.sources.discovery.jobs import DiscoveryState
from foreshock_dashboard.sources.otlp.receiver import ReceiverStats
from foreshock_dashboard.sources.prometheus.scrape import ScrapeState
from foreshock_dashboard.store import JournalStats, StoreStats


class ShardState(NamedTuple):
    """The part of the clusters that a hub reads. clusters: "" is that of series without one. url: for browsers."""

    part: str
    clusters: tuple[str, ...]
    url: str


@dataclass(frozen=True, slots=True)
class HubStats:
    """State of the hub's parts at one moment.

    time: Unix seconds. evaluation_seconds: duration of the newest evaluation. durations: of all since the start.
    spans: `series` and `series_limit` of the span metrics, and a `warning` at the limit.
    unmatched_slos, unmatched_tiers: those of the settings for services that were never seen.
    discovery: jobs of the targets file.
    changes: reported ones. channels: receivers of notifications. outbox_error: why messages are not durable, "" if they
    are. shared: of the database that several hubs share; None without one. cost: that of the last 24 h. shard: None for
    a hub of all clusters.
    """

    version: str
    time: float
    snapshot: Snapshot
    evaluation_seconds: float
    durations: Histogram
    store: StoreStats
    journal: JournalStats
    receiver: ReceiverStats
    scrapes: tuple[ScrapeState, ...]
    memory: MemoryUsage
    spans: Json = field(default_factory=dict)
    unmatched_slos: tuple[Unmatched[Slo], ...] = ()
    unmatched_tiers: tuple[Unmatched[str], ...] = ()
    changes: tuple[Change, ...] = ()
    discovery: tuple[DiscoveryState, ...] = ()
    channels: tuple[ChannelStats, ...] = ()
    outbox_error: str = ""
    cluster_labels: tuple[str, ...] = ()
    shard: ShardState | None = None
    shared: SharedState | None = None
    capacity: CapacityForecast = field(default_factory=CapacityForecast)
    cost: CostReport = CostReport(math.nan, math.nan, 0.0, "")


def status_json(stats: HubStats) -> Json:
    """Counters of the hub, and the age of each scrape in seconds."""
    return {
        "version": stats.version,
        "evaluation_seconds": stats.evaluation_seconds,
        "memory": stats.memory._asdict(),
        "store": asdict(stats.store),
        "journal": asdict(stats.journal),
        "shared": stats.shared._asdict() if stats.shared else None,
        "shard": stats.shard._asdict() if stats.shard else None,
        "receiver": {
            "requests": stats.receiver.requests,
            "accepted_spans": stats.receiver.spans,
            "accepted_data_points": stats.receiver.points,
            "refused_data_points": dict(stats.receiver.rejected_points),
            "refused_spans": dict(stats.receiver.rejected),
            "refused_requests": dict(stats.receiver.refused),
        },
        "spans": stats.spans,
        "unmatched": [
            {"option": option, "service": str(item.service), "nearest": str(item.nearest) if item.nearest else None}
            for option, unmatched in (("slo", stats.unmatched_slos), ("tiers", stats.unmatched_tiers))
            for item in unmatched
        ],
        "notifications": {
            "error": stats.outbox_error,
            "channels": [
                {
                    "name": item.name,
                    "kind": item.kind,
                    "waiting": item.waiting,
                    "last_success": item.last_success,
                    "last_error": item.last_error_at,
                    "error": item.error,
                    **item.outcomes,
                }
                for item in stats.channels
            ],
        },
        "discovery": [asdict(state) for state in stats.discovery],
        "scrapes": [
            {
                "instance": state.target.instance,
                "job": state.target.job,
                "cluster": next(filter(None, map(state.target.labels.get, stats.cluster_labels)), ""),
                "url": without_credentials(state.target.url),
                "up": state.up,
                "age_seconds": None if state.last is None else max(0.0, stats.time - state.last),
                "duration_seconds": state.duration,
                "samples": state.samples,
                "error": state.error,
            }
            for state in stats.scrapes
        ],
    }


def data_sources(settings: Settings, grpc_port: int, http_port: int, recording_rules: int = 0) -> Json:
    """Where the hub reads from and listens, and how long it keeps data; addresses are without credentials.

    The ports are those of the OTLP receivers. recording_rules: those whose series are read in place of queries.
    """
    recording = f"recording {settings.recording}" if settings.recording else ""
    remote_traces = (("Tempo", settings.tempo_url), ("Jaeger", settings.jaeger_url))
    traces = next((f"{name} {without_credentials(url)}" for name, url in remote_traces if url), "")
    prometheus = f"Prometheus {without_credentials(settings.prometheus_url)}" if settings.prometheus_url else ""
    if prometheus and recording_rules:
        prometheus += f", with {counted(recording_rules, 'recording rule')}"
    return {
        "metrics": recording or prometheus or "embedded store",
        "traces": recording or traces or "embedded store",
        "scrape_interval": settings.scrape_interval,
        "retention_metrics": settings.retention_metrics,
        "retention_traces": settings.retention_traces,
        "retention_size": settings.retention_size,
        "otlp_grpc_port": grpc_port,
        "otlp_http_port": http_port,
        "authentication": sorted(
            name
            for name, configured in (
                ("password", settings.auth_basic_file),
                ("bearer token", settings.auth_token_file),
                ("proxy header", settings.auth_header),
                ("OIDC", settings.oidc_issuer),
            )
            if configured
        ),
    }
