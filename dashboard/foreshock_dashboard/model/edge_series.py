"""The series of one edge of the service graph."""

from __future__ import annotations

from foreshock_dashboard.model.families import CLIENT_SECONDS, FAILED, REQUESTS, RETRIES, SERVER_SECONDS
from foreshock_dashboard.model.findings import Increment
from foreshock_dashboard.model.registry import Registry, Series
from foreshock_dashboard.model.span_labels import between
from foreshock_dashboard.model.world import Edge


class EdgeSeries:
    """Adds to them. Those of a side's durations are made when there is one to count.

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

    def add(self, increment: Increment, now: float) -> None:
        """Count what one span added to the edge."""
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
            series.observe(client_seconds, client_span)
            self._as_client = None if series.other else series
        if server_seconds is not None:
            series = self._as_server or self._registry.get(SERVER_SECONDS, self._labels, now)
            series.observe(server_seconds, server_span)
            self._as_server = None if series.other else series
