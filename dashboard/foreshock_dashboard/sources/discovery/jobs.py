"""The jobs of a targets file: each finds its targets again and again, and hands them to the scraper."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterable, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass
from functools import partial
from typing import NamedTuple

from foreshock_dashboard.common.log_on_change import LogOnChange
from foreshock_dashboard.model.samples import labels_of
from foreshock_dashboard.sources.discovery.kubernetes import PodWatch, pod_watches
from foreshock_dashboard.sources.discovery.relabel import relabeled
from foreshock_dashboard.sources.discovery.scrape_config import ScrapeConfig
from foreshock_dashboard.sources.discovery.sources import (
    DiscoveryError,
    Labels,
    dns_targets,
    file_targets,
    http_targets,
)
from foreshock_dashboard.sources.http_config.client import ReloadingClient
from foreshock_dashboard.sources.http_config.values import HttpConfig
from foreshock_dashboard.sources.prometheus.scrape import Scraper
from foreshock_dashboard.sources.prometheus.target import ScrapeTarget, scrape_target

MAX_TARGETS = 1000
"""Targets of one job; each has a thread."""
RETRY_SECONDS = 10.0
"""Time until a failed watch begins again."""
JOIN_SECONDS = 1.0
"""Time that the end of the process waits for a source that is read."""

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class DiscoveryState:
    """State of a job: number of its targets, and why a source could not be read, "" if all could."""

    job: str
    targets: int
    error: str


class Discovery:
    """Finds the targets of jobs, each source in its own thread. A source that fails leaves its targets as they were.

    Raises:
        FileError: a file of a job cannot be used, or a library is missing.
    """

    def __init__(self, configs: Sequence[ScrapeConfig]) -> None:
        with ExitStack() as opened:
            self._jobs = [opened.enter_context(closing(_Job(config))) for config in configs]
            self._opened = opened.pop_all()

    def start(self, scraper: Scraper) -> None:
        """Start to find targets for a scraper."""
        for job in self._jobs:
            job.start(scraper)

    def close(self) -> None:
        """Stop. The scraper is closed before, since it uses the clients of the jobs."""
        self._opened.close()

    def states(self) -> tuple[DiscoveryState, ...]:
        """The state of each job."""
        return tuple(job.state() for job in self._jobs)


class _Source(NamedTuple):
    """A function that finds targets, and the seconds until it is called again; None for those that never change."""

    find: Callable[[], Iterable[Labels]]
    interval: float | None


class _Job:
    def __init__(self, config: ScrapeConfig) -> None:
        self._config = config
        self._scraper: Scraper | None = None
        self._lock = threading.Lock()
        self._stop = threading.Event()
        self._found: dict[int, Sequence[Labels]] = {}
        self._errors: dict[int, str] = {}
        self._targets: tuple[ScrapeTarget, ...] = ()
        self._clients = ExitStack()
        with ExitStack() as opened:
            self._client = self._opened_client(opened, config.model_copy(update={"params": {}}))
            groups = [labels for group in config.static_configs for labels in group.labels_by_target()]
            sources = [_Source(lambda: groups, None)]
            sources += [_Source(partial(file_targets, sd), sd.refresh_interval) for sd in config.file_sd_configs]
            for http in config.http_sd_configs:
                client = self._opened_client(opened, http)
                sources.append(_Source(partial(http_targets, http, client), http.refresh_interval))
            sources += [_Source(partial(dns_targets, sd), sd.refresh_interval) for sd in config.dns_sd_configs]
            self._watches = [watch for sd in config.kubernetes_sd_configs for watch in pod_watches(sd)]
            self._clients = opened.pop_all()
        loops = [
            *(partial(self._repeat, number, source) for number, source in enumerate(sources)),
            *(partial(self._follow, number, watch) for number, watch in enumerate(self._watches, len(sources))),
        ]
        name = f"discovery {config.job_name}"
        self._threads = [threading.Thread(target=loop, name=name, daemon=True) for loop in loops]
        self._log = LogOnChange(_log, recovered=f"job {config.job_name}: targets are found again")

    @staticmethod
    def _opened_client(opened: ExitStack, config: HttpConfig) -> ReloadingClient:
        return opened.enter_context(closing(ReloadingClient(config, trust_env=False)))

    def start(self, scraper: Scraper) -> None:
        self._scraper = scraper
        for thread in self._threads:
            thread.start()

    def close(self) -> None:
        self._stop.set()
        for watch in self._watches:
            watch.close()
        for thread in self._threads:
            if thread.ident is not None:
                thread.join(JOIN_SECONDS)
        self._clients.close()

    def state(self) -> DiscoveryState:
        with self._lock:
            return DiscoveryState(self._config.job_name, len(self._targets), "; ".join(self._errors.values()))

    def _repeat(self, number: int, source: _Source) -> None:
        while True:
            try:
                self._publish(number, list(source.find()))
            except DiscoveryError as error:
                self._fail(number, str(error))
            except Exception as error:  # noqa: BLE001 outermost loop: the next round takes place
                _log.exception("job %s: discovery failed unexpectedly", self._config.job_name)
                self._fail(number, f"failed: {type(error).__name__}")
            if source.interval is None or self._stop.wait(source.interval):
                return

    def _follow(self, number: int, watch: PodWatch) -> None:
        while not self._stop.is_set():
            try:
                watch.follow(lambda found: self._publish(number, found), self._stop)
                continue
            except DiscoveryError as error:
                self._fail(number, str(error))
            except Exception as error:  # noqa: BLE001 outermost loop: the watch begins again
                _log.exception("job %s: the watch failed unexpectedly", self._config.job_name)
                self._fail(number, f"failed: {type(error).__name__}")
            self._stop.wait(RETRY_SECONDS)

    def _fail(self, number: int, error: str) -> None:
        with self._lock:
            self._errors[number] = error
            self._log_errors()

    def _log_errors(self) -> None:
        errors = "; ".join(self._errors.values())
        self._log.update(errors and f"job {self._config.job_name}: {errors}")

    def _publish(self, number: int, found: Sequence[Labels]) -> None:
        """Hand the targets of all sources to the scraper."""
        with self._lock:
            self._found[number] = found
            self._errors.pop(number, None)
            targets: dict[object, ScrapeTarget] = {}
            try:
                for labels in (labels for source in self._found.values() for labels in source):
                    kept = relabeled({**self._config.base_labels(), **labels}, self._config.relabel_configs)
                    if kept is not None:
                        target = scrape_target(kept, self._config.job_name)
                        targets[target.url, labels_of(target.target_labels)] = target
            except ValueError as error:
                self._errors[number] = str(error)
            if len(targets) > MAX_TARGETS:
                self._errors[number] = f"{len(targets)} targets (limit {MAX_TARGETS}). Drop some with relabel_configs"
            self._log_errors()
            self._targets = tuple(targets.values())[:MAX_TARGETS]
            if self._scraper and not self._stop.is_set():
                self._scraper.replace(
                    self._config.job_name, self._targets, self._client.current, honor_labels=self._config.honor_labels
                )
