"""Targets are really scraped over HTTP, and a bad one says what is wrong and costs only itself."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing
from typing import Protocol

import httpx
import pytest
from tests.ports import free_port

from foreshock_dashboard.common.clock import Clock
from foreshock_dashboard.model.samples import TARGET_METRICS, SampleBatch, is_stale
from foreshock_dashboard.sources.prometheus.scrape import STORED_AT_ONCE, Scraper
from foreshock_dashboard.sources.prometheus.target import ScrapeTarget

Start = Callable[..., Scraper]
Eventually = Callable[[Callable[[], bool], str], None]


class Page(Protocol):
    """What the loopback server answers (conftest.py)."""

    body: str | bytes
    status: int
    content_type: str
    compress: bool
    hold: threading.Event | None
    seen: list[Mapping[str, str]]
    url: str


class Kept:
    """A sink that remembers, or fails while `failing`."""

    def __init__(self) -> None:
        self.batches: list[SampleBatch] = []
        self.failing = False

    def __call__(self, batches: Sequence[SampleBatch]) -> None:
        if self.failing:
            raise OSError("the disk is full")
        self.batches.extend(batches)

    def values(self, metric: str, number: int = -1) -> list[float]:
        """The values of a metric in one batch, without staleness markers."""
        return [s.value for s in self.batches[number].samples if s.metric == metric and not is_stale(s.value)]

    def stale(self) -> list[str]:
        """Every series ever marked stale, in order."""
        return [s.metric for batch in self.batches for s in batch.samples if is_stale(s.value)]


@pytest.fixture
def kept() -> Kept:
    """A sink."""
    return Kept()


@pytest.fixture
def scrape(kept: Kept) -> Iterator[Start]:
    """Start scrapers that are closed after the test."""
    running: list[Scraper] = []

    def start(
        *urls: str, clock: Clock | None = None, interval: float = 0.05, timeout: float = 10.0, max_body: int = 1 << 20
    ) -> Scraper:
        targets = [ScrapeTarget(url, "test", {"rack": "7"}) for url in urls]
        scraper = Scraper(
            targets, sink=kept, clock=clock or Clock(), interval=interval, timeout=timeout, max_body=max_body
        )
        running.append(scraper)
        scraper.start()
        return scraper

    yield start
    for scraper in running:
        scraper.close()


@pytest.fixture
def closed_port() -> int:
    """A port on which nothing listens."""
    return free_port()


@pytest.mark.parametrize("compress", [False, True])
def test_a_page_becomes_samples_with_the_target_s_labels(
    page: Page, scrape: Start, kept: Kept, eventually: Eventually, compress: bool
) -> None:
    """Plain or gzip; `up` and what the scrape took are beside them."""
    page.body, page.compress = 'gpu_info{gpu="0"} 1\n', compress
    scraper = scrape(page.url)
    eventually(lambda: len(kept.batches) > 0, "a batch")
    instance = page.url.removeprefix("http://").removesuffix("/metrics")
    batch = kept.batches[0]
    assert batch.target == page.url
    assert dict(batch.samples[0].labels) == {"gpu": "0", "instance": instance, "job": "test", "rack": "7"}
    assert (kept.values("gpu_info"), kept.values("up"), kept.values("scrape_samples_scraped")) == ([1.0], [1.0], [1.0])
    assert kept.values("scrape_duration_seconds")[0] > 0
    assert "gzip" in page.seen[0]["Accept-Encoding"]
    eventually(lambda: scraper.states()[0].scrapes > 0, "a state")
    (state,) = scraper.states()
    assert (state.up, state.samples, state.error) == (True, 1, "")


def test_a_series_that_is_gone_is_marked_stale_once(
    page: Page, scrape: Start, kept: Kept, eventually: Eventually
) -> None:
    """A service that left a GPU must not seem to be on it for five minutes more."""
    page.body = "here 1\nleaves 2\n"
    scrape(page.url)
    eventually(lambda: len(kept.batches) > 0, "a batch")
    page.body = "here 1\n"
    eventually(lambda: "leaves" in kept.stale(), "a marker")
    count = len(kept.batches)
    eventually(lambda: len(kept.batches) > count + 2, "more batches")
    assert kept.stale() == ["leaves"]
    assert kept.values("here") == [1.0]


def spoil(page: Page, status: int = 200, content_type: str = "text/plain", body: str | bytes = "x 1\n") -> None:
    """Make a page answer something else."""
    page.status, page.content_type, page.body = status, content_type, body


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        (
            {"content_type": "text/html", "body": "<html>"},
            "returned HTML instead of metrics; most metrics URLs end in /metrics",
        ),
        ({"status": 404}, "returned 404; use the URL of its metrics page"),
        ({"status": 301}, "returned 301"),
        ({"body": "x 1\ny one\n"}, "line 2: 'one' is not a number: 'y one'"),
        ({"body": b"x\xff 1\n"}, "is not UTF-8"),
        ({"body": b"#" * 5000}, "response too large (limit 0.0038"),
    ],
    ids=["HTML", "not found", "moved", "no sample", "not UTF-8", "too large"],
)
def test_a_bad_answer_is_down_and_says_why_once(
    page: Page,
    scrape: Start,
    kept: Kept,
    eventually: Eventually,
    caplog: pytest.LogCaptureFixture,
    bad: dict[str, int],
    message: str,
) -> None:
    """One log line names the target and the remedy; what the target had is stale; when it recovers it is up again."""
    caplog.set_level(logging.INFO, "foreshock_dashboard.sources.prometheus.scrape")
    page.body = "x 1\n"
    scraper = scrape(page.url, max_body=4000)
    eventually(lambda: len(kept.batches) > 0, "a good batch")
    spoil(page, **bad)  # type: ignore[arg-type]  # one table of several types
    eventually(lambda: kept.values("up") == [0.0], "down")
    count = len(kept.batches)
    eventually(lambda: len(kept.batches) > count + 2, "some scrapes more")
    assert kept.stale() == ["x"]
    assert kept.values("scrape_samples_scraped") == [0.0]
    warnings = [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]
    assert len(warnings) == 1
    assert page.url in warnings[0]
    assert message in warnings[0]
    assert message in scraper.states()[0].error
    spoil(page)
    eventually(lambda: kept.values("up") == [1.0], "up again")
    eventually(lambda: "answers again" in caplog.text, "a line that it recovered")


def test_a_gzip_bomb_is_too_large(page: Page, scrape: Start, kept: Kept, eventually: Eventually) -> None:
    """The bound holds after decompression as well."""
    page.body, page.compress = b"#" * (1 << 20), True
    scraper = scrape(page.url, max_body=100_000)
    eventually(lambda: kept.batches != [] and kept.values("up") == [0.0], "down")
    eventually(lambda: "response too large (limit 0.0954 MiB)" in scraper.states()[0].error, "the reason")


def test_a_target_that_is_not_there_costs_the_others_nothing(
    page: Page, scrape: Start, eventually: Eventually, closed_port: int
) -> None:
    """Each target is scraped by itself."""
    page.body = "x 1\n"
    missing = f"http://127.0.0.1:{closed_port}/metrics"
    scraper = scrape(missing, page.url)

    def states() -> list[bool | None]:
        return [state.up for state in scraper.states()]

    eventually(lambda: states() == [False, True], "one down, one up")
    assert "cannot be reached" in scraper.states()[0].error
    assert "check that it is running" in scraper.states()[0].error


def test_the_password_of_a_target_is_sent_and_not_shown(
    page: Page, scrape: Start, kept: Kept, eventually: Eventually, closed_port: int, caplog: pytest.LogCaptureFixture
) -> None:
    """Neither in the log, nor in states, nor with the samples."""
    page.body = "x 1\n"
    address = page.url.replace("http://", "http://ada:secret@")
    scraper = scrape(address, f"http://ada:secret@127.0.0.1:{closed_port}/metrics")
    eventually(lambda: all(state.scrapes for state in scraper.states()), "a scrape of each")
    assert page.seen[0]["Authorization"] == "Basic YWRhOnNlY3JldA=="
    assert "secret" not in caplog.text + str([state.error for state in scraper.states()])
    assert {batch.target for batch in kept.batches} == {page.url, f"http://127.0.0.1:{closed_port}/metrics"}
    with pytest.raises(ValueError, match="use http") as refused:
        ScrapeTarget("ftp://ada:secret@host", "test")
    assert "secret" not in str(refused.value)


def test_a_target_that_never_ends_its_answer_is_given_up(
    page: Page, scrape: Start, kept: Kept, eventually: Eventually
) -> None:
    """The timeout bounds the whole scrape."""
    page.body, page.hold = "x 1\n", threading.Event()
    scraper = scrape(page.url, timeout=0.2)
    eventually(lambda: kept.batches != [] and kept.values("up") == [0.0], "down")
    eventually(lambda: "within 0.2 s; raise the timeout" in scraper.states()[0].error, "the reason")


def test_a_failing_sink_is_counted_and_its_markers_are_repeated(
    page: Page, scrape: Start, kept: Kept, eventually: Eventually, caplog: pytest.LogCaptureFixture
) -> None:
    """A full disk loses samples, never the fact that a series has ended."""
    page.body = "here 1\nleaves 2\n"
    scraper = scrape(page.url)
    eventually(lambda: len(kept.batches) > 0, "a batch")
    kept.failing = True
    page.body = "here 1\n"
    eventually(lambda: scraper.states()[0].sink_failures > 2, "failures")
    state = scraper.states()[0]
    assert (state.up, state.error) == (True, "the scrape could not be stored: the disk is full")
    assert caplog.text.count("the disk is full") == 1
    kept.failing = False
    eventually(lambda: kept.stale() == ["leaves"], "the marker")


def test_few_pages_are_stored_at_once_however_many_targets_answer(page: Page, eventually: Eventually) -> None:
    """Parsed samples take many times the memory of a page, and a platform answers all at the same time."""
    page.body, everyone_answered = "up 1\n", threading.Event()
    inside: list[str] = []
    most: list[int] = []

    def sink(batches: Sequence[SampleBatch]) -> None:
        inside.append(batches[0].target)
        most.append(len(inside))
        everyone_answered.wait(30)
        inside.pop()

    targets = [ScrapeTarget(page.url, "test", {"rack": str(number)}) for number in range(4 * STORED_AT_ONCE)]
    with closing(Scraper(targets, sink=sink, clock=Clock(), interval=0.05)) as scraper:
        scraper.start()
        eventually(lambda: len(page.seen) >= len(targets) and len(inside) >= STORED_AT_ONCE, "an answer of each target")
        everyone_answered.set()
        eventually(lambda: all(state.up for state in scraper.states()), "all targets stored")
    assert max(most) == STORED_AT_ONCE


def test_series_that_the_store_refuses_are_offered_again_and_not_remembered(
    page: Page, kept: Kept, eventually: Eventually
) -> None:
    """What a target exposes beyond the series limit takes no memory, and is stored once there is room."""
    page.body = 'x 1\ny{a="1"} 1\n'
    refused = {"y"}
    targets = [ScrapeTarget(page.url, "test", {})]
    with closing(
        Scraper(
            targets,
            sink=kept,
            refused=lambda series: [each for each in series if each[0] in refused],
            clock=Clock(),
            interval=0.05,
        )
    ) as scraper:
        (of_target,) = scraper._scrapers()
        scraper.start()
        eventually(lambda: scraper.states()[0].scrapes > 1, "a second scrape")
        assert (kept.values("x"), kept.values("y"), kept.stale()) == ([1.0], [1.0], [])
        scraper.replace("", [], httpx.Client)
        assert of_target.thread
        of_target.thread.join()
        assert of_target._series_cache.metrics == ["x"]
        assert kept.stale() == ["x", *TARGET_METRICS]


def test_scrapes_follow_the_clock_that_runs_faster(
    page: Page, scrape: Start, kept: Kept, eventually: Eventually
) -> None:
    """Ten simulated seconds between scrapes last a tenth of a second at speed 100, once in each interval."""
    page.body = "x 1\n"
    began = time.time()
    clock = Clock(100.0, began, began)
    scrape(page.url, clock=clock, interval=10.0)
    eventually(lambda: len(kept.batches) >= 5, "five batches")
    slots = [batch.time // 10 for batch in kept.batches]
    assert slots[0] > began // 10
    assert slots == sorted(set(slots))


@pytest.mark.parametrize("url", ["host:9100", "ftp://host/metrics", "http:///metrics", ""])
def test_a_target_needs_a_whole_url(url: str) -> None:
    """The message says how one looks."""
    with pytest.raises(ValueError, match="use http://HOST:PORT/metrics"):
        ScrapeTarget(url, "job", {})


@pytest.mark.parametrize(
    ("url", "labels", "instance"),
    [
        ("http://host:9100/metrics", {}, "host:9100"),
        ("http://host/metrics", {}, "host:80"),
        ("https://host/metrics", {}, "host:443"),
        ("http://[::1]:9100/metrics", {}, "[::1]:9100"),
        ("http://10.0.0.1:9100/metrics", {"instance": "node-1"}, "node-1"),
    ],
)
def test_an_instance_is_the_host_and_port_unless_it_has_a_name(url: str, labels: dict[str, str], instance: str) -> None:
    """As in Prometheus."""
    assert ScrapeTarget(url, "job", labels).target_labels["instance"] == instance
