"""Counters of spans: per operation, per edge of the service graph, and per model requested."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable
from itertools import compress

from foreshock_dashboard.ingest.otlp.gen_ai import LlmRequest
from foreshock_dashboard.ingest.service_graph.increments import Increment
from foreshock_dashboard.ingest.span_metrics import names
from foreshock_dashboard.ingest.span_metrics.histogram import Observation
from foreshock_dashboard.ingest.span_metrics.registry import OTHER, Registry, Series
from foreshock_dashboard.model.service import Service
from foreshock_dashboard.model.span import AttributeValue, Kind, Outlines, SpanKey, Status, version_of
from foreshock_dashboard.model.world import Edge

MAX_SPAN_NAMES = 200
"""Span names per service in metrics; further ones are counted as `OTHER`."""
MAX_MODELS = 50
"""Models per service in metrics; further ones are counted as `OTHER`."""
MAX_EXCEPTION_TYPES = 100
"""Types of exceptions per service in metrics; further ones are counted as `OTHER`."""
MAX_VERSIONS = 100
"""Versions per service in metrics; further ones are counted as `OTHER`."""
STATUS_CODE = re.compile(r"[1-5]\d\d")
"""HTTP status codes; other values would make series without limit."""
MAX_SERVICES = 10_000
"""Services with remembered span names, or models."""
MAX_CACHED_OPERATIONS = 20_000
MAX_CACHED_EDGES = 20_000
MAX_RECENT_REQUESTS = 200_000
"""Model requests in each of two sets that recognize nested spans of one request."""

_Operation = tuple[Service, str, Kind, Status]


class _LimitedNames:
    """The first `limit` names of each service; `OTHER` stands for further ones."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._names: dict[Service, set[str]] = {}

    def get(self, service: Service, name: str) -> str:
        """Return the name, or `OTHER`."""
        if service not in self._names and len(self._names) >= MAX_SERVICES:
            self._names.clear()
        known = self._names.setdefault(service, set())
        if name not in known:
            if len(known) >= self._limit:
                return OTHER
            known.add(name)
        return name


class OperationCounter:
    """Counts the spans of each operation and their durations. Its `cache` must be cleared when series expire."""

    def __init__(self, registry: Registry) -> None:
        self._registry = registry
        self._names = _LimitedNames(MAX_SPAN_NAMES)
        self.cache: dict[_Operation, tuple[Series, int, Series]] = {}

    def count(self, outlines: Outlines, now: float) -> None:
        """Count spans. INTERNAL spans are left out.

        The first span of an operation also makes its counter of errors, at 0: a new series is read as 0 for a while,
        and the first error would be seen late.
        """
        calls = [kind != "internal" for kind in outlines.kind]
        operations = zip(outlines.service, outlines.name, outlines.kind, outlines.status, strict=True)
        rows: list[int] = []
        cached = self.cache.get
        for operation in compress(operations, calls):
            series, row, errors = cached(operation) or self._series(operation, now)
            series.value += 1.0
            series.touched = errors.touched = now
            rows.append(row)
        seconds = [(end - start) / 1e9 for start, end in zip(outlines.start_ns, outlines.end_ns, strict=True)]
        self._registry.histograms.observe_columns(rows, [*compress(seconds, calls)], [*compress(outlines.key, calls)])

    def _series(self, operation: _Operation, now: float) -> tuple[Series, int, Series]:
        """Return the counter, the row of the histogram, and the counter of the operation's errors."""
        service, name, kind, status = operation
        shown = self._names.get(service, name[: names.MAX_LABEL_CHARACTERS])
        labels = names.operation_labels(service, shown, kind, status)
        calls, seconds = self._registry.get(names.CALLS, labels, now), self._registry.get(names.DURATION, labels, now)
        if calls.is_overflow or seconds.is_overflow:
            return calls, seconds.row, calls
        errors = self._registry.get(names.CALLS, names.operation_labels(service, shown, kind, "error"), now)
        if shown == name and not errors.is_overflow:
            if len(self.cache) >= MAX_CACHED_OPERATIONS:
                self.cache.clear()
            self.cache[operation] = calls, seconds.row, errors
        return calls, seconds.row, errors


class OutcomeCounter:
    """Counts recorded exceptions of all spans, and HTTP status codes of the responses of SERVER spans."""

    def __init__(self, registry: Registry) -> None:
        self._registry = registry
        self._exceptions = _LimitedNames(MAX_EXCEPTION_TYPES)

    def count_exceptions(self, outlines: Outlines, now: float) -> None:
        """Count exceptions."""
        if not any(outlines.exceptions):
            return
        spans = zip(outlines.service, outlines.kind, outlines.status, outlines.exceptions, strict=True)
        for service, kind, status, types in compress(spans, outlines.exceptions):
            for name in types:
                shown = self._exceptions.get(service, name[: names.MAX_LABEL_CHARACTERS])
                labels = names.exception_labels(service, kind, status, shown)
                self._registry.get(names.EXCEPTIONS, labels, now).add(1.0, now)

    def count_responses(self, outlines: Outlines, codes: Iterable[AttributeValue], now: float) -> None:
        """Count responses. codes: the status code of each span, None without one."""
        rows = zip(outlines.service, codes, outlines.kind, strict=True)
        for (service, code), count in Counter((row[0], row[1]) for row in rows if row[2] == "server").items():
            if code is not None and STATUS_CODE.fullmatch(str(code)):
                self._registry.get(names.RESPONSES, names.response_labels(service, str(code)), now).add(count, now)


class VersionCounter:
    """Counts the spans of each version of a service, once per resource."""

    def __init__(self, registry: Registry) -> None:
        self._registry = registry
        self._versions = _LimitedNames(MAX_VERSIONS)

    def count(self, outlines: Outlines, now: float) -> None:
        """Count spans. Those without a version are left out."""
        numbers = [*map(id, outlines.resource)]
        row_of = dict(zip(numbers, range(len(numbers)), strict=True))
        for number, count in Counter(numbers).items():
            row = row_of[number]
            if version := version_of(outlines.resource[row]):
                service = outlines.service[row]
                shown = self._versions.get(service, version[: names.MAX_LABEL_CHARACTERS])
                self._registry.get(names.VERSIONS, names.version_labels(service, shown), now).add(count, now)


class EdgeCounter:
    """Counts the increments of each edge. Its `cache` must be cleared when series expire."""

    def __init__(self, registry: Registry) -> None:
        self._registry = registry
        self.cache: dict[Edge, _EdgeSeries] = {}

    def count(self, increments: Iterable[Increment], now: float) -> None:
        """Count increments of edges."""
        cached = self.cache.get
        observations: list[Observation] = []
        for increment in increments:
            (cached(increment[0]) or self._series(increment.edge, now)).add(increment, observations, now)
        self._registry.histograms.observe(observations)

    def _series(self, edge: Edge, now: float) -> _EdgeSeries:
        series = _EdgeSeries(edge, self._registry, now)
        if not series.is_overflow:
            if len(self.cache) >= MAX_CACHED_EDGES:
                self.cache.clear()
            self.cache[edge] = series
        return series


class _EdgeSeries:
    """The series of one edge. Those of durations are made at the first duration of their side.

    is_overflow: whether one of them is an overflow series. Then the object must not be cached.
    """

    __slots__ = ("_client_seconds", "_failed", "_labels", "_registry", "_requests", "_retries", "_server_seconds",
                 "is_overflow")  # fmt: skip

    def __init__(self, edge: Edge, registry: Registry, now: float) -> None:
        self._registry = registry
        self._labels = names.edge_labels(edge.client, edge.server, connection_type=edge.connection)
        self._requests = registry.get(names.REQUESTS, self._labels, now)
        self._failed = registry.get(names.FAILED, self._labels, now)
        self._retries = registry.get(names.RETRIES, names.edge_labels(edge.client, edge.server), now)
        self._client_seconds: Series | None = None
        self._server_seconds: Series | None = None
        self.is_overflow = self._requests.is_overflow or self._failed.is_overflow or self._retries.is_overflow

    def add(self, increment: Increment, observations: list[Observation], now: float) -> None:
        """Count one increment; its durations are appended to `observations`."""
        _, requests, failed, retries, client_seconds, server_seconds, client_span, server_span = increment
        if requests:
            self._requests.value += requests
        if failed:
            self._failed.value += failed
        if retries:
            self._retries.value += retries
        self._requests.touched = self._failed.touched = self._retries.touched = now
        if client_seconds is not None:
            series = self._client_seconds or self._registry.get(names.CLIENT_SECONDS, self._labels, now)
            observations.append((series.row, client_seconds, client_span))
            self._client_seconds = None if series.is_overflow else series
        if server_seconds is not None:
            series = self._server_seconds or self._registry.get(names.SERVER_SECONDS, self._labels, now)
            observations.append((series.row, server_seconds, server_span))
            self._server_seconds = None if series.is_overflow else series


class LlmCounter:
    """Counts model requests once per service that reports them: the caller, and the model server.

    If two instrumentations of one service report the same request, one span is the parent of the other. The span that
    arrives first is counted.
    """

    def __init__(self, registry: Registry) -> None:
        self._registry = registry
        self._models = _LimitedNames(MAX_MODELS)
        self._newer: set[int] = set()
        self._older: set[int] = set()

    def add(self, span: SpanKey, parent: SpanKey, service: Service, request: LlmRequest, now: float) -> None:
        """Count the request that a span reports."""
        if self._is_counted(span, parent, service):
            return
        model = self._models.get(service, request.model)
        labels = names.llm_labels(service, model)
        for family, seconds in ((names.LLM_QUEUE, request.queue), (names.LLM_FIRST_TOKEN, request.first_token)):
            if seconds is not None:
                self._registry.histograms.observe([(self._registry.get(family, labels, now).row, seconds, span)])
        for token_type, tokens in (("input", request.input_tokens), ("output", request.output_tokens)):
            if tokens is not None:
                self._registry.get(names.LLM_TOKENS, names.llm_labels(service, model, token_type), now).add(tokens, now)

    def _is_counted(self, span: SpanKey, parent: SpanKey, service: Service) -> bool:
        """Whether the parent or a child of the span was counted; else remember the span."""
        own, above = hash((span, service)), hash((parent, service))
        if any(~own in hashes or above in hashes for hashes in (self._newer, self._older)):
            return True
        self._newer |= {own, ~above} if parent else {own}  # the complement marks parents, which are not counted
        if len(self._newer) >= MAX_RECENT_REQUESTS:
            self._newer, self._older = set(), self._newer
        return False
