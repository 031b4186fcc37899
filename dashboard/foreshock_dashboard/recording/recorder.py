"""Drives a simulated platform and records of it what a fleet's monitoring would have of a real one.

Every target is scraped at its own moment within ±2 s of the grid, as Prometheus spreads them; some scrapes are lost.
Service graph and span metrics are counted over all spans, as a Collector does before it samples; of the spans
themselves, those are kept that the platform gives.
"""

from __future__ import annotations

import heapq
import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

from foreshock_dashboard.model.span import Span
from foreshock_dashboard.recording.platform import Ended, Outage, Platform
from foreshock_dashboard.recording.span_counts import CountedSpans
from foreshock_dashboard.recording.targets import HostTarget, Scraped, ScrapeTarget, SeriesNumbers
from foreshock_dashboard.recording.writer import RecordingWriter
from foreshock_exporter.model.family import Families

EXPORTER_PORT = 10_877
INFERENCE = "model-servers"
"""Job of the model servers."""
CAPACITY = {"job": "kube-state-metrics", "instance": "kube-state-metrics:8080"}
HUB = {"job": "foreshock", "instance": "foreshock:8050"}


@dataclass(frozen=True, slots=True)
class ScrapeConfig:
    """How a platform is watched.

    Args:
        interval: seconds between two scrapes of a target.
        skew: seconds by which a target's scrapes lie before or after the grid, at most.
        loss: share of the scrapes that fail.
        look: seconds between two looks of an exporter at its GPUs. Those give exact means: at 1, 2 and 5 s the seconds
            that GPUs are contended differ by 8 % at most, at 10 s bursts begin to be lost.
    """

    interval: float = 10.0
    skew: float = 2.0
    loss: float = 0.01
    look: float = 5.0


Action = Callable[[float], None]


class Recorder:
    """Records a platform from `start` (Unix seconds) on. The same platform, seed and habits give the same recording."""

    def __init__(
        self,
        platform: Platform,
        writer: RecordingWriter,
        *,
        start: float,
        seed: int,
        habits: ScrapeConfig = ScrapeConfig(),
        outages: Sequence[Outage] = (),
    ) -> None:
        self._platform, self._writer, self._habits, self._outages = platform, writer, habits, outages
        self._start = start
        self._chance = random.Random(f"{seed}/scrapes")  # noqa: S311 - a simulation
        self._counted = CountedSpans(platform.counts)
        self._due: list[tuple[float, int, int]] = []
        self._regular: list[tuple[float, float, Action]] = []
        self._hosts: list[HostTarget] = []
        for host in platform.hosts:
            self._add_host(HostTarget(host, writer, _instance("foreshock-exporter", host.host_name, EXPORTER_PORT)))
        hub = SeriesNumbers(writer, HUB)
        self._scrape(ScrapeTarget(writer, HUB, lambda time: hub.counted(self._counted.read(time))), "")
        kube = SeriesNumbers(writer, CAPACITY)
        self._scrape(ScrapeTarget(writer, CAPACITY, lambda _: kube.emitted(platform.capacity())), "")
        self._servers: dict[str, ScrapeTarget] = {}
        self._told: Mapping[str, Families] = {}
        self._every(habits.interval, self._skew(), self._scrape_servers)

    def run(self, until: float) -> Iterator[float]:
        """Record up to `until`; gives the time reached after every interval."""
        told = self._start
        for outage in self._outages:
            self._restart_after(outage)
        while self._due and self._due[0][0] <= until:
            time, number, turn = heapq.heappop(self._due)
            self._advance(time)
            period, phase, action = self._regular[number]
            action(time)
            if period:
                self._schedule(phase + period * (turn + 1), number, turn + 1)
            if time - told >= self._habits.interval:
                told = time
                yield time
        self._advance(until)
        for host in self._hosts:
            self._writer.add_spans(host.occupancy(last=True))
        yield until

    # --- when

    def _every(self, period: float, phase: float, action: Action) -> None:
        """Do something at start + phase + n · period, from the first of these after the start."""
        while phase <= 0:
            phase += period
        self._regular.append((period, phase, action))
        self._schedule(phase, len(self._regular) - 1, 0)

    def _schedule(self, after: float, number: int, turn: int) -> None:
        heapq.heappush(self._due, (round(self._start + after, 3), number, turn))

    def _skew(self) -> float:
        return round(self._chance.uniform(-self._habits.skew, self._habits.skew), 3)

    def _restart_after(self, outage: Outage) -> None:
        if outage.restarts:
            begin = partial(self._restart, outage)
            self._regular.append((0.0, 0.0, begin))
            self._schedule(outage.end - self._start, len(self._regular) - 1, 0)

    def _restart(self, outage: Outage, _: float) -> None:
        for host in self._hosts:
            if not outage.hosts or host.name in outage.hosts:
                host.restart()

    # --- targets

    def _add_host(self, host: HostTarget) -> None:
        self._hosts.append(host)
        target = ScrapeTarget(self._writer, _instance("foreshock-exporter", host.name, EXPORTER_PORT), host.read)
        skew = self._skew()
        self._every(self._habits.look, skew, host.sample)

        def scrape(time: float) -> None:
            target.scrape(time, lost=self._lost(time, host.name))
            self._writer.add_spans(host.occupancy())

        self._every(self._habits.interval, skew, scrape)

    def _scrape(self, target: ScrapeTarget, host: str) -> None:
        self._every(self._habits.interval, self._skew(), lambda time: target.scrape(time, lost=self._lost(time, host)))

    def _lost(self, time: float, host: str) -> bool:
        by_chance = self._chance.random() < self._habits.loss
        return by_chance or (bool(host) and any(outage.covers(host, time) for outage in self._outages))

    def _scrape_servers(self, time: float) -> None:
        """Every model server is a target of its own; one that has gone is none any more."""
        self._told = told = self._platform.inference()
        for instance in sorted(self._servers.keys() - told.keys()):
            self._servers.pop(instance).end(time)
        for instance in told:
            if instance not in self._servers:
                labels = {"job": INFERENCE, "instance": instance}
                read = partial(self._server, instance, SeriesNumbers(self._writer, labels))
                self._servers[instance] = ScrapeTarget(self._writer, labels, read)
            self._servers[instance].scrape(time, lost=self._lost(time, ""))

    def _server(self, instance: str, numbered: SeriesNumbers, _: float) -> Scraped:
        return numbered.emitted(self._told[instance])

    def _advance(self, time: float) -> None:
        self._writer.add_spans([to_span(span) for span in self._platform.advance(time)])


def _instance(job: str, host: str, port: int) -> dict[str, str]:
    return {"job": job, "instance": f"{host}:{port}"}


def to_span(span: Ended) -> Span:
    """The hub's form of a simulated span."""
    return Span(
        trace_id=span.trace_id,
        span_id=span.span_id,
        parent_id=span.parent_id,
        name=span.name,
        kind=span.kind,
        start_ns=span.start_ns,
        end_ns=span.end_ns,
        status=span.status,
        status_message=span.status_message,
        resource=span.resource,
        attributes=span.attributes,
    )
