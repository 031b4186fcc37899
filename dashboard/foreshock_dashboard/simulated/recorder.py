"""Records a simulated platform as the monitoring of a real one would.

Each target is scraped at its own offset from the grid, as Prometheus spreads scrapes; some scrapes are lost. Service
graph and span metrics cover all spans, as in a Collector before sampling; spans are recorded for sampled traces only.
"""

from __future__ import annotations

import heapq
import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import count
from operator import itemgetter

from foreshock_dashboard.model.span import Span
from foreshock_dashboard.recording.writer import HUB_LABELS, RecordingWriter
from foreshock_dashboard.settings.option_types import EXPORTER_PORT
from foreshock_dashboard.simulated.span_counts import CountedSpans
from foreshock_dashboard.simulated.targets import HostTarget, Scraped, ScrapeTarget, SeriesNumbers
from foreshock_exporter.model.family import Families
from foreshock_simulator.simulation import CLUSTER_JOB, EXPORTER_JOB, SERVERS_JOB, Outage, Simulation
from foreshock_simulator.tracing.spans import SimSpan

KUBERNETES_LABELS = {"job": CLUSTER_JOB, "instance": f"{CLUSTER_JOB}:8080"}


@dataclass(frozen=True, slots=True)
class ScrapeConfig:
    """Intervals of scrapes and samples.

    Args:
        interval_seconds: time between two scrapes of a target.
        max_skew_seconds: largest offset of a target's scrapes from the grid.
        loss_ratio: ratio of failed scrapes.
        gpu_sample_seconds: time between two GPU samples of an exporter. Samples are exact means: at 1, 2 and 5 s, the
            contended seconds differ by up to 8%; at 10 s bursts begin to be lost.
    """

    interval_seconds: float = 10.0
    max_skew_seconds: float = 2.0
    loss_ratio: float = 0.01
    gpu_sample_seconds: float = 5.0


Action = Callable[[float], None]


class Recorder:
    """Records a simulation from its start on. Equal simulation, config and outages give an equal recording.

    outages: of scrapes; by default those of the scenario.
    """

    def __init__(
        self,
        platform: Simulation,
        writer: RecordingWriter,
        config: ScrapeConfig = ScrapeConfig(),
        outages: Sequence[Outage] | None = None,
    ) -> None:
        self._platform, self._writer, self._config = platform, writer, config
        self._outages = platform.outages if outages is None else outages
        self._start = platform.start
        self._random = random.Random(f"{platform.seed}/scrapes")  # noqa: S311 - a simulation
        self._counted = CountedSpans(platform.counts)
        self._jobs: list[tuple[float, float, Action]] = []
        self._hosts: list[HostTarget] = []
        for host in platform.hosts:
            self._add_host(HostTarget(host, writer, _exporter_labels(host.host_name)))
        hub = SeriesNumbers(writer, HUB_LABELS)
        self._add_target(ScrapeTarget(writer, HUB_LABELS, lambda time: hub.of_series(self._counted.read(time))))
        kubernetes = SeriesNumbers(writer, KUBERNETES_LABELS)
        self._add_target(ScrapeTarget(writer, KUBERNETES_LABELS, lambda _: kubernetes.of_families(platform.capacity())))
        self._servers: dict[str, ScrapeTarget] = {}
        self._server_families: Mapping[str, Families] = {}
        self._every(config.interval_seconds, self._skew(), self._scrape_servers)

    def run(self, until: float) -> Iterator[float]:
        """Record up to `until`, and yield the time reached after each scrape interval."""
        yielded = self._start
        events = [self._times(*job, number) for number, job in enumerate(self._jobs)]
        restarts = [outage for outage in self._outages if outage.restarts]
        for number, outage in enumerate(restarts, len(events)):
            events.append(iter([(round(outage.end, 3), number, partial(self._restart, outage))]))
        for time, _, action in heapq.merge(*events, key=itemgetter(0, 1)):
            if time > until:
                break
            self._advance(time)
            action(time)
            if time - yielded >= self._config.interval_seconds:
                yielded = time
                yield time
        self._advance(until)
        for host in self._hosts:
            self._writer.add_spans(host.occupancy(last=True))
        yield until

    # --- schedule

    def _every(self, period: float, phase: float, action: Action) -> None:
        """Schedule an action at start + phase + n * period, for all of these after the start."""
        while phase <= 0:
            phase += period
        self._jobs.append((period, phase, action))

    def _times(self, period: float, phase: float, action: Action, number: int) -> Iterator[tuple[float, int, Action]]:
        """Yield the times of a job, with its number and action."""
        return ((round(self._start + (phase + period * n), 3), number, action) for n in count())

    def _skew(self) -> float:
        return round(self._random.uniform(-self._config.max_skew_seconds, self._config.max_skew_seconds), 3)

    def _restart(self, outage: Outage, _: float) -> None:
        for host in self._hosts:
            if not outage.hosts or host.name in outage.hosts:
                host.restart()

    # --- targets

    def _add_host(self, host: HostTarget) -> None:
        self._hosts.append(host)
        target = ScrapeTarget(self._writer, _exporter_labels(host.name), host.read)
        skew = self._skew()
        self._every(self._config.gpu_sample_seconds, skew, host.sample)

        def scrape(time: float) -> None:
            target.scrape(time, lost=self._lost(time, host.name))
            self._writer.add_spans(host.occupancy())

        self._every(self._config.interval_seconds, skew, scrape)

    def _add_target(self, target: ScrapeTarget) -> None:
        self._every(
            self._config.interval_seconds, self._skew(), lambda time: target.scrape(time, lost=self._lost(time))
        )

    def _lost(self, time: float, host: str = "") -> bool:
        random_loss = self._random.random() < self._config.loss_ratio
        outages = (o for o in self._outages if host and o.start <= time < o.end and (not o.hosts or host in o.hosts))
        return random_loss or any(outages)

    def _scrape_servers(self, time: float) -> None:
        """Scrape every model server, each as a separate target. Targets of vanished servers end."""
        self._server_families = families = self._platform.inference()
        for instance in sorted(self._servers.keys() - families.keys()):
            self._servers.pop(instance).end(time)
        for instance in families:
            if instance not in self._servers:
                labels = {"job": SERVERS_JOB, "instance": instance}
                read = partial(self._read_server, instance, SeriesNumbers(self._writer, labels))
                self._servers[instance] = ScrapeTarget(self._writer, labels, read)
            self._servers[instance].scrape(time, lost=self._lost(time))

    def _read_server(self, instance: str, numbers: SeriesNumbers, _: float) -> Scraped:
        return numbers.of_families(self._server_families[instance])

    def _advance(self, time: float) -> None:
        self._writer.add_spans([to_span(span) for span in self._platform.advance(time)])


def _exporter_labels(host: str) -> dict[str, str]:
    return {"job": EXPORTER_JOB, "instance": f"{host}:{EXPORTER_PORT}"}


def to_span(span: SimSpan) -> Span:
    """Convert a simulated span."""
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
