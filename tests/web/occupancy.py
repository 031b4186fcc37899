"""Traces of a request under GPU contention and the occupancy of its GPUs, and hubs that hold them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from tests.web.caller import Caller
from tests.web.worlds import NOW, SCENES, FakeHub, FakeTraces, request, span

from foreshock_dashboard.model.query import Matrix, MetricSource, Query, SourceError
from foreshock_dashboard.model.samples import Labels, labels_of
from foreshock_dashboard.model.span import (
    OCCUPANCY_NAME,
    AttributeValue,
    Span,
    TraceQuery,
    TraceSummary,
)
from foreshock_dashboard.web.app import create_app
from foreshock_exporter.gpu.contention import ServiceKey
from foreshock_exporter.gpu.occupancy import Occupancy, attributes, span_id, trace_id

START = NOW - 60
"""When the request of the scenes starts, which is when a minute does."""
HOST = "id-of-host-0"
TRACE = f"{1:032x}"


def occupancy_span(
    who: str, start: float, end: float, share: float, processes: tuple[str, ...] = (), uuid: str = "GPU-0-0"
) -> Span:
    """An occupancy span of a GPU of host-0, in seconds after the request's start."""
    gpu = uuid.rpartition("-")[2]
    occupancy = Occupancy(uuid, gpu, ServiceKey("", who), START + start, START + end, 0.1, share, processes)
    said: dict[str, AttributeValue] = {}
    for name, value in attributes(occupancy).items():
        said[name] = [*value] if isinstance(value, tuple) else value
    made = span("gpu.occupancy", "foreshock-exporter", 1, 0, start, end - start)
    return replace(
        made,
        trace_id=f"{trace_id(uuid, START + start):032x}",
        span_id=f"{span_id(occupancy):016x}",
        kind="internal",
        resource={"service.name": "foreshock-exporter", "host.id": HOST, "host.name": "host-0"},
        attributes=said,
    )


def request_spans(who: str = "embedder", **resource: str | int) -> tuple[Span, ...]:
    """The request, in which one service says where it runs."""
    said = {name.replace("__", "."): value for name, value in resource.items()}
    return tuple(
        replace(each, resource={**each.resource, **said}) if each.service.name == who else each for each in request()
    )


@dataclass
class Traces(FakeTraces):
    """A source that holds some spans."""

    spans: Sequence[Span] = ()
    read: list[str] = field(default_factory=list)
    broken: frozenset[str] = frozenset()

    def search(self, query: TraceQuery) -> tuple[TraceSummary, ...]:
        """Of occupancy, those that it has; else as any."""
        if query.operation != OCCUPANCY_NAME or self.error:
            return super().search(query)
        self.asked.append(query)
        ids = sorted({each.trace_id for each in self.spans if each.occupancy})
        first, last = round(query.start * 1e9), round(query.end * 1e9)
        inside = {each.trace_id for each in self.spans if each.occupancy and first <= each.start_ns <= last}
        return tuple(replace(self._row(0), trace_id=each) for each in ids if each in inside)

    def get(self, trace_id: str) -> tuple[Span, ...]:
        """Those of one trace."""
        self.read.append(trace_id)
        if trace_id in self.broken:
            raise SourceError("the source is away")
        return tuple(each for each in self.spans if each.trace_id == trace_id)


@dataclass
class Metrics(MetricSource):
    """A source that knows hosts, and shares of services by (uuid, service)."""

    shares: Mapping[tuple[str, str], float] = field(default_factory=dict)
    asked: list[Query] = field(default_factory=list)
    broken: bool = False

    def fetch(self, query: Query, start: float, end: float, step: float) -> Matrix:
        """The hosts, or the shares."""
        del end, step
        self.asked.append(query)
        rows: dict[Labels, np.ndarray[tuple[int], np.dtype[np.float64]]] = {}
        if query.metric == "target_info":
            for host in range(4):
                labels = {
                    "host_id": f"id-of-host-{host}",
                    "host_name": f"host-{host}",
                    "instance": f"host-{host}:10877",
                }
                rows[labels_of(labels)] = np.array([1.0])
        elif self.broken:
            raise SourceError("the metrics are away")
        for (uuid, who), share in self.shares.items() if query.metric.startswith("gpu_service_busy") else ():
            if query.matchers[0].accepts(uuid):
                rows[labels_of({"uuid": uuid, "service_name": who})] = np.array([share])
        return Matrix.of(np.array([start]), rows)

    def metric_names(self) -> frozenset[str]:
        """Not queried here."""
        return frozenset()


def hub_of(spans: Sequence[Span], metrics: Metrics | None = None) -> tuple[FakeHub, Traces]:
    """A hub whose World has embedder on host-0/gpu-0 … gpu-3, and train-llm on the first two."""
    traces = Traces(spans=spans)
    return FakeHub(SCENES["contended"](), traces=traces, metrics=metrics or Metrics()), traces


def ask(hub: FakeHub, path: str = f"/api/traces/{TRACE}") -> Any:  # noqa: ANN401  # JSON
    """The answer, which must be one."""
    answer = Caller(create_app(hub, version="0")).get(path)
    assert answer.status_code == 200, answer.text
    return answer.json()


PROCESS = ("host/7",)
CONTENDED = (
    occupancy_span("embedder", 0.0, 0.2, 0.9, PROCESS),
    occupancy_span("train-llm", 0.2, 0.46, 0.95),
    occupancy_span("embedder", 0.46, 1.0, 0.5, PROCESS),
    occupancy_span("train-llm", 0.46, 1.0, 0.5),
)


def hub_without_metrics(traces: Traces, seconds: float = 600.0) -> FakeHub:
    """A hub without metrics of GPUs, so many seconds after the request."""
    hub = FakeHub(SCENES["empty"](), traces=traces, metrics=Metrics())
    hub.time = NOW + seconds
    return hub


def contended_traces(count: int) -> tuple[list[Span], FakeHub]:
    """As many traces of the request under GPU contention; the i-th waits less than the one before."""
    spans = []
    for i in range(count):
        made = request_spans(host__id=HOST, process__pid=7)
        end = made[3].start_ns + 10**6 * (400 - i)
        spans += [
            replace(each, trace_id=f"{i + 1:032x}", end_ns=min(each.end_ns, end)) for each in made if each is made[3]
        ]
    hub, traces = hub_of([*spans, *CONTENDED])
    traces.count = count
    return spans, hub
