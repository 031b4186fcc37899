"""Requests to Jaeger, and error messages when it cannot answer."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import httpx
import pytest
from tests.sources.traces.jaeger_double import JaegerDouble
from tests.sources.traces.tempo_double import Reply

from foreshock_dashboard.model.query import SourceError
from foreshock_dashboard.model.service import Service
from foreshock_dashboard.model.span import TraceQuery
from foreshock_dashboard.sources.traces import jaeger
from foreshock_dashboard.sources.traces.jaeger import JaegerTraces

if TYPE_CHECKING:
    from tests.sources.traces.conftest import MakeSpan

T0 = 1_790_000_000
ASKED = TraceQuery(T0 - 5, T0 + 5, service=Service("", "gateway"))
Answer = Callable[[httpx.Request], httpx.Response]


def source(answer: Answer, **given: Any) -> JaegerTraces:  # noqa: ANN401
    """Return a source over a transport function."""
    return JaegerTraces("http://jaeger:16686", transport=httpx.MockTransport(answer), **given)


def over(double: JaegerDouble, **given: Any) -> JaegerTraces:  # noqa: ANN401
    """Return a source over a test double."""

    def answer(request: httpx.Request) -> httpx.Response:
        reply = double.answer(request.url.raw_path.decode(), request.headers)
        return httpx.Response(reply.status, content=reply.body, headers={"Content-Type": reply.type})

    return source(answer, **given)


def test_conditions_are_sent_under_both_names_of_each_parameter(span: MakeSpan) -> None:
    """A server reads the one that it knows."""
    double = JaegerDouble()
    query = TraceQuery(
        T0 + 0.5, T0 + 1, service=Service("shop", "pay"), operation="x", attributes={"a": "b"}, min_duration=0.5,
        max_duration=1.5, limit=100,
    )  # fmt: skip
    double.spans = [
        span(n, name="x", service="pay", namespace="shop", start=0.6, attributes={"a": "b"}) for n in range(1, 300)
    ]
    assert over(double, max_rounds=1).search(query).note.endswith("some may be missing; use a shorter range")
    (_, all_of_them), (path, given) = double.asked
    assert "query.durationMin" not in all_of_them  # how long a trace took is not how long its spans did
    assert path == "/api/v3/traces"
    expected = {
        "serviceName": "pay", "operationName": "x", "startTimeMin": "2026-09-21T14:13:20.500000000Z",
        "startTimeMax": "2026-09-21T14:13:21.000001000Z", "durationMin": "500000us", "durationMax": "1500000us",
        "searchDepth": "200", "rawTraces": "true", "attributes": '{"a":"b"}',
    }  # fmt: skip
    assert {name: given[f"query.{name}"] for name in expected} == expected
    assert given["query.service_name"] == "pay"
    assert given["query.start_time_min"] == expected["startTimeMin"]
    assert given["query.search_depth"] == "200"


def test_times_outside_the_calendar_are_brought_into_it() -> None:
    """Rather than refused."""
    double = JaegerDouble()
    over(double).search(TraceQuery(-1e9, -1, service=Service("", "x")))
    over(double).search(TraceQuery(0, 1e13, service=Service("", "x")))
    assert double.asked[0][1]["query.startTimeMin"] == "1970-01-01T00:00:00.000000000Z"
    assert double.asked[1][1]["query.startTimeMax"].startswith("2106-02-07T")


def test_without_a_service_each_is_searched_up_to_the_limit(span: MakeSpan) -> None:
    """And it is said of how many."""
    double = JaegerDouble(spans=[span(n, service=f"s{n:02}") for n in range(1, 41)])
    found = over(double).search(TraceQuery(T0, T0 + 1))
    assert len(found) == jaeger.MAX_SEARCHED_SERVICES
    assert found.note.endswith(": 30 of 40 searched; filter by service")


def test_a_search_that_runs_out_of_requests_has_a_note(span: MakeSpan) -> None:
    """What was found is given."""
    double = JaegerDouble(spans=[span(n, start=n / 1000, duration=n / 1000) for n in range(1, 2000)])
    found = over(double, max_rounds=1).search(TraceQuery(T0, T0 + 5, service=Service("", "gateway"), order="slowest"))
    assert len(found) == 50
    assert "more traces remain after 1 requests, and some may be missing" in found.note


REFUSALS: dict[str, tuple[Answer, str]] = {
    "a page not found": (lambda _: httpx.Response(404, text="404 page"), "unexpected response (404 at /api/v3/traces)"),
    "its own page": (lambda _: httpx.Response(200, html="<html>"), "check that the URL points to Jaeger"),
    "another's JSON": (lambda _: httpx.Response(200, json=[1]), "check that the URL points to Jaeger"),
    "spans that are none": (
        lambda _: httpx.Response(200, json={"result": {"resourceSpans": 5}}),
        "check that the URL points to Jaeger",
    ),
    "a refusal": (lambda _: httpx.Response(400, text="malformed"), "returned 400: malformed; use a shorter range"),
    "a failure": (lambda _: httpx.Response(500, text="no storage"), "returned 500: no storage; see its log"),
}


@pytest.mark.parametrize("what", REFUSALS)
def test_a_source_that_cannot_answer_says_why(what: str) -> None:
    """The message names the address and the remedy."""
    answer, message = REFUSALS[what]
    with pytest.raises(SourceError) as caught:
        source(answer).search(ASKED)
    assert str(caught.value).startswith("Jaeger http://jaeger:16686")
    assert message in str(caught.value)


def test_a_probe_reports_whether_the_api_answers(span: MakeSpan) -> None:
    """By the list of its services, which may be empty."""
    assert over(JaegerDouble(spans=[span()])).probe() == ""
    assert over(JaegerDouble()).probe() == ""
    assert source(lambda _: httpx.Response(200, json={"services": None})).probe() == ""
    assert "returned 503" in over(JaegerDouble(instead=Reply(503))).probe()
    assert "(query for services)" in source(lambda _: httpx.Response(404, text="x")).probe()
