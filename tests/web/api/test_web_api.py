"""The addresses of the hub, as a client meets them: answers, refusals, caching, protection."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, MutableMapping, Sequence
from functools import cache
from typing import Any, get_args

import httpx
import pytest
from tests.web.caller import Caller
from tests.web.worlds import NOW, SCENES, FakeHub, service

from foreshock_dashboard.model.types import ConditionKind
from foreshock_dashboard.web.app import PAGES, create_app

pytestmark = pytest.mark.slow

LookAt = Callable[[str], Caller]
ADDRESSES = (
    "services",
    "gpus",
    "contention",
    "incidents",
    "now",
    "topology",
    "status",
    "headroom",
    "runbooks",
    "pools",
    "traces",
    "traces/1",
)
OTHERS = (
    *(
        "annotations",
        "audit",
        "changes",
        "compare",
        "cost",
        "explain",
        "forecast",
        "health/{service}",
        "report/{incident}",
        "shard",
    ),
    *("user", "webhooks/argocd", "webhooks/github"),
)
RESPONSES = (
    *(f"incidents/{{incident}}/{action}" for action in ("acknowledge", "assign", "notes", "silence", "feedback")),
    "silences",
    "silences/{silence_id}",
    "maintenance",
)
"""Addresses of what people do about incidents."""
CALLBACK = "/_dash-update-component"
SHOW_PAGE = {
    "output": "page.children",
    "outputs": {"id": "page", "property": "children"},
    "inputs": [{"id": "url", "property": "pathname", "value": "/"}],
    "changedPropIds": ["url.pathname"],
}


@pytest.mark.parametrize("scene", sorted(SCENES))
@pytest.mark.parametrize("address", ADDRESSES)
def test_every_answer_carries_time_tick_and_honesty(shared_look: LookAt, scene: str, address: str) -> None:
    """Any query in any state of the hub: when, which evaluation, simulated or not, learning or not."""
    answer = shared_look(scene).get(f"/api/{address}")
    assert answer.status_code == 200
    body = answer.json()
    assert body["time"] == NOW + 3
    assert body["seq"] == 7
    assert body["simulated"] is (scene not in ("empty", "error"))
    assert body["learning"]["done"] is (scene not in ("learning", "empty", "preview"))
    assert float(answer.headers["Foreshock-Time"]) == NOW + 3


@pytest.mark.parametrize(
    ("query", "words"),
    [
        ("limit=0", "limit='0': not an integer from 1 to 1000"),
        ("limit=many", "limit='many': not an integer"),
        ("min_duration=fast", "min_duration='fast': is not a valid duration; use 100ms, 10s"),
        ("max_duration=-1", "max_duration='-1': is not a valid duration"),
        ("attribute=GPU-1", "attribute='GPU-1': not KEY=VALUE, such as hw.id=GPU-8932f937"),
        ("attribute=hw.id=1&attribute=hw.id=2", "attribute: hw.id is repeated"),
        ("min_duration=2s&max_duration=1s", "min_duration is longer than max_duration. Swap them"),
        ("errors=maybe", "errors='maybe': not a boolean. Use true or false"),
        ("order=random", "order='random': unknown order. Use newest, slowest"),
        ("start=yesterday", "start='yesterday': is not a valid time; use"),
        ("start=2026-11-25T10:00:00", "has no time zone"),
        ("start=now&end=now-1h", "is after end"),
        ("service=prod/", "service='prod/': service 'prod/' has no name"),
        ("status=failed", "status='failed': unknown status. Use error, ok, or unset"),
        ("status=ok&errors=true", "errors=true conflicts with status=ok. Use one of them"),
        ("servce=api", "unknown parameter 'servce' (allowed: service, operation"),
        (f"operation={'x' * 300}", "operation: longer than 200 characters"),
    ],
)
def test_a_bad_parameter_is_refused_with_its_name_and_a_remedy(caller: Caller, query: str, words: str) -> None:
    """400, and one sentence that says what to write instead."""
    answer = caller.get(f"/api/traces?{query}")
    assert answer.status_code == 400
    assert words in answer.json()["error"]


def test_trace_filters_reach_the_source(caller: Caller, hub: FakeHub) -> None:
    """Every parameter becomes a condition of the query."""
    caller.get(
        "/api/traces?service=prod/api&operation=ask&min_duration=250ms&max_duration=2s&errors=true&order=slowest"
        f"&limit=7&start=now-1h&end={NOW}&attribute=hw.id=GPU-1&attribute=http.route=/ask%3Fa=b"
    )
    query = hub.traces.asked[-1]
    assert (query.service, query.operation) == (service("api")._replace(namespace="prod"), "ask")
    assert (query.min_duration, query.max_duration) == (0.25, 2.0)
    assert query.attributes == {"hw.id": "GPU-1", "http.route": "/ask?a=b"}
    assert (query.status, query.order, query.limit) == ("error", "slowest", 7)
    assert (query.start, query.end) == (NOW + 3 - 3600, NOW)


@pytest.mark.parametrize(
    ("asked", "status"),
    [("status=ok", "ok"), ("status=Error", "error"), ("status=unset&errors=false", "unset"), ("errors=true", "error"),
     ("errors=true&status=error", "error"), ("", None)],
)  # fmt: skip
def test_a_status_reaches_the_source_and_is_listed_with_the_result(
    caller: Caller, hub: FakeHub, asked: str, status: str | None
) -> None:
    """`errors=true` is the same as the status `error`."""
    result = caller.get(f"/api/traces?{asked}").json()["query"]
    assert hub.traces.asked[-1].status == status
    assert (result["status"], result["errors"]) == (status, status == "error")


def test_a_trace_list_covers_the_last_quarter_of_an_hour_of_the_hubs_time(caller: Caller, hub: FakeHub) -> None:
    """Not of the wall clock's: a simulation runs on its own."""
    assert caller.get("/api/traces").json()["query"]["start"] == NOW + 3 - 900
    assert hub.traces.asked[-1].end == NOW + 3


@pytest.mark.parametrize(
    ("path", "status", "words"),
    [
        ("/api/traces/00000000000000000000000000000099", 404, "unknown trace 00000000000000000000000000000099"),
        ("/api/traces/nonsense", 400, "not a hexadecimal number"),
        ("/api/services?x=1", 400, "unknown parameter 'x' (allowed: at)"),
        ("/api/health/absent", 404, "unknown service absent. /api/services lists all"),
        ("/api/health/prod/embedder", 404, "unknown service prod/embedder"),
        ("/api/health/prod/", 400, "has no name"),
        ("/api/health/embedder?x=1", 400, "unknown parameter 'x'"),
        ("/api/headroom?service=absent", 404, "unknown service absent"),
        ("/api/headroom?servce=embedder", 400, "unknown parameter 'servce'"),
        ("/api/nothing", 404, "unknown address GET /api/nothing. /api/openapi.json lists all"),
        ("/api", 404, "unknown address GET /api."),
    ],
)
def test_errors_are_json(caller: Caller, path: str, status: int, words: str) -> None:
    """An unknown address below /api is never a page, and an unknown service is not called ok."""
    answer = caller.get(path)
    assert answer.status_code == status
    assert words in answer.json()["error"]


@pytest.mark.parametrize("path", ["/api/traces", "/api/traces/1"])
def test_a_source_that_cannot_answer_gives_503_with_its_reason(caller: Caller, hub: FakeHub, path: str) -> None:
    """The message names the source and the remedy."""
    hub.traces.error = "tempo http://127.0.0.1:3200 refuses connections: start it"
    answer = caller.get(path)
    assert (answer.status_code, answer.json()["error"]) == (503, hub.traces.error)


def test_an_unchanged_tick_is_answered_with_304_and_the_hubs_time(caller: Caller, hub: FakeHub) -> None:
    """Nothing is sent twice, and the page still knows how late it is."""
    tag = caller.get("/api/now").headers["ETag"]
    hub.time += 5
    again = caller.get("/api/now", {"If-None-Match": tag})
    assert (again.status_code, again.content) == (304, b"")
    assert float(again.headers["Foreshock-Time"]) == NOW + 8
    hub.snapshot = SCENES["healthy"]()
    hub.snapshot = type(hub.snapshot)(8, hub.snapshot.world, (), hub.snapshot.learning)
    fresh = caller.get("/api/now", {"If-None-Match": tag})
    assert (fresh.status_code, fresh.json()["seq"], fresh.json()["open_incidents"]) == (200, 8, [])


def test_a_restarted_hub_is_never_mistaken_for_an_unchanged_one(look_at: LookAt) -> None:
    """It counts its ticks from the start again; what a browser kept of the one before is not what it says."""
    before = look_at("contended").get("/api/incidents").headers["ETag"]
    after = look_at("healthy").get("/api/incidents", {"If-None-Match": before})
    assert (after.status_code, after.json()["seq"], after.json()["incidents"]) == (200, 7, [])


def test_the_topology_is_sent_once_while_only_values_change(caller: Caller, hub: FakeHub) -> None:
    """Its ETag follows who and what there is, not the tick."""
    tag = caller.get("/api/topology").headers["ETag"]
    hub.snapshot = type(hub.snapshot)(9, hub.snapshot.world, (), hub.snapshot.learning)
    assert caller.get("/api/topology", {"If-None-Match": tag}).status_code == 304
    assert caller.get("/api/now").json()["topology"] == tag.strip('"')


def test_health_and_readiness_are_two_answers(caller: Caller, hub: FakeHub) -> None:
    """Alive though not ready; the reason is in the answer."""
    assert (caller.get("/readyz").status_code, caller.get("/healthz").status_code) == (200, 200)
    hub.not_ready = "no source has answered yet"
    answer = caller.get("/readyz")
    assert (answer.status_code, answer.text) == (503, "not ready: no source has answered yet\n")
    assert caller.get("/healthz").status_code == 200


@pytest.mark.parametrize("path", ["/healthz", "/readyz", "/metrics", "/api/now", "/", "/assets/styles.css", "/none"])
def test_head_is_answered_as_get(caller: Caller, path: str) -> None:
    """The server leaves out the body."""
    head, get = caller.ask("HEAD", path), caller.get(path)
    del head.headers["content-length"], get.headers["content-length"]  # a page has random bytes, compressed
    assert (head.status_code, head.headers) == (get.status_code, get.headers)


@pytest.mark.parametrize(
    "name", ["nosuch/x.js", "dash/nosuch.js", "dash/../../x", "os/x.py", "%00/x", "dash_html_components/%0a.js"]
)
def test_an_unknown_file_of_a_component_is_not_found(caller: Caller, name: str) -> None:
    assert caller.get(f"/_dash-component-suites/{name}").status_code == 404


def test_metrics_are_in_the_prometheus_text_format(caller: Caller) -> None:
    """With the content type that a scrape expects."""
    answer = caller.get("/metrics")
    assert answer.text == "foreshock_ticks_total 7\n"
    assert answer.headers["content-type"] == "text/plain; version=0.0.4; charset=utf-8"


def test_openapi_lists_the_conditions_of_a_service(caller: Caller) -> None:
    """A client can generate an enumeration."""
    row = caller.get("/api/openapi.json").json()["components"]["schemas"]["ServiceRow"]["properties"]
    assert row["condition"]["enum"] == list(get_args(ConditionKind))


def test_incidents_can_be_selected_by_state(look_at: LookAt) -> None:
    """Only open or resolved ones; any other state is refused."""
    caller = look_at("contended")
    everything = caller.get("/api/incidents").json()["incidents"]
    states = {state: caller.get(f"/api/incidents?state={state}").json()["incidents"] for state in ("open", "resolved")}
    assert states["open"]
    assert states["open"] + states["resolved"] == everything
    assert all((item["state"] == "resolved") is (state == "resolved") for state in states for item in states[state])
    assert "Use open or resolved" in caller.get("/api/incidents?state=firing").json()["error"]
    assert caller.get("/api/warnings").status_code == 404


def test_openapi_describes_every_address(caller: Caller) -> None:
    """With the parameters of a trace list; what pages read and lists as CSV have tests of their own."""
    paths = caller.get("/api/openapi.json").json()["paths"]
    assert {path for path in paths if not path.startswith(("/api/pages/", "/api/csv/"))} == {
        f"/api/{a}".replace("traces/1", "traces/{trace_id}") for a in (*ADDRESSES, *OTHERS, *RESPONSES)
    }
    names = {parameter["name"] for parameter in paths["/api/traces"]["get"]["parameters"]}
    assert {"service", "min_duration", "errors", "order", "limit", "start", "end"} <= names


@pytest.mark.parametrize(("path", "status"), [("/", 200), ("/traces", 200), ("/traces/", 200), ("/nope", 404)])
def test_pages_come_with_their_status(caller: Caller, path: str, status: int) -> None:
    """An unknown page is 404, also for a person."""
    answer = caller.get(path)
    assert answer.status_code == status
    assert '<html lang="en">' in answer.text


@pytest.mark.parametrize(
    "path", ["/", "/api/now", "/nope", "/api/nope", "/metrics", "/assets/styles.css", "/theme.css"]
)
def test_every_answer_is_protected(caller: Caller, path: str) -> None:
    assert_protected(caller.get(path).headers)


def test_an_internal_error_is_protected_and_names_the_log(hub: FakeHub, monkeypatch: pytest.MonkeyPatch) -> None:
    caller = Caller(create_app(hub, version="0.0.0-test"))
    monkeypatch.delattr(hub, "snapshot")
    answer = caller.get("/api/now")
    assert (answer.status_code, answer.json()) == (500, {"error": "internal error. See the log of the hub"})
    assert_protected(answer.headers)


def assert_protected(headers: httpx.Headers) -> None:
    """Nothing from elsewhere may run, be framed, or be guessed."""
    policy = headers["Content-Security-Policy"]
    assert "frame-ancestors 'none'" in policy
    assert "unsafe-eval" not in policy
    assert "'unsafe-inline'" not in policy.split("script-src")[1].split(";")[0]
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert headers["Referrer-Policy"] == "no-referrer"


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{}",
        b"[]",
        b"null",
        b"\xff\xfe",
        b"[" * 100_000,
        b'{"output": 5}',
        b'{"output": "nothing.children"}',
        json.dumps(SHOW_PAGE | {"inputs": []}).encode(),
        json.dumps(SHOW_PAGE | {"inputs": [{"id": "other", "property": "pathname", "value": "/"}]}).encode(),
        json.dumps(SHOW_PAGE | {"inputs": "x"}).encode(),
        json.dumps(SHOW_PAGE | {"outputs": 1}).encode(),
        json.dumps(SHOW_PAGE | {"outputs": {"id": 1}}).encode(),
        json.dumps(SHOW_PAGE | {"changedPropIds": [1]}).encode(),
        json.dumps(SHOW_PAGE | {"changedPropIds": 7}).encode(),
        json.dumps(SHOW_PAGE | {"cancelJob": 7}).encode(),
        json.dumps(SHOW_PAGE | {"state": 7}).encode(),
    ],
)
def test_a_garbled_callback_is_refused(caller: Caller, body: bytes) -> None:
    """400 with a sentence, never a traceback."""
    answer = caller.post(CALLBACK, body, {"content-type": "application/json"})
    assert answer.status_code == 400
    assert "error" in answer.json()
    assert "Traceback" not in answer.text


@pytest.mark.parametrize("value", ["/", "/traces", "/nope", None, 5, {"a": 1}, "x" * 10_000])
def test_any_address_in_a_callback_gives_a_page(caller: Caller, value: object) -> None:
    """What is no address gives the page that says so."""
    body = SHOW_PAGE | {"inputs": [{"id": "url", "property": "pathname", "value": value}]}
    answer = caller.post(CALLBACK, json.dumps(body).encode(), {"content-type": "application/json"})
    assert answer.status_code == 200
    assert answer.json()["response"]["page"]["children"]["props"]["children"]


CHARTS = [chart.id for page in PAGES for chart in page.charts]


@pytest.mark.parametrize(
    "search", ["", "?from=now-2h", "?to=never", "?from=now&to=now-1h", None, 7, ["x"], "?" + "a" * 9999]
)
@pytest.mark.parametrize("browser", [{"scheme": "dark", "offset": 540}, {"offset": "x"}, None, 7])
@pytest.mark.parametrize("chart", CHARTS)
def test_any_search_in_a_callback_gives_a_figure(caller: Caller, chart: str, search: object, browser: object) -> None:
    """What cannot be read gives the default range, or a figure that says what is wrong; the page names the fault."""
    body = {
        "output": f"{chart}.figure",
        "outputs": {"id": chart, "property": "figure"},
        "inputs": [
            {"id": "url", "property": "search", "value": search},
            {"id": "url", "property": "pathname", "value": "/traces"},
            {"id": "tick", "property": "data", "value": 1},
            {"id": "browser", "property": "data", "value": browser},
        ],
        "changedPropIds": ["url.search"],
    }
    answer = caller.post(CALLBACK, json.dumps(body).encode(), {"content-type": "application/json"})
    assert answer.status_code == 200
    assert answer.json()["response"][chart]["figure"]["layout"]["paper_bgcolor"]


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"sec-fetch-site": "cross-site"}, 403),
        ({"sec-fetch-site": "same-site"}, 403),
        ({"origin": "https://evil.example"}, 403),
        ({"origin": "null"}, 403),
        ({"sec-fetch-site": "same-origin"}, 200),
        ({"origin": "http://127.0.0.1"}, 200),
        ({}, 200),
    ],
)
def test_a_page_of_another_site_may_not_post(caller: Caller, headers: dict[str, str], status: int) -> None:
    """Browsers say where a request comes from; other clients say nothing and may."""
    body = json.dumps(SHOW_PAGE).encode()
    assert caller.post(CALLBACK, body, {"content-type": "application/json"} | headers).status_code == status


@pytest.mark.parametrize("path", ["/", "/api/traces", "/api/now", "/metrics", "/healthz", "/assets/styles.css"])
def test_a_foreign_name_that_points_here_gets_nothing(caller: Caller, path: str) -> None:
    """A page of another site could otherwise read all, by giving its own name this machine's address."""
    answer = caller.get(path, {"host": "evil.example:8050"})
    assert answer.status_code == 421
    assert answer.json()["error"].startswith("unknown Host header 'evil.example:8050'. Use localhost")
    assert "Content-Security-Policy" in answer.headers


LOCAL = ("localhost", "LocalHost.:8050", "127.0.0.1", "127.0.0.1:8050", "127.8.9.1:1", "[::1]", "[::1]:8050")
STRANGE = (
    "",
    "evil.example",
    "127.0.0.1.evil.example",
    "localhost.evil.example",
    "evil.example@localhost",
    "localhost:80@evil.example",
    "10.0.0.5:8050",
    "0.0.0.0",  # noqa: S104  # a name in a request, nothing is bound
    "[::]",
    "[2001:db8::1]:8050",
    "[localhost]",
    "::1",
    "2130706433",
    "x" * 5000,
)


@pytest.mark.parametrize(
    ("hosts", "given", "status"),
    [
        *((None, host, 200) for host in LOCAL),
        *((None, host, 421) for host in STRANGE),
        *((("gpus.example", "10.0.0.5", "[2001:db8::1]"), host, 200) for host in LOCAL),
        (("gpus.example",), "gpus.example", 200),
        (("gpus.example",), "GPUS.example.:443", 200),
        (("GPUS.example",), "gpus.example", 200),
        (("10.0.0.5",), "10.0.0.5:8050", 200),
        (("[2001:db8::1]",), "[2001:db8::1]:8050", 200),
        (("gpus.example",), "evil.example", 421),
        (("gpus.example",), "a.gpus.example", 421),
        (("gpus.example",), "", 421),
        ("gpus.example", "gpus.example", 200),
        ("gpus.example", "g", 421),
        *((("*",), host, 200) for host in ("evil.example", "10.0.0.5", "localhost")),
    ],
)
def test_only_known_hosts_are_answered(hosts: Sequence[str] | None, given: str, status: int) -> None:
    """Those that mean this machine, those that were configured, or all when that was said."""
    assert _of_hosts(hosts).get("/healthz", {"host": given}).status_code == status


@cache
def _of_hosts(hosts: Sequence[str] | None) -> Caller:
    return Caller(create_app(FakeHub(SCENES["healthy"]()), version="0", hosts=hosts))


def test_a_large_body_is_refused(caller: Caller) -> None:
    """413 beyond 1 MiB, whatever the address."""
    answer = caller.post("/api/services", b"x" * ((1 << 20) + 1))
    assert answer.status_code == 413
    assert answer.json()["error"] == "body larger than 1048576 bytes"


def test_names_from_the_network_are_data_in_json(shared_look: LookAt) -> None:
    """They come back as they are, as JSON with its own content type."""
    answer = shared_look("hostile").get("/api/incidents?state=open")
    assert answer.headers["content-type"] == "application/json"
    assert answer.json()["incidents"][0]["suspect"]["service"] == "<img src=x onerror=alert(1)>"


def test_no_browser_opens_a_websocket(caller: Caller) -> None:
    """Dash would keep one open per browser; the page's configuration names none, and one that comes is refused."""
    assert "_dash-ws-callback" not in caller.get("/").text

    sent: list[MutableMapping[str, Any]] = []

    async def receive() -> MutableMapping[str, Any]:
        return {"type": "websocket.connect"}

    async def send(message: MutableMapping[str, Any]) -> None:
        sent.append(message)

    scope = {"type": "websocket", "path": "/_dash-ws-callback", "headers": [], "query_string": b"", "subprotocols": []}
    asyncio.run(caller.app(scope, receive, send))
    assert [message["type"] for message in sent] == ["websocket.close"]
