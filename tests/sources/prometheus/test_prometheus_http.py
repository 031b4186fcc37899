"""PromQL that is sent, and what is said when a Prometheus API cannot answer."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import httpx
import numpy as np
import pytest

from foreshock_dashboard.model.query import Matcher, Query, SourceError
from foreshock_dashboard.model.samples import Sample, SampleBatch, labels_of
from foreshock_dashboard.sources.prometheus.api import PrometheusSource
from foreshock_dashboard.sources.prometheus.promql import promql
from foreshock_dashboard.world.builder import catalog
from foreshock_dashboard.world.observer import Observer

START = 1_789_000_000

COMPILED = [
    (Query("up"), "last_over_time(up[59000ms]) and up"),
    (Query("up", window=0.5), "last_over_time(up[500ms]) and up"),
    (Query("m", (Matcher("a", "=", "b"),)), 'last_over_time(m{a="b"}[59000ms]) and m{a="b"}'),
    (Query("m", reduce="rate", window=119), "rate(m[119000ms])"),
    (Query("m", by=("a", "b"), reduce="rate"), "sum by (a, b) (rate(m[59000ms]))"),
    (Query("m", by=(), reduce="increase"), "sum by () (increase(m[59000ms]))"),
    (Query("m", by=("a",)), "sum by (a) (last_over_time(m[59000ms]) and m)"),
    (Query("m", reduce="buckets"), "increase(m_bucket[59000ms])"),
    (Query("m", by=("a",), reduce="buckets"), "sum by (a, le) (increase(m_bucket[59000ms]))"),
    (Query("m", by=("le",), reduce="buckets"), "sum by (le) (increase(m_bucket[59000ms]))"),
    (Query("vllm:x", (Matcher("a", "!~", "b|c"), Matcher("d", "!=", "")), reduce="rate"),
     'rate(vllm:x{a!~"b|c",d!=""}[59000ms])'),
    (Query("m", (Matcher("a", "=", 'x"\\\n'),), reduce="rate"), r'rate(m{a="x\"\\\n"}[59000ms])'),
    (Query("m", (Matcher("a", "=", "\tä\x01\x7f"),), reduce="rate"), 'rate(m{a="\\tä\\u0001\x7f"}[59000ms])'),
    (Query("inf", (Matcher("a", "=", "b"),), reduce="rate"), 'rate({__name__="inf",a="b"}[59000ms])'),
]  # fmt: skip


@pytest.mark.parametrize(("query", "expected"), COMPILED, ids=[text for _, text in COMPILED])
def test_a_query_compiles_to(query: Query, expected: str) -> None:
    """PromQL that a person would write."""
    assert promql(query) == expected


Answer = Callable[[httpx.Request], httpx.Response]


def source(answer: Answer, **given: object) -> PrometheusSource:
    """Return a source over a transport function."""
    return PrometheusSource("http://prom:9090/base/", transport=httpx.MockTransport(answer), **given)  # type: ignore[arg-type]  # by name


def ask(answer: Answer, **given: object) -> str:
    """The message of the refusal."""
    with pytest.raises(SourceError) as caught:
        source(answer, **given).fetch(Query("m"), 0, 10, 1)
    return str(caught.value)


def raising(error: Exception) -> Answer:
    def answer(_: httpx.Request) -> httpx.Response:
        raise error

    return answer


def answering(status: int, **given: object) -> Answer:
    return lambda _: httpx.Response(status, **given)  # type: ignore[arg-type]  # by name


def failing(kind: str, message: str) -> dict[str, str]:
    return {"status": "error", "errorType": kind, "error": message}


def holding(*values: object) -> dict[str, object]:
    return {"status": "success", "data": {"result": [{"metric": {}, "values": values}]}}


GZIP = {"content-encoding": "gzip"}
STRANGE = "unexpected response "
REFUSALS: dict[str, tuple[Answer, str]] = {
    "down": (
        raising(httpx.ConnectError("refused")),
        "cannot be reached (refused). Check that it runs",
    ),
    "no listener": (
        raising(httpx.ConnectError("[Errno 111] Connection refused")),
        "cannot be reached (Connection refused)",
    ),
    "no words": (raising(httpx.ReadError("")), "cannot be reached (ReadError)"),
    "slow": (raising(httpx.ReadTimeout("")), "no response within 30 s; use a shorter range"),
    "HTML": (answering(200, html="<html>"), "text/html; charset=utf-8, not Prometheus' JSON"),
    "a 404 page": (answering(404, text="404 page not found"), "returned 404 with text/plain; charset=utf-8"),
    "a query error": (answering(422, json=failing("execution", "too many")), "returned 422 execution: too many"),
    "overload": (answering(503, json=failing("timeout", "in queue")), "returned 503 timeout: in queue"),
    "no credentials": (
        answering(401, text="Unauthorized"),
        "returned 401; set the required credentials or tenant with --prometheus-config",
    ),
    "no tenant": (
        answering(403, text="no org id"),
        "returned 403; set the required credentials or tenant with --prometheus-config",
    ),
    "a redirect": (answering(302, headers={"location": "https://login/"}), "redirects to https://login/; use that"),
    "another JSON": (answering(200, json=[1]), STRANGE + "(200 without a status field)"),
    "half an answer": (answering(200, json={"status": "success", "data": {}}), STRANGE + "(KeyError 'result')"),
    "strange values": (answering(200, json=holding([0, "x"])), STRANGE + "(ValueError could not convert"),
    "values after the grid": (answering(200, json=holding([99, "1"])), STRANGE + "(IndexError"),
    "values before the grid": (answering(200, json=holding([-3, "1"])), STRANGE + "(ValueError a time outside"),
    "broken gzip": (answering(200, headers=GZIP, stream=httpx.ByteStream(b"nonsense")), "cannot be reached"),
}


@pytest.mark.parametrize("what", REFUSALS)
def test_an_api_that_cannot_answer_is_named_with_the_remedy(what: str) -> None:
    """Every kind of failure is covered."""
    answer, expected = REFUSALS[what]
    message = ask(answer)
    assert message.startswith("Prometheus http://prom:9090/base")
    assert expected in message


def test_an_endless_answer_is_cut() -> None:
    """The bound counts after decompression."""
    read = 0

    def endless() -> Iterator[bytes]:
        nonlocal read
        while True:
            read += 1 << 16
            yield b" " * (1 << 16)

    message = ask(lambda _: httpx.Response(200, content=endless()), max_body=1 << 20)
    assert "larger than 1 MiB; use a longer step" in message
    assert read <= 3 << 20


def test_a_real_refusal_carries_prometheus_own_words(prometheus: object) -> None:
    """The expression passes our check of regular expressions and not RE2's."""
    real = PrometheusSource(prometheus.url)  # type: ignore[attr-defined]  # the fixture's Server
    with pytest.raises(SourceError, match=r"returned 400 bad_data: .*error parsing regexp"):
        real.fetch(Query("m", (Matcher("a", "=~", "(?=x)y"),)), 0, 10, 1)
    real.close()


def test_requests_carry_the_grid() -> None:
    """Below the base path, by POST, so that no URL is too long."""
    seen: list[httpx.Request] = []

    def answer(request: httpx.Request) -> httpx.Response:
        seen.append(request)
        result = [{"metric": {"__name__": "m", "a": "b", "empty": ""}, "values": [[1.5, "2"], [3.5, "+Inf"]]}]
        return httpx.Response(200, json={"status": "success", "data": {"resultType": "matrix", "result": result}})

    asked = PrometheusSource("https://prom/base", transport=httpx.MockTransport(answer))
    matrix = asked.fetch(Query("m"), 1.5, 4.0, 1)
    (request,) = seen
    assert (request.method, str(request.url)) == ("POST", "https://prom/base/api/v1/query_range")
    sent = httpx.QueryParams(request.content.decode())
    assert (sent["start"], sent["end"], sent["step"], sent["timeout"]) == ("1.500", "3.500", "1.000", "30s")
    assert matrix.labels == ((("a", "b"),),)
    np.testing.assert_array_equal(matrix.values, [[2, np.nan, np.inf]])


def test_a_native_histogram_does_not_hide_the_other_series() -> None:
    """The API has `histograms` in place of `values` for a series that holds nothing else."""
    result = [
        {"metric": {"__name__": "m", "a": "native"}, "histograms": [[1.0, {"count": "3", "sum": "6"}]]},
        {"metric": {"__name__": "m", "a": "float"}, "values": [[1.0, "2"]]},
    ]
    found = source(answering(200, json={"status": "success", "data": {"result": result}})).samples("m", 0, 10)
    assert [(labels, rows.tolist()) for labels, rows in found] == [((("a", "float"),), [[1.0, 2.0]])]


@pytest.mark.parametrize("url", ["", "prom:9090", "ftp://prom", "http://", "http://prom:port"])
def test_an_invalid_address_is_refused_at_once(url: str) -> None:
    """With the form it should have."""
    with pytest.raises(ValueError, match="use http://HOST:PORT"):
        PrometheusSource(url)


def test_a_password_is_not_in_the_message_about_an_invalid_address() -> None:
    """Messages end up in logs."""
    for url, problem in (
        ("ftp://ada:secret@prom", "use http://HOST:PORT"),
        ("http://ada:secret@prom", "contains cred"),
    ):
        with pytest.raises(ValueError, match=problem) as refused:
            PrometheusSource(url)
        assert "secret" not in str(refused.value)


def test_a_response_that_takes_too_long_as_a_whole_is_given_up() -> None:
    """However often a byte arrives."""
    drips = PrometheusSource(
        "http://prom", max_seconds=-1.0, transport=httpx.MockTransport(lambda _: httpx.Response(200, text="{}"))
    )
    with pytest.raises(SourceError, match="no response within"):
        drips.fetch(Query("m"), 1.0, 4.0, 1)


def test_names_are_requested_for_a_range_and_a_refusal_is_logged_once(caplog: pytest.LogCaptureFixture) -> None:
    """A proxy that refuses requests for names still gets queries."""
    seen: list[httpx.URL] = []

    def answer(request: httpx.Request) -> httpx.Response:
        seen.append(request.url)
        if request.url.params["end"] == "3.000":
            return httpx.Response(200, json={"status": "success", "data": ["m"]})
        return httpx.Response(403, text="no")

    asked = source(answer)
    assert asked.names_between(1.5, 3.0) == frozenset(["m"])
    assert (seen[0].path, seen[0].params["start"]) == ("/base/api/v1/label/__name__/values", "1.500")
    assert [asked.names_between(1.5, 4.0) for _ in range(2)] == [None, None]
    (outcome,) = caplog.messages
    asked.names_between(1.5, 3.0)
    asked.names_between(1.5, 4.0)
    assert caplog.messages == [outcome, outcome]  # the outage began again
    assert "the list of metrics is not available: Prometheus http://prom:9090/base: returned 403" in outcome


def test_a_past_range_has_its_metrics_and_is_read_through_a_proxy_that_refuses_names(
    own_prometheus: Any,  # noqa: ANN401 - the fixture's Server
) -> None:
    """Of a real Prometheus: metrics that ended before now; the proxy answers 403 for names, and passes on the rest."""
    ended = START + 600
    for time in range(START, ended, 10):
        own_prometheus.write([SampleBatch(time, "t", (Sample("up", labels_of({"job": "gone"}), 1.0),))])
    own_prometheus.write([SampleBatch(START + 7200, "t", (Sample("later", (), 1.0),))])
    refused: list[str] = []
    door = httpx.HTTPTransport()

    def proxy(request: httpx.Request) -> httpx.Response:
        if request.method == "GET":
            refused.append(request.url.path)
            return httpx.Response(403, text="not through here")
        return door.handle_request(request)

    straight = PrometheusSource(own_prometheus.url)
    behind = PrometheusSource(own_prometheus.url, transport=httpx.MockTransport(proxy))
    read = [
        Observer(each, catalog(59.0), 10.0, reduce=lambda found: found, begin=lambda _: START).read(ended)["up"]
        for each in (straight, behind)
    ]
    names = straight.names_between(START, ended)
    for open_still in (straight, behind, door):
        open_still.close()
    assert names is not None
    assert "up" in names
    assert refused
    for each in read:
        assert (("job", "gone"),) in each.labels
        np.testing.assert_array_equal(each.values, read[0].values)
