"""The hub: one process that ingests metrics and spans, evaluates them, and serves the page and the API."""

from __future__ import annotations

import logging
import math
import threading
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack, closing

from foreshock_dashboard import __version__
from foreshock_dashboard.analysis.cost.report import cost_report
from foreshock_dashboard.changes.log import ChangeLog
from foreshock_dashboard.common.addresses import is_loopback
from foreshock_dashboard.common.clock import Clock
from foreshock_dashboard.common.process import trim_malloc
from foreshock_dashboard.hub.analysis_loop import (
    SETTLE_SECONDS,
    WORLD_HISTORY_SECONDS,
    WRITE_SECONDS,
    AnalysisLoop,
    LoopInputs,
)
from foreshock_dashboard.hub.capacity import CHUNK_RATIO, REFIT_SECONDS, CapacityForecaster
from foreshock_dashboard.hub.cost.ledger_reader import CostLedgerReader
from foreshock_dashboard.hub.factories import (
    discovery,
    page_access,
    page_server,
    remote_metrics,
    remote_traces,
    scrape_target,
)
from foreshock_dashboard.hub.identities import Identities
from foreshock_dashboard.hub.intake import Intake, naming
from foreshock_dashboard.hub.known_clusters import KnownClusters
from foreshock_dashboard.hub.notifications import hooks_of, is_message_of, notifier
from foreshock_dashboard.hub.option_changes import record_options, watched_options
from foreshock_dashboard.hub.self_metrics import change_samples, incident_samples, metrics_text
from foreshock_dashboard.hub.status import HubStats, ShardState, data_sources, status_json
from foreshock_dashboard.model.capacity.forecast import CapacityForecast
from foreshock_dashboard.model.cost.ledger import CostLedger
from foreshock_dashboard.model.cost.prices import NO_PRICES, Prices
from foreshock_dashboard.model.cost.report import CostReport
from foreshock_dashboard.model.explanation import Explanation
from foreshock_dashboard.model.incident import Incident
from foreshock_dashboard.model.query import MetricSource, SourceError
from foreshock_dashboard.model.service import Ownership, Service
from foreshock_dashboard.model.snapshot import Snapshot
from foreshock_dashboard.model.span import TraceSource
from foreshock_dashboard.model.types import Json
from foreshock_dashboard.model.world import World
from foreshock_dashboard.model.world_sections import DAY_SECONDS
from foreshock_dashboard.notify.notifier import Hooks
from foreshock_dashboard.owners.directory import REFRESH_SECONDS, OwnerDirectory
from foreshock_dashboard.recording.metrics import RecordedMetrics
from foreshock_dashboard.recording.reader import Recording
from foreshock_dashboard.replay.cost_history import STEP_SECONDS as COST_STEP_SECONDS
from foreshock_dashboard.replay.explain import SourceExtent, explain
from foreshock_dashboard.replay.recording_hub import load_spans
from foreshock_dashboard.replay.replay import ReplayTiming
from foreshock_dashboard.settings.prices_file import prices_file
from foreshock_dashboard.settings.settings import Settings
from foreshock_dashboard.shared.durable_state import durable_state
from foreshock_dashboard.sources.clusters import ClusterSource
from foreshock_dashboard.sources.prometheus.recorded import RecordedSource
from foreshock_dashboard.sources.prometheus.scrape import Scraper
from foreshock_dashboard.sources.prometheus.target import ScrapeTarget
from foreshock_dashboard.sources.shard import Shard
from foreshock_dashboard.sources.traces.clusters import ClusterTraces
from foreshock_dashboard.sources.traces.source import HealthProbe
from foreshock_dashboard.web.app import create_app
from foreshock_dashboard.web.shell.shell import SIMULATED
from foreshock_dashboard.world.observer import align_down

log = logging.getLogger(__name__)

MAINTENANCE_SECONDS = 5.0
"""Wall-clock time between two rounds of sealing, merging, and expiring blocks of the store."""
RELIEF_SECONDS = 1.0
"""Wall-clock time between two rounds while memory is tight."""
SEASONS_SECONDS, SEASONS_RETRY_SECONDS = 30.0, 600.0
"""Wall-clock time until the next query of earlier weeks from an external source: after success, after failure."""
STEP_LOOPS = ("evaluation", "capacity", "cost")
"""Loops whose work `Hub.step` does."""

MAX_EXPLAINED_METRICS = 5000
"""Metrics of the source that a request to explain may read: 720 points of each series."""
EXPLAINED_SECONDS = 2.5 * 3600
"""Time before the explained one that is read."""


class Hub:
    """Wires sources, store, analysis, and web together; implements `HubView`.

    It listens once constructed and works after `start`.

    Args:
        clock: the hub's time; may run faster than the wall clock.
        targets: scrape targets besides those of the settings.
        maintenance_seconds: wall-clock time between two rounds of store maintenance.
        recording: the recording that `open_recording` opened for the settings, if any.
        intake: the open intake of the settings, which the hub closes; by default a new one.
        badge: that of pages with simulated data.

    Raises:
        HubError: an address is in use, or options exclude each other.
        StoreError: the store cannot be opened.
    """

    def __init__(
        self,
        settings: Settings,
        clock: Clock,
        targets: Sequence[ScrapeTarget] = (),
        maintenance_seconds: float = MAINTENANCE_SECONDS,
        recording: Recording | None = None,
        intake: Intake | None = None,
        badge: str = SIMULATED,
    ) -> None:
        self._settings = settings
        self._clock = clock
        self._maintenance_seconds = maintenance_seconds
        with ExitStack() as opened:
            intake = opened.enter_context(closing(intake or Intake(settings, clock)))
            self.store, self.pipeline, self.receiver = intake.store, intake.pipeline, intake.receiver
            self._is_fit = False  # to notify: the newest evaluation succeeded
            with naming("--postgres-url: run pip install '.[hub,postgres]' in a clone", ModuleNotFoundError):
                url = settings.postgres_url if settings.at is None else ""
                shard = Shard(*settings.shard, settings.shard_clusters) if settings.shard else None
                state = durable_state(
                    url,
                    settings.postgres_password_file,
                    intake.journal,
                    intake.store.path,
                    lambda: self._is_fit,
                    f"shard {shard}" if shard else "",
                    lambda message: shard is None or is_message_of(shard, message),
                )
            self._state = opened.enter_context(closing(state))
            self.journal = state.journal
            if settings.at is None and recording is None:
                record_options(self.journal, watched_options(settings, __version__), clock.now())
            self._change_log = ChangeLog(self.journal)
            with naming("--services-file"):
                self._owners = OwnerDirectory(settings.services_file)
            self._owners_read = threading.Event()  # before, an alert would lack its owner, and later be another one
            self.grpc, self.http, self._memory = intake.grpc, intake.http, intake.memory
            self.metrics: MetricSource = self.store
            self._prometheus: RecordedSource | None = None
            if settings.prometheus_url:
                self.metrics = self._prometheus = opened.enter_context(closing(remote_metrics(settings)))
            if recording is not None:
                self.metrics = RecordedMetrics(recording)
                load_spans(recording, self.store, settings.at)
            reads_own_store = self.metrics is self.store
            is_live = settings.at is None and recording is None
            known = KnownClusters(self.journal, settings.cluster_labels) if is_live else None
            found = known.read(clock.now()) if known else ()
            self.metrics = clusters = ClusterSource(self.metrics, settings.cluster_labels, found, shard)
            self._clusters = clusters
            self.traces: TraceSource = self.store
            self.remote_traces = ""
            self._traces_probe: HealthProbe | None = None
            if settings.tempo_url or settings.jaeger_url:
                remote = opened.enter_context(closing(remote_traces(settings)))
                self.traces, self.remote_traces = remote, remote.kind
                self._traces_probe = opened.enter_context(
                    closing(HealthProbe(remote.probe, settings.evaluation_interval))
                )
            exporters = list(map(scrape_target, settings.targets))
            self.traces = ClusterTraces(self.traces, clusters)
            self._discovery = opened.enter_context(closing(discovery(settings)))
            self.scraper = Scraper(
                [*exporters, *targets],
                sink=self.store.append_samples,
                refused=self.store.refused_series,
                clock=clock,
                interval=settings.scrape_interval,
                timeout=min(settings.scrape_interval, 10.0),
            )
            opened.callback(self.scraper.close)
            inputs = LoopInputs(
                clusters,
                is_own_store=reads_own_store,
                write=self._write_samples if intake.writes_samples else None,
                bounds=_bounds(settings, recording),
                simulated=recording is not None and recording.meta.simulated,
                memory=self._memory,
                reported=self._change_log.all,
                identities=Identities(self.journal, state.leads if url else None, clusters.is_own)
                if settings.at is None
                else None,
                known_clusters=known,
            )
            self._loop = AnalysisLoop(settings, clock, inputs)
            self._stop = threading.Event()
            self._attempts: dict[str, float] = {}  # start of the interval that `step` tried last, by loop
            self._forecaster = CapacityForecaster(clusters, self._memory, self._stop, self._loop.slos.values)
            self._cost_reader = CostLedgerReader(
                clusters, self._memory.chunk_values // CHUNK_RATIO, self._stop, self._memory.ledger_lines
            )
            with naming("--prices"):
                self._prices = prices_file(settings.prices) if settings.prices else None
            self._threads = self._make_threads(reads_own_store=reads_own_store)
            hosts = settings.allowed_hosts if is_loopback(settings.host) else settings.allowed_hosts or ("*",)
            access = page_access(settings)
            opened.callback(access.audit.close)
            secure = bool(settings.tls_cert) or settings.external_url.startswith("https://")
            with naming("--mcp: run pip install '.[hub,mcp]' in a clone", ModuleNotFoundError):
                app = create_app(
                    self,
                    version=__version__,
                    hosts=hosts,
                    access=access,
                    secure=secure,
                    mcp=settings.mcp,
                    badge=badge,
                )
            self.web = page_server(app, settings)
            opened.callback(self.web.close)
            self.notifier = notifier(settings, clock, state.messages, self.hooks())
            if self.notifier:
                opened.callback(self.notifier.close)
            opened.callback(self._end_threads)
            self._opened = opened.pop_all()

    def hooks(self) -> Hooks:
        """What the notifier takes from this hub."""
        return hooks_of(self, self._settings, self.web.url, self._state.leads)

    def _make_threads(self, *, reads_own_store: bool) -> Sequence[threading.Thread]:
        """The threads of the loops; those that read history may take long, and must not delay an evaluation."""
        loops: dict[str, Callable[[], None]] = {
            "evaluation": self._evaluate_repeatedly,
            "maintenance": self._maintain_repeatedly,
            "owners": self._read_owners_repeatedly,
            "cost": lambda: self._cost_reader.refresh_repeatedly(self._clock),
            "capacity": lambda: self._forecaster.refresh_repeatedly(self._clock, lambda: self.snapshot),
        }
        if not reads_own_store:
            loops["season"] = self._load_seasons_repeatedly
        return [threading.Thread(target=loop, name=name, daemon=True) for name, loop in loops.items()]

    def start(self, *, in_steps: bool = False) -> None:
        """Begin to serve, scrape, and evaluate. A hub at a past time evaluates once and takes nothing in.

        in_steps: the caller writes the samples, and calls `step`.
        """
        self.web.start()
        if self._traces_probe:
            self._traces_probe.start()
        if self._settings.at is not None:
            self.evaluate()
            return
        if not in_steps:
            self.scraper.start()
            self._discovery.start(self.scraper)
        if self.notifier:
            self.notifier.start()
        for thread in self._threads:
            if not (in_steps and thread.name in STEP_LOOPS):
                thread.start()

    def step(self) -> None:
        """Evaluate, forecast once an hour, and read each step of the ledger, for a caller whose clock waits for all.

        What fails is tried again in the next interval: at each step, it would read the whole history again.
        """
        self.evaluate()
        now = self._clock.now()
        if self._is_due("capacity", REFIT_SECONDS):
            self._forecaster.refresh(now, self.snapshot)
        if self._is_due("cost", COST_STEP_SECONDS):
            self._cost_reader.refresh(now)

    def _is_due(self, loop: str, interval: float) -> bool:
        """Whether an interval (seconds) has begun since the last attempt; then the caller makes the next one."""
        begun = align_down(self._clock.now(), interval)
        is_due = begun > self._attempts.get(loop, -math.inf)
        self._attempts[loop] = begun
        return is_due

    def close(self) -> None:
        """Stop ingestion, evaluations, and the page; then close the store. May be called twice."""
        self._opened.close()

    def evaluate(self) -> None:
        """Evaluate up to the present, and hand the incidents to the notifier, which does not delay the next one."""
        self._loop.evaluate()
        snapshot = self.snapshot
        world = snapshot.evaluated
        self._is_fit = world is not None and not snapshot.error
        if world is not None and self._settings.at is None and self._state.leads():
            self._change_log.record(world.collected, world.time)
        if self.notifier and self._owners_read.is_set() and self._is_fit:
            self.notifier.observe(snapshot.incidents, complete=snapshot.learning.done)

    def _write_samples(self, now: float, incidents: Sequence[Incident]) -> None:
        changes = change_samples(self._change_log.reported(), now)
        self.pipeline.write(now, (*incident_samples(incidents), *changes))

    def _evaluate_repeatedly(self) -> None:
        step = self._settings.evaluation_interval
        while not self._stop.is_set():
            self.evaluate()
            remaining = align_down(self._clock.now(), step) + step - self._clock.now() - WRITE_SECONDS
            if not self._stop.wait(max(self._clock.wall_seconds(remaining), self._loop.retry_seconds)):
                self._loop.write()
                self._stop.wait(self._clock.wall_seconds(WRITE_SECONDS) + SETTLE_SECONDS)

    def _maintain_repeatedly(self) -> None:
        """Maintain the store, at once if memory is tight, in a dedicated thread: sealing takes up to a second."""
        while True:
            is_tight = self._memory.tight.wait(self._maintenance_seconds)
            if self._stop.is_set():
                return
            try:
                if is_tight:
                    self._loop.time_travel.clear()
                    trim_malloc()
                with self._memory.turn():
                    self.store.maintain(early=is_tight, merge=self._memory.has_room(0))
            except Exception:  # outermost loop: the next round tries again after any failure
                log.exception("store maintenance failed; retrying in %g s", self._maintenance_seconds)
            if is_tight:
                trim_malloc()
                # If relief did not help, the next round comes later: cutting a block takes memory, too.
                self._stop.wait(self._maintenance_seconds if self._memory.usage().warning else RELIEF_SECONDS)
                self._memory.tight.clear()
            self._memory.check(relieved=is_tight)

    def _load_seasons_repeatedly(self) -> None:
        """Load earlier weeks in a dedicated thread: an external source may take long to find them."""
        while not self._stop.is_set():
            try:
                complete = self._loop.load_seasons(self._clock.now())
            except Exception:  # outermost loop: the next round tries again after any failure
                log.exception("the seasonal baseline could not be read")
                complete = False
            self._stop.wait(SEASONS_SECONDS if complete else SEASONS_RETRY_SECONDS)

    def _read_owners_repeatedly(self) -> None:
        """Read the labels of owners in a dedicated thread: an external source may be slow."""
        while not self._stop.is_set():
            try:
                self._owners.refresh(self.metrics, self._clock.now())
            except Exception:  # outermost loop: the next round tries again after any failure
                log.exception("owners could not be read")
            self._owners_read.set()
            self._stop.wait(REFRESH_SECONDS)

    def _end_threads(self) -> None:
        self._stop.set()
        self._loop.end()
        self._memory.tight.set()  # wakes the maintenance
        for thread in self._threads:
            if thread.is_alive():
                thread.join(10)

    # HubView

    @property
    def snapshot(self) -> Snapshot:
        """Result of the newest evaluation."""
        return self._loop.snapshot

    @property
    def capacity(self) -> CapacityForecast:
        """The newest forecast of hours and days."""
        return self._forecaster.current

    @property
    def cost(self) -> CostLedger:
        """The newest ledger of GPU time; a hub of the past reads it at the first request."""
        return self._cost_reader.ledger if self._settings.at is None else self._cost_reader.at(self._settings.at)

    @property
    def prices(self) -> Prices:
        """Those of the price file; none without one."""
        return self._prices.current() if self._prices else NO_PRICES

    def at(self, time: float) -> Snapshot:
        """Snapshot of an earlier instant (Unix seconds)."""
        return self._loop.time_travel.at(time, self.snapshot)

    def over(self, start: float, end: float) -> World | None:
        """World of a time range (Unix seconds)."""
        return self._loop.time_travel.over(start, end, self.snapshot)

    def silenced_until(self) -> Mapping[str, float | None]:
        """Ends (Unix seconds) of Alertmanager's silences by incident, as of its last answer; None: it inhibits it."""
        return self.notifier.silenced_until() if self.notifier else {}

    @property
    def cluster(self) -> str:
        """All clusters."""
        return ""

    def explain(self, service: str | None, at: float, cluster: str = "") -> Explanation:
        """Ranked root causes of an anomaly around `at` (Unix seconds), from all metrics of the source."""
        if (count := len(self.metrics.metric_names())) > MAX_EXPLAINED_METRICS:
            raise SourceError(
                f"{count:,} metrics are too many to analyze on request (limit {MAX_EXPLAINED_METRICS:,}). Explain a "
                "recording of that time instead."
            )
        timing = ReplayTiming.of(self._settings.scrape_interval)
        start, end = self.snapshot.bounds or (at - EXPLAINED_SECONDS, self.now())
        return explain(self.metrics, SourceExtent("hub", start, end), timing, service, at, cluster)

    def ownership(self, service: Service) -> Ownership:
        """Owner, tier, and links of a service."""
        return self._owners.of(service)

    def now(self) -> float:
        """The hub's time, Unix seconds."""
        return self._clock.now()

    def status(self) -> Json:
        """Counters and ages for the status line."""
        rules = len(self._prometheus.used) if self._prometheus else 0
        sources = data_sources(self._settings, self.grpc.port, self.http.port, rules)
        return status_json(self._stats()) | {"sources": sources}

    def ready(self) -> tuple[bool, str]:
        """Whether the store takes data and every external source can be read; else the reason."""
        writable, reason = self.store.ready()
        if not writable:
            return False, reason
        if self.snapshot.error:
            return False, self.snapshot.error
        if self._traces_probe and self._traces_probe.error:
            return False, self._traces_probe.error
        return (True, "") if self.snapshot.evaluated else (False, "the first evaluation has not ended")

    def metrics_text(self, *, openmetrics: bool = False) -> str:
        """Span metrics and the hub's own metrics, in the Prometheus text format or in OpenMetrics with exemplars."""
        spans = self.pipeline.text(self.now(), openmetrics=openmetrics)
        return spans + metrics_text(self._stats(), openmetrics=openmetrics)

    def _day_of_cost(self) -> CostReport:
        """The cost of 24 full hours: with the present one, the values would rise and fall within each hour."""
        ledger = self.cost
        return cost_report(ledger, DAY_SECONDS, self.prices, ledger.whole_end)

    def _stats(self) -> HubStats:
        shard = self._clusters.shard
        return HubStats(
            version=__version__,
            time=self.now(),
            snapshot=self.snapshot,
            capacity=self.capacity,
            cost=self._day_of_cost(),
            evaluation_seconds=self._loop.evaluation_seconds,
            durations=self._loop.durations,
            store=self.store.stats(),
            journal=self.journal.stats(),
            changes=self._change_log.reported(),
            receiver=self.receiver.stats(),
            scrapes=self.scraper.states(),
            cluster_labels=self._settings.cluster_labels,
            shard=ShardState(str(shard), self._clusters.own, self._settings.external_url) if shard else None,
            discovery=self._discovery.states(),
            memory=self._memory.usage(),
            spans=self.pipeline.usage(),
            unmatched_slos=self._loop.slos.unmatched,
            unmatched_tiers=self._loop.tiers.unmatched,
            channels=self.notifier.stats() if self.notifier else (),
            outbox_error=self.notifier.problem if self.notifier else "",
            shared=self._state.shared(),
        )


def _bounds(settings: Settings, recording: Recording | None) -> tuple[float, float] | None:
    """Time range of a hub at a past time, in Unix seconds; None for a live hub, because its source has no bounds."""
    if settings.at is None:
        return None
    start = recording.meta.start if recording else None
    return (settings.at - WORLD_HISTORY_SECONDS if start is None else start, settings.at)
