"""Interface between the recorder and a simulated platform."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, Protocol

from foreshock_dashboard.model.span import Attributes, Kind, Status
from foreshock_exporter.exporter import Collector
from foreshock_exporter.model.device import Driver
from foreshock_exporter.model.family import Families
from foreshock_exporter.model.service import Resolver

Name = tuple[str, str]
"""Namespace and name of a service."""


class EndedSpan(Protocol):
    """A span that has ended, with the fields of `model.span.Span`."""

    @property
    def trace_id(self) -> str: ...
    @property
    def span_id(self) -> str: ...
    @property
    def parent_id(self) -> str: ...
    @property
    def name(self) -> str: ...
    @property
    def kind(self) -> Kind: ...
    @property
    def start_ns(self) -> int: ...
    @property
    def end_ns(self) -> int: ...
    @property
    def status(self) -> Status: ...
    @property
    def status_message(self) -> str: ...
    @property
    def resource(self) -> Attributes: ...
    @property
    def attributes(self) -> Attributes: ...


class Durations(Protocol):
    """Durations, in seconds, of successful and failed spans of one service, kind and name.

    The recorder empties both lists when it reads them.
    """

    @property
    def service(self) -> Name: ...
    @property
    def kind(self) -> Kind: ...
    @property
    def name(self) -> str: ...

    answered: list[float]
    failed: list[float]


class Edge(Protocol):
    """Calls from a client to a server: counters, and durations that the recorder empties when it reads them."""

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
    def fallbacks(self) -> Mapping[Any, int]: ...  # by `Name`: a Mapping's keys are invariant

    client_seconds: list[float]
    server_seconds: list[float]


class ModelUse(Protocol):
    """Requests to a model of a service: token counters, and durations that the recorder empties."""

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


class SpanCounts(Protocol):
    """Counts over all spans of a platform, sampled or not."""

    @property
    def durations(self) -> Sequence[Durations]: ...
    @property
    def edges(self) -> Sequence[Edge]: ...
    @property
    def models(self) -> Sequence[ModelUse]: ...


class Host(Protocol):
    """A host with GPUs, as an exporter reads it."""

    @property
    def host_id(self) -> str: ...
    @property
    def host_name(self) -> str: ...
    @property
    def driver(self) -> Driver: ...
    @property
    def resolver(self) -> Resolver: ...
    @property
    def collectors(self) -> Mapping[str, Collector]: ...


class Platform(Protocol):
    """A simulated platform that the recorder drives. Times in Unix seconds."""

    def advance(self, until: float) -> Sequence[EndedSpan]:
        """Run to `until` and return the spans that ended, of sampled traces."""
        ...

    @property
    def counts(self) -> SpanCounts:
        """Counts over all spans."""
        ...

    @property
    def hosts(self) -> Sequence[Host]:
        """All hosts with GPUs."""
        ...

    def inference(self) -> Mapping[str, Families]:
        """Return the current metrics of each model server, by `host:port`."""
        ...

    def capacity(self) -> Families:
        """Return the current metrics of kube-state-metrics."""
        ...


class Outage(NamedTuple):
    """A time in which scrapes of hosts fail.

    Args:
        start: begin, in Unix seconds.
        end: end, in Unix seconds.
        hosts: names of the affected hosts; empty for all.
        restarts: whether the exporters restart afterwards, with counters at 0.
    """

    start: float
    end: float
    hosts: tuple[str, ...] = ()
    restarts: bool = True

    def covers(self, host: str, time: float) -> bool:
        """Whether a scrape of a host fails at a time."""
        return self.start <= time < self.end and (not self.hosts or host in self.hosts)
