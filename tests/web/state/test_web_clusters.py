"""A hub with several clusters: the API, the pages' values, and charts show one of them where the address names it."""

from __future__ import annotations

import asyncio
import gc
import re
import threading
import weakref
from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pytest
from starlette.responses import JSONResponse
from starlette.types import ASGIApp
from tests.web.api.test_web_responses import send
from tests.web.caller import Caller
from tests.web.conftest import client
from tests.web.forecasts import FORECAST
from tests.web.state.test_web_kept import figure_request
from tests.web.two_clusters import fleet, placed
from tests.web.worlds import FakeHub

from foreshock_dashboard.model.capacity.load import Subject
from foreshock_dashboard.model.forecast import Forecast, ServiceSlo
from foreshock_dashboard.model.hub.view import HubView
from foreshock_dashboard.model.incident import Candidate
from foreshock_dashboard.model.service import Service, split_cluster
from foreshock_dashboard.model.snapshot import Snapshot
from foreshock_dashboard.model.types import Json
from foreshock_dashboard.model.world import Edge
from foreshock_dashboard.model.world_sections import Hardware, XidCounter
from foreshock_dashboard.notify.alerts import alerts
from foreshock_dashboard.render.notification import open_message
from foreshock_dashboard.web.api.by_cluster import ClusterViews
from foreshock_dashboard.web.documents.postmortem import report
from foreshock_dashboard.web.pages.now.data import now
from foreshock_dashboard.web.panels.chosen_incidents import chosen_incidents
from foreshock_dashboard.web.state.one_cluster import capacity_of, snapshot_of, world_of
from foreshock_dashboard.web.state.parameters import cluster_of

PAGES = ("now", *(f"pages/{name}" for name in ("contention", "cascade", "fleet", "services", "status")))


@pytest.fixture(scope="module")
def two() -> Caller:
    """A client of a hub with two clusters."""
    return client(FakeHub(fleet()))


def test_a_list_has_what_is_of_the_named_cluster(two: Caller) -> None:
    everything, one = (two.get(f"/api/services{query}").json() for query in ("", "?cluster=us"))
    assert everything["clusters"] == one["clusters"] == ["eu", "us"]
    assert [row["service"] for row in one["services"]] == ["us//vllm-8b"]
    assert len(everything["services"]) > 1
    hosts = {row["host"] for row in two.get("/api/gpus?cluster=us").json()["gpus"]}
    assert hosts == {"us//host-2"}


def test_a_capacity_forecast_has_what_is_of_the_named_cluster() -> None:
    """Services and pools; a host that fills up, too."""
    chat, pool = FORECAST.loads[0], FORECAST.loads[-2]
    loads = [replace(chat, subject=Subject(Service(f"{name}//", "chat"), "")) for name in ("eu", "us")]
    loads.append(replace(pool, subject=Subject(None, "us//chat")))
    burns = tuple(replace(FORECAST.slow_burns[0], name=f"{name}//host-3") for name in ("eu", "us"))
    found = capacity_of(replace(FORECAST, loads=tuple(loads), slow_burns=burns), "us")
    assert [item.subject for item in found.loads] == [Subject(Service("us//", "chat"), ""), Subject(None, "us//chat")]
    assert (found.shortages, [item.name for item in found.slow_burns]) == ((), ["us//host-3"])


@pytest.mark.parametrize(("cluster", "counters"), [("eu", ["eu//host-1/gpu-0"]), ("us", ["us//host-2/gpu-0"] * 2)])
def test_a_cluster_has_the_health_and_xid_errors_of_its_gpus(cluster: str, counters: list[str]) -> None:
    """Errors have a row per GPU, XID, and service instead of one per GPU."""
    world = fleet().world
    assert world is not None
    health = Hardware.empty(len(world.gpus), len(world.times))
    xids = (XidCounter("eu//host-1/gpu-0", 79), XidCounter("us//host-2/gpu-0", 13), XidCounter("us//host-2/gpu-0", 79))
    errors = np.arange(3.0)[:, np.newaxis].repeat(len(world.times), axis=1)
    found = world_of(replace(world, hardware=replace(health, xids=xids, xid_errors=errors)), {cluster}).hardware
    assert found is not None
    assert found.lost.shape == (sum(gpu.host.startswith(cluster) for gpu in world.gpus), len(world.times))
    assert [counter.gpu for counter in found.xids] == counters
    assert found.xid_errors[:, 0].tolist() == [row for row, xid in enumerate(xids) if xid.gpu in counters]


@pytest.mark.parametrize("cluster", ["eu", "us"])
def test_a_cluster_keeps_gpus_without_xid_errors(cluster: str) -> None:
    world = fleet().world
    assert world is not None
    found = world_of(replace(world, hardware=Hardware.empty(len(world.gpus), len(world.times))), {cluster}).hardware
    assert found is not None
    assert (found.xids, len(found.xid_errors)) == ((), 0)


def test_a_call_between_two_clusters_is_shown_in_both(two: Caller) -> None:
    def crossing(cluster: str) -> set[str]:
        edges = two.get(f"/api/services?cluster={cluster}").json()["edges"]
        return {f"{edge['client']} {edge['server']}" for edge in edges if edge["server"] == "us//vllm-8b"}

    assert crossing("eu") == crossing("us") != set()


@pytest.mark.parametrize(("cluster", "incidents"), [("eu", 1), ("us", 0), ("", 1)])
def test_an_incident_is_listed_in_the_clusters_of_its_services(two: Caller, cluster: str, incidents: int) -> None:
    assert len(two.get(f"/api/incidents?cluster={cluster}").json()["incidents"]) == incidents


@pytest.mark.parametrize("page", PAGES)
def test_each_page_has_values_of_one_cluster(two: Caller, page: str) -> None:
    text = two.get(f"/api/{page}?cluster=us").text
    assert "host-0" not in text
    assert "embedder" not in text or page in ("now", "pages/cascade")  # a client of what is in us


@pytest.mark.parametrize("cluster", ["xx", "eu//shop", "%20x"])
def test_an_unknown_cluster_is_refused_with_the_remedy(two: Caller, cluster: str) -> None:
    answer = two.get(f"/api/services?cluster={cluster}")
    assert (answer.status_code, "unknown cluster" in answer.json()["error"]) == (404, True)


def test_without_clusters_no_answer_names_them(caller: Caller) -> None:
    assert "clusters" not in caller.get("/api/services").json()
    assert caller.get("/api/services?cluster=").status_code == 200
    assert caller.get("/api/services?cluster=eu").status_code == 404


def test_a_name_without_its_cluster_is_found_where_only_one_has_it(two: Caller) -> None:
    answers = {name: two.get(f"/api/health/{name}").status_code for name in ("vllm-8b", "shop/embedder", "shop/x")}
    assert answers == {"vllm-8b": 200, "shop/embedder": 200, "shop/x": 404}


def test_a_filtered_world_has_rows_for_all_its_names() -> None:
    world = snapshot_of(fleet(), "eu").world
    assert world is not None
    assert len(world.services) == len(world.red.rate)
    assert len(world.edges) == len(world.calls.p95) == len(world.server_p95)
    assert len(world.gpus) == len(world.utilization)
    assert len(world.tenants) == len(world.busy)
    assert {tenant.service for tenant in world.tenants} <= set(world.services)


def test_an_incident_and_its_report_have_nothing_of_a_cluster_without_a_service_of_it() -> None:
    seen = fleet()
    chosen = chosen_incidents(seen)
    assert seen.world is not None
    assert {service.cluster for service in seen.world.services if chosen.may_have(service)} == {"eu"}
    ingress = replace(
        seen.world, edges=(*seen.world.edges, Edge(Service("us//", "user"), placed(Service("", "vllm-8b"))))
    )
    assert "us//" not in report(ingress, seen.incidents[0]).markdown


@pytest.mark.parametrize("p95", [5.0, np.nan], ids=["breached", "without data"])
def test_a_service_in_trouble_beside_an_incident_comes_after_those_of_the_incident(p95: float) -> None:
    """That of another cluster is no part of the incident, and nowhere else on the page."""
    seen, other = fleet(), placed(Service("", "vllm-8b"))
    world = seen.world
    assert world is not None
    row, p95s, rates = world.services.index(other), world.red.p95.copy(), world.red.rate.copy()
    p95s[row, -30:] = p95
    rates[row, -30:] *= p95 / p95
    red = replace(world.red, p95=p95s, rate=rates)
    slos = (ServiceSlo(other, 0.5, 0.01, learned=False),)
    troubled = replace(seen, world=replace(world, red=red), forecast=Forecast(slos=slos))
    calm, page = now(seen, "x"), now(troubled, "x")
    assert [line.id for line in page["services"]] == [*(line.id for line in calm["services"]), str(other)]
    assert page["hidden"] == calm["hidden"] - 1
    assert str(other) not in {lane.service for lane in page["timeline"].lanes}


def texts_in(found: Json) -> Iterator[str]:
    """All texts of a JSON value but the entities of signals, which are names."""
    if isinstance(found, str):
        yield found
    elif isinstance(found, dict | list):
        named = found.items() if isinstance(found, dict) else enumerate(found)
        for _, value in (each for each in named if each[0] != "entity"):
            yield from texts_in(value)


def test_no_sentence_has_a_name_as_addresses_have_it(two: Caller) -> None:
    """They read `shop/cart in eu`; only names alone are `eu//shop/cart`."""
    pair = "pages/contention?victim=eu//shop/embedder&aggressor=eu//shop/train-llm"
    service = "pages/services?service=eu//shop/embedder"
    every = [text for page in (*PAGES, pair, service) for text in texts_in(two.get(f"/api/{page}").json())]
    assert [text for text in every if len(text.split()) > 4 and re.search(r"\w//\w", text) and "://" not in text] == []
    assert any(text.startswith("shop/embedder in eu is degraded: ") for text in every)


def test_messages_alerts_and_reports_say_the_cluster() -> None:
    seen = fleet()
    (item,), world = seen.incidents, seen.world
    assert world is not None
    message = open_message(item, "critical", "")
    (alert,) = alerts([item], item.since + 900, float, 60.0, "", lambda *_: {})
    every = [message.title, message.text, *alert["annotations"].values(), report(world, item).markdown]
    assert message.title.startswith("[critical] shop/embedder in eu is degraded: ")
    assert [text for text in every if re.search(r"\b(eu|us)//", re.sub(r"\S+incident=\S+", "", text))] == []


def test_services_are_counted_by_cluster_where_the_page_has_several(two: Caller) -> None:
    whole, one = (two.get(f"/api/pages/services{query}").json()["summary"] for query in ("", "?cluster=us"))
    assert re.search(r"By cluster: eu 11 services, 2 in breach; us 1 service\.$", whole)
    assert "cluster" not in one


def test_the_first_request_of_a_cluster_leaves_the_event_loop_free() -> None:
    """Its routes are registered once, in another thread."""
    threads = []

    def make(_view: HubView) -> ASGIApp:
        threads.append(threading.get_ident())
        return JSONResponse({})

    async def ask() -> bool:
        views = ClusterViews(FakeHub(fleet()), make)
        return await views.app("eu") is await views.app("eu")

    assert asyncio.run(ask())
    assert len(threads) == 1
    assert threads[0] != threading.get_ident()


def test_views_of_clusters_that_are_gone_are_dropped() -> None:
    hub, views = FakeHub(fleet()), []

    def make(view: HubView) -> ASGIApp:
        views.append(weakref.ref(view))
        return JSONResponse({})

    by_cluster = ClusterViews(hub, make)
    by_cluster.hub("eu")
    hub.snapshot = replace(hub.snapshot, clusters=("us",))
    by_cluster.hub("us")
    gc.collect()
    assert [view() is None for view in views] == [True, False]


def test_a_chart_of_an_unknown_cluster_is_empty_with_the_reason(two: Caller) -> None:
    """As the API refuses it, instead of a chart of all clusters."""
    body = figure_request("service-gpu", "?cluster=xx")
    answer = two.post("/_dash-update-component", body, {"content-type": "application/json"})
    assert "unknown cluster" in answer.text
    assert "eu//" not in answer.text


@pytest.mark.parametrize("query", ["?cluster=us", "?cluster=us&cluster=eu"])
def test_the_api_and_charts_take_the_first_cluster_of_an_address(two: Caller, query: str) -> None:
    assert cluster_of(query) == "us"
    assert [row["service"] for row in two.get(f"/api/services{query}").json()["services"]] == ["us//vllm-8b"]


def test_the_schema_of_the_api_is_that_of_each_cluster(two: Caller) -> None:
    whole, one = (two.get(f"/api/openapi.json{query}").json() for query in ("", "?cluster=eu"))
    assert whole == one


class ScrapingHub(FakeHub):
    """A hub that scrapes all targets of its World by itself, and two that never answered, one with a cluster."""

    def status(self) -> Json:
        """With each target as it is addressed, without a cluster."""
        assert self.snapshot.world
        known = [split_cluster(target.instance)[1] for target in self.snapshot.world.targets]
        scrapes = [{"instance": name, "job": "gpu", "up": True, "samples": 7, "cluster": ""} for name in known]
        silent = [{**scrapes[0], "instance": "new:1", "up": None}, {**scrapes[0], "instance": "new:2", "cluster": "us"}]
        return {**super().status(), "scrapes": [*scrapes, *silent]}


def test_status_lists_each_target_once_and_in_its_cluster_only() -> None:
    """A target that never answered is of the cluster that its own label names; without one it is in none."""
    hub = ScrapingHub(fleet())
    assert hub.snapshot.world
    every = [target.instance for target in hub.snapshot.world.targets]
    calls = client(hub)
    for query, expected in (
        ("", [*every, "new:1", "us//new:2"]),
        ("?cluster=us", [*(name for name in every if name.startswith("us//")), "us//new:2"]),
        ("?cluster=eu", [name for name in every if name.startswith("eu//")]),
    ):
        rows = calls.get(f"/api/pages/status{query}").json()["targets"]
        assert sorted(row["instance"] for row in rows) == sorted(expected)
        assert {row["samples"] for row in rows} == {7}


def test_status_keeps_a_target_whose_address_another_cluster_has_too() -> None:
    seen = fleet()
    assert seen.world is not None
    twin = seen.world.targets[0]._replace(instance="us//" + split_cluster(seen.world.targets[0].instance)[1])
    hub = ScrapingHub(replace(seen, world=replace(seen.world, targets=(*seen.world.targets, twin))))
    rows = client(hub).get("/api/pages/status?cluster=us").json()["targets"]
    (found,) = [row for row in rows if row["instance"] == twin.instance]
    assert found["samples"] == 7


def test_status_names_what_has_no_cluster_where_others_have_one() -> None:
    seen = fleet()
    assert seen.world is not None
    services = tuple(Service("", one.name) if one.name == "auth" else one for one in seen.world.services)
    targets = tuple(
        target._replace(instance=target.instance.replace("eu//host-3", "host-3")) for target in seen.world.targets
    )

    def problems(found: Snapshot) -> list[str]:
        hub = client(FakeHub(found))
        every = [hub.get(f"/api/pages/status{query}").json()["health"]["problems"] for query in ("", "?cluster=us")]
        assert [text for text in every[1] if "cluster" in text] == []
        return [text for text in every[0] if "cluster" in text]

    assert problems(seen) == []
    assert problems(replace(seen, world=replace(seen.world, services=services, targets=targets))) == [
        "1 of 12 services without a cluster: auth. Set the resource attribute k8s.cluster.name",
        "1 of 4 targets without a cluster: host-3:10877. Set external_labels: cluster",
    ]


def test_root_causes_and_silences_are_those_of_the_cluster() -> None:
    """A silence without a cluster is for the services of all."""
    hub = FakeHub(fleet(), candidates=tuple(Candidate(placed(Service("", name)), 0.5) for name in ("auth", "vllm-8b")))
    caller = client(hub)
    for service in ("eu//shop/auth", "us//vllm-8b", "auth"):
        send(caller, "/api/silences", service=service, duration="2h")
    send(caller, "/api/silences", incident=hub.snapshot.incidents[0].id, duration="2h")
    for query, causes, silences in (
        ("", ["eu//shop/auth", "us//vllm-8b"], {"eu//shop/auth", "us//vllm-8b", "auth", None}),
        ("?cluster=eu", ["eu//shop/auth"], {"eu//shop/auth", "auth", None}),
        ("?cluster=us", ["us//vllm-8b"], {"us//vllm-8b", "auth"}),
    ):
        assert [row["service"] for row in caller.get(f"/api/explain{query}").json()["candidates"]] == causes
        assert {row["service"] for row in caller.get(f"/api/silences{query}").json()["silences"]} == silences


def test_a_cluster_limits_no_change_and_is_refused_there(two: Caller) -> None:
    answer = send(two, "/api/silences?cluster=eu", service="auth", duration="2h")
    assert (answer.status_code, answer.json()["error"]) == (
        400,
        "cluster: limits what is read. Write names with their cluster, such as eu//shop/cart",
    )
