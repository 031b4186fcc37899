"""The hub: one process that takes data in, has it judged on every tick, and shows what was found."""

from __future__ import annotations

import logging
import sys
import threading
from collections.abc import Sequence
from contextlib import ExitStack, closing

from foreshock_dashboard import __version__
from foreshock_dashboard.common.clock import Clock
from foreshock_dashboard.common.gc_tuning import collect_rarely
from foreshock_dashboard.hub.analysis_loop import HISTORY_SECONDS, SETTLE_SECONDS, AnalysisLoop, LoopInputs
from foreshock_dashboard.hub.config_summary import data_sources
from foreshock_dashboard.hub.listeners import (
    grpc_listener,
    http_listener,
    listen,
    page_access,
    remote_traces,
    token_authorizer,
)
from foreshock_dashboard.hub.self_metrics import HubStats, incident_samples, metrics_text, status_json
from foreshock_dashboard.ingest.indexed_attributes import attribute_reader
from foreshock_dashboard.ingest.pipeline import IngestPipeline
from foreshock_dashboard.model.incident import Incident
from foreshock_dashboard.model.query import MetricSource, SourceError
from foreshock_dashboard.model.snapshot import Snapshot
from foreshock_dashboard.model.span import TRACE_KEYS, Span, TraceSource
from foreshock_dashboard.model.types import Json
from foreshock_dashboard.model.world import World
from foreshock_dashboard.recording.metrics import RecordedMetrics
from foreshock_dashboard.recording.reader import Recording
from foreshock_dashboard.replay.recording_hub import load_spans
from foreshock_dashboard.settings.settings import Settings, is_loopback
from foreshock_dashboard.sources.otlp.receiver import Receiver
from foreshock_dashboard.sources.prometheus.api import PrometheusSource
from foreshock_dashboard.sources.prometheus.scrape import Scraper, ScrapeTarget
from foreshock_dashboard.sources.traces.probe import HealthProbe
from foreshock_dashboard.store import Retention, Store, StoreError, StoreLimits, tune_malloc
from foreshock_dashboard.web.app import create_app
from foreshock_dashboard.web.http.server import WebServer
from foreshock_dashboard.world.observer import align_down

log = logging.getLogger(__name__)

SWITCH = 0.0005
"""Seconds a thread may compute before another gets its turn: an answer is not to wait behind spans being decoded."""
ROUND, AGAIN = 30.0, 600.0
"""Wall seconds until somebody else is asked about earlier weeks again, and where some could not be told."""
UPKEEP = 5.0
"""Wall seconds between two looks at whether the store has something to seal, merge or remove."""


class Hub:
    """Wires sources, store, analysis and web together; implements `HubView`.

    Listens once made, works after `start`. `clock` may run faster than the wall's. `targets` are scraped beside those
    of the settings. `recording`: what `standing` opened for the settings, if anything.

    Raises:
        HubError: an address is in use.
        StoreError: the store cannot be opened.
    """

    def __init__(
        self,
        settings: Settings,
        clock: Clock,
        targets: Sequence[ScrapeTarget] = (),
        upkeep: float = UPKEEP,
        recording: Recording | None = None,
    ) -> None:
        self._settings = settings
        self._clock = clock
        with ExitStack() as opened:
            self.store = Store.open(
                settings.store,
                now=clock.now,
                retention=Retention(settings.retention, settings.trace_retention, settings.retention_size),
                limits=StoreLimits(duckdb_memory=f"{settings.memory // 2**20}MiB"),
                trace_keys=settings.trace_keys or TRACE_KEYS,
            )
            opened.callback(self.store.close)
            self._source: MetricSource = self.store
            if settings.prometheus_url:
                self._source = opened.enter_context(closing(PrometheusSource(settings.prometheus_url)))
            if recording is not None:
                self._source = RecordedMetrics(recording)
                load_spans(recording, self.store)
            self.intake = IngestPipeline(self.store, clock, max_series=settings.span_series)
            opened.callback(self._write_last)
            self._traces: TraceSource = self.store
            self._watch: HealthProbe | None = None
            if settings.tempo_url or settings.jaeger_url:
                remote = opened.enter_context(closing(remote_traces(settings)))
                self._traces, self._watch = (
                    remote,
                    opened.enter_context(closing(HealthProbe(remote.probe, settings.step))),
                )
            self.receiver = Receiver(
                accept=self._refuse if settings.at is not None else self.intake.accept,
                allows=token_authorizer(settings),
                now=clock.now,
                attributes=attribute_reader(settings.trace_keys or TRACE_KEYS),
            )
            self.grpc = grpc_listener(self.receiver, settings)
            opened.callback(self.grpc.close)
            self.http = http_listener(self.receiver, settings)
            opened.callback(self.http.close)
            named = [ScrapeTarget(url, "foreshock-exporter", {}) for url in settings.targets]
            self.scraper = Scraper(
                [*named, *targets],
                sink=self.store.append_samples,
                clock=clock,
                interval=settings.scrape_interval,
                timeout=min(settings.scrape_interval, 10.0),
            )
            opened.callback(self.scraper.close)
            judged = LoopInputs(
                self._source,
                own=self._own,
                write=self._write if self._takes else None,
                bounds=_bounds(settings, recording),
                simulated=recording is not None and recording.meta.simulated,
            )
            self._loop = AnalysisLoop(settings, clock, judged)
            self._upkeep = upkeep
            self._stop = threading.Event()
            self._threads = [
                threading.Thread(target=self._tick_on, name="tick", daemon=True),
                threading.Thread(target=self._maintain_on, name="upkeep", daemon=True),
            ]
            if not self._own:
                self._threads.append(threading.Thread(target=self._cover_on, name="season", daemon=True))
            hosts = settings.allowed_hosts if is_loopback(settings.host) else settings.allowed_hosts or ("*",)
            app = create_app(self, version=__version__, hosts=hosts, access=page_access(settings))
            self.web = listen("--port", lambda: WebServer(app, settings.host, settings.port))
            opened.callback(self.web.close)
            opened.callback(self._end_threads)
            self._opened = opened.pop_all()

    def start(self) -> None:
        """Answer, scrape and tick. A hub that stands at a past time ticks once and takes no spans in."""
        sys.setswitchinterval(SWITCH)
        collect_rarely()
        tune_malloc()
        self.web.start()
        if self._watch:
            self._watch.start()
        if self._settings.at is not None:
            self.tick()
            return
        self.scraper.start()
        for thread in self._threads:
            thread.start()

    def close(self) -> None:
        """Stop taking in, ticking and answering; then close the store. May be called twice."""
        self._opened.close()

    def _refuse(self, _: Sequence[Span]) -> None:
        raise StoreError("this hub stands at a past time and takes nothing in")

    def _end_threads(self) -> None:
        self._stop.set()
        for thread in self._threads:
            if thread.is_alive():
                thread.join(10)

    @property
    def _own(self) -> bool:
        """Whether what is judged is read from the hub's own store."""
        return self._source is self.store

    @property
    def _takes(self) -> bool:
        """Whether the hub's own series are written there."""
        return self._own and self._settings.at is None

    def _write(self, now: float, incidents: Sequence[Incident] = ()) -> None:
        self.intake.write(now, incident_samples(incidents))

    def _write_last(self) -> None:
        """What was counted since the last tick; the doors are closed by now."""
        if self._takes:
            try:
                self._write(self._clock.now())
            except SourceError as error:
                log.warning("the last counts are lost: %s", error)

    def _tick_on(self) -> None:
        step = self._settings.step
        while not self._stop.is_set():
            self.tick()
            due = align_down(self._clock.now(), step) + step - self._clock.now()
            self._stop.wait(self._clock.wall_seconds(due) + SETTLE_SECONDS)

    def _maintain_on(self) -> None:
        """Sealing takes up to a second; the tick does not wait for it."""
        while not self._stop.wait(self._upkeep):
            try:
                self.store.maintain()
            except Exception:  # outermost loop: whatever one round meets, the next one tries again
                log.exception("the store's upkeep failed; it is tried again in %g s", self._upkeep)

    def _cover_on(self) -> None:
        """Somebody else may take long to find what is weeks old; the tick does not wait for it."""
        while not self._stop.is_set():
            try:
                done = self._loop.load_seasons(self._clock.now())
            except Exception:  # outermost loop: whatever one round meets, the next one tries again
                log.exception("what is usual at this time of the week cannot be told")
                done = False
            self._stop.wait(ROUND if done else AGAIN)

    def tick(self) -> None:
        """Judge what is new."""
        self._loop.tick()

    # what the web sees

    @property
    def snapshot(self) -> Snapshot:
        """The newest tick."""
        return self._loop.snapshot

    def at(self, time: float) -> Snapshot:
        """The tick of an earlier instant."""
        return self._loop.time_travel.at(time, self.snapshot)

    def over(self, start: float, end: float) -> World | None:
        """The World of a stretch of time."""
        return self._loop.time_travel.over(start, end, self.snapshot)

    @property
    def metrics(self) -> MetricSource:
        """Where samples are read."""
        return self._source

    @property
    def traces(self) -> TraceSource:
        """Where traces are read."""
        return self._traces

    def now(self) -> float:
        """The hub's time, Unix seconds."""
        return self._clock.now()

    def status(self) -> Json:
        """Counters and ages for the status line."""
        return status_json(self._vitals()) | {"reads": data_sources(self._settings, self.grpc.port, self.http.port)}

    def ready(self) -> tuple[bool, str]:
        """Whether the hub can answer truthfully: the store takes data, and what it reads elsewhere can be read."""
        kept, why = self.store.ready()
        if not kept:
            return False, why
        if self.snapshot.error:
            return False, self.snapshot.error
        if self._watch and self._watch.error:
            return False, self._watch.error
        return (True, "") if self.snapshot.world else (False, "the first tick has not ended")

    def _vitals(self) -> HubStats:
        return HubStats(
            version=__version__,
            time=self.now(),
            snapshot=self.snapshot,
            tick_seconds=self._loop.tick_seconds,
            store=self.store.stats(),
            receiver=self.receiver.stats(),
            scrapes=self.scraper.states(),
            spans=self.intake.usage(),
            objectives_in_vain=self._loop.slos.unmatched,
            tiers_in_vain=self._loop.tiers.unmatched,
        )

    def metrics_text(self, *, openmetrics: bool = False) -> str:
        """The hub's own metrics in the Prometheus text format, or in OpenMetrics with exemplars."""
        spans = self.intake.text(self.now(), openmetrics=openmetrics)
        return spans + metrics_text(self._vitals(), openmetrics=openmetrics)


def _bounds(settings: Settings, recording: Recording | None) -> tuple[float, float] | None:
    """Between which instants a hub that stands in the past can be asked; what a source still has nobody knows."""
    if settings.at is None:
        return None
    start = recording.meta.start if recording else None
    return (settings.at - HISTORY_SECONDS if start is None else start, settings.at)
