"""The hub's own metrics in the Prometheus text format."""

from __future__ import annotations

import math
import platform
from collections.abc import Iterable, Iterator, Sequence

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, InfoMetricFamily

from foreshock_dashboard.hub.status import HubStats
from foreshock_dashboard.ingest.span_metrics.exposition import render_families
from foreshock_dashboard.model.forecast import Forecast, Load
from foreshock_dashboard.model.incident import Incident
from foreshock_dashboard.model.samples import Sample, labels_of
from foreshock_dashboard.model.service import Service
from foreshock_dashboard.render.incident_text import suspected_cause
from foreshock_dashboard.sources.otlp.receiver import ReceiverStats
from foreshock_dashboard.store import StoreStats

Family = CounterMetricFamily | GaugeMetricFamily | InfoMetricFamily
SERVICE = ("service_name", "service_namespace")
EDGE = ("client", "client_service_namespace", "server", "server_service_namespace")
"""Labels of the service graph."""
Rows = Iterable[tuple[tuple[str, ...], float]]
"""Label values and value of each series."""


def incident_samples(incidents: Sequence[Incident]) -> tuple[Sample, ...]:
    """Samples of `foreshock_incident`, one per open incident, for the store."""
    return tuple(
        Sample("foreshock_incident", labels_of(incident_labels(incident)), 1.0) for incident in _open(incidents)
    )


def incident_labels(incident: Incident) -> dict[str, str]:
    """The labels of `foreshock_incident`."""
    return {
        "id": incident.id,
        "severity": incident.severity,
        "cascading": str(incident.cascading).lower(),
        "cause": incident.cause,
        **_service_labels("service", incident.service),
        **_service_labels("victim", incident.service),
        **_service_labels("aggressor", incident.suspect.service),
        "culprit": suspected_cause(incident.suspect),
        "pool": incident.suspect.pool,
    }


def metrics_text(stats: HubStats, *, openmetrics: bool = False) -> str:
    """The hub's own metrics in the Prometheus text format, or as the end of an OpenMetrics page."""
    return render_families(metric_families(stats), openmetrics=openmetrics)


def metric_families(stats: HubStats) -> Iterator[Family]:
    """All metrics of the hub itself, in the order of the page."""
    yield InfoMetricFamily(
        "foreshock_build", "The hub's version.", {"version": stats.version, "python": platform.python_version()}
    )
    yield _incidents(stats.snapshot.incidents)
    yield from forecast_families(stats.snapshot.forecast)
    learning = stats.snapshot.learning
    yield GaugeMetricFamily(
        "foreshock_history_seconds", "History that the baselines rest on, in seconds.", value=learning.have
    )
    yield GaugeMetricFamily(
        "foreshock_history_needed_seconds", "History that the baselines need, in seconds.", value=learning.need
    )
    yield GaugeMetricFamily(
        "foreshock_tick_failed", "1 while the last tick could not read its source.", value=bool(stats.snapshot.error)
    )
    yield GaugeMetricFamily("foreshock_tick_seconds", "Wall time the last tick took.", value=stats.evaluation_seconds)
    slos = [_labels(item.service) for item in stats.unmatched_slos]
    tiers = [(*_labels(item.service), item.value) for item in stats.unmatched_tiers]
    yield _unmatched("objective", "--slo", slos)
    yield _unmatched("tier", "--tiers", tiers, "tier")
    yield from _receiver(stats.receiver)
    yield from _store(stats.store)


def forecast_families(forecast: Forecast) -> Iterator[GaugeMetricFamily]:
    """Metrics of the forecast. Unknown values and breaches beyond the horizon have no series."""
    breaches = [
        ((*_labels(risk.service), name), seconds)
        for risk in forecast.risks
        for name, seconds in (("p20", risk.p20), ("p50", risk.p50), ("p80", risk.p80))
    ]
    tables: Sequence[tuple[str, str, tuple[str, ...], Rows]] = (
        (
            "foreshock_service_risk_ratio",
            "Chance that a service misses its objective within ten minutes.",
            SERVICE,
            [(_labels(risk.service), risk.chance) for risk in forecast.risks],
        ),
        (
            "foreshock_service_breach_seconds",
            "Seconds until a service misses its objective, with a chance of 20, 50 and 80 %; 0 where it does.",
            (*SERVICE, "estimate"),
            breaches,
        ),
        (
            "foreshock_contention_stalled_ratio",
            "Share of GPU time that a service waits for another one, at most; mean over the GPUs that they share.",
            ("victim", "aggressor", "pool"),
            [((str(item.victim), str(item.aggressor), item.pool), item.ratio) for item in forecast.stalled],
        ),
        (
            "foreshock_retry_amplification_ratio",
            "Attempts per call between two services; 1 without retries.",
            EDGE,
            [((*_labels(item.client), *_labels(item.server)), item.ratio) for item in forecast.amplification],
        ),
        (
            "foreshock_offered_load_ratio",
            "What is asked of a service's replicas over what they can do; above 1 where requests wait.",
            (*SERVICE, "pool"),
            [(_pool_labels(load), load.ratio) for load in forecast.loads],
        ),
        (
            "foreshock_safe_load_ratio",
            "Offered load up to which a service's own bursts do no harm.",
            (*SERVICE, "pool"),
            [(_pool_labels(load), load.safe) for load in forecast.loads],
        ),
        (
            "foreshock_load_imbalance_ratio",
            "Load of a service's busiest replica over the mean of all; 1 where they are alike.",
            SERVICE,
            [(_labels(item.service), item.ratio) for item in forecast.imbalance],
        ),
    )
    for name, text, labels, rows in tables:
        yield _gauge(name, text, labels, ((values, value) for values, value in rows if math.isfinite(value)))


def _gauge(name: str, text: str, labels: Sequence[str], rows: Rows) -> GaugeMetricFamily:
    family = GaugeMetricFamily(name, text, labels=labels)
    for values, value in rows:
        family.add_metric(values, value)
    return family


def _labels(service: Service) -> tuple[str, str]:
    return service.name, service.namespace


def _pool_labels(load: Load) -> tuple[str, ...]:
    return (*_labels(load.service), load.pool)


def _unmatched(option: str, flag: str, rows: Sequence[tuple[str, ...]], *extra_labels: str) -> GaugeMetricFamily:
    text = f"1 for each service that {flag} names and that has not been seen so far."
    return _gauge(f"foreshock_{option}_in_vain", text, (*SERVICE, *extra_labels), ((row, 1.0) for row in rows))


def _receiver(stats: ReceiverStats) -> Iterator[Family]:
    yield CounterMetricFamily("foreshock_receiver_requests", "OTLP requests received.", value=stats.requests)
    yield CounterMetricFamily("foreshock_receiver_spans", "Spans accepted and kept.", value=stats.spans)
    for name, text, counts in (
        ("foreshock_receiver_spans_rejected", "Spans rejected.", stats.rejected),
        ("foreshock_receiver_requests_refused", "OTLP requests refused.", stats.refused),
    ):
        family = CounterMetricFamily(name, text, labels=("reason",))
        for reason, count in sorted(counts.items()):
            family.add_metric([reason], count)
        yield family


def _store(stats: StoreStats) -> Iterator[Family]:
    gauge, counter = GaugeMetricFamily, CounterMetricFamily
    for family, name, text, value in (
        (gauge, "disk_bytes", "Disk used by the embedded store.", stats.disk_bytes),
        (gauge, "inbox_rows", "Accepted rows that no segment holds yet.", stats.wal_rows),
        (gauge, "segments", "Sealed segments.", stats.blocks),
        (gauge, "series", "Series known.", stats.series),
        (gauge, "failing", "1 while the last append or upkeep failed.", float(bool(stats.last_error))),
        (counter, "corruption", "Damaged pieces set aside since the start.", stats.corrupt),
        (counter, "dropped", "Samples and spans dropped past a bound since the start.", stats.dropped),
        (counter, "expired_segments", "Segments removed by retention since the start.", stats.expired),
    ):
        yield family(f"foreshock_store_{name}", text, value=value)


def _incidents(incidents: Sequence[Incident]) -> GaugeMetricFamily:
    labels = [incident_labels(incident) for incident in _open(incidents)]
    rows = ((tuple(values.values()), 1.0) for values in labels)
    return _gauge("foreshock_incident", "1 for every open incident.", list(labels[0]) if labels else [], rows)


def _open(incidents: Sequence[Incident]) -> list[Incident]:
    return [incident for incident in incidents if incident.is_open]


def _service_labels(role: str, service: Service | None) -> dict[str, str]:
    return {
        f"{role}_name": service.name if service else "",
        f"{role}_namespace": service.namespace if service else "",
    }
