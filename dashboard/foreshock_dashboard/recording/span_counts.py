"""Service graph and span metrics of a platform that counts its spans itself, in the hub's own series.

A simulated platform knows what became of every call, so that neither spans have to be made of all of them nor pairs
found in those. Names, labels, buckets, and how series begin and end are the hub's.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Protocol

from foreshock_dashboard.ingest.service_graph.retries import Fallback
from foreshock_dashboard.ingest.span_metrics.names import (
    BOUNDED_LABELS,
    CALLS,
    CLIENT_SECONDS,
    DURATION,
    FAILED,
    FALLBACKS,
    LLM_FIRST_TOKEN,
    LLM_QUEUE,
    LLM_TOKENS,
    REQUESTS,
    RETRIES,
    SERVER_SECONDS,
    edge_labels,
    fallback_labels,
    llm_labels,
    operation_labels,
)
from foreshock_dashboard.ingest.span_metrics.registry import Family, Registry, Series
from foreshock_dashboard.ingest.span_metrics.span_metrics import ACCOUNTING_FAMILIES
from foreshock_dashboard.model.samples import Labels
from foreshock_dashboard.model.service import Service
from foreshock_dashboard.model.span import Kind, Status

Name = tuple[str, str]
"""A service's namespace and name."""
MAX_SERIES = 100_000
STALE_AFTER = 900.0
"""Both as in `SpanMetrics`."""


class Durations(Protocol):
    """Seconds of the spans of one service, kind and name since they were last taken: answered well, and failed."""

    @property
    def service(self) -> Name: ...
    @property
    def kind(self) -> Kind: ...
    @property
    def name(self) -> str: ...

    answered: list[float]
    failed: list[float]


class Edge(Protocol):
    """Calls between two services. Counts only grow; seconds are those since they were last taken."""

    @property
    def client(self) -> Name: ...
    @property
    def server(self) -> Name: ...
    @property
    def connection(self) -> str: ...
    @property
    def requests(self) -> int: ...
    @property
    def failed(self) -> int: ...
    @property
    def retries(self) -> int: ...
    @property
    def fallbacks(self) -> Mapping[Any, int]: ...  # by `Name`: a Mapping takes no narrower keys

    client_seconds: list[float]
    server_seconds: list[float]


class ModelUse(Protocol):
    """Requests that a service's model answered. Tokens only grow; seconds are those since they were last taken."""

    @property
    def service(self) -> Name: ...
    @property
    def model(self) -> str: ...
    @property
    def prompt_tokens(self) -> int: ...
    @property
    def generated_tokens(self) -> int: ...

    queued_seconds: list[float]
    first_token_seconds: list[float]


class Counts(Protocol):
    """All that a platform counts of its spans, whether they are sampled or not."""

    @property
    def durations(self) -> Sequence[Durations]: ...
    @property
    def edges(self) -> Sequence[Edge]: ...
    @property
    def models(self) -> Sequence[ModelUse]: ...


class CountedSpans:
    """Turns counts into the series that the hub makes of spans."""

    def __init__(self, counts: Counts) -> None:
        self._counts = counts
        self._registry = Registry(MAX_SERIES, STALE_AFTER, BOUNDED_LABELS)
        self._own = Registry(len(ACCOUNTING_FAMILIES), math.inf)
        for family in ACCOUNTING_FAMILIES:
            self._own.get(family, (), 0.0)
        self._seen: dict[tuple[Family, Labels], int] = {}
        self._shown: set[Series] = set()

    def take(self, now: float) -> None:
        """Count what has happened since the last call, at `now` (Unix seconds)."""
        for each in self._counts.durations:
            self._add_operation(each, now)
        for edge in self._counts.edges:
            self._add_edge(edge, now)
        for model in self._counts.models:
            self._add_model(model, now)

    def read(self, now: float) -> Iterator[tuple[Series, list[float]]]:
        """All series as they stand, with the values of their `names`; a new one as 0, as `Registry.read` has it."""
        self.take(now)
        self._registry.expire(now)
        current = [*self._registry.all(), *self._own.all()]
        for series in current:
            yield series, series.values() if series in self._shown else [0.0] * len(series.names)
        self._shown = {*current}

    def _add_operation(self, each: Durations, now: float) -> None:
        answered, each.answered = each.answered, []
        failed, each.failed = each.failed, []
        if each.kind == "internal":
            return
        told: tuple[tuple[Status, list[float]], ...] = (("unset", answered), ("error", failed))
        for status, seconds in told:
            if seconds:
                labels = operation_labels(Service(*each.service), each.name, each.kind, status)
                self._registry.get(CALLS, labels, now).add(len(seconds), now)
                self._observe(DURATION, labels, seconds, now)

    def _add_edge(self, edge: Edge, now: float) -> None:
        client, server = Service(*edge.client), Service(*edge.server)
        labels, both = edge_labels(client, server, connection_type=edge.connection), edge_labels(client, server)
        if self._grow(REQUESTS, labels, edge.requests, now):  # then the others are shown, if only as 0
            self._registry.get(FAILED, labels, now).add(0.0, now)
            self._registry.get(RETRIES, both, now).add(0.0, now)
        self._grow(FAILED, labels, edge.failed, now)
        self._grow(RETRIES, both, edge.retries, now)
        for fallback, count in edge.fallbacks.items():
            self._grow(FALLBACKS, fallback_labels(Fallback(client, server, Service(*fallback), "", "")), count, now)
        client_seconds, edge.client_seconds = edge.client_seconds, []
        server_seconds, edge.server_seconds = edge.server_seconds, []
        self._observe(CLIENT_SECONDS, labels, client_seconds, now)
        self._observe(SERVER_SECONDS, labels, server_seconds, now)

    def _add_model(self, model: ModelUse, now: float) -> None:
        service = Service(*model.service)
        for direction, tokens in (("input", model.prompt_tokens), ("output", model.generated_tokens)):
            self._grow(LLM_TOKENS, llm_labels(service, model.model, direction), tokens, now)
        labels = llm_labels(service, model.model)
        queued, model.queued_seconds = model.queued_seconds, []
        first, model.first_token_seconds = model.first_token_seconds, []
        self._observe(LLM_QUEUE, labels, queued, now)
        self._observe(LLM_FIRST_TOKEN, labels, first, now)

    def _grow(self, family: Family, labels: Labels, total: int, now: float) -> bool:
        """Add what a counter grew by since the last call; whether it did."""
        grown = total - self._seen.get((family, labels), 0)
        if grown:
            self._seen[family, labels] = total
            self._registry.get(family, labels, now).add(grown, now)
        return bool(grown)

    def _observe(self, family: Family, labels: Labels, durations: Sequence[float], now: float) -> None:
        if durations:
            row = self._registry.get(family, labels, now).row
            self._registry.observe_columns([row] * len(durations), durations, [None] * len(durations))
