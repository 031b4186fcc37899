"""What the hub says of itself: its own metrics, and the figures of the status line."""

from __future__ import annotations

import platform
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, InfoMetricFamily

from foreshock_dashboard.analysis.baseline.objectives import Objective
from foreshock_dashboard.hub.forecast_metrics import forecast_families
from foreshock_dashboard.hub.unmatched_services import Unmatched
from foreshock_dashboard.ingest.span_metrics.exposition import render_families
from foreshock_dashboard.model.incident import Incident
from foreshock_dashboard.model.samples import Sample, labels_of
from foreshock_dashboard.model.service import Service
from foreshock_dashboard.model.snapshot import Snapshot
from foreshock_dashboard.model.types import Json
from foreshock_dashboard.render.incident_text import blamed
from foreshock_dashboard.sources.otlp.receiver import ReceiverStats
from foreshock_dashboard.sources.prometheus.scrape import ScrapeState
from foreshock_dashboard.store import StoreStats

Family = CounterMetricFamily | GaugeMetricFamily | InfoMetricFamily


@dataclass(frozen=True, slots=True)
class HubStats:
    """The hub's parts as they stand at one moment."""

    version: str
    time: float
    snapshot: Snapshot
    tick_seconds: float
    store: StoreStats
    receiver: ReceiverStats
    scrapes: tuple[ScrapeState, ...]
    spans: Json = field(default_factory=dict)
    """What is made of spans: `series`, `series_limit`, and a `warning` where that is too few."""
    objectives_in_vain: tuple[Unmatched[Objective], ...] = ()
    """Of the objectives that the hub is given, those of services that it has not seen so far."""
    tiers_in_vain: tuple[Unmatched[str], ...] = ()
    """The same of tiers."""


def incident_samples(incidents: Sequence[Incident]) -> tuple[Sample, ...]:
    """`foreshock_incident` of every open incident, for the store."""
    return tuple(
        Sample("foreshock_incident", labels_of(incident_labels(incident)), 1.0) for incident in _open(incidents)
    )


def incident_labels(incident: Incident) -> dict[str, str]:
    """The labels of `foreshock_incident`."""
    return {
        "id": incident.id,
        "phase": incident.phase,
        "cause": incident.cause,
        **_named("service", incident.service),
        **_named("victim", incident.victim),
        **_named("aggressor", incident.aggressor),
        "culprit": blamed(incident.culprit),
        "pool": incident.culprit.pool,
    }


def metrics_text(vitals: HubStats, *, openmetrics: bool = False) -> str:
    """The hub's own metrics in the Prometheus text format, or as the end of a page of OpenMetrics."""
    return render_families(metric_families(vitals), openmetrics=openmetrics)


def status_json(vitals: HubStats) -> Json:
    """The same figures for the status line."""
    return {
        "version": vitals.version,
        "tick_seconds": vitals.tick_seconds,
        "store": asdict(vitals.store),
        "receiver": {
            "requests": vitals.receiver.requests,
            "spans": vitals.receiver.spans,
            "rejected": dict(vitals.receiver.rejected),
            "refused": dict(vitals.receiver.refused),
        },
        "spans": vitals.spans,
        "in_vain": [
            {"flag": flag, "service": str(each.service), "nearest": str(each.nearest) if each.nearest else None}
            for flag, vain in (("--objectives", vitals.objectives_in_vain), ("--tiers", vitals.tiers_in_vain))
            for each in vain
        ],
        "scrapes": [
            {
                "instance": state.target.instance,
                "job": state.target.job,
                "url": state.target.url,
                "up": state.up,
                "age": None if state.last is None else max(0.0, vitals.time - state.last),
                "duration": state.duration,
                "samples": state.samples,
                "error": state.error,
            }
            for state in vitals.scrapes
        ],
    }


def metric_families(vitals: HubStats) -> Iterator[Family]:
    """Every metric of the hub itself, in the order of the page."""
    yield InfoMetricFamily(
        "foreshock_build", "The hub's version.", {"version": vitals.version, "python": platform.python_version()}
    )
    yield _incidents(vitals.snapshot.incidents)
    yield from forecast_families(vitals.snapshot.forecast)
    learning = vitals.snapshot.learning
    yield GaugeMetricFamily(
        "foreshock_history_seconds", "History that the baselines rest on, in seconds.", value=learning.have
    )
    yield GaugeMetricFamily(
        "foreshock_history_needed_seconds", "History that the baselines need, in seconds.", value=learning.need
    )
    yield GaugeMetricFamily(
        "foreshock_tick_failed", "1 while the last tick could not read its source.", value=bool(vitals.snapshot.error)
    )
    yield GaugeMetricFamily("foreshock_tick_seconds", "Wall time the last tick took.", value=vitals.tick_seconds)
    yield _in_vain("objective", "--objectives", [(each.service, {}) for each in vitals.objectives_in_vain])
    yield _in_vain("tier", "--tiers", [(each.service, {"tier": each.value}) for each in vitals.tiers_in_vain], "tier")
    yield from _receiver(vitals.receiver)
    yield from _store(vitals.store)


def _in_vain(what: str, flag: str, vain: Sequence[tuple[Service, Mapping[str, str]]], *more: str) -> GaugeMetricFamily:
    text = f"1 for each service that {flag} names and that has not been seen so far."
    labels = ("service_name", "service_namespace", *more)
    family = GaugeMetricFamily(f"foreshock_{what}_in_vain", text, labels=labels)
    for service, others in vain:
        family.add_metric([service.name, service.namespace, *(others[label] for label in more)], 1.0)
    return family


def _receiver(stats: ReceiverStats) -> Iterator[Family]:
    yield CounterMetricFamily("foreshock_receiver_requests", "OTLP requests received.", value=stats.requests)
    yield CounterMetricFamily("foreshock_receiver_spans", "Spans accepted and kept.", value=stats.spans)
    yield _counts("foreshock_receiver_spans_rejected", "Spans rejected.", "reason", stats.rejected)
    yield _counts("foreshock_receiver_requests_refused", "OTLP requests refused.", "reason", stats.refused)


def _store(stats: StoreStats) -> Iterator[Family]:
    for name, text, value in (
        ("foreshock_store_disk_bytes", "Disk used by the embedded store.", stats.disk_bytes),
        ("foreshock_store_inbox_rows", "Accepted rows that no segment holds yet.", stats.wal_rows),
        ("foreshock_store_segments", "Sealed segments.", stats.blocks),
        ("foreshock_store_series", "Series known.", stats.series),
        ("foreshock_store_failing", "1 while the last append or upkeep failed.", float(bool(stats.last_error))),
    ):
        yield GaugeMetricFamily(name, text, value=value)
    for name, text, value in (
        ("foreshock_store_corruption", "Damaged pieces set aside since the start.", stats.corrupt),
        ("foreshock_store_dropped", "Samples and spans dropped past a bound since the start.", stats.dropped),
        ("foreshock_store_expired_segments", "Segments removed by retention since the start.", stats.expired),
    ):
        yield CounterMetricFamily(name, text, value=value)


def _incidents(incidents: Sequence[Incident]) -> GaugeMetricFamily:
    names = tuple(f"{role}_{part}" for role in ("service", "victim", "aggressor") for part in ("name", "namespace"))
    wanted = ("id", "phase", "cause", *names, "culprit", "pool")
    family = GaugeMetricFamily("foreshock_incident", "1 for every open incident.", labels=wanted)
    for incident in _open(incidents):
        labels = incident_labels(incident)
        family.add_metric([labels[name] for name in wanted], 1.0)
    return family


def _counts(name: str, text: str, label: str, counts: Mapping[str, int]) -> CounterMetricFamily:
    family = CounterMetricFamily(name, text, labels=(label,))
    for value, count in sorted(counts.items()):
        family.add_metric([value], count)
    return family


def _open(incidents: Sequence[Incident]) -> list[Incident]:
    return [incident for incident in incidents if incident.phase != "over"]


def _named(role: str, service: Service | None) -> dict[str, str]:
    found = service or Service("", "")
    return {f"{role}_name": found.name, f"{role}_namespace": found.namespace}
