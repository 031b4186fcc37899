"""Scrapes Prometheus targets over HTTP, each in its own thread, so that a slow or failing target affects no other."""

from __future__ import annotations

import logging
import math
import threading
import time
from collections.abc import Callable, Collection, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import chain

import httpx

from foreshock_dashboard.common.clock import Clock
from foreshock_dashboard.common.gunzip import TooLargeError, gunzip
from foreshock_dashboard.common.log_on_change import LogOnChange
from foreshock_dashboard.model.query import SourceError
from foreshock_dashboard.model.samples import STALE, TARGET_METRICS, Labels, Sample, SampleBatch, labels_of
from foreshock_dashboard.sources.http_client import error_text
from foreshock_dashboard.sources.prometheus.target import ScrapeTarget
from foreshock_dashboard.sources.prometheus.text_format import SeriesCache, parse

MAX_BODY_BYTES = 32 << 20
"""Largest response, before and after decompression."""
STORED_AT_ONCE = 4
"""Scrapes that are parsed and stored at once, each in a dedicated thread. All targets answer at the same time, and
parsed samples take many times the memory of a page. A thread that has stored something keeps 40 KiB of stack more."""

_HEADERS = {
    "Accept": "text/plain;version=0.0.4;q=1,application/openmetrics-text;version=1.0.0;q=0.5",
    "Accept-Encoding": "gzip",
}
_log = logging.getLogger(__name__)

TargetKey = tuple[str, Labels]
"""URL and labels of a target."""
Sink = Callable[[Sequence[SampleBatch]], None]
"""Stores the samples of a scrape; raises if it cannot."""
Series = tuple[str, Labels]
"""Metric and labels."""
Refused = Callable[[Iterable[Series]], Collection[Series]]
"""Those series of which the sink drops all samples."""


class ScrapeError(Exception):
    """A scrape failed. The message has the reason and the remedy."""


@dataclass(frozen=True, slots=True)
class ScrapeState:
    """State of a target. `up` and `last` (Unix seconds on the scraper's clock) are None before the first scrape.

    duration: seconds of wall time. error: "" after a successful scrape. sink_failures: scrapes that were not stored.
    """

    target: ScrapeTarget
    up: bool | None = None
    last: float | None = None
    duration: float = 0.0
    samples: int = 0
    error: str = ""
    scrapes: int = 0
    sink_failures: int = 0


class Scraper:
    """Scrapes each target at every multiple of `interval` seconds of the clock, which may run faster than wall time.

    The samples `up`, `scrape_duration_seconds` and `scrape_samples_scraped` are added. A series that a target no longer
    exposes gets a staleness marker. `timeout` is in seconds of wall time. `refused` series are not remembered.
    """

    def __init__(
        self,
        targets: Sequence[ScrapeTarget],
        *,
        sink: Sink,
        refused: Refused = lambda _: (),
        clock: Clock,
        interval: float = 10.0,
        timeout: float = 10.0,
        max_body: int = MAX_BODY_BYTES,
    ) -> None:
        if not interval > 0 or not timeout > 0:
            raise ValueError(f"scrape interval {interval} s and timeout {timeout} s must be positive")
        self._sink, self._clock, self._interval, self._timeout, self._max_body = (
            sink,
            clock,
            interval,
            timeout,
            max_body,
        )
        self._refused = refused
        self._storing = ThreadPoolExecutor(STORED_AT_ONCE, "store scrapes")
        self._client = httpx.Client(trust_env=False)
        self._lock = threading.Lock()
        self._started = self._closed = False
        self._by_job: dict[str, dict[TargetKey, _TargetScraper]] = {}
        self.replace("", targets, lambda: self._client)

    def replace(
        self,
        job: str,
        targets: Sequence[ScrapeTarget],
        client: Callable[[], httpx.Client],
        *,
        honor_labels: bool = False,
    ) -> None:
        """Scrape these targets of a job, and no others of it. A removed target gets staleness markers.

        Args:
            job: key of the targets, "" for those of the constructor.
            client: called for each scrape.
            honor_labels: an exposed label wins over one of the target.
        """
        with self._lock:
            if self._closed:
                return
            before = self._by_job.get(job, {})
            after = {}
            for target in targets:
                key = target.url, labels_of(target.target_labels)
                after[key] = before.get(key) or _TargetScraper(
                    target,
                    client,
                    self._sink,
                    self._refused,
                    self._storing,
                    self._clock,
                    self._timeout,
                    self._max_body,
                    honor_labels=honor_labels,
                )
                if self._started and key not in before:
                    self._start(after[key])
            for key in before.keys() - after.keys():
                before[key].stop.set()
            self._by_job[job] = after

    def start(self) -> None:
        """Start; the first scrape is at the next multiple of the interval."""
        with self._lock:
            self._started = True
            for scraper in self._scrapers():
                self._start(scraper)

    def close(self) -> None:
        """Stop, and wait for scrapes in progress, at most for their timeout. Later ones store nothing."""
        with self._lock:
            self._closed = True
            scrapers = self._scrapers()
            for scraper in scrapers:
                scraper.stop.set()
        deadline = time.monotonic() + self._timeout
        for scraper in scrapers:
            if scraper.thread:
                scraper.thread.join(max(deadline - time.monotonic(), 0.0))
        self._storing.shutdown(wait=False, cancel_futures=True)
        self._client.close()

    def states(self) -> tuple[ScrapeState, ...]:
        """Return the state of each target, in order."""
        with self._lock:
            return tuple(scraper.state for scraper in self._scrapers())

    def _scrapers(self) -> list[_TargetScraper]:
        return [scraper for scrapers in self._by_job.values() for scraper in scrapers.values()]

    def _start(self, scraper: _TargetScraper) -> None:
        name = f"scrape {scraper.target.instance}"
        scraper.thread = threading.Thread(target=self._run, args=(scraper,), name=name, daemon=True)
        scraper.thread.start()

    def _run(self, scraper: _TargetScraper) -> None:
        while True:
            now = self._clock.now()
            due = (math.floor(now / self._interval) + 1) * self._interval
            if scraper.stop.wait(self._clock.wall_seconds(due - now)):
                if not self._closed:
                    scraper.end()
                return
            try:
                scraper.scrape()
            except Exception:  # noqa: BLE001 the thread's outermost loop: a defect costs one scrape, not the target
                if not scraper.stop.is_set():  # else its client may be closed
                    _log.exception("target %s: the scrape failed unexpectedly", scraper.target.address)


class _TargetScraper:
    """Scrapes one target."""

    def __init__(
        self,
        target: ScrapeTarget,
        client: Callable[[], httpx.Client],
        sink: Sink,
        refused: Refused,
        storing: ThreadPoolExecutor,
        clock: Clock,
        timeout: float,
        max_body: int,
        *,
        honor_labels: bool,
    ) -> None:
        self.target, self.state = target, ScrapeState(target)
        self.stop = threading.Event()
        self.thread: threading.Thread | None = None
        self._honor_labels, self._refused, self._storing = honor_labels, refused, storing
        self._client, self._sink, self._clock, self._timeout, self._max_body = client, sink, clock, timeout, max_body
        self._labels = labels_of(target.target_labels)
        self._series_cache = SeriesCache()
        self._stored: tuple[list[str], list[Labels]] = [], []
        """Metrics and labels of the series of the last scrape; lists of the cache, which takes no more memory."""
        self._unmarked: list[Series] = []
        """Series that ended, but whose staleness markers could not be stored."""
        self._log = LogOnChange(_log, recovered=f"target {target.address}: answers again")

    def scrape(self) -> None:
        """Scrape the target once and pass the samples to the sink."""
        now, began = self._clock.now(), time.monotonic()
        page = error = ""
        try:
            page = fetch(self._client(), self.target.url, self._timeout, self._max_body)
        except (ScrapeError, SourceError, ValueError) as failure:
            error = str(failure)
        self._storing.submit(self._take, page, error, now, began).result()

    def _take(self, page: str, error: str, now: float, began: float) -> None:
        """Store a page, or the error why there is none. now, began: the begin of the scrape on both clocks."""
        if self.stop.is_set():
            return
        samples: tuple[Sample, ...] = ()
        try:
            if not error:
                samples = parse(page, self.target.target_labels, self._series_cache, honor_labels=self._honor_labels)
        except ValueError as failure:
            error = str(failure)
        up, duration = not error, time.monotonic() - began
        failures = self.state.sink_failures
        try:
            self._store(now, samples, up=up, duration=duration)
        except Exception as failure:  # noqa: BLE001 whatever the sink raises, the next scrape takes place
            failures += 1
            error = error or f"the scrape could not be stored: {failure}"
        self._log.update(error and f"target {self.target.address}: {error}")
        self.state = ScrapeState(self.target, up, now, duration, len(samples), error, self.state.scrapes + 1, failures)

    def end(self) -> None:
        """Mark all series of the target as stale."""
        ended = [Sample(metric, labels, STALE) for metric, labels in self._all_stored()]
        own = [Sample(metric, self._labels, STALE) for metric in TARGET_METRICS]
        try:
            self._sink([SampleBatch(self._clock.now(), self.target.address, (*ended, *own), len(own))])
        except Exception as failure:  # noqa: BLE001 whatever the sink raises, the thread ends
            _log.warning("target %s: its end could not be stored: %s", self.target.address, failure)

    def _store(self, now: float, samples: tuple[Sample, ...], *, up: bool, duration: float) -> None:
        cache = self._series_cache
        current = (cache.metrics, cache.labels) if up else ([], [])
        present = set(zip(*current, strict=True))
        ended = [series for series in self._all_stored() if series not in present]
        markers = [Sample(metric, labels, STALE) for metric, labels in ended]
        figures = (float(up), duration, float(len(samples)))
        own = [Sample(metric, self._labels, value) for metric, value in zip(TARGET_METRICS, figures, strict=True)]
        # If the sink fails, the staleness markers are repeated with the next scrape.
        self._stored, self._unmarked = current, ended
        self._sink([SampleBatch(now, self.target.address, (*samples, *markers, *own), len(own))])
        self._unmarked = []
        if refused := frozenset(self._refused(present)):
            # They are parsed again at each scrape, so that what a target exposes beyond the limit takes no memory.
            cache.drop(refused)
            self._stored = cache.metrics, cache.labels

    def _all_stored(self) -> Iterable[Series]:
        """Series of which the sink may have samples since their last staleness marker, each once."""
        return dict.fromkeys(chain(zip(*self._stored, strict=True), self._unmarked))


def fetch(client: httpx.Client, url: str, timeout: float, max_body: int) -> str:
    """Return a metrics page, fetched within `timeout` seconds in total.

    Raises ScrapeError if there is no response in time, or it is not a metrics page of at most `max_body` bytes.
    """
    deadline = time.monotonic() + timeout
    try:
        with client.stream("GET", url, timeout=timeout, headers=_HEADERS) as response:
            if response.status_code in (401, 403):
                raise ScrapeError(f"returned {response.status_code}; set credentials with --targets-file")
            if response.status_code != httpx.codes.OK:
                raise ScrapeError(f"returned {response.status_code}; use the URL of its metrics page")
            if response.headers.get("content-type", "").startswith("text/html"):
                raise ScrapeError("returned HTML instead of metrics; most metrics URLs end in /metrics")
            body = _read(response, deadline, timeout, max_body)
            encoding = response.headers.get("content-encoding", "identity")
    except httpx.TimeoutException:
        raise ScrapeError(f"no response within {timeout:g} s; raise the timeout or check its load") from None
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        raise ScrapeError(f"cannot be reached ({error_text(error)}); check that it is running") from error
    try:
        return (gunzip(body, max_body) if encoding == "gzip" else body).decode()
    except TooLargeError as error:
        raise _too_large(max_body) from error
    except UnicodeDecodeError as error:
        raise ScrapeError(f"response is not UTF-8: {error}") from error
    except ValueError as error:
        raise ScrapeError(f"response cannot be decompressed: {error}") from error


def _too_large(max_body: int) -> ScrapeError:
    return ScrapeError(f"response too large (limit {max_body / (1 << 20):.3g} MiB); drop metrics, or split the target")


def _read(response: httpx.Response, deadline: float, timeout: float, max_body: int) -> bytes:
    body = bytearray()
    for chunk in response.iter_raw():
        body += chunk
        if len(body) > max_body:
            raise _too_large(max_body)
        if time.monotonic() > deadline:
            raise ScrapeError(f"no complete response within {timeout:g} s; raise the timeout or check its load")
    return bytes(body)
