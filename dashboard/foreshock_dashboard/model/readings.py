"""What is read from a metrics source each tick: one table of queries, and the matrices that came back."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from foreshock_dashboard.model.query import Matcher, Matrix, Query
from foreshock_dashboard.model.samples import Labels, labels_of
from foreshock_dashboard.model.service import Service

GPU = ("job", "instance", "uuid")
SERVICE = ("service_name", "service_namespace")
EDGE = ("client", "client_service_namespace", "server", "server_service_namespace", "connection_type")
PAIR = ("client", "client_service_namespace", "server", "server_service_namespace")
BY_SERVICE = ("by_service_name", "by_service_namespace")

_SERVED = (Matcher("span_kind", "=~", "SPAN_KIND_SERVER|SPAN_KIND_CONSUMER"),)
_FAILED = (*_SERVED, Matcher("status_code", "=", "STATUS_CODE_ERROR"))


@dataclass(frozen=True, slots=True)
class Form:
    """How another producer tells the same: its query, its names of labels, its unit.

    `labels` maps the producer's label names to the standard ones; `le_scale` turns its bucket bounds into seconds.
    """

    query: Query
    labels: Mapping[str, str]
    le_scale: float = 1.0

    def standard(self, matrix: Matrix) -> Matrix:
        """The answer with standard labels and bounds in seconds."""

        def renamed(labels: Labels) -> Labels:
            pairs = {self.labels.get(name, name): value for name, value in labels}
            if "le" in pairs and self.le_scale != 1.0:
                pairs["le"] = repr(float(pairs["le"]) * self.le_scale)
            return labels_of(pairs)

        rows = zip(matrix.labels, matrix.values, strict=True)
        return Matrix.of(matrix.times, {renamed(labels): values for labels, values in rows})


@dataclass(frozen=True, slots=True)
class Reading:
    """One row of the table. `needed_for` names what the pages lack without it; "" where its absence is usual.

    `forms` are asked in turn where the query has no answer.
    """

    query: Query
    needed_for: str = ""
    forms: tuple[Form, ...] = ()


def catalogue(window: float) -> Mapping[str, Reading]:
    """The queries behind a World, keyed by what they tell.

    `window` in seconds is how far each rate looks back: four scrapes or more, off multiples of the scrape interval.
    """

    def last(metric: str, by: tuple[str, ...] | None = GPU) -> Query:
        return Query(metric, by=by, reduce="last", window=min(window, 300.0))

    def rate(metric: str, by: tuple[str, ...], matchers: tuple[Matcher, ...] = ()) -> Query:
        return Query(metric, matchers, by, "rate", window)

    def buckets(metric: str, by: tuple[str, ...], matchers: tuple[Matcher, ...] = ()) -> Query:
        return Query(metric, matchers, by, "buckets", window)

    gpus, graph, services = "GPUs", "the service map", "services"
    tempo = {"service": "service_name"}
    by_tempo = ("service", "service_namespace")
    # Span metrics of Tempo's metrics-generator, and of the Collector's connector, which counts in ms by default.
    calls = "traces_spanmetrics_calls_total"
    seconds = (
        Form(buckets("traces_span_metrics_duration_milliseconds", SERVICE, _SERVED), {}, 0.001),
        Form(buckets("traces_spanmetrics_latency", by_tempo, _SERVED), tempo),
    )
    return {
        "up": Reading(last("up", ("job", "instance"))),
        "host": Reading(last("target_info", ("job", "instance", "host_name"))),
        "gpu": Reading(last("gpu_info", (*GPU, "gpu", "model")), gpus),
        "mock": Reading(last("foreshock_exporter_mock", ("job", "instance"))),
        "utilization": Reading(rate("gpu_busy_seconds_total", GPU), gpus),
        "contended": Reading(rate("gpu_contended_seconds_total", GPU), "contention"),
        "memory_used": Reading(last("gpu_memory_used_bytes"), gpus),
        "memory_total": Reading(last("gpu_memory_total_bytes"), gpus),
        "power": Reading(last("gpu_power_watts")),
        "temperature": Reading(
            Query("gpu_temperature_celsius", (Matcher("sensor", "=", "gpu"),), GPU, "last", min(window, 300.0))
        ),
        "busy": Reading(rate("gpu_service_busy_seconds_total", (*GPU, *SERVICE)), "services on GPUs"),
        "stalled": Reading(rate("gpu_service_stalled_seconds_total", (*GPU, *SERVICE)), "contention"),
        "stalled_by": Reading(
            rate("gpu_service_stalled_by_seconds_total", (*GPU, *SERVICE, *BY_SERVICE)), "who starves whom"
        ),
        "memory": Reading(last("gpu_service_memory_used_bytes", (*GPU, *SERVICE)), "services on GPUs"),
        "served": Reading(
            rate("traces_span_metrics_calls_total", SERVICE, _SERVED),
            services,
            (Form(rate(calls, by_tempo, _SERVED), tempo),),
        ),
        "served_failed": Reading(
            rate("traces_span_metrics_calls_total", SERVICE, _FAILED),
            "",
            (Form(rate(calls, by_tempo, _FAILED), tempo),),
        ),
        "served_seconds": Reading(buckets("traces_span_metrics_duration_seconds", SERVICE, _SERVED), services, seconds),
        "calls": Reading(rate("traces_service_graph_request_total", EDGE), graph),
        "calls_failed": Reading(rate("traces_service_graph_request_failed_total", EDGE)),
        "client_seconds": Reading(buckets("traces_service_graph_request_client_seconds", EDGE), graph),
        "server_seconds": Reading(buckets("traces_service_graph_request_server_seconds", EDGE)),
        "retries": Reading(rate("foreshock_retry_attempts_total", PAIR)),
    }


Readings = Mapping[str, Matrix]
"""An answer for every key of the catalogue, all on the same grid."""


def service_at(labels: Mapping[str, str], prefix: str = "") -> Service:
    """The service named by `<prefix>service_name` and `<prefix>service_namespace`."""
    return Service(labels.get(f"{prefix}service_namespace", ""), labels.get(f"{prefix}service_name", ""))
