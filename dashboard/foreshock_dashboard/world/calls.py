"""Services, the calls between them, and operations: queries and rows of the World.

Sources: span metrics and the service graph, otherwise the metrics of Istio's proxies, or of HTTP servers.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from functools import cache

import numpy as np

from foreshock_dashboard.model.query import Matcher, Matrix, Query
from foreshock_dashboard.model.service import Service
from foreshock_dashboard.model.types import Floats
from foreshock_dashboard.model.world import Edge, Operation, Red, Tenant
from foreshock_dashboard.world.row import SERVICE_LABELS, Catalog, LabelMap, Producer, RateWindows, Readings, row
from foreshock_dashboard.world.row_math import LabelFacts, clipped_share, safe_ratio, service_of, service_of_job
from foreshock_dashboard.world.section import Grouping, Growth, Key, Section, Sections

PAIR_LABELS = ("client", "client_service_namespace", "server", "server_service_namespace")
EDGE_LABELS = (*PAIR_LABELS, "connection_type")
SPANS, TEMPO, GRAPH, ISTIO, HTTP = "spans", "tempo", "graph", "istio", "http"
"""Producers of request counts. The graph is used until its producer exports span metrics, too."""

_SERVED = Matcher("span_kind", "=~", "SPAN_KIND_SERVER|SPAN_KIND_CONSUMER")
_FAILED = Matcher("status_code", "=", "STATUS_CODE_ERROR")
_HTTP_FAILED = Matcher("http_response_status_code", "=~", "5..")
_TEMPO_RENAMES = {"service": "service_name"}
_TEMPO_LABELS = ("service", "service_namespace")
_GRAPH = "traces_service_graph_request"
_GRAPH_SERVER = ("client", "server", "server_service_namespace", "connection_type")
_HTTP = "http_server_request_duration_seconds"
_HTTP_LABELS = (*SERVICE_LABELS, "job")

_ISTIO, _ISTIO_SECONDS = "istio_requests_total", "istio_request_duration_milliseconds"
_DESTINATION_LABELS = (
    "destination_workload", "destination_workload_namespace",
    "destination_service_name", "destination_service_namespace",
)  # fmt: skip
_MESH_PAIR_LABELS = ("source_workload", "source_workload_namespace", *_DESTINATION_LABELS)
_STATUS_LABELS = ("response_code", "grpc_response_status")
_AT_SERVER = Matcher("reporter", "=~", "destination|waypoint")
_AT_CLIENT = Matcher("reporter", "=~", "source|waypoint")
_NOT_A_WORKLOAD = ("", "unknown", "PassthroughCluster", "BlackHoleCluster")
_GRPC_ERRORS = frozenset(("2", "4", "12", "13", "14", "15"))
"""Istio's standard metrics: `reporter` is the counting proxy. The gRPC statuses are the server errors of
OpenTelemetry's conventions for gRPC."""

QUANTILES = ("p50", "p95", "p99", "lower_bound")
RED = ("rate", "error_rate", *QUANTILES)
MAX_OPERATIONS = 50
"""Operations per service; span names that contain ids would have no bound."""
MIN_OPERATION_RATE = 0.25
"""Requests per second from which an operation of a service without GPUs has a row: fewer say little in a minute."""
MAX_BUSY_OPERATIONS = 4000
"""Operations with that many requests: half as many rows as a large platform has edges."""
Pair = tuple[Service, Service]


def readings(windows: RateWindows) -> Catalog:
    """Readings of services and calls.

    The Collector's span metrics are in milliseconds by default. Tempo's metrics-generator has other names for span
    metrics, and the same for the service graph.
    """
    rate, buckets = windows.rate, windows.buckets
    graph_map, services, seconds = "service map", "services", "traces_span_metrics_duration"

    def spans(*matchers: Matcher, by: tuple[str, ...] = ()) -> tuple[Producer, Producer]:
        own = rate("traces_span_metrics_calls_total", (*SERVICE_LABELS, *by), _SERVED, *matchers)
        tempo = rate("traces_spanmetrics_calls_total", (*_TEMPO_LABELS, *by), _SERVED, *matchers)
        return Producer(own, producer=SPANS), Producer(tempo, _TEMPO_RENAMES, producer=TEMPO)

    def served_seconds(by: tuple[str, ...] = ()) -> tuple[Producer, Producer, Producer]:
        own, tempo = (*SERVICE_LABELS, *by), (*_TEMPO_LABELS, *by)
        return (
            Producer(buckets(f"{seconds}_seconds", own, _SERVED), producer=SPANS),
            Producer(buckets(f"{seconds}_milliseconds", own, _SERVED), le_scale=0.001, producer=SPANS),
            Producer(buckets("traces_spanmetrics_latency", tempo, _SERVED), _TEMPO_RENAMES, producer=TEMPO),
        )

    def graph(query: Callable[..., Query], suffix: str) -> Producer:
        return Producer(query(f"{_GRAPH}_{suffix}", _GRAPH_SERVER), relabel=_graph_service, producer=GRAPH)

    def mesh(reporter: Matcher, *, failed: bool = False) -> Producer:
        by, relabel = (
            (_DESTINATION_LABELS, _workload_service) if reporter is _AT_SERVER else (_MESH_PAIR_LABELS, _mesh_pair)
        )
        if failed:
            query = rate(_ISTIO, (*by, *_STATUS_LABELS), reporter)
            return Producer(query, relabel=_failed_only(relabel), producer=ISTIO)
        return Producer(rate(_ISTIO, by, reporter), relabel=relabel, producer=ISTIO)

    def mesh_seconds(by: tuple[str, ...], reporter: Matcher) -> Producer:
        relabel = _workload_service if by is _DESTINATION_LABELS else _mesh_pair
        return Producer(buckets(_ISTIO_SECONDS, by, reporter), le_scale=0.001, relabel=relabel, producer=ISTIO)

    def http(query: Query) -> Producer:
        return Producer(query, relabel=_http_service, producer=HTTP)

    return {
        "served": row(
            services,
            *(*spans(), graph(rate, "total"), mesh(_AT_SERVER), http(rate(f"{_HTTP}_count", _HTTP_LABELS))),
            shown=True,
        ),
        "operations": row("kinds of requests, by `span_name`", *spans(by=("span_name",)), part_of="served"),
        "operations_failed": row("errors by `span_name`", *spans(_FAILED, by=("span_name",)), part_of="operations"),
        "operation_seconds": row("latency by `span_name`", *served_seconds(by=("span_name",)), part_of="operations"),
        "served_failed": row(
            "request errors",
            *(*spans(_FAILED), graph(rate, "failed_total"), mesh(_AT_SERVER, failed=True)),
            http(rate(f"{_HTTP}_count", _HTTP_LABELS, _HTTP_FAILED)),
            part_of="served",
        ),
        "served_seconds": row(
            services,
            *served_seconds(),
            graph(buckets, "server_seconds"),
            mesh_seconds(_DESTINATION_LABELS, _AT_SERVER),
            http(buckets(_HTTP, _HTTP_LABELS)),
            shown=True,
            part_of="served",
        ),
        "calls": row(graph_map, rate(f"{_GRAPH}_total", EDGE_LABELS), mesh(_AT_CLIENT), shown=True),
        "calls_failed": row(
            "call errors", rate(f"{_GRAPH}_failed_total", EDGE_LABELS), mesh(_AT_CLIENT, failed=True), part_of="calls"
        ),
        "client_seconds": row(
            graph_map,
            Producer(buckets(f"{_GRAPH}_client_seconds", EDGE_LABELS), relabel=_timed_by_client),
            mesh_seconds(_MESH_PAIR_LABELS, _AT_CLIENT),
            shown=True,
            part_of="calls",
        ),
        "server_seconds": row(
            "network latency of calls",
            Producer(buckets(f"{_GRAPH}_server_seconds", EDGE_LABELS), relabel=_timed_by_server),
            mesh_seconds(_MESH_PAIR_LABELS, _AT_SERVER),
            part_of="calls",
        ),
        "retries": row("retries", rate("foreshock_retry_attempts_total", PAIR_LABELS)),
        "tier": row("service tiers", windows.last("service_tier_info", (*SERVICE_LABELS, "tier"))),
    }


def _graph_service(labels: LabelMap) -> LabelMap | None:
    """The called service of a service graph edge; None if the callee sends no spans.

    Callees of clients outside count.
    """
    client, server, namespace, connection = (labels.get(name, "") for name in _GRAPH_SERVER)
    outside = connection == "database" or (connection == "virtual_node" and client != "user")
    return None if outside or not server else {"service_name": server, "service_namespace": namespace}


def _timed_by_client(labels: LabelMap) -> LabelMap | None:
    """The labels of an edge whose client sends spans.

    Tempo's metrics-generator counts 0 s for the side of a virtual node, which sends none. In its lowest bucket, that
    reads as a p95 of 47.5 ms.
    """
    is_virtual = labels.get("connection_type") == "virtual_node" and labels.get("client") == "user"
    return None if is_virtual else labels


def _timed_by_server(labels: LabelMap) -> LabelMap | None:
    """The labels of an edge whose server sends spans, see `_timed_by_client`."""
    is_virtual = labels.get("connection_type") == "virtual_node" and labels.get("client") != "user"
    return None if is_virtual else labels


def _callee(labels: LabelMap) -> tuple[str, str] | None:
    """Name and namespace of the called workload; of the called service if no workload was reached."""
    workload, namespace, service, its_namespace = (labels.get(name, "") for name in _DESTINATION_LABELS)
    name = (service, its_namespace) if workload in _NOT_A_WORKLOAD else (workload, namespace)
    return None if name[0] in _NOT_A_WORKLOAD else name


def _workload_service(labels: LabelMap) -> LabelMap | None:
    callee = _callee(labels)
    return callee and dict(zip(SERVICE_LABELS, callee, strict=True))


def _mesh_pair(labels: LabelMap) -> LabelMap | None:
    callee, caller = _callee(labels), labels.get("source_workload", "")
    if callee is None or caller in _NOT_A_WORKLOAD:
        return None
    return dict(zip(PAIR_LABELS, (caller, labels.get("source_workload_namespace", ""), *callee), strict=True))


@cache  # what relabels is also the key of what is kept of earlier answers
def _failed_only(relabel: Callable[[LabelMap], LabelMap | None]) -> Callable[[LabelMap], LabelMap | None]:
    """A relabeling that drops all but failures: a status of 5xx, no response, or a gRPC server error."""

    def failed_only(labels: LabelMap) -> LabelMap | None:
        code, grpc = (labels.get(name, "") for name in _STATUS_LABELS)
        return relabel(labels) if code == "0" or code.startswith("5") or grpc in _GRPC_ERRORS else None

    return failed_only


def _http_service(labels: LabelMap) -> LabelMap | None:
    """The service of an HTTP server, from its name or its job."""
    service = service_of(labels) or service_of_job(labels)
    return service and {"service_name": service.name, "service_namespace": service.namespace}


class CallRows:
    """Rows of services and edges. `tiers` of services override those in the samples."""

    def __init__(self, sections: Sections, tiers: Mapping[Service, str]) -> None:
        self.edges = Section(sections, tuple, _edge)
        self.pairs = Section(sections, tuple, _pair)
        self.serving = Section(sections, tuple, service_of)  # services with span metrics
        self.services = Section(sections, tuple, service_of)
        self._tiers: LabelFacts[Service, str] = LabelFacts(_tier)
        self._tier_overrides = tiers
        self._pair_of_edge = Grouping(self.edges, self.pairs, lambda edge: (edge.client, edge.server))

    def update(self, readings: Readings, since: float) -> None:
        """Register the entities of new readings."""
        self._tiers.update(readings["tier"])
        self.edges.register(readings, ("calls", "calls_failed", "client_p95", "server_p95"), since)
        self.serving.register(readings, ("served", "served_failed", "served_p95"), since)
        self._pair_of_edge.update()

    def all_services(self) -> set[Service]:
        """Services in spans. Virtual nodes such as `user` stand for the outside and are not services."""
        edges = self.edges.keys
        callers = {edge.client for edge in edges if edge.connection != "virtual_node"}
        return callers | {edge.server for edge in edges} | set(self.serving.keys)

    def set_services(self, services: Iterable[Service]) -> None:
        """Have rows for exactly these services."""
        self.services.set_keys(services)

    def columns(self, readings: Readings) -> Growth:
        """New columns of every figure."""
        calls = _red(readings, "calls", "client", self.edges)
        pairs = self.pairs.rows("retries", readings["retries"])
        calls["server_p95"] = self.edges.rows("server_p95", readings["server_p95"])
        calls["attempts"] = _attempts(calls["rate"], pairs[self._pair_of_edge.index])
        return [(self.services, _red(readings, "served", "served", self.services)), (self.edges, calls)]

    def red(self) -> Red:
        """Requests received by each service."""
        return Red(*(self.services[key] for key in RED))

    def calls(self) -> Red:
        """Requests on each edge."""
        return Red(*(self.edges[key] for key in RED))

    def tier(self) -> tuple[str, ...]:
        """Tier of each service, "" where unknown; empty where none is known."""
        tiers = {**self._tiers.facts, **self._tier_overrides}
        return (
            tuple(tiers.get(service) or tiers.get(service.local, "") for service in self.services.keys) if tiers else ()
        )


class OperationRows:
    """Rows of operations: of all kinds of requests of services on GPUs, else of those with many requests."""

    def __init__(self, sections: Sections) -> None:
        self.rows = Section(sections, tuple, self._operation)
        self._on_gpus: frozenset[Service] = frozenset()
        self._busy: frozenset[Operation] = frozenset()
        self._names: dict[Service, set[str]] = {}
        self._freed = False  # whether a service at the bound has room again

    def update(self, readings: Readings, since: float, tenants: Iterable[Tenant]) -> None:
        """Register the entities of new readings."""
        on_gpus = frozenset(tenant.service for tenant in tenants)
        busy = self._with_new(readings["operations"])
        if (on_gpus, busy) != (self._on_gpus, self._busy) or self._freed:
            self._on_gpus, self._busy, self._freed = on_gpus, busy, False
            self.rows.forget()
        known = self.rows.keys
        self.rows.register(readings, ["operations"], since)
        if self.rows.keys is not known:
            full = {service for service, names in self._names.items() if len(names) >= MAX_OPERATIONS}
            self._names = {}
            for service, name in self.rows.keys:
                self._names.setdefault(service, set()).add(name)
            self._freed = any(len(self._names.get(service, ())) < MAX_OPERATIONS for service in full)
            self._busy &= frozenset(self.rows.keys)

    def columns(self, readings: Readings) -> Growth:
        """New columns of every figure."""
        figures = _red(readings, "operations", "operation", self.rows)
        return [(self.rows, figures | {name: _half_precision(figures[name]) for name in ("error_rate", *QUANTILES)})]

    def red(self) -> Red:
        """Requests of each operation."""
        return Red(*(self.rows[key] for key in RED))

    def _with_new(self, rates: Matrix) -> frozenset[Operation]:
        """The busy operations, with those that became busy, as long as there is room for the busiest of them."""
        most = np.fmax.reduce(rates.values, axis=1, initial=0.0)
        busy = [(most[row], _operation(dict(rates.labels[row]))) for row in np.flatnonzero(most >= MIN_OPERATION_RATE)]
        new = sorted((-rate, key) for rate, key in busy if key is not None and key not in self._busy)
        return self._busy.union(key for _, key in new[: MAX_BUSY_OPERATIONS - len(self._busy)])

    def _operation(self, labels: LabelMap) -> Operation | None:
        operation = _operation(labels)
        if operation is None or not (operation.service in self._on_gpus or operation in self._busy):
            return None
        names = self._names.setdefault(operation.service, set())
        if len(names) < MAX_OPERATIONS:
            names.add(operation.name)
        return operation if operation.name in names else None


def _red(readings: Readings, key: str, seconds: str, section: Section[Key]) -> dict[str, Floats]:
    total, failed = (section.rows(reading, readings[reading]) for reading in (key, f"{key}_failed"))
    errors = np.where(np.isnan(total), np.nan, np.nan_to_num(failed))
    quantiles = {q: section.rows(f"{seconds}_{q}", readings[f"{seconds}_{q}"]) for q in QUANTILES}
    quantiles["lower_bound"] = _half_precision(quantiles["lower_bound"])
    return {"rate": total, "error_rate": clipped_share(safe_ratio(errors, total)), **quantiles}


def _half_precision(seconds: Floats) -> Floats:
    """Half precision saves memory, and 0.1% does not matter."""
    reduced: Floats = np.minimum(seconds, np.finfo(np.float16).max).astype(np.float16)
    return reduced


def _attempts(calls: Floats, retries: Floats) -> Floats:
    """Attempts per call: 1 + retries per first attempt. The retry counter has no connection type."""
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(calls > 0, 1 + retries / np.maximum(calls - retries, 1e-9), np.nan)


def _edge(labels: LabelMap) -> Edge | None:
    client = Service(labels.get("client_service_namespace", ""), labels.get("client", ""))
    server = Service(labels.get("server_service_namespace", ""), labels.get("server", ""))
    return Edge(client, server, labels.get("connection_type", "")) if client.name and server.name else None


def _pair(labels: LabelMap) -> Pair | None:
    edge = _edge(labels)
    return (edge.client, edge.server) if edge else None


def _operation(labels: LabelMap) -> Operation | None:
    service, name = service_of(labels), labels.get("span_name", "")
    return Operation(service, name) if service and name else None


def _tier(labels: LabelMap) -> tuple[Service, str] | None:
    service = service_of(labels)
    return (service, labels.get("tier", "")) if service else None
