"""The series of the edges of the service graph."""

from __future__ import annotations

from collections.abc import Iterable

from foreshock_dashboard.ingest.service_graph.increments import Increment
from foreshock_dashboard.ingest.span_metrics.histogram import Observation
from foreshock_dashboard.ingest.span_metrics.labels import between
from foreshock_dashboard.ingest.span_metrics.names import CLIENT_SECONDS, FAILED, REQUESTS, RETRIES, SERVER_SECONDS
from foreshock_dashboard.ingest.span_metrics.registry import Registry, Series
from foreshock_dashboard.model.world import Edge

MAX_READY = 20_000
"""Edges whose series are at hand."""


class Edges:
    """Adds to the series of edges."""

    def __init__(self, registry: Registry) -> None:
        self._registry = registry
        self._ready: dict[Edge, _EdgeSeries] = {}

    def count(self, increments: Iterable[Increment], now: float) -> None:
        """Count what spans added to edges."""
        ready = self._ready.get
        observed: list[Observation] = []
        for increment in increments:
            (ready(increment[0]) or self._series(increment.edge, now)).add(increment, observed, now)
        self._registry.observe(observed)

    def forget(self) -> None:
        """Let go of the series: some have ended."""
        self._ready.clear()

    def _series(self, edge: Edge, now: float) -> _EdgeSeries:
        found = _EdgeSeries(edge, self._registry, now)
        if not found.other:
            if len(self._ready) >= MAX_READY:
                self._ready.clear()
            self._ready[edge] = found
        return found


class _EdgeSeries:
    """Those of one edge. Those of a side's durations are made when there is one to count.

    `other`: not all of them have room of their own; then they are not to be kept at hand.
    """

    __slots__ = ("_as_client", "_as_server", "_failed", "_labels", "_registry", "_requests", "_retries", "other")

    def __init__(self, edge: Edge, registry: Registry, now: float) -> None:
        self._registry = registry
        self._labels = between(edge.client, edge.server, connection_type=edge.connection)
        self._requests = registry.get(REQUESTS, self._labels, now)
        self._failed = registry.get(FAILED, self._labels, now)
        self._retries = registry.get(RETRIES, between(edge.client, edge.server), now)
        self._as_client: Series | None = None
        self._as_server: Series | None = None
        self.other = self._requests.other or self._failed.other or self._retries.other

    def add(self, increment: Increment, observed: list[Observation], now: float) -> None:
        """Count what one span added to the edge; what is to be observed is added to that."""
        _, requests, failed, retries, client_seconds, server_seconds, client_span, server_span = increment
        if requests:
            self._requests.value += requests
        if failed:
            self._failed.value += failed
        if retries:
            self._retries.value += retries
        self._requests.touched = self._failed.touched = self._retries.touched = now
        if client_seconds is not None:
            series = self._as_client or self._registry.get(CLIENT_SECONDS, self._labels, now)
            observed.append((series.row, client_seconds, client_span))
            self._as_client = None if series.other else series
        if server_seconds is not None:
            series = self._as_server or self._registry.get(SERVER_SECONDS, self._labels, now)
            observed.append((series.row, server_seconds, server_span))
            self._as_server = None if series.other else series
