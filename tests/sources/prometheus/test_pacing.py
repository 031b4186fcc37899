"""Requests to a Prometheus that is small, away, or wants to be left alone."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from threading import Barrier, BrokenBarrierError, Event, Lock, Thread
from urllib.parse import parse_qs

import httpx
import pytest

from foreshock_dashboard.model.query import Query, SourceError
from foreshock_dashboard.sources.prometheus.api import PrometheusSource
from foreshock_dashboard.sources.prometheus.pacing import FIRST_SUCCESSES, MAX_SUCCESSES, UnionSize

EMPTY = {"status": "success", "data": {"resultType": "matrix", "result": []}}
QUERIES = [Query(f"m{number}", by=("x",)) for number in range(8)]
Fault = Callable[[], httpx.Response]


def raising(error: Exception) -> Fault:
    """A fault without an answer."""

    def fail() -> httpx.Response:
        raise error

    return fail


TOO_MANY = "query processing would load too many samples into memory in query execution"


def error_of(status: int, message: str = "no") -> Fault:
    """Prometheus' own answer."""
    return lambda: httpx.Response(status, json={"status": "error", "errorType": "execution", "error": message})


def html(status: int) -> Fault:
    """An answer of a proxy."""
    return lambda: httpx.Response(status, text="<html>", headers={"content-type": "text/html"})


class Server:
    """Answers without series, unless it has a fault. sent: the queries of each request."""

    def __init__(self, concurrency: int = 1) -> None:
        self.sent, self.now = list[int](), 0.0
        self.fault: Callable[[int], httpx.Response | None] = lambda _: None
        transport = httpx.MockTransport(self._answer)
        self.source = PrometheusSource(
            "http://prom", concurrency=concurrency, transport=transport, monotonic=lambda: self.now
        )

    def sizes(self, queries: int = 8) -> list[int]:
        """Read so many queries, and return how many each request had."""
        self.sent.clear()
        list(self.source.fetch_all(QUERIES[:queries], 0.0, 10.0, 10.0))
        return self.sent

    def fails_with(self, fault: Fault, queries: int = 8) -> None:
        """One read meets a fault."""
        self.fault = lambda _: fault()
        with pytest.raises(SourceError):
            self.sizes(queries)
        self.fault = lambda _: None

    def _answer(self, request: httpx.Request) -> httpx.Response:
        if request.method == "GET":
            self.sent.append(0)
            return self.fault(0) or httpx.Response(200, json={"status": "success", "data": ["up"]})
        [text] = parse_qs(request.content.decode())["query"]
        size = max(1, text.count("label_replace"))
        self.sent.append(size)
        return self.fault(size) or httpx.Response(200, json=EMPTY)


@pytest.mark.parametrize(
    ("fault", "sizes"),
    [
        pytest.param(error_of(422, TOO_MANY), [1] * 8, id="samples, down to one query"),
        pytest.param(
            error_of(422, "found duplicate series for the match group"), [4, 4], id="another error of a query"
        ),
        pytest.param(error_of(400), [4, 4], id="length of a query"),
        pytest.param(html(414), [4, 4], id="length of a query, of a proxy"),
        pytest.param(html(504), [4, 4], id="time, of a proxy"),
        pytest.param(raising(httpx.ReadTimeout("slow")), [4, 4], id="time"),
        pytest.param(error_of(429), [8], id="throttled"),
        pytest.param(raising(httpx.ConnectTimeout("away")), [8], id="away"),
        pytest.param(raising(httpx.ConnectError("refused")), [8], id="refused connection"),
        pytest.param(raising(httpx.PoolTimeout("busy")), [8], id="pool"),
        pytest.param(html(401), [8], id="credentials"),
    ],
)
def test_unions_are_halved_only_where_that_may_help(fault: Fault, sizes: list[int]) -> None:
    """After a server that is away, all is as before."""
    server = Server()
    server.fails_with(fault)
    server.now += 60.0
    assert server.sizes() == sizes


def test_a_short_last_part_that_is_refused_halves_the_size_of_the_others() -> None:
    """It is not the size that is too large for the server."""
    server = Server()
    server.fault = lambda size: error_of(422, TOO_MANY)() if size == 2 else None
    list(server.source.fetch_all([*QUERIES, *QUERIES[:2]], 0.0, 10.0, 10.0))
    assert server.sent == [8, 2, 1, 1]
    server.fault = lambda _: None
    assert server.sizes() == [4, 4]


def test_after_a_short_outage_the_size_recovers() -> None:
    """Within minutes of evaluations."""
    server, evaluations = Server(), 0
    server.fails_with(html(502))
    while server.sizes() == [4, 4]:
        evaluations += 1
        assert evaluations <= FIRST_SUCCESSES
    assert server.sizes() == [8]


def test_a_late_refusal_of_a_larger_size_does_not_raise_the_size() -> None:
    """It was sent before the others were refused."""
    unions = UnionSize()
    for size in (8, 4, 2, 8):
        unions.refused(size)
    assert unions.size == 1


def test_a_server_with_a_low_limit_is_tried_less_and_less_often() -> None:
    """Each failed try takes twice as many successes as the one before, up to a limit."""
    unions, needed = UnionSize(), list[int]()
    unions.refused(8)
    for _ in range(10):
        needed.append(0)
        while unions.size == 4:
            unions.answered(4)
            needed[-1] += 1
        unions.refused(8)
    assert needed[:3] == [2 * FIRST_SUCCESSES, 4 * FIRST_SUCCESSES, 8 * FIRST_SUCCESSES]
    assert needed[-1] == MAX_SUCCESSES


def test_all_readers_together_send_at_most_so_many_requests_at_once() -> None:
    """Costs, capacity, charts, and evaluations share them."""
    server, lock, counts = Server(concurrency=2), Lock(), Counter[str]()
    third = Barrier(3)

    def hold(_: int) -> None:
        with lock:
            counts["open"] += 1
            counts["most"] = max(counts["most"], counts["open"])
        with suppress(BrokenBarrierError):
            third.wait(0.3)  # a third request at once would let all go on
        with lock:
            counts["open"] -= 1

    server.fault = hold
    queries = [Query(f"m{number}") for number in range(4)]
    readers = [Thread(target=lambda: list(server.source.fetch_all(queries, 0.0, 1000.0, 10.0))) for _ in range(3)]
    readers.append(Thread(target=server.source.metric_names))
    for reader in readers:
        reader.start()
    for reader in readers:
        reader.join()
    assert len(server.sent) == 13
    assert counts["most"] == 2


def test_a_server_that_wants_to_be_left_alone_gets_no_request_of_any_reader() -> None:
    """Until its time is over, with the same error and the rest of the time."""
    server = Server()
    server.fails_with(lambda: httpx.Response(429, headers={"retry-after": "60"}, text="slow down"))
    server.sent.clear()
    readers: list[Callable[[], object]] = [
        server.sizes,
        lambda: server.source.fetch(QUERIES[0], 0.0, 1000.0, 10.0),
        server.source.metric_names,
        lambda: server.source.names_between(0.0, 10.0),
        lambda: list(server.source.samples("m", 0.0, 10.0)),
    ]
    server.now = 20.0
    for read in readers:
        with pytest.raises(SourceError, match="returned 429: slow down") as caught:
            read()
        assert caught.value.retry_after == 40.0
        assert caught.value.is_transient
    assert server.source.series_count(10.0) is None
    assert server.sent == []

    server.now = 60.5
    assert server.sizes() == [8]


def test_no_query_is_sent_after_any_of_those_at_once_has_failed() -> None:
    """Not only after the first in order: here the second fails while the first still takes time."""
    second_failed, sent = Event(), list[str]()

    def other_reader() -> None:
        source.fetch(Query("other"), 0.0, 1000.0, 10.0)

    other = Thread(target=other_reader)

    def answer(request: httpx.Request) -> httpx.Response:
        [text] = parse_qs(request.content.decode())["query"]
        name = text.partition("[")[0].rpartition("(")[2]
        sent.append(name)
        match name:
            case "m0":
                second_failed.wait(10)
            case "m1":
                other.start()
                return error_of(500)()
            case "other":  # has the slot of the second
                second_failed.set()
        return httpx.Response(200, json=EMPTY)

    source = PrometheusSource("http://prom", concurrency=2, transport=httpx.MockTransport(answer))
    with pytest.raises(SourceError, match="returned 500"):
        list(source.fetch_all([Query(f"m{number}") for number in range(20)], 0.0, 1000.0, 10.0))
    other.join()
    assert sorted(sent) == ["m0", "m1", "other"]
