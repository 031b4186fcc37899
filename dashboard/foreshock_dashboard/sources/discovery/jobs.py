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
"""Time until a watch that failed or ended begins again."""
PUBLISH_SECONDS = 1.0
"""Time between two changes of the scraped targets."""
JOIN_SECONDS = 1.0
"""Time that the end of the process waits for a source that is read."""

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class DiscoveryState:
    """State of a job: number of its targets, and which sources and targets cannot be used, "" if all can."""

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


Found = ScrapeTarget | str
"""A target, or why it is invalid."""


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
        self._found: dict[int, Sequence[Found]] = {}
        self._errors: dict[int, str] = {}  # by number of the source
        self._invalid = ""
        self._changed = threading.Event()
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
        loops: list[Callable[[], None]] = [
            *(partial(self._repeat, number, source) for number, source in enumerate(sources)),
            *(partial(self._follow, number, watch) for number, watch in enumerate(self._watches, len(sources))),
            self._publish_changes,
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
        self._changed.set()
        for watch in self._watches:
            watch.close()
        for thread in self._threads:
            if thread.ident is not None:
                thread.join(JOIN_SECONDS)
        self._clients.close()

    def state(self) -> DiscoveryState:
        with self._lock:
            return DiscoveryState(self._config.job_name, len(self._targets), self._error())

    def _repeat(self, number: int, source: _Source) -> None:
        while True:
            try:
                found = [item for item in map(self._target, source.find()) if item]
                self._succeed(number)
                self._keep(number, found)
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
                watch.follow(self._target, partial(self._keep, number), partial(self._succeed, number), self._stop)
            except DiscoveryError as error:
                self._fail(number, str(error))
            except Exception as error:  # noqa: BLE001 outermost loop: the watch begins again
                _log.exception("job %s: the watch failed unexpectedly", self._config.job_name)
                self._fail(number, f"failed: {type(error).__name__}")
            self._stop.wait(RETRY_SECONDS)

    def _target(self, labels: Labels) -> Found | None:
        """The target of labels before relabeling, or why it is invalid; None if relabeling drops it."""
        kept = relabeled({**self._config.base_labels(), **labels}, self._config.relabel_configs)
        try:
            return None if kept is None else scrape_target(kept, self._config.job_name, self._config.params)
        except ValueError as error:
            return str(error)

    def _keep(self, number: int, found: Sequence[Found]) -> None:
        with self._lock:
            self._found[number] = found
        self._changed.set()

    def _succeed(self, number: int) -> None:
        with self._lock:
            self._errors.pop(number, None)
            self._log_error()

    def _fail(self, number: int, error: str) -> None:
        with self._lock:
            self._errors[number] = error
            self._log_error()

    def _error(self) -> str:
        return "; ".join(filter(None, (*self._errors.values(), self._invalid)))

    def _log_error(self) -> None:
        error = self._error()
        self._log.update(error and f"job {self._config.job_name}: {error}")

    def _publish_changes(self) -> None:
        while True:
            self._changed.wait()
            if self._stop.is_set():
                return
            self._changed.clear()
            self._publish()
            self._stop.wait(PUBLISH_SECONDS)

    def _publish(self) -> None:
        """Hand the targets of all sources to the scraper. Invalid ones, and those past the limit, are left out."""
        with self._lock:
            found = [item for items in self._found.values() for item in items]
            invalid = [item for item in found if isinstance(item, str)]
            targets = {
                (item.url, labels_of(item.target_labels)): item for item in found if isinstance(item, ScrapeTarget)
            }
            self._invalid = (
                f"{len(invalid)} of {len(found)} targets are invalid; first: {invalid[0]}" if invalid else ""
            )
            if len(targets) > MAX_TARGETS:
                self._invalid = f"{len(targets)} targets (limit {MAX_TARGETS}). Drop some with relabel_configs"
            self._log_error()
            self._targets = tuple(targets.values())[:MAX_TARGETS]
            if self._scraper and not self._stop.is_set():
                self._scraper.replace(
                    self._config.job_name, self._targets, self._client.current, honor_labels=self._config.honor_labels
                )
