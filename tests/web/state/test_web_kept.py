"""What is kept for others who ask for the same: payloads, figures, lists that take long; and in how much room."""

from __future__ import annotations

import asyncio
import csv
import io
import json
import threading
import time
from dataclasses import dataclass, field, replace
from urllib.parse import parse_qsl

import httpx
import pytest
from tests.web.caller import Caller
from tests.web.occupancy import CONTENDED, Traces, contended_traces
from tests.web.worlds import NOW, SCENES, FakeHub, service

from foreshock_dashboard.model.forecast import Forecast, ServiceSlo
from foreshock_dashboard.model.snapshot import Snapshot
from foreshock_dashboard.model.span import Span
from foreshock_dashboard.model.world import Gpu, World
from foreshock_dashboard.web import callbacks
from foreshock_dashboard.web.app import PAGES, create_app
from foreshock_dashboard.web.charts.chart import Look
from foreshock_dashboard.web.http import responses
from foreshock_dashboard.web.pages.fleet import data as fleet_data
from foreshock_dashboard.web.pages.fleet import gpu as gpu_page
from foreshock_dashboard.web.pages.fleet.gpu import HardwareHealth, Xid
from foreshock_dashboard.web.pages.traces import lists
from foreshock_dashboard.web.pages.traces.gpu_time import MAX_WHOLE_TRACES
from foreshock_dashboard.web.state.parameters import View

CHARTS = {chart.id: chart for page in PAGES for chart in page.charts}


def test_payloads_of_a_tick_are_kept_up_to_a_number_of_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Any client may write any parameter: those that are requested again stay, however many others come."""
    hub = FakeHub(SCENES["healthy"]())
    monkeypatch.setattr(responses, "MAX_CACHE_BYTES", 200_000)
    caller, made = Caller(create_app(hub, version="0")), []
    monkeypatch.setattr(fleet_data, "fleet", lambda *_: made.append(1) or {"x": "y" * 10_000})  # type: ignore[func-returns-value]
    for i in range(60):
        caller.get(f"/api/pages/fleet?q={i}")
        caller.get("/api/pages/fleet")
    assert len(made) == 61
    caller.get("/api/pages/fleet?q=0")
    assert len(made) == 62


def figure_request(chart: str, search: str = "", scheme: str = "light") -> bytes:
    values = {"url.search": search, "url.pathname": "/services/embedder", "tick.data": 1}
    inputs = [
        {"id": name.split(".")[0], "property": name.split(".")[1], "value": value} for name, value in values.items()
    ]
    inputs.append({"id": "browser", "property": "data", "value": {"scheme": scheme}})
    body = {"output": f"{chart}.figure", "outputs": {"id": chart, "property": "figure"}, "inputs": inputs}
    return json.dumps(body | {"changedPropIds": ["url.search"]}).encode()


class Counting(FakeHub):
    """Counts how often a stretch of time is read."""

    read = 0

    def over(self, start: float, end: float) -> World | None:
        """What there is, counted."""
        self.read += 1
        return super().over(start, end)


def test_a_figure_is_drawn_once_a_tick_for_all_who_look_at_the_same() -> None:
    """Another look, another range, or another tick is another figure."""
    hub = Counting(SCENES["contended"]())
    caller = Caller(create_app(hub, version="0"))

    def ask(**wanted: str) -> None:
        answer = caller.post(
            "/_dash-update-component", figure_request("service-gpu", **wanted), {"content-type": "application/json"}
        )
        assert answer.json()["response"]["service-gpu"]["figure"]["data"]

    for wanted, reads in [({}, 1), ({}, 1), ({"scheme": "dark"}, 2), ({"search": "?from=now-5m"}, 3), ({}, 3)]:
        hub.time += 1
        ask(**wanted)
        assert hub.read == reads
    hub.snapshot = replace(hub.snapshot, seq=8)
    ask()
    assert hub.read == 4


def test_figures_that_take_long_leave_threads_for_everything_else(monkeypatch: pytest.MonkeyPatch) -> None:
    """More of them wait than there are threads for all; /metrics and a list answer meanwhile."""
    hub, release, waiting = FakeHub(SCENES["contended"]()), threading.Event(), threading.Semaphore(0)

    def over(_start: float, _end: float) -> None:
        waiting.release()
        assert release.wait(30)

    monkeypatch.setattr(hub, "over", over)
    transport = httpx.ASGITransport(create_app(hub, version="0"))
    headers = {"content-type": "application/json"}

    async def go() -> list[int]:
        async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1") as client:
            bodies = [figure_request("service-gpu", f"?from=now-{minutes}m") for minutes in range(2, 62)]
            drawn = [
                asyncio.create_task(client.post("/_dash-update-component", content=body, headers=headers))
                for body in bodies
            ]
            for _ in range(callbacks.MAX_CONCURRENT_FIGURES):
                await asyncio.to_thread(waiting.acquire)
            try:
                paths = ("/metrics", "/api/services")
                answers = [await asyncio.wait_for(client.get(path), 20) for path in paths]
            finally:
                release.set()
                await asyncio.gather(*drawn)
            return [each.status_code for each in answers]

    assert asyncio.run(go()) == [200, 200]


def test_the_picture_of_traces_is_read_once_for_about_the_same_range() -> None:
    """Whatever the theme; a while later again, and for another filter, and of another hub."""
    hub, view = FakeHub(SCENES["contended"]()), View(NOW - 600, NOW)

    def draw(hub: FakeHub, seen: View, scheme: str = "light") -> None:
        CHARTS["heat"].draw(hub, seen, Look.from_store({"scheme": scheme}))

    for seen, scheme in [(view, "light"), (replace(view, start=NOW - 598, end=NOW - 2), "dark")]:
        draw(hub, seen, scheme)
        assert len(hub.traces.asked) == 3
    draw(hub, replace(view, parameters={"errors": "true"}))
    draw(FakeHub(hub.snapshot), view)
    assert len(hub.traces.asked) == 6
    hub.time += lists.CACHE_SECONDS
    draw(hub, view)
    assert len(hub.traces.asked) == 9


def test_each_viewer_gets_the_errors_of_the_gpu_looked_at(monkeypatch: pytest.MonkeyPatch) -> None:
    """Also when others look at other GPUs at the same time; each GPU is read once a tick."""
    hub, read = FakeHub(SCENES["contended"]()), []
    caller = Caller(create_app(hub, version="0"))

    def hardware(_metrics: object, gpu: Gpu, _time: float) -> HardwareHealth:
        read.append(gpu.label)
        return HardwareHealth(xids=(Xid(60 + int(gpu.index), 1.0, NOW),))

    monkeypatch.setattr(gpu_page, "read_hardware", hardware)
    for look in ("", "host-0", "host"):
        for index in (0, 1):
            body = caller.get(f"/api/pages/fleet?gpu=host-0/gpu-{index}&q={look}").json()
            assert [each["xid"] for each in body["open"]["xids"]] == [60 + index]
    assert read == ["host-0/gpu-0", "host-0/gpu-1"]
    hub.snapshot = replace(hub.snapshot, seq=8)
    caller.get("/api/pages/fleet?gpu=host-0/gpu-0")
    assert len(read) == 3


@dataclass
class Watched(Traces):
    """Knows how many traces are read at once."""

    now: int = 0
    most: int = 0
    lock: threading.Lock = field(default_factory=threading.Lock)

    def get(self, trace_id: str) -> tuple[Span, ...]:
        """Those of one trace, unless it is an occupancy, which is small."""
        small = trace_id in {each.trace_id for each in CONTENDED}
        with self.lock:
            self.now += not small
            self.most = max(self.most, self.now)
        time.sleep(0 if small else 0.002)
        with self.lock:
            self.now -= not small
        return super().get(trace_id)


def test_few_whole_traces_are_read_at_once_for_all_clients() -> None:
    """Traces that are opened, lists by wait, waits of a list, and examples of a pair share one bound."""
    spans, hub = contended_traces(12)
    hub.traces = source = Watched(count=12, spans=[*spans, *CONTENDED])
    transport = httpx.ASGITransport(create_app(hub, version="0"))
    pair = "/api/pages/contention/traces?victim=embedder&aggressor=train-llm"
    lists = ["/api/traces?order=gpu_wait", "/api/traces?waits=true&limit=12", pair, "/api/csv/traces?min_gpu_wait=1ms"]

    async def go() -> list[int]:
        async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1") as client:
            paths = [*lists, *(f"/api/traces/{i + 1:032x}" for i in range(12))]
            answers = await asyncio.gather(*map(client.get, paths))
            return [each.status_code for each in answers]

    assert asyncio.run(go()) == [200] * 16
    assert 1 <= source.most <= MAX_WHOLE_TRACES


def test_examples_of_a_pair_are_read_once_for_about_the_same_range() -> None:
    """And again after a while, for what arrives late."""
    _, hub = contended_traces(5)
    caller = Caller(create_app(hub, version="0"))
    path = "/api/pages/contention/traces?victim=embedder&aggressor=train-llm"
    for start, end, after, searches in [
        (NOW - 600, NOW, 0.0, 1),
        (NOW - 599, NOW - 1, 1.0, 1),
        (NOW - 300, NOW, 0.0, 2),
        (NOW - 600, NOW, lists.CACHE_SECONDS, 3),
    ]:
        hub.time += after
        found = caller.get(f"{path}&start={start}&end={end}").json()
        assert len(hub.traces.asked) == searches
        assert [row["trace_id"] for row in found["traces"]] == [f"{i:032x}" for i in (2, 4)]


def test_a_csv_of_traces_holds_what_the_list_shows() -> None:
    """Every attribute, and the filter and the order by wait; `at` is the end of its range."""
    _, hub = contended_traces(5)
    caller = Caller(create_app(hub, version="0"))
    for asked in (
        "attribute=a=1&attribute=b=2",
        "min_gpu_wait=1ms",
        "order=gpu_wait&limit=3",
        "waits=true&errors=true",
    ):
        rows = caller.get(f"/api/traces?{asked}").json()["traces"]
        result = list(csv.DictReader(io.StringIO(caller.get(f"/api/csv/traces?{asked}").text, newline="")))
        assert [row["trace_id"] for row in result] == [row["trace_id"] for row in rows]
        assert [row["gpu_wait_seconds"] for row in result] == [
            "" if row.get("gpu_wait_seconds") is None else str(row["gpu_wait_seconds"]) for row in rows
        ]
        first, second = hub.traces.asked[-2:]
        assert first.attributes == second.attributes
    assert caller.get("/api/csv/traces?min_gpu_wait=1h").text.count("\r\n") == 1
    caller.get(f"/api/csv/traces?at={NOW - 100}")
    assert (hub.traces.asked[-1].end, hub.traces.asked[-1].limit) == (NOW - 100, 1000)


def test_of_the_past_the_tag_changes_with_the_answer() -> None:
    """`from` may go with the time although `at` is fixed."""
    hub = FakeHub(SCENES["contended"]())
    caller = Caller(create_app(hub, version="0"))

    def ask(path: str, tag: str = "") -> httpx.Response:
        return caller.get(f"/api/pages/cascade?at={NOW - 60}{path}", {"If-None-Match": tag})

    first = ask("&from=now-10m")
    assert ask("&from=now-10m", first.headers["etag"]).status_code == 304
    hub.time += 120
    moved = ask("&from=now-10m", first.headers["etag"])
    assert (moved.status_code, moved.headers["etag"] == first.headers["etag"]) == (200, False)


class Past(FakeHub):
    """A hub whose SLO and incidents were others a while ago."""

    def at(self, time: float) -> Snapshot:
        """The SLO of embedder was 77 ms then, and no incident was known."""
        slo = ServiceSlo(service("embedder"), 0.077, 0.01, learned=True)
        return replace(super().at(time), incidents=(), forecast=Forecast(slos=(slo,)))


@pytest.mark.parametrize(
    ("chart", "asked", "words"),
    [
        ("service-durations", "", "at most"),
        ("service-gpu", "", "GPU contention"),
        ("pair-wait", "victim=embedder&aggressor=train-llm", "first anomaly"),
        ("trace-durations", "service=embedder", "at most"),
    ],
)
def test_a_chart_of_the_past_shows_only_what_was_known_then(chart: str, asked: str, words: str) -> None:
    """Marks of incidents and the learned SLO are those of the end of the range."""
    slo = ServiceSlo(service("embedder"), 0.2, 0.01, learned=True)
    hub = Past(replace(SCENES["contended"](), forecast=Forecast(slos=(slo,))))
    look, given = Look.from_store({}), dict(parse_qsl(asked))
    live = View(NOW - 800, NOW, True, given, "embedder")
    now, then = (json.dumps(CHARTS[chart].draw(hub, seen, look)) for seen in (live, replace(live, live=False)))
    assert "SLO 77 ms" not in now
    slos = ("SLO 200 ms" in now, "SLO 77 ms" in then)
    assert slos == (True, True) if words == "at most" else (words in now) > (words in then)
