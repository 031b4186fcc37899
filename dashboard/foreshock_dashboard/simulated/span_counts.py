"""Service graph and span metrics from a simulated platform's own counts, in the hub's series.

The platform knows the outcome of every call, so that no spans have to be built and paired. Names, labels, buckets, and
start and end of series are those of the hub.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

from foreshock_dashboard.ingest.service_graph.retries import Fallback
from foreshock_dashboard.ingest.span_metrics import names
from foreshock_dashboard.ingest.span_metrics.registry import Family, Registry, Series
from foreshock_dashboard.model.samples import Labels
from foreshock_dashboard.model.service import Service
from foreshock_dashboard.model.span import Status
from foreshock_simulator.tracing.service_graph import Counts, Edge, ModelUsage
from foreshock_simulator.tracing.spans import Durations

MAX_SERIES, STALE_AFTER_SECONDS = 100_000, 900.0
"""As in `SpanMetrics`."""


class CountedSpans:
    """Converts counts to the series that the hub derives from spans."""

    def __init__(self, counts: Counts) -> None:
        self._counts = counts
        self._registry = Registry(MAX_SERIES, STALE_AFTER_SECONDS, names.BOUNDED_LABELS)
        self._accounting = Registry(len(names.ACCOUNTING_FAMILIES), math.inf)
        for family in names.ACCOUNTING_FAMILIES:
            self._accounting.get(family, (), 0.0)
        self._totals: dict[tuple[Family, Labels], int] = {}
        self._shown: set[Series] = set()

    def read(self, now: float) -> Iterator[tuple[Series, list[float]]]:
        """Yield all series at `now` (Unix seconds), and the values of their `names`; 0 for new ones."""
        for durations in self._counts.durations:
            self._add_operation(durations, now)
        for edge in self._counts.edges:
            self._add_edge(edge, now)
        for version in self._counts.versions:
            labels = names.version_labels(Service(*version.service), version.version)
            self._grow(names.VERSIONS, labels, version.spans, now)
        for model in self._counts.models:
            self._add_model(model, now)
        self._registry.expire(now)
        current = [*self._registry.all(), *self._accounting.all()]
        for series in current:
            yield series, series.values() if series in self._shown else [0.0] * len(series.names)
        self._shown = {*current}

    def _add_operation(self, durations: Durations, now: float) -> None:
        answered, durations.answered = durations.answered, []
        failed, durations.failed = durations.failed, []
        if durations.kind == "internal":
            return
        by_status: tuple[tuple[Status, list[float]], ...] = (("unset", answered), ("error", failed))
        for status, seconds in by_status:
            if seconds:
                labels = names.operation_labels(Service(*durations.service), durations.name, durations.kind, status)
                self._registry.get(names.CALLS, labels, now).add(len(seconds), now)
                self._observe(names.DURATION, labels, seconds, now)

    def _add_edge(self, edge: Edge, now: float) -> None:
        client, server = Service(*edge.client), Service(*edge.server)
        labels, both = (
            names.edge_labels(client, server, connection_type=edge.connection),
            names.edge_labels(client, server),
        )
        if self._grow(names.REQUESTS, labels, edge.requests, now):  # the other series appear with it, as 0
            self._registry.get(names.FAILED, labels, now).add(0.0, now)
            self._registry.get(names.RETRIES, both, now).add(0.0, now)
        self._grow(names.FAILED, labels, edge.failed, now)
        self._grow(names.RETRIES, both, edge.retries, now)
        for fallback, count in edge.fallbacks.items():
            self._grow(
                names.FALLBACKS, names.fallback_labels(Fallback(client, server, Service(*fallback), "", "")), count, now
            )
        client_seconds, edge.client_seconds = edge.client_seconds, []
        server_seconds, edge.server_seconds = edge.server_seconds, []
        self._observe(names.CLIENT_SECONDS, labels, client_seconds, now)
        self._observe(names.SERVER_SECONDS, labels, server_seconds, now)

    def _add_model(self, model: ModelUsage, now: float) -> None:
        service = Service(*model.service)
        for token_type, tokens in (("input", model.prompt_tokens), ("output", model.generated_tokens)):
            self._grow(names.LLM_TOKENS, names.llm_labels(service, model.model, token_type), tokens, now)
        labels = names.llm_labels(service, model.model)
        queued, model.queued_seconds = model.queued_seconds, []
        first, model.first_token_seconds = model.first_token_seconds, []
        self._observe(names.LLM_QUEUE, labels, queued, now)
        self._observe(names.LLM_FIRST_TOKEN, labels, first, now)

    def _grow(self, family: Family, labels: Labels, total: int, now: float) -> bool:
        """Add a counter's increase since the last call. Return whether it increased."""
        increase = total - self._totals.get((family, labels), 0)
        if increase:
            self._totals[family, labels] = total
            self._registry.get(family, labels, now).add(increase, now)
        return bool(increase)

    def _observe(self, family: Family, labels: Labels, durations: Sequence[float], now: float) -> None:
        if durations:
            row = self._registry.get(family, labels, now).row
            self._registry.histograms.observe_columns([row] * len(durations), durations, [None] * len(durations))
