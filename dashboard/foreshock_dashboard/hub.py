"""The hub: one process that takes data in, judges it on every tick, and shows what it found."""

from __future__ import annotations

import gc
import logging
import math
import os
import sys
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack, closing
from dataclasses import replace
from typing import TypeVar

import numpy as np

from foreshock_dashboard import __version__
from foreshock_dashboard.analysis.condensing import Condenser
from foreshock_dashboard.analysis.decision import NEEDED, State, learning, states
from foreshock_dashboard.analysis.objectives import Objective
from foreshock_dashboard.analysis.outlook import outlook
from foreshock_dashboard.analysis.world import GrowingWorld
from foreshock_dashboard.clock import Clock
from foreshock_dashboard.errors import HubError
from foreshock_dashboard.garbage import collect_rarely
from foreshock_dashboard.in_vain import Named
from foreshock_dashboard.model.asked import pickers
from foreshock_dashboard.model.incident import Learning
from foreshock_dashboard.model.query import Json, MetricSource, SourceError
from foreshock_dashboard.model.reading import quick_window
from foreshock_dashboard.model.readings import catalogue
from foreshock_dashboard.model.season import BIN
from foreshock_dashboard.model.service import Service
from foreshock_dashboard.model.snapshot import Snapshot
from foreshock_dashboard.model.span import TRACE_KEYS, Span, TraceSource
from foreshock_dashboard.model.world import World
from foreshock_dashboard.reads import reads_of
from foreshock_dashboard.recording.metrics import RecordedMetrics
from foreshock_dashboard.recording.reader import Recording
from foreshock_dashboard.rewinding import Grid, Rewind
from foreshock_dashboard.seasons import Seasons
from foreshock_dashboard.settings import Settings, loopback
from foreshock_dashboard.sources.guard import GuardError, Keys, Tokens
from foreshock_dashboard.sources.intake import Intake
from foreshock_dashboard.sources.interval import scrape_interval
from foreshock_dashboard.sources.jaeger import JaegerTraces
from foreshock_dashboard.sources.observer import Observer, aligned
from foreshock_dashboard.sources.otlp_grpc import serve_grpc
from foreshock_dashboard.sources.otlp_http import serve_http
from foreshock_dashboard.sources.prometheus import PrometheusSource
from foreshock_dashboard.sources.receiver import Door, Receiver
from foreshock_dashboard.sources.scrape import Scraper, ScrapeTarget
from foreshock_dashboard.sources.tempo import TempoTraces
from foreshock_dashboard.sources.users import Users
from foreshock_dashboard.sources.watch import Watch
from foreshock_dashboard.standing import load_spans
from foreshock_dashboard.store import Retention, Store, StoreError, keep_little
from foreshock_dashboard.telemetry import Vitals, incident_samples, status_of, text_of
from foreshock_dashboard.web.app import create_app
from foreshock_dashboard.web.authentication import Access
from foreshock_dashboard.web.server import WebServer

log = logging.getLogger(__name__)

Bound = TypeVar("Bound")

SETTLE = 2.0
"""Wall seconds after a grid point before it is judged, so that scrapes and spans of that moment have arrived."""
SWITCH = 0.0005
"""Seconds a thread may compute before another gets its turn: an answer is not to wait behind spans being decoded."""
PATIENCE = 1.2
"""How many times the interval that was told samples may be apart."""
KEEP = 3 * 3600.0
"""Seconds of figures at hand: the fold begins at most that long ago."""
ROOM = 176 * 2.0**20
"""Bytes for them. Thousands of GPUs have less than three hours in it."""
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
        self._simulated = recording is not None and recording.meta.simulated
        self._promised = Named(
            "--objectives", {Service.parse(name): Objective(p95, lost) for name, p95, lost in settings.objectives}
        )
        self._tiers = Named("--tiers", {Service.parse(name): tier for name, tier in settings.tiers})
        self._bounds = _bounds(settings, recording)
        self._clock = clock
        with ExitStack() as opened:
            self.store = Store.open(
                settings.store,
                now=clock.now,
                retention=Retention(settings.retention, settings.trace_retention, settings.retention_size),
                memory_limit=f"{settings.memory // 2**20}MiB",
                trace_keys=settings.trace_keys or TRACE_KEYS,
            )
            opened.callback(self.store.close)
            opened.callback(self._write_last)
            self._source: MetricSource = self.store
            if settings.prometheus_url:
                self._source = opened.enter_context(closing(PrometheusSource(settings.prometheus_url)))
            if recording is not None:
                self._source = RecordedMetrics(recording)
                load_spans(recording, self.store)
            self.intake = Intake(self.store, clock, max_series=settings.span_series)
            self._traces: TraceSource = self.store
            self._watch: Watch | None = None
            if settings.tempo_url or settings.jaeger_url:
                remote = opened.enter_context(closing(_elsewhere(settings)))
                self._traces, self._watch = remote, opened.enter_context(closing(Watch(remote.probe, settings.step)))
            try:
                tokens = Tokens(settings.otlp_token_file) if settings.otlp_token_file else None
            except GuardError as error:
                raise HubError(f"--otlp-token-file: {error}") from error
            self.receiver = Receiver(
                accept=self._refuse if settings.at is not None else self.intake.accept,
                allows=tokens.allows if tokens else None,
                now=clock.now,
                asked=pickers(settings.trace_keys or TRACE_KEYS),
            )
            self.grpc = self._door("--otlp-grpc-port", settings.otlp_grpc_port, serve_grpc)
            opened.callback(self.grpc.close)
            self.http = self._door("--otlp-http-port", settings.otlp_http_port, serve_http)
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
            self._paced = self._source is self.store
            self._watch_at(settings.scrape_interval)
            self._state = State()
            self._snapshot = Snapshot(0, None, (), Learning(0.0, NEEDED))
            self._tick_seconds = 0.0
            self._upkeep = upkeep
            self._settle = 0.0 if settings.at is not None else SETTLE * clock.speed
            self._stop = threading.Event()
            self._threads = [
                threading.Thread(target=self._tick_on, name="tick", daemon=True),
                threading.Thread(target=self._maintain_on, name="upkeep", daemon=True),
            ]
            if self._source is not self.store:
                self._threads.append(threading.Thread(target=self._cover_on, name="season", daemon=True))
            hosts = settings.allowed_hosts if loopback(settings.host) else settings.allowed_hosts or ("*",)
            app = create_app(self, version=__version__, hosts=hosts, access=_access(settings))
            self.web = _listen("--port", lambda: WebServer(app, settings.host, settings.port))
            opened.callback(self.web.close)
            opened.callback(self._end_threads)
            self._opened = opened.pop_all()

    def start(self) -> None:
        """Answer, scrape and tick. A hub that stands at a past time ticks once and takes no spans in."""
        sys.setswitchinterval(SWITCH)
        collect_rarely()
        keep_little()
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

    def _door(self, flag: str, port: int, serve: Callable[[Receiver, str, int, Keys | None], Door]) -> Door:
        settings = self._settings
        keys = None
        if settings.otlp_tls_cert and settings.otlp_tls_key:
            keys = Keys(settings.otlp_tls_cert, settings.otlp_tls_key, settings.otlp_tls_client_ca)
        try:
            return _listen(flag, lambda: serve(self.receiver, settings.otlp_host or settings.host, port, keys))
        except GuardError as error:
            raise HubError(f"--otlp-tls-cert: {error}") from error

    def _end_threads(self) -> None:
        self._stop.set()
        for thread in self._threads:
            if thread.is_alive():
                thread.join(10)

    def _write_last(self) -> None:
        """What was counted since the last tick; the doors are closed by now."""
        if self._settings.at is None and self._source is self.store:
            try:
                self.intake.write(self._clock.now())
            except SourceError as error:
                log.warning("the last counts are lost: %s", error)

    def _tick_on(self) -> None:
        step = self._settings.step
        while not self._stop.is_set():
            self.tick()
            due = aligned(self._clock.now(), step) + step - self._clock.now()
            self._stop.wait(self._clock.wall_seconds(due) + SETTLE)

    def _maintain_on(self) -> None:
        """Sealing takes up to a second; the tick does not wait for it."""
        while not self._stop.wait(self._upkeep):
            try:
                self.store.maintain()
            except Exception:  # outermost loop: whatever one round meets, the next one tries again
                log.exception("the store's upkeep failed; it is tried again in %g s", self._upkeep)

    def tick(self) -> None:
        """Write the hub's own series, read what is new, judge it. A failure is shown, and the next tick tries again."""
        now, last, begun = self._clock.now(), self._snapshot, time.perf_counter()
        try:
            if self._settings.at is None and self._source is self.store:
                self.intake.write(now, incident_samples(last.incidents))
            if not self._paced:
                self._pace(now - self._settle)
            if self._source is self.store or self._settings.at is not None:
                self._cover(now)
            world = last.world
            for fresh in self._observer.pieces(now - self._settle):
                world = self._growing.add(fresh, self._observer.missing())
                del fresh  # hundreds of thousands of labels, in whose place the verdict finds room
                world = self._seasons.told(replace(world, simulated=True) if self._simulated else world)
                for state in states(self._state, world, self._promised.given):
                    self._state = state
                    self._rewind.note(state, world)
            if world is not None:
                self._promised.meet(world)
                self._tiers.meet(world)
                expected = outlook(self._state, world)
                self._snapshot = Snapshot(
                    last.seq + 1, world, self._state.incidents, learning(world), outlook=expected, bounds=self._bounds
                )
        except SourceError as error:
            self._fail(str(error))
        except Exception as error:  # outermost loop: whatever one tick meets, the next one tries again
            log.exception("tick failed")
            self._fail(f"the last tick failed: {error}; the log has the details")
        gc.collect(0)
        self._tick_seconds = time.perf_counter() - begun

    def _cover(self, now: float) -> bool:
        """See what is usual at this time of the week, and in the quarter of an hour to come."""
        return self._seasons.cover(now - KEEP, now + BIN)

    def _cover_on(self) -> None:
        """Somebody else may take long to find what is weeks old; the tick does not wait for it."""
        while not self._stop.is_set():
            try:
                done = self._cover(self._clock.now())
            except Exception:  # outermost loop: whatever one round meets, the next one tries again
                log.exception("what is usual at this time of the week cannot be told")
                done = False
            self._stop.wait(ROUND if done else AGAIN)

    def _watch_at(self, interval: float) -> None:
        """Read the source as it fits samples so many seconds apart: a grid no finer, rates that hold two of them."""
        settings = replace(self._settings, scrape_interval=interval)
        step = max(settings.step, float(round(interval)))
        quick = quick_window(interval)
        read = catalogue(settings.window, quick)
        self._observer = Observer(self._source, read, step, Condenser(), KEEP)
        self._growing = GrowingWorld(step, KEEP, np.float32, ROOM, self._tiers.given)
        grid = Grid(lambda apart: catalogue(max(apart, settings.window), max(apart, quick)), step)
        begin = self._bounds[0] if self._bounds else -math.inf
        self._seasons = Seasons(self._source, grid.catalogue)
        promised, tiers = self._promised.given, self._tiers.given
        self._rewind = Rewind(self._source, grid, promised, ROOM, self._simulated, begin, tiers)

    def _pace(self, now: float) -> None:
        """See how often somebody else scrapes. Nobody is asked to tell; who told a longer interval is believed."""
        told = self._settings.scrape_interval
        shown = scrape_interval(self._source, now, otherwise=told)
        if shown > PATIENCE * told:
            log.warning(
                "samples are %.0f s apart, not %.0f s: --scrape-interval %.0fs says so at once", shown, told, shown
            )
            self._watch_at(shown)
        self._paced = True

    def _fail(self, why: str) -> None:
        last = self._snapshot
        if why != last.error:
            log.error("%s", why)
        self._snapshot = replace(last, seq=last.seq + 1, error=why)

    # what the web sees

    @property
    def snapshot(self) -> Snapshot:
        """The newest tick."""
        return self._snapshot

    def at(self, time: float) -> Snapshot:
        """The tick of an earlier instant."""
        return self._rewind.at(time, self._snapshot)

    def over(self, start: float, end: float) -> World | None:
        """The World of a stretch of time."""
        return self._rewind.over(start, end, self._snapshot)

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
        return status_of(self._vitals()) | {"reads": reads_of(self._settings, self.grpc.port, self.http.port)}

    def ready(self) -> tuple[bool, str]:
        """Whether the hub can answer truthfully: the store takes data, and what it reads elsewhere can be read."""
        kept, why = self.store.ready()
        if not kept:
            return False, why
        if self._snapshot.error:
            return False, self._snapshot.error
        if self._watch and self._watch.error:
            return False, self._watch.error
        return (True, "") if self._snapshot.world else (False, "the first tick has not ended")

    def _vitals(self) -> Vitals:
        return Vitals(
            version=__version__,
            time=self.now(),
            snapshot=self._snapshot,
            tick_seconds=self._tick_seconds,
            store=self.store.stats(),
            receiver=self.receiver.stats(),
            scrapes=self.scraper.states(),
            spans=self.intake.series(),
            objectives_in_vain=self._promised.vain,
            tiers_in_vain=self._tiers.vain,
        )

    def metrics_text(self, *, openmetrics: bool = False) -> str:
        """The hub's own metrics in the Prometheus text format, or in OpenMetrics with exemplars."""
        spans = self.intake.text(self.now(), openmetrics=openmetrics)
        return spans + text_of(self._vitals(), openmetrics=openmetrics)


def _access(settings: Settings) -> Access:
    """Who may look at page, API and metrics."""
    try:
        tokens = Tokens(settings.auth_token_file) if settings.auth_token_file else None
    except GuardError as error:
        raise HubError(f"--auth-token-file: {error}") from error
    try:
        users = Users(settings.auth_basic_file) if settings.auth_basic_file else None
    except GuardError as error:
        raise HubError(f"--auth-basic-file: {error}") from error
    return Access(tokens.allows if tokens else None, users, settings.auth_header, settings.auth_proxies)


def _bounds(settings: Settings, recording: Recording | None) -> tuple[float, float] | None:
    """Between which instants a hub that stands in the past can be asked; what a source still has nobody knows."""
    if settings.at is None:
        return None
    start = recording.meta.start if recording else None
    return (settings.at - KEEP if start is None else start, settings.at)


def _elsewhere(settings: Settings) -> TempoTraces | JaegerTraces:
    if settings.tempo_url and settings.jaeger_url:
        raise HubError("--tempo, --jaeger: traces are read from one of them; leave one out")
    made = TempoTraces if settings.tempo_url else JaegerTraces
    try:
        return made(
            settings.tempo_url or settings.jaeger_url,
            tenant=settings.traces_tenant,
            credentials=settings.traces_credentials,
            ca=settings.traces_ca,
        )
    except ValueError as error:
        raise HubError(f"{'--tempo' if settings.tempo_url else '--jaeger'}: {error}") from error


def _listen(flag: str, bind: Callable[[], Bound]) -> Bound:
    try:
        return bind()
    except OSError as error:
        why = os.strerror(error.errno) if error.errno else str(error)
        raise HubError(f"{flag}: cannot listen: {why}; choose another port, or 0 for a free one") from error
