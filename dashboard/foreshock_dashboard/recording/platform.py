"""What a recorder needs of a simulated platform, and nothing more: it knows no simulator."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple, Protocol

from foreshock_dashboard.model.span import Attributes, Kind, Status
from foreshock_dashboard.recording.span_counts import Counts
from foreshock_exporter.exporter import Collector
from foreshock_exporter.model.device import Driver
from foreshock_exporter.model.family import Families
from foreshock_exporter.model.service import Resolver


class Ended(Protocol):
    """A span that has ended, as `model.span.Span` has it."""

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


class Host(Protocol):
    """A host with GPUs, as an exporter sees it."""

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
    """A simulated platform that is driven from outside. Times in Unix seconds."""

    def advance(self, until: float) -> Sequence[Ended]:
        """Run to `until`; the spans that ended on the way, of those traces that are sampled."""
        ...

    @property
    def counts(self) -> Counts:
        """What is counted over all spans."""
        ...

    @property
    def hosts(self) -> Sequence[Host]:
        """The hosts, each with what an exporter asks."""
        ...

    def inference(self) -> Mapping[str, Families]:
        """What model servers tell now, each by its `host:port`."""
        ...

    def capacity(self) -> Families:
        """What kube-state-metrics tells now."""
        ...


class Outage(NamedTuple):
    """Scrapes of hosts (by name; of all where none is named) fail from `start` to `end` (Unix seconds).

    `restarts`: their exporters begin anew afterwards, with counters at 0.
    """

    start: float
    end: float
    hosts: tuple[str, ...] = ()
    restarts: bool = True

    def covers(self, host: str, time: float) -> bool:
        """Whether a scrape of a host fails at a time."""
        return self.start <= time < self.end and (not self.hosts or host in self.hosts)
