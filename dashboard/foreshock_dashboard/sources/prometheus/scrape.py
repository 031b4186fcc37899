"""Scrapes Prometheus targets over HTTP, each in a thread of its own, so that a bad one costs only itself."""

from __future__ import annotations

import logging
import math
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from urllib.parse import urlsplit

import httpx

from foreshock_dashboard.common.clock import Clock
from foreshock_dashboard.common.connection_error import error_text
from foreshock_dashboard.common.gunzip import TooLargeError, gunzip
from foreshock_dashboard.model.samples import STALE, Labels, Sample, SampleBatch, labels_of
from foreshock_dashboard.sources.prometheus.text_format import SeriesCache, parse

MAX_BODY_BYTES = 32 << 20
"""Bytes of one answer, before and after decompression."""

_ACCEPT = "text/plain;version=0.0.4;q=1,application/openmetrics-text;version=1.0.0;q=0.5"
_log = logging.getLogger(__name__)

Sink = Callable[[Sequence[SampleBatch]], None]
"""Keeps what a scrape gave; raises where it cannot."""


class ScrapeError(Exception):
    """A target did not give metrics. The message says why and what to do."""


@dataclass(frozen=True, slots=True)
class ScrapeTarget:
    """A page of metrics. Its label `instance` is the URL's host and port unless `labels` has one.

    Raises:
        ValueError: the URL is not http(s) with a host.
    """

    url: str
    job: str
    labels: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        parts = urlsplit(self.url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ValueError(f"target {self.url!r}: write http://HOST:PORT/metrics")

    @property
    def instance(self) -> str:
        """`host:port`, with the scheme's port where the URL has none."""
        parts = urlsplit(self.url)
        host = f"[{parts.hostname}]" if ":" in (parts.hostname or "") else parts.hostname
        return self.labels.get("instance") or f"{host}:{parts.port or (443 if parts.scheme == 'https' else 80)}"

    @property
    def target_labels(self) -> Mapping[str, str]:
        """What every sample of the target carries."""
        return {**self.labels, "job": self.job, "instance": self.instance}


@dataclass(frozen=True, slots=True)
class ScrapeState:
    """How a target stands. `up` and `last` (Unix seconds on the scraper's clock) are None before the first scrape.

    `duration` in wall seconds; `error` is "" while all is well; `sink_failures` counts scrapes that were not kept.
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
    """Scrapes each target at every multiple of `interval` seconds of the clock, which may run faster than the wall's.

    `timeout` is in wall seconds. Beside the target's own samples there are `up`, `scrape_duration_seconds` and
    `scrape_samples_scraped`; a series that a target no longer has gets the staleness marker.
    """

    def __init__(
        self,
        targets: Sequence[ScrapeTarget],
        *,
        sink: Sink,
        clock: Clock,
        interval: float = 10.0,
        timeout: float = 10.0,
        max_body: int = MAX_BODY_BYTES,
    ) -> None:
        if not interval > 0 or not timeout > 0:
            raise ValueError(f"scrape interval {interval} s and timeout {timeout} s must be positive")
        self._client = httpx.Client(
            trust_env=False, follow_redirects=False, headers={"Accept": _ACCEPT, "Accept-Encoding": "gzip"}
        )
        self._stop = threading.Event()
        self._jobs = [_Job(target, self._client, sink, clock, timeout, max_body) for target in targets]
        self._clock = clock
        self._interval = interval
        self._threads = [
            threading.Thread(target=self._run, args=(job,), name=f"scrape {job.target.instance}", daemon=True)
            for job in self._jobs
        ]

    def start(self) -> None:
        """Begin; the first scrape comes at the next multiple of the interval."""
        for thread in self._threads:
            thread.start()

    def close(self) -> None:
        """Stop scraping; waits for scrapes under way."""
        self._stop.set()
        for thread in self._threads:
            if thread.ident is not None:
                thread.join()
        self._client.close()

    def states(self) -> tuple[ScrapeState, ...]:
        """How each target stands, in the order given."""
        return tuple(job.state for job in self._jobs)

    def _run(self, job: _Job) -> None:
        while True:
            now = self._clock.now()
            due = (math.floor(now / self._interval) + 1) * self._interval
            if self._stop.wait(self._clock.wall_seconds(due - now)):
                return
            try:
                job.scrape()
            except Exception:  # noqa: BLE001 the thread's outermost loop: a defect costs one scrape, not the target
                _log.exception("target %s: the scrape failed in a way nobody foresaw", job.target.url)


class _Job:
    """One target: what it had last time, and how it stands."""

    def __init__(
        self, target: ScrapeTarget, client: httpx.Client, sink: Sink, clock: Clock, timeout: float, max_body: int
    ) -> None:
        self.target = target
        self.state = ScrapeState(target)
        self._client = client
        self._sink = sink
        self._clock = clock
        self._timeout = timeout
        self._max_body = max_body
        self._labels = labels_of(target.target_labels)
        self._known: SeriesCache = {}
        self._kept: frozenset[tuple[str, Labels]] = frozenset()
        self._reported = ""

    def scrape(self) -> None:
        """Read the target once and hand the batch on."""
        now, began = self._clock.now(), time.monotonic()
        samples: tuple[Sample, ...] = ()
        error = ""
        try:
            text = fetch(self._client, self.target.url, self._timeout, self._max_body)
            samples = parse(text, self.target.target_labels, self._known)
        except (ScrapeError, ValueError) as failure:
            error = str(failure)
        up, duration = not error, time.monotonic() - began
        failures = self.state.sink_failures
        try:
            self._hand_on(now, samples, up=up, duration=duration)
        except Exception as failure:  # noqa: BLE001 whatever the sink raises, the next scrape is due all the same
            failures += 1
            error = error or f"the scrape could not be kept: {failure}"
        self._report(error)
        self.state = ScrapeState(self.target, up, now, duration, len(samples), error, self.state.scrapes + 1, failures)

    def _hand_on(self, now: float, samples: tuple[Sample, ...], *, up: bool, duration: float) -> None:
        current = frozenset((sample.metric, sample.labels) for sample in samples)
        gone = [Sample(metric, labels, STALE) for metric, labels in self._kept - current]
        own = (
            Sample("up", self._labels, float(up)),
            Sample("scrape_duration_seconds", self._labels, duration),
            Sample("scrape_samples_scraped", self._labels, float(len(samples))),
        )
        # Until the sink has kept the markers, the series that ended are still to be marked.
        self._kept |= current
        self._sink([SampleBatch(now, self.target.url, (*samples, *gone, *own))])
        self._kept = current

    def _report(self, error: str) -> None:
        if error != self._reported:
            if error:
                _log.warning("target %s: %s", self.target.url, error)
            else:
                _log.info("target %s: answers again", self.target.url)
        self._reported = error


def fetch(client: httpx.Client, url: str, timeout: float, max_body: int) -> str:
    """Get a page of metrics within `timeout` seconds in all.

    Raises:
        ScrapeError: there is no answer in time, or it is not a page of metrics of at most `max_body` bytes.
    """
    deadline = time.monotonic() + timeout
    try:
        with client.stream("GET", url, timeout=timeout) as answer:
            if answer.status_code != httpx.codes.OK:
                raise ScrapeError(f"answers {answer.status_code}; give the URL of its metrics page")
            if answer.headers.get("content-type", "").startswith("text/html"):
                raise ScrapeError("answers HTML, not metrics; the URL usually ends in /metrics")
            body = _read(answer, deadline, timeout, max_body)
            encoding = answer.headers.get("content-encoding", "identity")
    except httpx.TimeoutException:
        raise ScrapeError(f"no answer within {timeout:g} s; raise the timeout or look at its load") from None
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        raise ScrapeError(f"cannot be reached ({error_text(error)}); is it running there?") from error
    try:
        return (gunzip(body, max_body) if encoding == "gzip" else body).decode()
    except TooLargeError as error:
        raise ScrapeError(f"its page is larger than allowed: {error}") from error
    except UnicodeDecodeError as error:
        raise ScrapeError(f"its page is not UTF-8: {error}") from error
    except ValueError as error:
        raise ScrapeError(f"its page cannot be decompressed: {error}") from error


def _read(answer: httpx.Response, deadline: float, timeout: float, max_body: int) -> bytes:
    body = bytearray()
    for chunk in answer.iter_raw():
        body += chunk
        if len(body) > max_body:
            raise ScrapeError(f"its page is larger than allowed: more than {max_body} bytes")
        if time.monotonic() > deadline:
            raise ScrapeError(f"no whole answer within {timeout:g} s; raise the timeout or look at its load")
    return bytes(body)
