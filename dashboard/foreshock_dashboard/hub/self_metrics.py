"""The hub's own metrics in the Prometheus text format."""

from __future__ import annotations

import math
import platform
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import product
from typing import get_args

from prometheus_client import Metric
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, InfoMetricFamily, SummaryMetricFamily

from foreshock_dashboard.changes.labels import CHANGE_METRIC, EXPORTED_LABELS, change_labels
from foreshock_dashboard.hub.capacity_metrics import capacity_families
from foreshock_dashboard.hub.cost.metrics import cost_families
from foreshock_dashboard.hub.status import HubStats
from foreshock_dashboard.ingest.span_metrics.exposition import render_families
from foreshock_dashboard.model.change import REPORT_SOURCES, Change
from foreshock_dashboard.model.forecast import Forecast, Load, Risk
from foreshock_dashboard.model.incident import Cause, Incident, Severity
from foreshock_dashboard.model.samples import Sample, labels_of
from foreshock_dashboard.model.service import Service, split_cluster
from foreshock_dashboard.notify.channel_state import ChannelStats
from foreshock_dashboard.render.clause import joined_text
from foreshock_dashboard.render.incident_summary import candidate_clauses
from foreshock_dashboard.render.incident_text import suspected_cause
from foreshock_dashboard.shared.state import SharedState
from foreshock_dashboard.sources.otlp.receiver import ReceiverStats
from foreshock_dashboard.store import JournalStats, StoreStats

Family = CounterMetricFamily | GaugeMetricFamily | InfoMetricFamily
SERVICE = ("service_name", "service_namespace")
EDGE = ("client", "client_service_namespace", "server", "server_service_namespace")
"""Labels of the service graph."""
EXPORTED_SECONDS, MAX_STORED, MAX_EXPORTED = 3600.0, 200, 50
"""Age of the changes that have a series, and their number in the store and on the page."""
Rows = Iterable[tuple[tuple[str, ...], float]]
"""Label values and value of each series."""


def incident_samples(incidents: Sequence[Incident]) -> tuple[Sample, ...]:
    """Samples of `foreshock_incident_open` and `foreshock_incident_info`, one each per open incident, for the store."""
    return tuple(
        Sample(metric, labels_of(labels(incident)), 1.0)
        for metric, labels in (("foreshock_incident_open", open_labels), ("foreshock_incident_info", info_labels))
        for incident in incidents
        if incident.is_open
    )


def change_samples(changes: Iterable[Change], now: float) -> tuple[Sample, ...]:
    """Samples of `CHANGE_METRIC` for the store, from which a past time and a recording get reported changes."""
    recent = _recent(changes, now)[-MAX_STORED:]
    rows = {labels_of(change_labels(change)): change.at for change in recent}
    return tuple(Sample(CHANGE_METRIC, labels, at) for labels, at in rows.items())


def change_rows(changes: Iterable[Change], now: float) -> dict[tuple[str, ...], float]:
    """Values of `EXPORTED_LABELS` and time of the newest changes up to `now` (Unix seconds).

    Of equal labels the newest counts.
    """
    rows = [(change_labels(change), change.at) for change in _recent(changes, now)[-MAX_EXPORTED:]]
    return {tuple(labels[name] for name in EXPORTED_LABELS): at for labels, at in rows}


def _recent(changes: Iterable[Change], now: float) -> list[Change]:
    return [change for change in changes if now - EXPORTED_SECONDS <= change.at <= now]


def open_labels(incident: Incident) -> dict[str, str]:
    """Labels of `foreshock_incident_open`: those that identify an incident and change only when it pages."""
    service = incident.alerted_service(incident.severity)
    return {"id": incident.id, "severity": incident.severity, **_service_labels("service", service)}


def info_labels(incident: Incident) -> dict[str, str]:
    """Labels of `foreshock_incident_info`: all that later evaluations may correct as well.

    Where no cause is stated, the candidates instead.
    """
    suspect = incident.stated_suspect
    return {
        **open_labels(incident),
        "state": incident.state,
        "cascading": str(incident.cascading).lower(),
        "cause": _stated_cause(incident),
        "confidence_level": incident.confidence_level,
        "suspect": suspected_cause(suspect),
        "candidates": "" if incident.is_cause_stated else joined_text(candidate_clauses(incident)),
        "pool": suspect.pool,
        **_service_labels("aggressor", suspect.service),
    }


def _stated_cause(incident: Incident) -> str:
    """The cause class; "" where it is not stated."""
    return incident.cause if incident.is_cause_stated else ""


def metrics_text(stats: HubStats, *, openmetrics: bool = False) -> str:
    """The hub's own metrics in the Prometheus text format, or as the end of an OpenMetrics page."""
    return render_families(map(_with_clusters, metric_families(stats)), openmetrics=openmetrics)


def metric_families(stats: HubStats) -> Iterator[Metric]:
    """All metrics of the hub itself, in the order of the page."""
    yield InfoMetricFamily(
        "foreshock_build", "Hub and Python versions.", {"version": stats.version, "python": platform.python_version()}
    )
    yield from incident_families(stats.snapshot.incidents)
    yield from forecast_families(stats.snapshot.forecast)
    yield from capacity_families(stats.capacity, stats.time)
    yield from cost_families(stats.cost)
    yield _gauge(
        CHANGE_METRIC,
        "Unix time of the change; covers up to 50 changes in the last hour, newest first.",
        EXPORTED_LABELS,
        change_rows(_known_changes(stats), stats.time).items(),
    )
    learning = stats.snapshot.learning
    for name, text, value in (
        ("baseline_history_seconds", "Seconds of history available to build baselines.", learning.have),
        ("baseline_required_seconds", "Seconds of history required to build baselines.", learning.need),
        (
            "evaluation_success",
            "1 if the last evaluation could read the metrics source, else 0.",
            not stats.snapshot.error,
        ),
    ):
        yield GaugeMetricFamily(f"foreshock_{name}", text, value=float(value))
    yield from map(_without_created, stats.durations.collect())
    unmatched = (("slo", stats.unmatched_slos), ("tiers", stats.unmatched_tiers))
    yield _gauge(
        "foreshock_config_unmatched_service",
        "1 for each service named by an option but missing from the data.",
        ("option", *SERVICE),
        (((option, *_labels(item.service)), 1.0) for option, items in unmatched for item in items),
    )
    for name, text, size in (
        ("resident", "Resident memory of the hub.", stats.memory.resident_bytes),
        ("limit", "Memory limit of the hub (--memory-limit).", stats.memory.limit_bytes),
    ):
        yield GaugeMetricFamily(f"foreshock_memory_{name}_bytes", text, value=size)
    yield from _receiver(stats.receiver)
    yield from _store(stats.store)
    yield from _journal(stats.journal)
    if stats.shared:
        yield from _shared(stats.shared)
    yield _notifications(stats.channels)


def _known_changes(stats: HubStats) -> list[Change]:
    """The reported changes as they were reported, and the collected ones, by time."""
    world = stats.snapshot.world
    collected = (change for change in world.changes if change.source not in REPORT_SOURCES) if world else ()
    reported = (change for change in stats.changes if not change.is_failure)
    return sorted((*reported, *collected), key=lambda change: change.at)


def incident_families(incidents: Sequence[Incident]) -> Iterator[GaugeMetricFamily]:
    """Metrics of the open incidents. Counts are 0, never absent."""
    opened = [incident for incident in incidents if incident.is_open]
    counts = Counter[tuple[str, ...]]((item.severity, item.state, _stated_cause(item)) for item in opened)
    every = product(get_args(Severity), ("firing", "recovering"), (*get_args(Cause), ""))
    yield _gauge(
        "foreshock_incidents",
        "Open incidents by severity, state, and suspected cause; the cause is empty at low confidence.",
        ("severity", "state", "cause"),
        ((key, float(counts[key])) for key in every),
    )
    for name, text, labels in (
        ("open", "1 for each open incident. Labels change only if the incident pages.", open_labels),
        ("info", "1 for each open incident. Later evaluations may correct the labels.", info_labels),
    ):
        rows = [labels(incident) for incident in opened]
        values = ((tuple(row.values()), 1.0) for row in rows)
        yield _gauge(f"foreshock_incident_{name}", text, list(rows[0]) if rows else [], values)


def forecast_families(forecast: Forecast) -> Iterator[Metric]:
    """Metrics of the forecast. Unknown values and breaches beyond the horizon have no series."""
    yield _slo_breach_eta(forecast.risks)
    tables: Sequence[tuple[str, str, tuple[str, ...], Rows]] = (
        (
            "foreshock_slo_breached",
            "1 while a service breaches its SLO, else 0.",
            SERVICE,
            [(_labels(risk.service), float(risk.p50 <= 0)) for risk in forecast.risks if not math.isnan(risk.p50)],
        ),
        (
            "foreshock_slo_breach_probability",
            "Probability that a service breaches its SLO within 10 minutes, by itself, as in simulations.",
            SERVICE,
            [(_labels(risk.service), risk.probability) for risk in forecast.risks],
        ),
        (
            "foreshock_gpu_wait_ratio",
            "Upper bound on the fraction of time a service waits on another for a GPU; mean over the GPUs they share.",
            (*SERVICE, "aggressor_name", "aggressor_namespace", "pool"),
            [
                ((*_labels(item.affected), *_labels(item.noisy_neighbor), item.pool), item.ratio)
                for item in forecast.gpu_wait
            ],
        ),
        (
            "foreshock_retry_amplification_ratio",
            "Attempts per logical call between two services; 1 means no retries.",
            EDGE,
            [((*_labels(item.client), *_labels(item.server)), item.ratio) for item in forecast.amplification],
        ),
        (
            "foreshock_service_load_ratio",
            "Load of a service divided by the capacity of its ready replicas; above 1, requests queue.",
            (*SERVICE, "pool"),
            [(_pool_labels(load), load.ratio) for load in forecast.loads],
        ),
        (
            "foreshock_service_safe_load_ratio",
            "Safe limit for the load ratio, which leaves headroom for bursts.",
            (*SERVICE, "pool"),
            [(_pool_labels(load), load.safe) for load in forecast.loads],
        ),
        (
            "foreshock_service_load_imbalance_ratio",
            "Load of the busiest replica divided by the mean across replicas; 1 means balanced.",
            SERVICE,
            [(_labels(item.service), item.ratio) for item in forecast.imbalance],
        ),
    )
    for name, text, labels, rows in tables:
        yield _gauge(name, text, labels, ((values, value) for values, value in rows if math.isfinite(value)))


def _slo_breach_eta(risks: Sequence[Risk]) -> Metric:
    """Quantiles of the time to a breach: a summary without count and sum."""
    family = SummaryMetricFamily(
        "foreshock_slo_breach_eta_seconds",
        "Forecast seconds until an SLO breach, if any, by quantile; 0 during a breach, absent without a forecast.",
        labels=SERVICE,
    )
    for risk in risks:
        labels = dict(zip(SERVICE, _labels(risk.service), strict=True))
        for quantile, seconds in (("0.2", risk.p20), ("0.5", risk.p50), ("0.8", risk.p80)):
            if math.isfinite(seconds):
                family.add_sample(family.name, {**labels, "quantile": quantile}, seconds)
    return family


def _gauge(name: str, text: str, labels: Sequence[str], rows: Rows) -> GaugeMetricFamily:
    family = GaugeMetricFamily(name, text, labels=labels)
    for values, value in rows:
        family.add_metric(values, value)
    return family


def _labels(service: Service) -> tuple[str, str]:
    return service.name, service.namespace


def _pool_labels(load: Load) -> tuple[str, ...]:
    return (*_labels(load.service), load.pool)


def _with_clusters(family: Metric) -> Metric:
    """The family with the cluster of a namespace as a label."""
    family.samples = [sample._replace(labels=_cluster_labels(sample.labels)) for sample in family.samples]
    return family


def _cluster_labels(labels: Mapping[str, str]) -> dict[str, str]:
    named = dict(labels)
    for name, value in labels.items():
        cluster, local = split_cluster(value)
        if cluster and name.endswith("_namespace"):
            named |= {name: local, name.removesuffix("namespace").removesuffix("service_") + "cluster": cluster}
    return named


def _without_created(family: Metric) -> Metric:
    """The family without `_created` samples, which the text format does not know."""
    family.samples = [sample for sample in family.samples if not sample.name.endswith("_created")]
    return family


def _receiver(stats: ReceiverStats) -> Iterator[Family]:
    yield CounterMetricFamily("foreshock_receiver_requests", "OTLP requests received.", value=stats.requests)
    yield CounterMetricFamily("foreshock_receiver_accepted_spans", "Spans accepted and stored.", value=stats.spans)
    points = "Metric data points accepted and stored."
    yield CounterMetricFamily("foreshock_receiver_accepted_data_points", points, value=stats.points)
    for name, text, counts in (
        ("foreshock_receiver_refused_spans", "Spans refused, by reason.", stats.rejected),
        ("foreshock_receiver_refused_data_points", "Metric data points refused, by reason.", stats.rejected_points),
        ("foreshock_receiver_refused_requests", "OTLP requests refused, by reason.", stats.refused),
    ):
        family = CounterMetricFamily(name, text, labels=("reason",))
        for reason, count in sorted(counts.items()):
            family.add_metric([reason], count)
        yield family


def _store(stats: StoreStats) -> Iterator[Family]:
    gauge, counter = GaugeMetricFamily, CounterMetricFamily
    for family, name, text, value in (
        (gauge, "disk_bytes", "Disk space used by the embedded store.", stats.disk_bytes),
        (gauge, "wal_rows", "Rows in the WAL not yet written to a block.", stats.wal_rows),
        (gauge, "blocks", "Blocks on disk.", stats.blocks),
        (gauge, "series", "Series in memory.", stats.series),
        (
            gauge,
            "healthy",
            "1 if the last append and the last maintenance run succeeded, else 0.",
            float(not stats.last_error),
        ),
        (counter, "corruptions", "Corrupt blocks and WAL records found since the hub started.", stats.corrupt),
        (counter, "expired_blocks", "Blocks deleted by retention since the hub started.", stats.expired),
    ):
        yield family(f"foreshock_store_{name}", text, value=value)
    dropped = counter(
        "foreshock_store_dropped_items",
        "Samples over the series limit and spans with invalid times dropped since the hub started.",
        labels=("kind",),
    )
    for kind, count in (("samples", stats.dropped_samples), ("spans", stats.dropped_spans)):
        dropped.add_metric([kind], count)
    yield dropped


def _journal(stats: JournalStats) -> Iterator[Family]:
    entries = GaugeMetricFamily("foreshock_journal_entries", "Entries in the journal.", labels=("kind",))
    for kind, count in stats.rows.items():
        entries.add_metric([kind], count)
    yield entries
    for name, text, value in (
        (
            "expired_entries",
            "Journal entries deleted because of size or age limits since the hub started.",
            stats.expired,
        ),
        ("corruptions", "Damaged journals set aside when the hub started.", int(bool(stats.recovery))),
    ):
        yield CounterMetricFamily(f"foreshock_journal_{name}", text, value=value)


def _shared(state: SharedState) -> Iterator[Family]:
    yield GaugeMetricFamily(
        "foreshock_shared_state_up", "Whether the database of --postgres-url can be used.", value=int(not state.problem)
    )
    yield GaugeMetricFamily(
        "foreshock_shared_state_leader",
        "Whether this hub notifies, of those that share --postgres-url.",
        value=int(state.leads),
    )


def _notifications(channels: Iterable[ChannelStats]) -> CounterMetricFamily:
    family = CounterMetricFamily(
        "foreshock_notifications",
        "Notifications by channel and outcome: sent, failed (will be retried), or dropped (too old).",
        labels=("channel", "outcome"),
    )
    for channel in channels:
        for outcome, count in channel.outcomes.items():
            family.add_metric([channel.name, outcome], count)
    return family


def _service_labels(role: str, service: Service | None) -> dict[str, str]:
    return {
        f"{role}_name": service.name if service else "",
        f"{role}_namespace": service.local.namespace if service else "",
        **(
            {"cluster" if role == "service" else f"{role}_cluster": service.cluster}
            if service and service.cluster
            else {}
        ),
    }
