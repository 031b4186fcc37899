"""Counts over all spans, sampled or not, as a Collector derives them before sampling.

A request on an edge has failed when the caller sees an error, so it is counted when the caller's span ends. Durations
are raw values that accumulate until a reader takes the list and puts an empty one in its place.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final, Literal

from foreshock_simulator.core.names import ServiceName
from foreshock_simulator.tracing.spans import Durations, Kind

Connection = Literal["", "database", "virtual_node"]

USER: Final = ServiceName("", "user")
"""The virtual client of calls from outside, as in the service graph of the Collector."""


@dataclass(slots=True, eq=False)
class Edge:
    """Calls from one service to another. Counts are cumulative; durations in seconds are those since the last take.

    Edges to a database have no server durations, edges from users have no client durations.
    """

    client: ServiceName
    server: ServiceName
    connection: Connection
    requests: int = 0
    failed: int = 0
    retries: int = 0
    client_seconds: list[float] = field(default_factory=list)
    server_seconds: list[float] = field(default_factory=list)
    fallbacks: dict[ServiceName, int] = field(default_factory=dict)
    """Failed attempts that a fallback replaced, by the service of the fallback."""


@dataclass(slots=True, eq=False)
class ModelUsage:
    """Requests that the model of a service has answered.

    Token counts are cumulative, seconds are since the last take.
    """

    service: ServiceName
    model: str
    prompt_tokens: int = 0
    generated_tokens: int = 0
    queued_seconds: list[float] = field(default_factory=list)
    first_token_seconds: list[float] = field(default_factory=list)

    def add(self, prompt_tokens: int, generated_tokens: int, queued: float | None, first_token: float | None) -> None:
        """Count one answered request."""
        self.prompt_tokens += prompt_tokens
        self.generated_tokens += generated_tokens
        if queued is not None:
            self.queued_seconds.append(queued)
        if first_token is not None:
            self.first_token_seconds.append(first_token)


@dataclass(slots=True, eq=False)
class Version:
    """Spans of one version of a service."""

    service: ServiceName
    version: str
    spans: int = 0


class Counts:
    """All counts of a mesh, in the order of their first use. Without `enabled` they stay at 0."""

    def __init__(self, *, enabled: bool) -> None:
        self.enabled = enabled
        self._durations: dict[tuple[ServiceName, Kind, str], Durations] = {}
        self._edges: dict[tuple[ServiceName, ServiceName], Edge] = {}
        self._versions: dict[tuple[ServiceName, str], Version] = {}
        self._models: dict[tuple[ServiceName, str], ModelUsage] = {}

    @property
    def durations(self) -> tuple[Durations, ...]:
        """Durations of each service, kind and name of spans."""
        return tuple(self._durations.values())

    @property
    def edges(self) -> tuple[Edge, ...]:
        """Edges of each pair of services."""
        return tuple(self._edges.values())

    @property
    def versions(self) -> tuple[Version, ...]:
        """Spans of each service and version."""
        return tuple(self._versions.values())

    @property
    def models(self) -> tuple[ModelUsage, ...]:
        """Usage of each service and model."""
        return tuple(self._models.values())

    def span_durations(self, service: ServiceName, kind: Kind, name: str) -> Durations:
        """Durations of the spans with a service, kind and name; created on first use."""
        return self._durations.setdefault((service, kind, name), Durations(service, kind, name))

    def version(self, service: ServiceName, version: str) -> Version:
        """Spans of a version of a service; created on first use."""
        return self._versions.setdefault((service, version), Version(service, version))

    def edge(self, client: ServiceName, server: ServiceName, connection: Connection = "") -> Edge:
        """The edge from one service to another; created on first use."""
        edge = self._edges.get((client, server))
        if edge is None:
            edge = self._edges[client, server] = Edge(client, server, connection)
        return edge

    def model_usage(self, service: ServiceName, model: str) -> ModelUsage:
        """Usage of the model of a service; created on first use."""
        return self._models.setdefault((service, model), ModelUsage(service, model))
