"""Counts over all spans, the sampled and the others, as a Collector makes them before it samples.

A caller that sees an error has one, whatever its callee thinks; so a request on an edge has failed where the caller's
half has, and is counted when that ends. Durations are kept as they are until somebody takes them for a histogram: puts
an empty list in the place of the one that is there.
"""

from __future__ import annotations

from typing import Final, Literal

from foreshock_simulator.core.names import ServiceName
from foreshock_simulator.tracing.spans import Durations, Kind

Connection = Literal["", "database", "virtual_node"]

USER: Final = ServiceName("", "user")
"""Who asks from outside, as service graphs call it."""


class Edge:
    """Calls of one service to another. Counts only grow; durations (s) are those since somebody last took them.

    A database tells no durations of its own, and a user none of theirs.
    """

    __slots__ = (
        "client", "client_seconds", "connection", "failed", "fallbacks", "requests", "retries", "server",
        "server_seconds",
    )  # fmt: skip

    def __init__(self, client: ServiceName, server: ServiceName, connection: Connection) -> None:
        self.client, self.server, self.connection = client, server, connection
        self.requests = self.failed = self.retries = 0
        self.client_seconds: list[float] = []
        self.server_seconds: list[float] = []
        self.fallbacks: dict[ServiceName, int] = {}
        """Failed attempts in whose place another service answered, by that service."""


class ModelUse:
    """Requests that a service's model has answered. Tokens only grow; seconds are those since they were last taken."""

    __slots__ = ("first_token_seconds", "generated_tokens", "model", "prompt_tokens", "queued_seconds", "service")

    def __init__(self, service: ServiceName, model: str) -> None:
        self.service, self.model = service, model
        self.prompt_tokens = self.generated_tokens = 0
        self.queued_seconds: list[float] = []
        self.first_token_seconds: list[float] = []

    def add(self, prompt_tokens: int, generated_tokens: int, queued: float | None, first_token: float | None) -> None:
        """One more request was answered."""
        self.prompt_tokens += prompt_tokens
        self.generated_tokens += generated_tokens
        if queued is not None:
            self.queued_seconds.append(queued)
        if first_token is not None:
            self.first_token_seconds.append(first_token)


class Counts:
    """All that is counted of a mesh, in the order in which it became known. Counters move while `on`."""

    def __init__(self, *, on: bool) -> None:
        self.on = on
        self._durations: dict[tuple[ServiceName, Kind, str], Durations] = {}
        self._edges: dict[tuple[ServiceName, ServiceName], Edge] = {}
        self._models: dict[tuple[ServiceName, str], ModelUse] = {}

    @property
    def durations(self) -> tuple[Durations, ...]:
        """One for each service, kind and name of spans."""
        return tuple(self._durations.values())

    @property
    def edges(self) -> tuple[Edge, ...]:
        """One for each pair of services."""
        return tuple(self._edges.values())

    @property
    def models(self) -> tuple[ModelUse, ...]:
        """One for each service and model."""
        return tuple(self._models.values())

    def of_spans(self, service: ServiceName, kind: Kind, name: str) -> Durations:
        """Where the spans of a service, kind and name are counted."""
        key = service, kind, name
        found = self._durations.get(key)
        if found is None:
            found = self._durations[key] = Durations(service, kind, name)
        return found

    def of_calls(self, client: ServiceName, server: ServiceName, connection: Connection = "") -> Edge:
        """Where the calls of one service to another are counted."""
        key = client, server
        found = self._edges.get(key)
        if found is None:
            found = self._edges[key] = Edge(client, server, connection)
        return found

    def of_model(self, service: ServiceName, model: str) -> ModelUse:
        """Where the requests to a service's model are counted."""
        key = service, model
        found = self._models.get(key)
        if found is None:
            found = self._models[key] = ModelUse(service, model)
        return found
